//! Appends records, marks delivered records, and removes segments.
//!
//! One thread owns the [`Log`]. A failed write or sync closes the segment for good: the page cache may
//! show records that are not on the disk.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;

use super::disk::{Disk, DiskFile};
use super::event::NewRecord;
use super::format::{Head, Kind, Start, State, put_record};
use super::index::{Index, Segment};
use super::places::Place;
use super::reserve::{Reserve, is_full};

/// A start record, the seals and the second start record are at least so far apart.
const PAGE: u64 = 4_096;

/// Seals alternate between two places, so that a torn one leaves the other.
pub(super) const SEAL_STEP: u64 = 512;

/// A payload up to this size is copied: that is faster than one more part of a vectored write.
const COPIED: usize = 4_096;

/// The parts of one vectored write (`IOV_MAX`).
const MAX_PARTS: usize = 1_024;

/// A drained segment is written to again up to this length; a longer one is removed.
const REUSED: u64 = 64 << 10;

/// How the names of segments end that are not in use yet.
pub(crate) const PREPARED: &str = ".next";

/// A failed append.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: io::Error,
    /// Whether the records may be on the disk all the same. They are then written again before any
    /// other.
    pub(crate) in_doubt: bool,
}

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) index: Arc<Mutex<Index>>,
    segment_bytes: u64,
    pub(super) active: Option<Active>,
    next_number: u64,
    pub(crate) next_index: u64,
    pub(crate) state: State,
    in_doubt: Vec<NewRecord>,
    preparing: Option<JoinHandle<io::Result<Prepared>>>,
    prepares: bool,
    /// Whether a segment was removed, and the folder was not synced since.
    pub(super) has_removed: bool,
    /// Files of failed appends that could not be removed. The segment behind them, which proves that
    /// their records are not the spool's, must not go before them.
    pub(super) stale: Vec<String>,
    pub(crate) reserve: Reserve,
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Active {
    id: u64,
    pub(super) first: u64,
    name: String,
    file: Arc<dyn DiskFile>,
    pub(super) tail: u64,
    /// Past this, the next segment is begun.
    capacity: u64,
    seals_at: u64,
    seals: u64,
    /// The index below which it is sealed.
    sealed: u64,
}

/// A segment full of zeros, synced with its folder.
#[derive(Debug)]
struct Prepared {
    id: u64,
    name: String,
    file: Arc<dyn DiskFile>,
}

impl Log {
    pub(crate) fn new(disk: Arc<dyn Disk>, segment_bytes: u64, prepares: bool) -> Self {
        Self {
            reserve: Reserve::new(Arc::clone(&disk)),
            disk,
            index: Arc::default(),
            segment_bytes,
            active: None,
            next_number: 1,
            next_index: 0,
            state: State::default(),
            in_doubt: Vec::new(),
            preparing: None,
            prepares,
            has_removed: false,
            stale: Vec::new(),
        }
    }

    /// After opening: continues behind these.
    pub(crate) fn continue_at(&mut self, number: u64, index: u64, state: State) {
        self.next_number = number;
        self.next_index = index;
        self.state = state;
    }

    /// Appends records, and syncs them. An error that is not in doubt means that none of them is on
    /// the disk.
    pub(crate) fn append(&mut self, records: &[&NewRecord]) -> Result<(), Failed> {
        self.resolve_doubt()?;
        let mut in_doubt = false;
        let mut failed = None;
        // The second time in a new segment, the third time in the room of the reserve.
        for attempt in 0..3 {
            if attempt == 2 && !self.may_use_reserve(records, failed.as_ref()) {
                break;
            }
            match self.try_append(records) {
                Ok(()) => return Ok(()),
                Err((error, undone)) => {
                    in_doubt |= !undone;
                    failed = Some(error);
                }
            }
        }
        if in_doubt {
            self.in_doubt = records.iter().map(|record| (*record).clone()).collect();
        }
        let error = failed.unwrap_or_else(|| io::Error::other("not written"));
        Err(Failed { error, in_doubt })
    }

