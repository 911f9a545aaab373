//! The contents of an earlier process, scanned while new events are appended.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};

use tracing::error;

use super::contents::Contents;
use super::format::Range;
use super::index::Index;
use crate::message::subject::Subject;
use crate::outcome::SpoolLoss;
use crate::sync::lock;

/// The part of an open log that is not scanned.
#[derive(Debug)]
pub(crate) struct Backlog {
    pub(super) index: Arc<Mutex<Index>>,
    /// The newest segment first.
    pub(crate) unscanned: Vec<Unscanned>,
    pub(crate) loss: SpoolLoss,
    scanned: usize,
    scanned_end: u64,
    /// How often the next segment could not be read.
    pub(crate) failures: u32,
}

/// A segment as it was at the opening.
#[derive(Debug)]
pub(crate) struct Unscanned {
    pub(super) range: Range,
    /// If it was read during the opening.
    pub(super) contents: Option<Contents>,
}

impl Backlog {
    pub(super) fn new(index: Arc<Mutex<Index>>) -> Self {
        Self {
            index,
            unscanned: Vec::new(),
            loss: SpoolLoss::default(),
            scanned: 0,
            scanned_end: 0,
            failures: 0,
        }
    }

    /// Scans everything at once, but for segments that can't be read.
    pub(crate) fn scan(&mut self) {
        while self.scan_part(|| true).is_some() {
            if self.failures > 0 {
                self.skip();
            }
            self.show();
        }
    }

    /// Scans the next segments, the oldest first, and returns the subjects of their events. A part has 1 segment, then 1, 2, 4
    /// and so on, so that the first events are found soon, and the parts are few. A part ends before a segment that
    /// can't be read, which is the next one again. `None` if everything is scanned, or if `continues` ended it.
    pub(crate) fn scan_part(&mut self, continues: impl Fn() -> bool) -> Option<HashSet<Subject>> {
        if self.is_scanned() && lock(&self.index).is_complete() {
            return None;
        }
        let mut found = HashSet::new();
        while let Some(mut next) = self.unscanned.pop() {
            if !continues() {
                return None;
            }
            let range = next.range;
            match next.contents.take().map_or_else(|| self.read(range), Ok) {
                Ok(contents) => self.add(range, contents, &mut found),
                Err(error) => {
                    lock(&self.index).note(range.first, Some(&error));
                    self.failures += 1;
                    self.unscanned.push(next);
                    break;
                }
            }
            if self.passed(range) {
                break;
            }
        }
        Some(found)
    }

    /// Leaves the next segment, which can't be read, to the next opening.
    pub(crate) fn skip(&mut self) {
        let Some(Unscanned { range, .. }) = self.unscanned.pop() else {
            return;
        };
        let index = lock(&self.index);
        let segment = index.segments.get(&range.first).map(|s| &*s.name);
        error!(
            segment,
            "a segment of the spool can't be read: it is left to the next opening"
        );
        drop(index);
        self.loss.unreadable_files += 1;
        self.passed(range);
    }

    /// The scan goes on behind this segment. Returns whether a part ends here.
    fn passed(&mut self, range: Range) -> bool {
        self.failures = 0;
        self.scanned += 1;
        self.scanned_end = range.end;
        self.scanned.is_power_of_two()
    }

    /// Lets the scanned events be read. Returns the subjects of events that were appended during the scan, which
    /// follow the last scanned ones.
    pub(crate) fn show(&self) -> HashSet<Subject> {
        let mut index = lock(&self.index);
        if self.is_scanned() {
            return index.complete();
        }
        index.visible_end = self.scanned_end;
        HashSet::new()
    }

    pub(crate) fn is_scanned(&self) -> bool {
        self.unscanned.is_empty()
    }

    fn read(&mut self, range: Range) -> io::Result<Contents> {
        let found = {
            let index = lock(&self.index);
            let segment = index.segments.get(&range.first);
            segment.map(|segment| (segment.id, segment.name.clone(), Arc::clone(&index.disk)))
        };
        let (id, name, disk) = found.ok_or(io::ErrorKind::NotFound)?;
        match disk.open(&name) {
            // Removed by others since the opening: its events are lost.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.loss.unreadable_files += 1;
                Ok(Contents::default())
            }
            file => Contents::read(&*file?, id),
        }
    }

    fn add(&mut self, range: Range, mut contents: Contents, found: &mut HashSet<Subject>) {
        let Range { first, end, bytes } = range;
        let mut index = lock(&self.index);
        index.note(first, None);
        let Some(segment) = index.segments.get_mut(&first) else {
            return;
        };
        // The records that have left, as the opening knows.
        let left = segment.unmarked.iter().map(|index| (*index, 1));
        contents.gone.extend(left);
        let missing = contents.missing(first, end);
        self.loss.damaged += missing.len() as u64;
        let indexes = |runs: Vec<(u64, u64)>| {
            let run = move |(index, count): (u64, u64)| {
                index.max(first)..index.saturating_add(count).min(end)
            };
            runs.into_iter().flat_map(run)
        };
        // A resumed segment may have been written to since its contents were read.
        segment.tail = segment.tail.max(contents.tail.end);
        segment.is_scanned = true;
        for index in indexes(contents.gone).chain(missing.iter().copied()) {
            segment.set_gone(index);
        }
        // So that they are counted once; pages may be readable again.
        if !contents.tail.is_unreadable {
            segment.unmarked.extend(&missing);
        }
        // They are marked again: the page cache may show a mark that the disk lost.
        segment.unmarked.extend(indexes(contents.last_mark));
        let mut entries = contents.entries;
        entries.retain(|entry| {
            let index = entry.place.index;
            (first..end).contains(&index) && !segment.is_gone(index)
        });
        entries.sort_by_key(|entry| entry.place.index);
        entries.dedup_by_key(|entry| entry.place.index);
        let size = entries.iter().map(|entry| entry.place.size).sum::<u64>();
        segment.live += entries.len() as u64;
        // The upper bound is replaced; others may have been appended.
        segment.live_bytes = (segment.live_bytes + size).saturating_sub(bytes);
        index.used_bytes = (index.used_bytes + size).saturating_sub(bytes);
        for entry in entries {
            found.extend(entry.subject.clone());
            index.found(entry.subject, entry.place);
        }
    }
}
