//! The contents of an earlier process, scanned while new events are appended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tracing::error;

use super::contents::Contents;
use super::format::{NONE, Range};
use super::index::Index;
use super::loss::SpoolLoss;
use super::places::Places;
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
    pub(crate) loss: SpoolLoss,
}

/// The part of an open log that is not scanned.
#[derive(Debug)]
pub(crate) struct Backlog {
    pub(super) index: Arc<Mutex<Index>>,
    pub(super) unscanned: Vec<Unscanned>,
    pub(super) counted: Counted,
    /// Indexes of records that others replace.
    replaced: Vec<u64>,
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
            counted: Counted::default(),
            replaced: Vec::new(),
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

    /// Scans the remaining segments, oldest first, and counts everything. `None` if `continues` ended it.
    pub(crate) fn scan(mut self, continues: impl Fn() -> bool) -> Option<Counted> {
        while let Some(unscanned) = self.unscanned.pop() {
            if !continues() {
                return None;
            }
            match unscanned
                .contents
                .map_or_else(|| self.read(unscanned.range.first), Ok)
            {
                Ok(contents) => self.add(unscanned.range, contents),
                // It stays as it is, for the next opening.
                Err(error) => {
                    error!(%error, "a segment of the spool can't be read");
                    self.counted.loss.unreadable_files += 1;
                }
            }
        }
        let mut index = lock(&self.index);
        index.complete();
        for replaced in self.replaced {
            if let Some((subject, bytes)) = index.replace(replaced) {
                self.counted
                    .of(subject.as_ref())
                    .subtract(Count { events: 1, bytes });
            }
        }
        self.counted.subjects.retain(|_, count| count.events > 0);
        Some(self.counted)
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
        self.counted.loss.damaged += missing.len() as u64;
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
        if !segment.is_active {
            segment.tail = contents.tail.end;
        }
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
            self.replaced
                .extend(Some(entry.replaces).filter(|index| *index != NONE));
            index.insert(entry.subject, entry.place);
        }
    }
}

impl Counted {
    fn of(&mut self, subject: Option<&Subject>) -> &mut Count {
        let Some(subject) = subject else {
            return &mut self.letters;
        };
        if !self.subjects.contains_key(subject) {
            self.subjects.insert(subject.clone(), Count::default());
        }
        self.subjects.entry(subject.clone()).or_default()
    }

    fn add(&mut self, subject: Option<&Subject>, bytes: u64) {
        self.of(subject).add(Count { events: 1, bytes });
    }
}

impl Index {
    /// Takes away a record that another one has replaced; returns its subject and bytes if it was live.
    fn replace(&mut self, index: u64) -> Option<(Option<Subject>, u64)> {
        if self.is_gone(index) {
            return None;
        }
        let find = |places: &Places| {
            let place = places.from(index).next();
            place.filter(|place| place.index == index)
        };
        let (subject, place) = match find(&self.letters) {
            Some(place) => (None, place),
            None => self.subjects.iter().find_map(|(subject, places)| {
                find(places).map(|place| (Some(subject.clone()), place))
            })?,
        };
        self.leave(index, place.size);
        self.trim(subject.as_ref());
        Some((subject, place.size))
    }
}
