//! The log's contents as kept in memory: its segments, and where each subject's events are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::files::Files;
use super::format::{Kind, Range};
use super::places::{Place, Places};
use crate::message::subject::Subject;

/// A segment file.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) name: String,
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
    /// Their bytes; before the scan, an upper bound.
    pub(crate) live_bytes: u64,
    /// A bit for each index that has left, or never was an event.
    gone: Vec<u64>,
    /// Indexes that have left, and whose mark is not on the disk.
    pub(crate) unmarked: Vec<u64>,
    /// The offsets of the live records by index, once it was rewritten. Places have the offsets from before.
    pub(super) moved: Option<Vec<(u64, u64)>>,
    /// `live_bytes` when it was last rewritten.
    pub(super) rewritten_at: u64,
}

impl Segment {
    pub(crate) fn new(id: u64, name: String, range: Range) -> Self {
        Self {
            id,
            name,
            first: range.first,
            end: range.end,
            tail: 0,
            is_active: false,
            is_scanned: false,
            live: 0,
            live_bytes: range.bytes,
            gone: Vec::new(),
            unmarked: Vec::new(),
            moved: None,
            rewritten_at: u64::MAX,
        }
    }

    pub(crate) fn range(&self) -> Range {
        Range {
            first: self.first,
            end: self.end,
            bytes: self.live_bytes,
        }
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.live == 0 && self.is_scanned && !self.is_active
    }

    /// The offset of a record now.
    pub(super) fn offset(&self, place: Place) -> u64 {
        let Some(moved) = &self.moved else {
            return place.offset;
        };
        let at = moved.binary_search_by_key(&place.index, |(index, _)| *index);
        // A damaged record was not moved. Nothing is behind the tail.
        at.map_or(self.tail, |at| moved[at].1)
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

#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) files: Arc<Files>,
    /// By first index.
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) subjects: HashMap<Subject, Places>,
    pub(crate) letters: Places,
    /// Records that were appended before the scan of older segments ended: they follow those.
    late: Vec<(Option<Subject>, Place)>,
    /// The end of the indexes that may be read. During the scan, the others are not counted yet.
    pub(super) visible_end: u64,
    /// How often a segment was rewritten.
    pub(super) rewrites: u64,
    /// Whether the file of a segment is being replaced: its name and the offsets may disagree.
    pub(super) is_replacing: bool,
}

impl Index {
    pub(super) fn new(files: Arc<Files>) -> Self {
        Self {
            files,
            segments: BTreeMap::new(),
            subjects: HashMap::new(),
            letters: Places::default(),
            late: Vec::new(),
            visible_end: 0,
            rewrites: 0,
            is_replacing: false,
        }
    }

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
                Kind::Event | Kind::DeadLetter => {
                    segment.live += 1;
                    segment.live_bytes += place.size;
                }
                _ => {
                    segment.set_gone(place.index);
                    return;
                }
            }
        }
        if self.is_complete() {
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

    /// Whether the scan is over.
    pub(crate) fn is_complete(&self) -> bool {
        self.visible_end == u64::MAX
    }

    /// Ends the scan. Returns the subjects of the events that were appended meanwhile.
    pub(super) fn complete(&mut self) -> HashSet<Subject> {
        self.visible_end = u64::MAX;
        let mut subjects = HashSet::new();
        for (subject, place) in std::mem::take(&mut self.late) {
            subjects.extend(subject.clone());
            self.insert(subject, place);
        }
        subjects
    }

    /// An event or dead letter of this size has left. Returns whether it was live.
    pub(crate) fn leave(&mut self, index: u64, bytes: u64) -> bool {
        let Some(segment) = self.segment_of_mut(index) else {
            return false;
        };
        let was_there = segment.set_gone(index);
        if was_there {
            segment.live = segment.live.saturating_sub(1);
            segment.live_bytes = segment.live_bytes.saturating_sub(bytes);
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

    /// The first index of the newest segment.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.segments.keys().next_back().copied()
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.segments
            .values()
            .map(|segment| segment.live_bytes)
            .sum()
    }

    pub(crate) fn live(&self) -> u64 {
        self.segments.values().map(|segment| segment.live).sum()
    }
}
