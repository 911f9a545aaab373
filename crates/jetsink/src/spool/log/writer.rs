//! Appends records.
//!
//! One thread owns the [`Log`]. A failed write or sync closes the segment for good: the page cache may
//! show records that are not on the disk.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::active::Active;
use super::disk::Disk;
use super::event::NewRecord;
use super::format::{Kind, State};
use super::index::Index;
use super::places::Place;
use super::reserve::{self, is_full};
use super::seal::{Seal, Seals};
use crate::spool::clock::Clock;
use crate::sync::lock;

/// The buffer of a longer group is not kept for the next one.
const MAX_KEPT: usize = 1 << 20;

/// A failed append.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: io::Error,
    /// Whether the records may be on the disk all the same. They are then written again before any
    /// other.
    pub(crate) in_doubt: bool,
}

impl Failed {
    fn undone(error: io::Error) -> Self {
        let in_doubt = false;
        Self { error, in_doubt }
    }

    /// Whether nothing is written because the disk is full.
    pub(crate) fn is_for_lack_of_room(&self) -> bool {
        !self.in_doubt && is_full(&self.error)
    }
}

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) index: Arc<Mutex<Index>>,
    pub(super) segment_bytes: u64,
    pub(super) active: Option<Active>,
    pub(super) next_number: u64,
    pub(crate) next_index: u64,
    pub(crate) clock: Clock,
    /// Records whose append failed in doubt.
    pub(crate) in_doubt: Vec<NewRecord>,
    /// Those that were written again, until the caller counts them.
    pub(crate) resolved: Vec<NewRecord>,
    /// The size of the last group.
    pub(super) last_group: u64,
    /// The bytes of a group, empty between two groups.
    pub(super) buffer: Vec<u8>,
    /// Whether a file was removed or renamed, and the folder was not synced since.
    pub(super) is_folder_changed: bool,
    /// The first segment that is left to mark, if the last call marked as many as it may.
    pub(crate) unmarked_from: Option<u64>,
    /// Files of failed appends that could not be removed. The segment behind them, which proves that
    /// their records are not the spool's, must not go before them.
    pub(super) stale: Vec<String>,
    pub(super) seals: Seals,
}

impl Log {
    pub(super) fn new(disk: Arc<dyn Disk>, segment_bytes: u64) -> Self {
        Self {
            index: Arc::new(Mutex::new(Index::new(Arc::clone(&disk)))),
            seals: Seals::default(),
            disk,
            segment_bytes,
            active: None,
            next_number: 1,
            next_index: 0,
            clock: Clock::start(None, SystemTime::now),
            in_doubt: Vec::new(),
            resolved: Vec::new(),
            last_group: 0,
            buffer: Vec::new(),
            is_folder_changed: false,
            unmarked_from: None,
            stale: Vec::new(),
        }
    }

    /// Appends records, and syncs them. An error that is not in doubt means that none of them is on
    /// the disk.
    pub(crate) fn append(&mut self, records: &[&NewRecord]) -> Result<(), Failed> {
        let has_event = records.iter().any(|record| record.head.kind == Kind::Event);
        let is_state = |record: &&NewRecord| record.head.kind == Kind::State;
        match self.resolve_doubt() {
            // Replay makes the room that records in doubt need, so its own do not wait for them.
            Err(failed) if has_event || !is_full(&failed.error) => return Err(failed),
            _ => {}
        }
        let mut in_doubt = false;
        for attempt in 1.. {
            let Err(failed) = self.try_append(records) else {
                break;
            };
            in_doubt |= failed.in_doubt;
            // The second time in a new segment, the third time in the room of the reserve.
            let may_use_reserve = attempt == 2 && !has_event && is_full(&failed.error);
            if attempt > 1 && !(may_use_reserve && reserve::release(&*self.disk)) {
                if in_doubt {
                    let records = records.iter().map(|record| (*record).clone());
                    self.in_doubt.extend(records);
                    let sent = self.in_doubt.iter().filter(|record| record.head.sent);
                    let subjects = sent.filter_map(|record| record.subject.clone());
                    lock(&self.index).sent_in_doubt.extend(subjects);
                }
                return Err(Failed { in_doubt, ..failed });
            }
        }
        if records.iter().any(is_state) {
            // Those in doubt are older, and the latest one holds.
            self.in_doubt.retain(|record| !is_state(&record));
        }
        Ok(())
    }

