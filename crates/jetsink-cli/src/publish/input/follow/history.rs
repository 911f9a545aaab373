//! The generations of one log: a state machine that scans of its folder and the reader drive.
//!
//! It holds the generations in the order of reading. The file under the log's own name is the last one. A scan opens
//! each file that is unknown here, and [`History::sight`] (in `sighting`) decides whether it is a new generation, a
//! generation of an earlier run, or a copy of one. [`History::next`] (in `progress`) returns the generation to read, and
//! [`History::at_end`] decides at its end whether more may come. Time is an argument.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::generation::{Descriptor, Generation, Loss, LossReason, Place, Source, Time};
use super::identity::{FileId, Head};

/// Finished generations without a file that are remembered: a late copy of them is recognised.
const MAX_REMEMBERED: usize = 256;

/// A file that has no lines to read: a copy of a generation, or older than the first run.
#[derive(Debug, Clone)]
pub(super) struct Other {
    pub(super) id: FileId,
    pub(super) head: Head,
    pub(super) length: Option<u64>,
    /// The number of the generation that it is a copy of, if that was unread.
    pub(super) copy_of: Option<u64>,
}

#[derive(Debug)]
pub(super) struct History<F> {
    /// The log's own name.
    pub(super) path: Arc<Path>,
    pub(super) generations: VecDeque<Generation<F>>,
    pub(super) others: Vec<Other>,
    next_number: u64,
    /// The time that late writers of a rotated file have.
    pub(super) rotate_wait: Time,
    /// Makes names of generations.
    pub(super) new_name: fn() -> Arc<str>,
    /// Files that were created under the log's name, less those that were opened or can't be.
    pub(super) unopened: i64,
    /// The file under the log's name at the last scan.
    at_path: Option<FileId>,
    pub(super) scans: u64,
    /// Time at which the last complete scan began.
    pub(super) scanned_since: Option<Time>,
    /// Whether an earlier run has saved a position.
    pub(super) is_restored: bool,
    /// Whether a position file exists: from then on every rotated file counts.
    pub(super) is_on_disk: bool,
    /// With a position of version 1: the birth of its file. Older files were read.
    pub(super) read_before: Option<u64>,
    /// Whether a position is saved, so that generations stay until their lines have results.
    pub(super) is_saved: bool,
    /// Whether the first scan has ended.
    pub(super) is_ready: bool,
    /// Whether files that may have to be read first are still being written.
    pub(super) waits_for_files: bool,
    /// Rotated files that the first scan found. Each can be a generation that was empty when an earlier run ended.
    pub(super) taken_for_blank: u64,
    /// Whether a scan is due at once.
    pub(super) needs_scan: bool,
    pub(super) losses: Vec<Loss>,
}

