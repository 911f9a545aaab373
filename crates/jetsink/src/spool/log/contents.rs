//! The records of one segment, as they are found at the opening.

use std::io;

use super::disk::DiskFile;
use super::format::{HEAD, Head, Kind, MAX_INDEXES, NONE, Start, State, decode_runs, text};
use super::places::Place;
use super::scan::{Tail, scan};
use crate::message::subject::Subject;

/// Higher indexes are impossible.
const MAX_INDEX: u64 = 1 << 62;

/// A run of indexes: the first one, and their number.
type Run = (u64, u64);

#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) start: Option<Start>,
    /// Whole start records. A segment is begun with two, and its first records.
    pub(super) starts: u64,
    pub(super) other_version: Option<u32>,
    /// The lowest index of a record, which is that of a start record.
    pub(super) first: Option<u64>,
    /// Behind the highest index, also of a record with a damaged body.
    pub(super) end: u64,
    pub(super) entries: Vec<Entry>,
    /// Indexes that have left, or are no events.
    pub(super) gone: Vec<Run>,
    /// The indexes of the last mark: nothing proves that it is on the disk.
    pub(super) last_mark: Vec<Run>,
    /// The latest state, and its index.
    state: Option<(u64, State)>,
    /// The highest index below which all records are known to be synced.
    pub(super) durable: u64,
    pub(super) tail: Tail,
    has_records: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// None of a dead letter.
    pub(super) subject: Option<Subject>,
    pub(super) replaces: u64,
}

impl Contents {
    pub(super) fn read(file: &dyn DiskFile, id: u64) -> io::Result<Self> {
        let mut contents = Self::default();
        let visit = |offset, head: &Head, body: Option<&[u8]>| contents.add(offset, head, body);
        contents.tail = scan(file, id, visit)?;
        Ok(contents)
    }

    fn add(&mut self, offset: u64, head: &Head, body: Option<&[u8]>) {
        // No writer makes such a record, although its checksum matches.
        let first = *self.first.get_or_insert(head.index.min(MAX_INDEX));
        if head.index.abs_diff(first) >= MAX_INDEXES {
            return;
        }
        self.first = Some(first.min(head.index));
        self.durable = self
            .durable
            .max(head.durable_below.min(first + MAX_INDEXES));
        self.has_records |= head.kind != Kind::Start;
        if matches!(head.kind, Kind::Event | Kind::DeadLetter | Kind::State) {
            self.end = self.end.max(head.index + 1);
        }
        if let Some(body) = body {
            self.add_whole(offset, head, body);
        }
    }

    fn add_whole(&mut self, offset: u64, head: &Head, mut body: &[u8]) {
        match head.kind {
            Kind::Event => {
                // Without a subject it counts as damaged.
                if let Some(subject) = text(&mut body).and_then(|text| self.subject(text)) {
                    self.add_entry(offset, head, Some(subject));
                }
            }
            Kind::DeadLetter => self.add_entry(offset, head, None),
            Kind::State => {
                if let Some(state) = State::decode(&mut body) {
                    self.gone.push((head.index, 1));
                    self.gone.extend(decode_runs(body));
                    self.state = Some((head.index, state));
                }
            }
            Kind::Start => {
                self.starts += 1;
                match Start::decode(body) {
                    Ok(start) => self.start = start,
                    Err(version) => self.other_version = Some(version),
                }
            }
            Kind::Delivered => {
                self.last_mark = decode_runs(body).collect();
                self.gone.extend(&self.last_mark);
            }
            Kind::Seal => {}
        }
    }

    fn add_entry(&mut self, offset: u64, head: &Head, subject: Option<Subject>) {
        self.entries.push(Entry {
            place: Place::new(head.index, offset, head.size()),
            subject,
            replaces: head.replaces,
        });
    }

    /// Shares the memory of a subject with the entry before.
    fn subject(&self, text: &str) -> Option<Subject> {
        let last = self.entries.last().and_then(|entry| entry.subject.as_ref());
        match last {
            Some(last) if last.as_str() == text => Some(last.clone()),
            _ => Subject::new(text).ok(),
        }
    }

    /// The indexes from `first` to `end` that are neither found nor delivered.
    pub(super) fn missing(&self, first: u64, end: u64) -> Vec<u64> {
        let mut known: Vec<Run> = self.gone.clone();
        known.extend(self.entries.iter().map(|entry| (entry.place.index, 1)));
        known.sort_unstable();
        let mut missing = Vec::new();
        let mut next = first;
        for (index, count) in known.into_iter().chain([(end, 0)]) {
            missing.extend(next..index.min(end));
            next = next.max(index.saturating_add(count));
        }
        missing
    }

    /// The indexes that records here replace, and those that the start says have left.
    pub(super) fn left(&self) -> impl Iterator<Item = u64> {
        let replaced = self.entries.iter().map(|entry| entry.replaces);
        let replaced = replaced.filter(|index| *index != NONE);
        let start = self.start.iter().flat_map(|start| &start.left);
        replaced.chain(start.copied())
    }

    /// The end of the newest segment.
    pub(super) fn ending(&self, durable: u64) -> Ending {
        let holes = self.missing(durable, self.end);
        let is_cut = self.starts < 2 && !self.has_records;
        let lost = holes.len() as u64 + u64::from(is_cut);
        let torn = self.tail.garbage + lost * HEAD as u64;
        let state = match (&self.state, &self.start, self.first) {
            (Some((index, state)), ..) => Some((*index, state)),
            (None, Some(start), Some(first)) => Some((first, &start.state)),
            _ => None,
        };
        // A lost record may have been a state.
        let state = state.filter(|(at, _)| torn == 0 && self.missing(*at, durable).is_empty());
        let proven = self.entries.iter().map(|entry| entry.place);
        let proven = proven.filter(|place| place.index < durable);
        Ending {
            is_proven: self.end <= durable,
            proven_end: proven.map(Place::end).max().unwrap_or(0),
            holes,
            torn,
            state: state.map(|(_, state)| state.clone()),
        }
    }
}

/// The end of the newest segment: the records behind those that are proven.
#[derive(Debug)]
pub(super) struct Ending {
    /// Whether there are none.
    pub(super) is_proven: bool,
    /// The offset of the first one.
    pub(super) proven_end: u64,
    /// Missing indexes among them.
    pub(super) holes: Vec<u64>,
    /// The bytes of a write that was interrupted.
    pub(super) torn: u64,
    /// The latest state, if it is known.
    pub(super) state: Option<State>,
}