    /// Writes the records again whose append failed in doubt, so that later ones follow them.
    pub(crate) fn resolve_doubt(&mut self) -> Result<(), Failed> {
        if self.in_doubt.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.in_doubt);
        let written = self.try_append(&records.iter().collect::<Vec<_>>());
        if let Err(Failed { error, .. }) = written {
            self.in_doubt = records;
            return Err(Failed::undone(error));
        }
        lock(&self.index).sent_in_doubt.clear();
        self.resolved.extend(records);
        Ok(())
    }

    fn try_append(&mut self, records: &[&NewRecord]) -> Result<(), Failed> {
        let size: u64 = records.iter().map(|record| record.head.size()).sum();
        if let Some(active) = &self.active
            && active.tail + size > self.segment_bytes
            && active.first < self.next_index
        {
            self.finish();
        }
        let (mut active, start, is_new) = match self.active.take() {
            Some(active) => (active, Vec::new(), false),
            None => {
                let (active, start) = self.begin().map_err(Failed::undone)?;
                (active, start, true)
            }
        };
        let tail = active.tail + start.len() as u64 + size;
        self.extend(&mut active, tail);
        let buffer = &mut self.buffer;
        let written = active.write(start, records, self.next_index, buffer);
        buffer.clear();
        buffer.shrink_to(MAX_KEPT);
        let written = written.and_then(|places| {
            if is_new {
                self.disk.sync()?;
            }
            Ok(places)
        });
        match written {
            Ok(places) => {
                if is_new {
                    self.add_active(&active);
                    reserve::make(&*self.disk);
                }
                active.tail = tail;
                self.appended(active, records, &places);
                Ok(())
            }
            Err(error) => {
                let in_doubt = self.undo(active, is_new).is_err();
                Err(Failed { error, in_doubt })
            }
        }
    }

    /// Takes a failed write back.
    fn undo(&mut self, active: Active, is_new: bool) -> io::Result<()> {
        if is_new {
            let removed = self.disk.remove(&active.name);
            let undone = removed.and_then(|()| self.disk.sync());
            if undone.is_err() {
                self.stale.push(active.name);
            }
            return undone;
        }
        let cut = active.file.set_len(active.tail);
        let undone = cut.and_then(|()| active.file.sync());
        self.active = Some(active);
        self.finish();
        undone
    }

    /// The records are synced at these places.
    fn appended(&mut self, active: Active, records: &[&NewRecord], places: &[Place]) {
        self.next_index += records.len() as u64;
        {
            let mut index = lock(&self.index);
            if let Some(segment) = index.segments.get_mut(&active.first) {
                segment.tail = active.tail;
                segment.end = self.next_index;
            }
            for (record, place) in records.iter().zip(places) {
                index.append(record.head.kind, record.subject.as_ref(), *place);
            }
        }
        self.active = Some(active);
    }

    /// Ends the active segment.
    pub(crate) fn finish(&mut self) {
        let Some(active) = self.active.take() else {
            return;
        };
        // Returns unused zeros to the disk. If this fails, they stay.
        let _ = active.file.set_len(active.tail);
        if let Some(segment) = lock(&self.index).segments.get_mut(&active.first) {
            segment.is_active = false;
        }
    }

    /// Proves that all records up to here are synced, in a file apart from them.
    pub(crate) fn seal(&mut self) -> io::Result<()> {
        let newest = {
            let index = lock(&self.index);
            let newest = index.segments.values().next_back();
            newest.map(|segment| (segment.id, segment.first))
        };
        let Some((segment, first)) = newest else {
            return Ok(());
        };
        let seal = Seal {
            segment,
            first,
            durable_below: self.next_index,
            clock: self.clock.read(),
        };
        self.seals.write(&*self.disk, seal)
    }

    /// Writes a state, if there is anything that it matters for.
    pub(crate) fn set_state(&mut self, state: State) -> Result<(), Failed> {
        let is_empty = lock(&self.index).live() == 0 && self.in_doubt.is_empty();
        if !is_empty {
            self.append(&[&NewRecord::state(&state, &[])])?;
        }
        lock(&self.index).state = state;
        Ok(())
    }

    /// Seals the log, removes drained and unused segments, and frees the folder.
    pub(crate) fn close(mut self) {
        let _ = self.resolve_doubt();
        // So that damage is reported once.
        let _ = self.mark_all_left();
        let _ = self.seal();
        self.drop_drained(0);
        if lock(&self.index).segments.is_empty() && !self.is_folder_changed {
            reserve::release(&*self.disk);
            let _ = self.seals.remove(&*self.disk);
        }
        self.disk.release();
    }
}

pub(crate) fn segment_name(number: u64, id: u64) -> String {
    format!("{number:012}-{id:016x}.log")
}

/// The number and id in a segment's name.
pub(super) fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (number, id) = name.strip_suffix(".log")?.split_once('-')?;
    Some((number.parse().ok()?, u64::from_str_radix(id, 16).ok()?))
}
