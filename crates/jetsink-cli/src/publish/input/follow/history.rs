//! The generations of one log: a state machine that scans of its folder and the reader drive.
//!
//! It holds the generations in the order of reading. The file under the log's own name is the last one. A scan opens
//! each file that is unknown here, and [`History::sight`] (in `sighting`) decides whether it is a new generation, a
//! generation of an earlier run, or a copy of one. [`History::next`] returns the generation to read, [`History::at_end`] decides at its end
//! whether more may come. Time is an argument.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::generation::{
    AtEnd, Descriptor, Generation, Loss, LossReason, Place, Readable, Reading, Source, Time,
};
use super::identity::{FileId, Head};
use crate::publish::input::trail::ChainProgress;

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
    rotate_wait: Time,
    /// Makes names of generations.
    pub(super) new_name: fn() -> Arc<str>,
    /// Files that were created under the log's name, less those that were opened.
    pub(super) unopened: i64,
    /// The file under the log's name at the last scan.
    at_path: Option<FileId>,
    pub(super) scans: u64,
    /// Time at which the last complete scan began.
    scanned_since: Option<Time>,
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
    waits_for_files: bool,
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

    /// A scan that began at `began` has ended; it saw these files.
    pub(super) fn scanned(&mut self, began: Time, seen: &[FileId]) {
        self.scans += 1;
        self.read_before = None;
        self.scanned_since = Some(began);
        for generation in &mut self.generations {
            match generation.source {
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
                        self.losses.push(loss(generation, reason));
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
        while self.generations.len() > MAX_REMEMBERED
            && self.generations.front().is_some_and(|g| {
                g.is_finished && (!is_saved || g.is_settled()) && !seen.contains(&g.id)
            })
        {
            self.generations.pop_front();
        }
    }

    /// All changes of the folder are known, and all its files were opened.
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

    fn by_number(&mut self, number: u64) -> Option<&mut Generation<F>> {
        self.generations.iter_mut().find(|g| g.number == number)
    }

    /// The generation to read; `None` without one, or if its content is not found yet.
    pub(super) fn next(&mut self, now: Time) -> Option<Reading<F>> {
        if !self.is_ready || self.waits_for_files {
            return None;
        }
        loop {
            let generation = self.generations.iter_mut().find(|g| !g.is_finished)?;
            if self
                .scanned_since
                .is_none_or(|began| began <= generation.added)
            {
                self.needs_scan = true;
                return None;
            }
            if matches!(generation.source, Source::File(_)) && generation.head.is_empty() {
                let number = generation.number;
                if self.at_end(number, now) != AtEnd::Finish {
                    return None; // nothing was written to it yet
                }
                self.finish(number);
                continue;
            }
            let source = match &generation.source {
                Source::File(file) => {
                    let head = match &generation.head {
                        Head::Bytes(bytes) => bytes.clone(),
                        Head::Digest(_) => Vec::new(),
                    };
                    Readable::File(file.clone(), head)
                }
                Source::Fixed(file, form) => Readable::Fixed(file.clone(), *form),
                Source::Truncated { since } if now >= *since + self.rotate_wait => {
                    let line = generation.line;
                    let reason = LossReason::Truncated { line };
                    self.losses.push(loss(generation, reason));
                    generation.finish();
                    continue;
                }
                Source::Sought | Source::Truncated { .. } => return None,
                Source::Closed => {
                    generation.finish();
                    continue;
                }
            };
            let (number, chain) = (generation.number, generation.chain);
            let others = self.generations.iter().rev().filter(|g| g.number < number);
            let previous_chain = others.filter_map(|g| g.chain).next();
            let generation = self.generations.iter().find(|g| g.number == number)?;
            return Some(Reading {
                number,
                version: generation.version,
                name: Arc::clone(&generation.name),
                path: Arc::clone(&generation.path),
                source,
                offset: generation.offset,
                line: generation.line,
                chain,
                previous_chain,
            });
        }
    }

    /// Lines were read up to here. `sent` is the end of the last one that was sent: empty lines are not.
    pub(super) fn read(&mut self, number: u64, offset: u64, line: u64, sent: Option<u64>) {
        if let Some(generation) = self.by_number(number) {
            (generation.offset, generation.line) = (offset, line);
            generation.sent = sent.unwrap_or(generation.sent);
        }
    }

    /// The rows of the lines that were sent.
    pub(super) fn read_chain(&mut self, number: u64, chain: Option<ChainProgress>) {
        if let Some(generation) = self.by_number(number) {
            generation.chain = chain.or(generation.chain);
        }
    }

    /// The lines that were read belong to content that begins like this; empty if the source does not change. The file may
    /// have been truncated since.
    pub(super) fn read_start(&mut self, number: u64, start: Vec<u8>, now: Time) {
        let Some(generation) = self.by_number(number) else {
            return;
        };
        if start.is_empty() || generation.head.is_start_of(&start) {
            if !start.is_empty() {
                generation.head = Head::Bytes(start);
            }
        } else if !generation.head.matches(&start) {
            generation.head = Head::Bytes(start);
            generation.length = generation.offset;
            self.truncated(number, now);
        }
    }

    /// The reader is at the end of the source.
    pub(super) fn at_end(&mut self, number: u64, now: Time) -> AtEnd {
        let Some(index) = self.generations.iter().position(|g| g.number == number) else {
            return AtEnd::Wait;
        };
        let generation = &self.generations[index];
        match &generation.source {
            // No other file has the rest of its last line.
            Source::Fixed(..) if generation.is_compressed => AtEnd::Finish,
            Source::Fixed(..) => AtEnd::FinishCopy,
            Source::File(_) => {
                let younger = self.generations.iter().skip(index + 1);
                // While the new file is empty, writers still use the old one.
                let replaced = younger.filter_map(|g| g.filled).min();
                let quiet_since = replaced.map(|replaced| replaced.max(generation.grown));
                match quiet_since {
                    Some(since) if now >= since + self.rotate_wait => AtEnd::Finish,
                    _ => AtEnd::Wait,
                }
            }
            Source::Sought | Source::Truncated { .. } | Source::Closed => AtEnd::Wait,
        }
    }

    /// The generation was read to its end.
    pub(super) fn finish(&mut self, number: u64) {
        let Some(generation) = self.by_number(number) else {
            return;
        };
        let line = generation.line;
        let is_short = !generation.is_compressed && generation.length > generation.offset;
        let is_copy = matches!(generation.source, Source::Fixed(..));
        let short = (is_short && is_copy).then(|| loss(generation, LossReason::ShortCopy { line }));
        generation.finish();
        self.losses.extend(short);
    }

    /// Leaves out the copies and compressions, which contain only lines from before.
    pub(super) fn skip_complete_files(&mut self) {
        let unread = self.generations.iter_mut().filter(|g| !g.is_finished);
        for generation in unread.filter(|g| matches!(g.source, Source::Fixed(..))) {
            generation.finish();
        }
    }

    /// The source can't be read.
    pub(super) fn unreadable(&mut self, number: u64, error: String) {
        let Some(generation) = self.by_number(number) else {
            return;
        };
        let line = generation.line;
        let loss = loss(generation, LossReason::Unreadable { line, error });
        generation.finish();
        self.losses.push(loss);
    }

    /// All lines up to here have results.
    pub(super) fn settle(&mut self, number: u64, offset: u64, line: u64) {
        if let Some(generation) = self.by_number(number) {
            generation.settled = (offset, line);
        }
    }

    /// The rows of the lines that have results.
    pub(super) fn settle_chain(&mut self, number: u64, chain: Option<ChainProgress>) {
        if let Some(generation) = self.by_number(number) {
            generation.settled_chain = chain.or(generation.settled_chain);
        }
    }
}

impl<F> Generation<F> {
    pub(super) fn is_sought(&self) -> bool {
        matches!(self.source, Source::Sought)
    }

    /// Whether a finished generation's file is longer than it was.
    pub(super) fn has_grown(&self, length: u64) -> bool {
        !self.is_compressed
            && matches!(self.source, Source::Closed | Source::Sought)
            && length > self.offset
    }

    fn finish(&mut self) {
        self.is_finished = true;
        self.copies.clear();
        self.set_source(Source::Closed);
    }
}

/// The loss of the unread rest of a generation.
fn loss<F>(generation: &Generation<F>, reason: LossReason) -> Loss {
    let bytes = generation.length.saturating_sub(generation.offset);
    Loss {
        path: Arc::clone(&generation.path),
        files: 1,
        bytes: (bytes > 0).then_some(bytes),
        reason,
    }
}

#[cfg(test)]
#[path = "tests/history.rs"]
mod tests;