    /// Gives up the reserve for what replay writes; events are refused instead.
    fn may_use_reserve(&mut self, records: &[&NewRecord], failed: Option<&io::Error>) -> bool {
        failed.is_some_and(is_full)
            && records.iter().all(|record| record.kind() != Kind::Event)
            && self.reserve.release()
    }

    /// Writes the records again whose append failed in doubt, so that later ones follow them.
    pub(crate) fn resolve_doubt(&mut self) -> Result<(), Failed> {
        if self.in_doubt.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.in_doubt);
        let result = self.try_append(&records.iter().collect::<Vec<_>>());
        result.map_err(|(error, _)| {
            self.in_doubt = records;
            Failed {
                error,
                in_doubt: false,
            }
        })
    }

    pub(crate) fn has_doubt(&self) -> bool {
        !self.in_doubt.is_empty()
    }

    /// An error comes with whether the disk is as it was before.
    fn try_append(&mut self, records: &[&NewRecord]) -> Result<(), (io::Error, bool)> {
        let size: u64 = records.iter().map(|record| record.size()).sum();
        if let Some(active) = &self.active
            && active.tail + size > active.capacity
            && active.first < self.next_index
        {
            self.finish();
        }
        let mut arena = Vec::new();
        let (active, is_new) = match self.active.take() {
            Some(active) => (active, false),
            None => (self.begin(&mut arena)?, true),
        };
        let mut places = Vec::with_capacity(records.len());
        let mut parts: Vec<(usize, &Bytes)> = Vec::new();
        let mut offset = active.tail + arena.len() as u64;
        for (record, index) in records.iter().zip(self.next_index..) {
            record
                .head(index, self.next_index)
                .encode(active.id, &mut arena);
            arena.extend_from_slice(&record.fields);
            if record.payload.len() <= COPIED {
                arena.extend_from_slice(&record.payload);
            } else {
                parts.push((arena.len(), &record.payload));
            }
            let size = record.size();
            places.push(Place {
                index,
                offset,
                size,
            });
            offset += size;
            let body = record.fields.len() + record.payload.len();
            let padding = size as usize - super::format::HEAD - body;
            arena.resize(arena.len() + padding, 0);
        }
        let written = write(&*active.file, active.tail, &arena, &parts)
            .and_then(|()| active.file.sync())
            .and_then(|()| if is_new { self.disk.sync() } else { Ok(()) });
        if let Err(error) = written {
            let undone = if is_new {
                let undone = self
                    .disk
                    .remove(&active.name)
                    .and_then(|()| self.disk.sync());
                if undone.is_err() {
                    self.stale.push(active.name);
                }
                undone
            } else {
                let undone = active.file.set_len(active.tail);
                let undone = undone.and_then(|()| active.file.sync());
                self.active = Some(active);
                self.finish();
                undone
            };
            return Err((error, undone.is_ok()));
        }
        if is_new {
            self.add_segment(&active);
            self.reserve.make();
        }
        self.appended(active, records, &places, offset);
        Ok(())
    }

    /// The records are synced at these places.
    fn appended(
        &mut self,
        mut active: Active,
        records: &[&NewRecord],
        places: &[Place],
        tail: u64,
    ) {
        active.tail = tail;
        self.next_index += records.len() as u64;
        {
            let mut index = lock(&self.index);
            if let Some(segment) = index.segments.get_mut(&active.first) {
                segment.tail = tail;
                segment.end = self.next_index;
            }
            for (record, place) in records.iter().zip(places) {
                index.append(record.kind(), record.subject.clone(), *place);
            }
        }
        if self.prepares && self.preparing.is_none() && active.tail > active.capacity / 2 {
            self.prepare();
        }
        self.active = Some(active);
    }

    /// Begins a segment; its first bytes are in `arena`, and not written.
    fn begin(&mut self, arena: &mut Vec<u8>) -> Result<Active, (io::Error, bool)> {
        let number = self.next_number;
        self.next_number += 1;
        let (id, name, file, length) = match self.take_prepared() {
            Some(Prepared { id, name, file }) => {
                let log = segment_name(number, id);
                let renamed = self
                    .disk
                    .rename(&name, &log)
                    .and_then(|()| self.disk.sync());
                // A segment without a record is none: nothing is in doubt.
                renamed.map_err(|error| (error, true))?;
                (id, log, file, self.segment_bytes)
            }
            None => {
                let id = random();
                let name = segment_name(number, id);
                let file = self.disk.create(&name).map_err(|error| (error, true))?;
                (id, name, file, 0)
            }
        };
        let start = Start {
            state: self.state.clone(),
            older: {
                let index = lock(&self.index);
                let segments = index.segments.values();
                segments.map(|s| (s.id, (s.first, s.end))).collect()
            },
        };
        let body = start.encode();
        let head = Head::of(Kind::Start, self.next_index, self.next_index, &body);
        put_record(&head, id, &body, arena);
        let seals_at = seal_page(arena.len() as u64);
        arena.resize((seals_at + PAGE) as usize, 0);
        put_record(&head, id, &body, arena);
        Ok(Active {
            id,
            first: self.next_index,
            name,
            file,
            tail: 0,
            capacity: length.max(self.segment_bytes),
            seals_at,
            seals: 0,
            sealed: self.next_index,
        })
    }

    fn add_segment(&self, active: &Active) {
        let file = Arc::clone(&active.file);
        let (first, name) = (active.first, active.name.clone());
        let mut segment = Segment::new(active.id, name, file, first, first);
        segment.is_active = true;
        segment.is_scanned = true;
        lock(&self.index).segments.insert(first, segment);
    }

    /// Ends the active segment.
    pub(crate) fn finish(&mut self) {
        let Some(active) = self.active.take() else {
            return;
        };
        // Returns unused zeros to the disk. If this fails, they stay.
        let _ = active.file.set_len(active.tail);
        let mut index = lock(&self.index);
        if let Some(segment) = index.segments.get_mut(&active.first) {
            segment.is_active = false;
            if segment.first == segment.end {
                // Another segment will have the same first index. The file may have the latest state:
                // it stays until the log is opened again.
                index.segments.remove(&active.first);
            }
        }
    }

    /// Proves that all records up to here are synced, in a place apart from them.
    pub(crate) fn seal(&mut self) -> io::Result<()> {
        let Some(active) = self
            .active
            .as_mut()
            .filter(|active| active.sealed < self.next_index)
        else {
            return Ok(());
        };
        let mut bytes = Vec::new();
        let head = Head::of(Kind::Seal, self.next_index, self.next_index, &[]);
        put_record(&head, active.id, &[], &mut bytes);
        let at = active.seals_at + (active.seals % 2) * SEAL_STEP;
        active.seals += 1;
        active.sealed = self.next_index;
        let sealed = write(&*active.file, at, &bytes, &[]).and_then(|()| active.file.sync());
        if sealed.is_err() {
            self.finish();
        }
        sealed
    }

    /// Writes a state, if there is anything that it matters for.
    pub(crate) fn set_state(&mut self, state: State) -> Result<(), Failed> {
        if lock(&self.index).live() == 0 && !self.has_doubt() {
            self.state = state;
            return Ok(());
        }
        self.append(&[&NewRecord::state(&state)])?;
        self.state = state;
        Ok(())
    }

    /// Removes the active segment, if nothing in the log is live and it is longer than `longest`.
    pub(crate) fn drop_drained(&mut self, longest: u64) {
        let drained = {
            let index = lock(&self.index);
            index.is_complete && index.live() == 0 && index.segments.len() == 1
        };
        if drained
            && self
                .active
                .as_ref()
                .is_some_and(|active| active.tail > longest)
        {
            self.finish();
            // Marks that had no room go with it.
            let _ = self.deliver(&[], |_| {});
        }
    }

    /// As [`drop_drained`](Self::drop_drained), for a log that stays open.
    pub(crate) fn drop_long(&mut self) {
        self.drop_drained(REUSED);
    }

    /// Returns the room of delivered records to the disk, in segments with few live ones.
    pub(crate) fn punch(&self) -> io::Result<()> {
        let mostly_gone: Vec<_> = {
            let mut index = lock(&self.index);
            let segments = index.segments.values_mut();
            let segments = segments.filter(|s| {
                let is_finished = s.is_scanned && !s.is_active && s.unmarked.is_empty();
                is_finished && s.live * 4 < s.end - s.first && s.live <= s.punched / 2
            });
            let segments = segments.map(|segment| {
                segment.punched = segment.live;
                (segment.first, segment.id, Arc::clone(&segment.file))
            });
            segments.collect()
        };
        for (_, id, file) in mostly_gone {
            let mut holes = Vec::new();
            let mut behind = 0;
            super::scan::scan(&*file, id, |offset, head, _| {
                let stays = match head.kind {
                    Kind::Event | Kind::DeadLetter => !lock(&self.index).is_gone(head.index),
                    Kind::State | Kind::Start | Kind::Delivered | Kind::Seal => true,
                };
                if stays {
                    holes.push((behind, offset));
                    behind = offset + head.size();
                }
            })?;
            for (from, to) in holes {
                let (from, to) = (u64::next_multiple_of(from, PAGE), to / PAGE * PAGE);
                if from < to {
                    file.punch(from, to - from)?;
                }
            }
        }
        Ok(())
    }

    /// Lets a thread fill the next segment with zeros, if there is ample room.
    fn prepare(&mut self) {
        let bytes = self.segment_bytes;
        if self.disk.free_bytes().is_some_and(|free| free < 4 * bytes) {
            return;
        }
        let disk = Arc::clone(&self.disk);
        let thread = std::thread::Builder::new().name("jetsink-segment".to_owned());
        self.preparing = thread.spawn(move || prepare(&*disk, bytes)).ok();
    }

    /// The segment that was prepared, if it is ready.
    fn take_prepared(&mut self) -> Option<Prepared> {
        let thread = self.preparing.take_if(|thread| thread.is_finished())?;
        thread.join().ok()?.ok()
    }

    /// Seals the log, removes drained and unused segments, and ends.
    pub(crate) fn close(mut self) {
        let _ = self.resolve_doubt();
        let _ = self.seal();
        self.drop_drained(0);
        if lock(&self.index).segments.is_empty() {
            self.reserve.release();
        }
        if let Some(Ok(Ok(prepared))) = self.preparing.take().map(JoinHandle::join) {
            let _ = self.disk.remove(&prepared.name);
        }
    }
}