impl<F: Descriptor> History<F> {
    pub(super) fn new(path: Arc<Path>, rotate_wait: Time, new_name: fn() -> Arc<str>) -> Self {
        Self {
            path,
            generations: VecDeque::new(),
            others: Vec::new(),
            next_number: 0,
            rotate_wait,
            new_name,
            unopened: 0,
            at_path: None,
            scans: 0,
            scanned_since: None,
            is_restored: false,
            is_on_disk: false,
            read_before: None,
            is_saved: false,
            is_ready: false,
            waits_for_files: false,
            taken_for_blank: 0,
            needs_scan: false,
            losses: Vec::new(),
        }
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Whether a scan has to open this file: it is unknown, sought, or has grown after its end was read.
    pub(super) fn needs(&self, id: FileId, length: u64) -> bool {
        if self.is_sought(id) {
            return true;
        }
        let generation = self.generations.iter().rev().find(|g| g.id == id);
        match generation {
            Some(generation) => generation.is_finished && generation.has_grown(length),
            None => self.others.iter().all(|other| other.id != id),
        }
    }

    /// Whether a generation of an earlier run has this identity and is not found yet.
    pub(super) fn is_sought(&self, id: FileId) -> bool {
        let mut sought = self.generations.iter().filter(|g| g.is_sought());
        sought.any(|generation| generation.id.may_be(id))
    }

    /// Whether nothing was read and no scan has ended.
    pub(super) fn is_first_run(&self) -> bool {
        self.scans == 0 && !self.is_restored
    }

    /// Whether content that begins like this is known.
    pub(super) fn knows_start(&self, start: &[u8]) -> bool {
        self.generations.iter().any(|g| g.head.matches(start))
            || self.others.iter().any(|other| other.head.matches(start))
    }

    /// Whether only unread generations begin like this: then a file's length is of no interest.
    pub(super) fn knows_unread(&self, start: &[u8]) -> bool {
        let matching = |g: &&Generation<F>| g.head.matches(start);
        let mut generations = self.generations.iter().filter(matching).peekable();
        generations.peek().is_some() && generations.all(|g| !g.is_finished)
    }

    /// A file was created under the log's name, or moved there.
    pub(super) fn created(&mut self) {
        // The first scan opens all files, so earlier ones are not counted.
        self.unopened += i64::from(self.scans > 0);
    }

    /// All files that were created before the last scan are counted. It may have opened more: one that was created during the
    /// first scan is not counted, and does not make up for one that is missed.
    pub(super) fn counted(&mut self) {
        self.unopened = self.unopened.max(0);
    }

    /// A created file can't be opened: its folder counts it.
    pub(super) fn set_aside(&mut self) {
        self.unopened -= 1;
    }

    /// Such a file can be opened now.
    pub(super) fn take_back(&mut self) {
        self.unopened += 1;
    }

    /// Whether all lines of a sought file were read, as far as its length tells.
    pub(super) fn is_read(&self, id: FileId, length: u64) -> bool {
        let mut sought = self.generations.iter().rev().filter(|g| g.is_sought());
        let youngest = sought.find(|generation| generation.id.may_be(id));
        youngest.is_some_and(|generation| match generation.is_compressed {
            true => generation.is_finished,
            false => length == generation.offset,
        })
    }

    /// A scan has found files that may have to be read first, and that are still being written.
    pub(super) fn wait_for_files(&mut self, waits: bool) {
        self.waits_for_files = waits && (self.scans == 0 || self.unopened > 0);
    }

    /// A scan begins.
    pub(super) fn begin_scan(&mut self) {
        for generation in &mut self.generations {
            generation.is_at_path = false;
        }
    }

    /// Notes the name under which a known file was seen.
    pub(super) fn seen(&mut self, id: FileId, place: &Place) {
        if let Some(generation) = self.generations.iter_mut().rev().find(|g| g.id == id) {
            generation.set_place(place);
        }
    }

    /// Notes the file under the log's name. A known file that was moved there needs no opening.
    pub(super) fn seen_at_path(&mut self, id: FileId, is_new: bool) {
        if self.at_path.replace(id).is_some_and(|before| before != id) && !is_new {
            self.unopened -= 1;
        }
    }

    /// A scan that began at `began` has ended; it saw these files, and `denied` can't be opened: generations in them stay
    /// sought.
    pub(super) fn scanned(&mut self, began: Time, seen: &[FileId], denied: &[FileId]) {
        let is_first = self.scans == 0;
        self.scans += 1;
        self.read_before = None;
        self.scanned_since = Some(began);
        for generation in &mut self.generations {
            match generation.source {
                Source::Sought
                    if !generation.is_finished
                        && denied.iter().any(|id| generation.id.may_be(*id)) => {}
                Source::Sought => {
                    generation.set_source(Source::Closed);
                    let is_blank = generation.head.is_empty() && generation.offset == 0;
                    if is_blank && self.taken_for_blank > 0 {
                        self.taken_for_blank -= 1;
                        generation.is_finished = true;
                    } else if !generation.is_finished {
                        generation.is_finished = true;
                        let reason = LossReason::Gone {
                            line: generation.line,
                        };
                        // Later ones could not be opened: their folder reports it.
                        let gone = is_first.then(|| generation.loss(reason));
                        self.losses.extend(gone);
                    }
                }
                Source::Truncated { since } if since <= began => {
                    let longest = |(file, _): &(F, _)| file.length();
                    let copies = std::mem::take(&mut generation.copies);
                    if let Some((file, form)) = copies.into_iter().max_by_key(longest) {
                        generation.set_source(Source::Fixed(file, form));
                    }
                }
                _ => {}
            }
        }
        self.others.retain(|other| seen.contains(&other.id));
        let is_saved = self.is_saved;
        // Not only the first ones: one that can't be opened may stay before them.
        let mut surplus = self.generations.len().saturating_sub(MAX_REMEMBERED);
        self.generations.retain(|g| {
            let is_needed = !g.is_finished || (is_saved && !g.is_settled()) || seen.contains(&g.id);
            let stays = is_needed || surplus == 0;
            surplus -= usize::from(!stays);
            stays
        });
    }

    /// All changes of the folder are known, and all its files that can be opened were opened.
    pub(super) fn is_quiet(&mut self) {
        let missed = std::mem::take(&mut self.unopened);
        if let Ok(files @ 1..) = u64::try_from(missed) {
            self.losses.push(Loss {
                path: Arc::clone(&self.path),
                files,
                bytes: None,
                reason: LossReason::Missed,
            });
        }
    }

    /// The system dropped changes of the folder: created files can't be counted.
    pub(super) fn overflowed(&mut self) {
        self.unopened = 0;
        self.losses.push(Loss {
            path: Arc::clone(&self.path),
            files: 1,
            bytes: None,
            reason: LossReason::Overflow,
        });
    }

    /// The files to observe: numbers and descriptors.
    pub(super) fn observed(&self) -> Vec<(u64, F)> {
        let growing = self.generations.iter().filter(|g| !g.is_finished);
        growing
            .filter_map(|generation| match &generation.source {
                Source::File(file) => Some((generation.number, file.clone())),
                _ => None,
            })
            .collect()
    }

    /// Notes the length and the first bytes of an observed file. Returns `false` if it was truncated.
    pub(super) fn observe(&mut self, number: u64, length: u64, start: Vec<u8>, now: Time) -> bool {
        let Some(generation) = self.by_number(number) else {
            return true;
        };
        if !matches!(generation.source, Source::File(_)) {
            return true;
        }
        if length < generation.length || !generation.head.is_start_of(&start) {
            self.truncated(number, now);
            return false;
        }
        if generation.head.is_empty() && !start.is_empty() {
            // Older content may have been copied away since it was empty: only a later scan knows.
            generation.added = now;
        }
        generation.head = Head::Bytes(start);
        generation.observe_length(length, now);
        true
    }

    /// The file of a generation was truncated: its content is a new generation.
    pub(super) fn truncated(&mut self, number: u64, now: Time) {
        let next_number = self.next_number();
        let name = (self.new_name)();
        let Some(generation) = self.by_number(number) else {
            return;
        };
        let Source::File(file) = &generation.source else {
            return; // known already
        };
        let file = file.clone();
        generation.set_source(Source::Truncated { since: now });
        let (path, id) = (Arc::clone(&generation.path), generation.id);
        let mut next = Generation::new(next_number, name, path, id);
        next.added = now;
        next.is_at_path = generation.is_at_path;
        generation.is_at_path = false;
        next.grown = now;
        next.source = Source::File(file);
        self.generations.push_back(next);
        self.needs_scan = true;
    }

    pub(super) fn by_number(&mut self, number: u64) -> Option<&mut Generation<F>> {
        self.generations.iter_mut().find(|g| g.number == number)
    }
}

#[cfg(test)]
#[path = "tests/history.rs"]
mod tests;
