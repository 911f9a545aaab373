//! The contents of an earlier process, scanned while new events are appended.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use tracing::error;

use super::contents::Contents;
use super::format::Range;
use super::index::Index;
use super::loss::SpoolLoss;
use super::writer::lock;
use crate::message::subject::Subject;

/// A number of events or dead letters, and their bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

impl Count {
    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.bytes += other.bytes;
    }

    pub(crate) fn subtract(&mut self, other: Self) {
        self.events = self.events.saturating_sub(other.events);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// The number and bytes of a log's events and dead letters.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) subjects: HashMap<Subject, Count>,
    pub(crate) letters: Count,
}

/// The part of an open log that is not scanned.
#[derive(Debug)]
pub(crate) struct Backlog {
    pub(super) index: Arc<Mutex<Index>>,
    /// The newest segment first.
    pub(super) unscanned: Vec<Unscanned>,
    pub(crate) loss: SpoolLoss,
    /// Indexes of records that others replace, which have left even if no mark says so.
    pub(super) replaced: HashSet<u64>,
    /// Whether those are all, or the segments that the opening did not read may have more of them.
    pub(super) knows_replaced: bool,
    counted: Counted,
    scanned: usize,
    scanned_end: u64,
}

/// A segment as it was at the opening.
#[derive(Debug)]
pub(super) struct Unscanned {
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
            replaced: HashSet::new(),
            knows_replaced: false,
            counted: Counted::default(),
            scanned: 0,
            scanned_end: 0,
        }
    }

    /// The number of segments.
    pub(crate) fn segments(&self) -> usize {
        self.unscanned.len()
    }

    /// An upper bound for the bytes of events and dead letters.
    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.index).live_bytes()
    }

    /// Scans everything at once.
    pub(crate) fn scan(&mut self) {
        while self.scan_part(|| true).is_some() {
            self.show();
        }
    }

    /// Scans the next segments, the oldest first, and returns their contents: of 1 segment, then 1, 2, 4 and so on, so
    /// that the first events are found soon, and the parts are few. `None` if everything is scanned, or if
    /// `continues` ended it.
    pub(crate) fn scan_part(&mut self, continues: impl Fn() -> bool) -> Option<Counted> {
        if self.is_scanned() && lock(&self.index).is_complete() {
            return None;
        }
        self.find_replaced(&continues);
        while let Some(unscanned) = self.unscanned.pop() {
            if !continues() {
                return None;
            }
            let Unscanned { range, contents } = unscanned;
            match contents.map_or_else(|| self.read(range.first), Ok) {
                Ok(contents) => self.add(range, contents),
                // It stays as it is, for the next opening.
                Err(error) => {
                    error!(%error, "a segment of the spool can't be read");
                    self.loss.unreadable_files += 1;
                }
            }
            self.scanned += 1;
            self.scanned_end = range.end;
            if self.scanned.is_power_of_two() {
                break;
            }
        }
        Some(std::mem::take(&mut self.counted))
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

    /// Reads the segments for the records that others replace. A disk that takes no marks is rare.
    fn find_replaced(&mut self, continues: impl Fn() -> bool) {
        if std::mem::replace(&mut self.knows_replaced, true) {
            return;
        }
        for Unscanned { range, .. } in self.unscanned.iter().filter(|u| u.contents.is_none()) {
            if continues()
                && let Ok(contents) = self.read(range.first)
            {
                self.replaced.extend(contents.replaced());
            }
        }
    }

    fn read(&self, first: u64) -> std::io::Result<Contents> {
        let found = {
            let index = lock(&self.index);
            let segment = index.segments.get(&first);
            segment.map(|s| (s.id, s.name.clone(), Arc::clone(&index.files)))
        };
        let (id, name, files) = found.ok_or(std::io::ErrorKind::NotFound)?;
        Contents::read(&*files.get(id, &name)?, id)
    }

    fn add(&mut self, range: Range, contents: Contents) {
        let Range { first, end, bytes } = range;
        let missing = contents.missing(first, end);
        self.loss.damaged += missing.len() as u64;
        let mut index = lock(&self.index);
        let Some(segment) = index.segments.get_mut(&first) else {
            return;
        };
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
        let replaced = contents.entries.iter().map(|entry| entry.place.index);
        for index in replaced.filter(|index| self.replaced.contains(index)) {
            if (first..end).contains(&index) && segment.set_gone(index) {
                segment.unmarked.push(index);
            }
        }
        // So that they are counted once; pages may be readable again.
        if !contents.tail.is_unreadable {
            segment.unmarked.extend(&missing);
        }
        // They are marked again: the page cache may show a mark that the disk lost.
        segment.unmarked.extend(indexes(contents.last_mark));
        segment.live_bytes = segment.live_bytes.saturating_sub(bytes);
        let mut entries = contents.entries;
        entries.retain(|entry| {
            let index = entry.place.index;
            (first..end).contains(&index) && !segment.is_gone(index)
        });
        entries.sort_by_key(|entry| entry.place.index);
        entries.dedup_by_key(|entry| entry.place.index);
        segment.live += entries.len() as u64;
        segment.live_bytes += entries.iter().map(|entry| entry.place.size).sum::<u64>();
        for entry in entries {
            self.counted.add(entry.subject.as_ref(), entry.place.size);
            index.insert(entry.subject, entry.place);
        }
    }
}

impl Counted {
    fn add(&mut self, subject: Option<&Subject>, bytes: u64) {
        let one = Count { events: 1, bytes };
        match subject.map(|subject| (subject, self.subjects.get_mut(subject))) {
            None => self.letters.add(one),
            Some((_, Some(count))) => count.add(one),
            Some((subject, None)) => {
                self.subjects.insert(subject.clone(), one);
            }
        }
    }

    /// The bytes of all.
    pub(crate) fn bytes(&self) -> u64 {
        let subjects = self.subjects.values().map(|count| count.bytes);
        subjects.sum::<u64>() + self.letters.bytes
    }
}
