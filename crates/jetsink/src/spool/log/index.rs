//! The log's contents as kept in memory: its segments, and each subject's events, counted and with their places.
//!
//! An event has left once its segment says so. Its mark follows: `unmarked` has the indexes without one.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use indexmap::IndexMap;

use super::disk::Disk;
use super::format::{Kind, Range, State};
use super::places::{Place, Places};
use crate::message::subject::Subject;
use crate::outcome::SpoolStatus;

/// A segment file.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
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
    /// Whether an index has left, or never was an event.
    gone: Vec<bool>,
    /// Indexes that have left, and whose mark is not on the disk.
    pub(crate) unmarked: Vec<u64>,
    /// The number of those that have left since the opening.
    pub(super) left: usize,
    /// The offsets of the live records by index, once it was rewritten. Places have the offsets from before.
    pub(super) moved: Option<Vec<(u64, u64)>>,
    /// `live_bytes` when it was last rewritten.
    pub(super) rewritten_at: Option<u64>,
}

impl Segment {
    pub(crate) fn new(id: u64, name: &str, range: Range) -> Self {
        Self {
            id,
            name: name.into(),
            first: range.first,
            end: range.end,
            live_bytes: range.bytes,
            ..Self::default()
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

    pub(crate) fn is_gone(&self, index: u64) -> bool {
        let at = (index - self.first) as usize;
        self.gone.get(at).is_some_and(|is_gone| *is_gone)
    }

    /// Returns whether it was not gone before.
    pub(crate) fn set_gone(&mut self, index: u64) -> bool {
        let at = (index - self.first) as usize;
        if self.gone.len() <= at {
            self.gone.resize(at + 1, false);
        }
        !std::mem::replace(&mut self.gone[at], true)
    }
}

#[derive(Debug)]
pub(crate) struct Index {
    pub(super) disk: Arc<dyn Disk>,
    /// By first index.
    pub(crate) segments: BTreeMap<u64, Segment>,
    /// In memory in the order of their first events: neighbours in the log are read together.
    pub(crate) subjects: IndexMap<Subject, Pending>,
    pub(crate) letters: Places,
    pub(crate) dead_letters: u64,
    /// The sum of the pending events of all subjects, which can be read without the lock.
    pub(crate) events: Arc<AtomicU64>,
    /// Bytes of events and dead letters, and of reservations. An upper bound counts for segments that are not scanned.
    pub(crate) used_bytes: u64,
    /// At least the number of records that have left since the opening, and that the writer has not tried to mark; can be read
    /// without the lock, too.
    pub(crate) left: Arc<AtomicUsize>,
    /// The first indexes of segments that could not be read the last time.
    pub(crate) unreadable: BTreeSet<u64>,
    /// The subjects of sent events whose records are in doubt.
    pub(crate) sent_in_doubt: HashSet<Subject>,
    /// The latest state that is on the disk, or may be.
    pub(crate) state: State,
    /// Records that were appended before the scan of older segments ended: they follow those.
    late: Vec<(Option<Subject>, Place)>,
    /// The end of the indexes that may be read. During the scan, the others are not counted yet.
    pub(super) visible_end: u64,
    /// Counts the beginnings and the ends of the replacement of a segment's file, so it is odd while the name and the
    /// offsets may disagree.
    pub(super) replacements: u64,
}

/// The events of one subject.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// The number of those that have not left, and of those on their way to the disk.
    pub(crate) events: u64,
    pub(crate) places: Places,
}

impl Index {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            segments: BTreeMap::new(),
            subjects: IndexMap::new(),
            letters: Places::default(),
            dead_letters: 0,
            events: Arc::default(),
            used_bytes: 0,
            left: Arc::default(),
            unreadable: BTreeSet::new(),
            sent_in_doubt: HashSet::new(),
            state: State::default(),
            late: Vec::new(),
            visible_end: 0,
            replacements: 0,
        }
    }

    pub(crate) fn status(&self) -> SpoolStatus {
        SpoolStatus {
            events: self.events.load(Ordering::Acquire),
            subjects: self.subjects.len() as u64,
            used_bytes: self.used_bytes,
            dead_letters: self.dead_letters,
            unreadable_segments: self.unreadable.len() as u64,
            ..SpoolStatus::default()
        }
    }

    pub(crate) fn segment_of(&self, index: u64) -> Option<&Segment> {
        segment_of(&self.segments, index)
    }

    fn segment_of_mut(&mut self, index: u64) -> Option<&mut Segment> {
        let (_, segment) = self.segments.range_mut(..=index).next_back()?;
        (index < segment.end).then_some(segment)
    }

    pub(crate) fn is_gone(&self, index: u64) -> bool {
        self.segment_of(index)
            .is_none_or(|segment| segment.is_gone(index))
    }

    pub(super) fn add_segment(&mut self, segment: Segment) {
        self.used_bytes += segment.live_bytes;
        self.segments.insert(segment.first, segment);
    }

    /// These had left before the opening, and have no mark in their segments.
    pub(super) fn have_left(&mut self, left: &[u64]) {
        for index in left {
            if let Some(segment) = self.segment_of_mut(*index) {
                segment.unmarked.push(*index);
            }
        }
    }

    /// Counts an event that is to be appended.
    pub(crate) fn reserve(&mut self, subject: &Subject, bytes: u64) {
        self.used_bytes += bytes;
        self.add(subject);
    }

    /// Undoes [`reserve`](Self::reserve). Returns whether the subject has no more events.
    pub(crate) fn release(&mut self, subject: &Subject, bytes: u64) -> bool {
        self.used_bytes = self.used_bytes.saturating_sub(bytes);
        self.subtract(subject)
    }

    fn add(&mut self, subject: &Subject) {
        self.events.fetch_add(1, Ordering::AcqRel);
        self.subjects.entry(subject.clone()).or_default().events += 1;
    }

    /// Adds a record of the active segment, which is synced. The bytes of an event are reserved.
    pub(crate) fn append(&mut self, kind: Kind, subject: Option<&Subject>, place: Place) {
        let Some(segment) = self.segment_of_mut(place.index) else {
            return;
        };
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
        if subject.is_none() {
            self.used_bytes += place.size;
            self.dead_letters += 1;
        }
        if self.is_complete() {
            self.insert(subject, place);
        } else {
            self.late.push((subject.cloned(), place));
        }
    }

    /// Adds an event that the scan found, or a dead letter if there is no subject.
    pub(super) fn found(&mut self, subject: Option<Subject>, place: Place) {
        match &subject {
            Some(subject) => self.add(subject),
            None => self.dead_letters += 1,
        }
        self.insert(subject.as_ref(), place);
    }

    fn insert(&mut self, subject: Option<&Subject>, place: Place) {
        match subject {
            // Its subject has at least this event.
            Some(subject) => {
                if let Some(pending) = self.subjects.get_mut(subject) {
                    pending.places.push(place);
                }
            }
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
            self.insert(subject.as_ref(), place);
            subjects.extend(subject);
        }
        subjects
    }

    /// An event, or a dead letter if there is no subject, has left. Returns `None` if it had left before, and otherwise
    /// whether the subject has no more events.
    pub(crate) fn leave(
        &mut self,
        subject: Option<&Subject>,
        index: u64,
        bytes: u64,
    ) -> Option<bool> {
        let segment = self.segment_of_mut(index)?;
        segment.set_gone(index).then_some(())?;
        segment.live = segment.live.saturating_sub(1);
        segment.live_bytes = segment.live_bytes.saturating_sub(bytes);
        segment.unmarked.push(index);
        segment.left += 1;
        self.left.fetch_add(1, Ordering::AcqRel);
        self.used_bytes = self.used_bytes.saturating_sub(bytes);
        let Some(subject) = subject else {
            self.dead_letters = self.dead_letters.saturating_sub(1);
            self.letters.trim(is_gone(&self.segments));
            return Some(false);
        };
        Some(self.subtract(subject))
    }

    /// Counts an event out. Returns whether the subject has no more.
    fn subtract(&mut self, subject: &Subject) -> bool {
        let Some(pending) = self.subjects.get_mut(subject) else {
            return false;
        };
        self.events.fetch_sub(1, Ordering::AcqRel);
        pending.events -= 1;
        let is_drained = pending.events == 0;
        if is_drained {
            self.subjects.swap_remove(subject);
        } else {
            pending.places.trim(is_gone(&self.segments));
        }
        is_drained
    }

    /// The bytes of a subject's events on the disk.
    pub(crate) fn bytes(&self, pending: &Pending) -> u64 {
        let places = pending.places.from(0);
        let live = places.filter(|place| !self.is_gone(place.index));
        live.map(|place| place.size).sum()
    }

    /// Whether the records of all segments are here.
    pub(crate) fn has_scanned_all(&self) -> bool {
        self.segments.values().all(|segment| segment.is_scanned)
    }

    /// The first index of the newest segment.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.segments.keys().next_back().copied()
    }

    /// The number of records in the segments from `first` on that have left since the opening, and have no mark.
    pub(super) fn left_from(&self, first: u64) -> usize {
        let segments = self.segments.range(first..);
        segments.map(|(_, segment)| segment.left).sum()
    }

    pub(crate) fn live(&self) -> u64 {
        self.segments.values().map(|segment| segment.live).sum()
    }
}

fn is_gone(segments: &BTreeMap<u64, Segment>) -> impl Fn(&Place) -> bool {
    |place| segment_of(segments, place.index).is_none_or(|segment| segment.is_gone(place.index))
}

fn segment_of(segments: &BTreeMap<u64, Segment>, index: u64) -> Option<&Segment> {
    let (_, segment) = segments.range(..=index).next_back()?;
    (index < segment.end).then_some(segment)
}
