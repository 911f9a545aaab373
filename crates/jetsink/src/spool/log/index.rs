//! The log's contents as kept in memory: its segments, and where each subject's events are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::disk::DiskFile;
use super::format::Kind;
use super::places::{Place, Places};
use crate::message::subject::Subject;

/// A segment file.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) first: u64,
    /// Behind its last index.
    pub(crate) end: u64,
    /// The offset of the next record.
    pub(crate) tail: u64,
    pub(crate) is_active: bool,
    /// Whether its records are in the index.
    pub(crate) is_scanned: bool,
    /// Events and dead letters that have not left.
    pub(crate) live: u64,
    /// A bit for each index that has left, or never was an event.
    gone: Vec<u64>,
    /// Indexes that have left, and whose mark is not on the disk.
    pub(crate) unmarked: Vec<u64>,
    /// `live` when holes were last made.
    pub(crate) punched: u64,
}

impl Segment {
    pub(crate) fn new(
        id: u64,
        name: String,
        file: Arc<dyn DiskFile>,
        first: u64,
        end: u64,
    ) -> Self {
        Self {
            id,
            name,
            file,
            first,
            end,
            tail: 0,
            is_active: false,
            is_scanned: false,
            live: 0,
            gone: Vec::new(),
            unmarked: Vec::new(),
            punched: u64::MAX,
        }
    }

    fn bit(&self, index: u64) -> (usize, u64) {
        let at = index - self.first;
        (
            usize::try_from(at / 64).unwrap_or(usize::MAX),
            1 << (at % 64),
        )
    }

    pub(crate) fn is_gone(&self, index: u64) -> bool {
        let (word, bit) = self.bit(index);
        self.gone.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Returns whether it was not gone before.
    pub(crate) fn set_gone(&mut self, index: u64) -> bool {
        let (word, bit) = self.bit(index);
        if self.gone.len() <= word {
            self.gone.resize(word + 1, 0);
        }
        let was_there = self.gone[word] & bit == 0;
        self.gone[word] |= bit;
        was_there
    }
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By first index.
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) subjects: HashMap<Subject, Places>,
    pub(crate) letters: Places,
    /// Records that were appended before the scan of older segments ended: they follow those.
    late: Vec<(Option<Subject>, Place)>,
    pub(crate) is_complete: bool,
}

impl Index {
    pub(crate) fn segment_of(&self, index: u64) -> Option<&Segment> {
        let (_, segment) = self.segments.range(..=index).next_back()?;
        (index < segment.end).then_some(segment)
    }

    fn segment_of_mut(&mut self, index: u64) -> Option<&mut Segment> {
        let (_, segment) = self.segments.range_mut(..=index).next_back()?;
        (index < segment.end).then_some(segment)
    }

    pub(crate) fn is_gone(&self, index: u64) -> bool {
        self.segment_of(index)
            .is_none_or(|segment| segment.is_gone(index))
    }

    /// Adds a record of the active segment, which is synced.
    pub(crate) fn append(&mut self, kind: Kind, subject: Option<Subject>, place: Place) {
        if let Some(segment) = self.segment_of_mut(place.index) {
            match kind {
                Kind::Event | Kind::DeadLetter => segment.live += 1,
                _ => {
                    segment.set_gone(place.index);
                    return;
                }
            }
        }
        if self.is_complete {
            self.insert(subject, place);
        } else {
            self.late.push((subject, place));
        }
    }

    /// Adds an event, or a dead letter if there is no subject.
    pub(crate) fn insert(&mut self, subject: Option<Subject>, place: Place) {
        match subject {
            Some(subject) => self.subjects.entry(subject).or_default().push(place),
            None => self.letters.push(place),
        }
    }

    /// The scan is over.
    pub(crate) fn complete(&mut self) {
        self.is_complete = true;
        for (subject, place) in std::mem::take(&mut self.late) {
            self.insert(subject, place);
        }
    }

    /// An event or dead letter has left. Returns whether it was live.
    pub(crate) fn leave(&mut self, index: u64) -> bool {
        let Some(segment) = self.segment_of_mut(index) else {
            return false;
        };
        let was_there = segment.set_gone(index);
        if was_there {
            segment.live = segment.live.saturating_sub(1);
            segment.unmarked.push(index);
        }
        was_there
    }

    /// Frees the memory of places that are gone.
    pub(crate) fn trim(&mut self, subject: Option<&Subject>) {
        let segments = &self.segments;
        let is_gone = |place: &Place| {
            let segment = segments.range(..=place.index).next_back();
            let segment = segment.filter(|(_, segment)| place.index < segment.end);
            segment.is_none_or(|(_, segment)| segment.is_gone(place.index))
        };
        match subject {
            None => self.letters.trim(is_gone),
            Some(subject) => {
                if let Some(places) = self.subjects.get_mut(subject) {
                    places.trim(is_gone);
                    if places.is_empty() {
                        self.subjects.remove(subject);
                    }
                }
            }
        }
    }

    pub(crate) fn live(&self) -> u64 {
        self.segments.values().map(|segment| segment.live).sum()
    }
}