fn prepare(disk: &dyn Disk, bytes: u64) -> io::Result<Prepared> {
    let id = random();
    let name = format!("{id:016x}{PREPARED}");
    let file = disk.create(&name)?;
    let filled = || {
        let zeros = vec![0; 1 << 18];
        let mut offset = 0;
        while offset < bytes {
            let part = zeros.len().min((bytes - offset) as usize);
            file.write_at(offset, &mut [IoSlice::new(&zeros[..part])])?;
            offset += part as u64;
        }
        file.sync()?;
        disk.sync()
    };
    if let Err(error) = filled() {
        let _ = disk.remove(&name);
        return Err(error);
    }
    Ok(Prepared { id, name, file })
}

/// Writes `arena`, with payloads put in before the bytes at their positions.
pub(super) fn write(
    file: &dyn DiskFile,
    offset: u64,
    arena: &[u8],
    payloads: &[(usize, &Bytes)],
) -> io::Result<()> {
    let mut parts = Vec::with_capacity(1 + 2 * payloads.len());
    let mut from = 0;
    for (at, payload) in payloads {
        parts.push(IoSlice::new(&arena[from..*at]));
        parts.push(IoSlice::new(payload));
        from = *at;
    }
    parts.push(IoSlice::new(&arena[from..]));
    let mut offset = offset;
    for parts in parts.chunks_mut(MAX_PARTS) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        file.write_at(offset, parts)?;
        offset += length as u64;
    }
    Ok(())
}

pub(crate) fn segment_name(number: u64, id: u64) -> String {
    format!("{number:012}-{id:016x}.log")
}

/// The number and id in a segment's name.
pub(crate) fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (number, id) = name.strip_suffix(".log")?.split_once('-')?;
    Some((number.parse().ok()?, u64::from_str_radix(id, 16).ok()?))
}

/// An unpredictable number other than 0.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0).max(1)
}

pub(crate) fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The offset of the page with the seals, behind a first start record of this size.
pub(super) fn seal_page(start: u64) -> u64 {
    start.next_multiple_of(PAGE)
}
