//! Marks records that leave, and removes drained segments.
//!
//! A mark is written before the segments that follow are removed: one of them may have the record that
//! replaces an unmarked one, which would come back at the next opening.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::warn;

use super::format::mark;
use super::reserve::{self, is_full};
use super::writer::Log;
use crate::sync::lock;

/// A drained segment is written to again up to this length; a longer one is removed.
pub(crate) const REUSED: u64 = 64 << 10;

/// The segments that are marked at a time, each with a sync that new events wait for.
pub(crate) const MAX_MARKED: usize = 16;

/// The marks of records that have left.
#[derive(Debug)]
pub(crate) enum Marked {
    OnDisk,
    /// Those of the oldest segments are on the disk. The others follow.
    InPart,
    /// Some stay in memory, for this reason: their records come back after a restart.
    InMemory(io::Error),
}

impl Log {
    /// Marks the records that have left, and removes drained segments.
    pub(crate) fn mark_left(&mut self) -> io::Result<Marked> {
        let counter = Arc::clone(&lock(&self.index).left);
        let left = counter.load(Ordering::Acquire);
        // If this fails, they are removed with the next ones.
        let marked = self.mark_and_remove()?;
        // Those of the other segments stay counted: replay stops at a number of them, and must not send more.
        let kept = self.unmarked_from;
        let kept = kept.map_or(0, |first| lock(&self.index).left_from(first));
        counter.fetch_sub(left.saturating_sub(kept), Ordering::AcqRel);
        Ok(marked)
    }

    /// As [`mark_left`](Self::mark_left), until no segment is left to mark.
    pub(crate) fn mark_all_left(&mut self) -> io::Result<Marked> {
        loop {
            let marked = self.mark_left()?;
            if self.unmarked_from.is_none() {
                return Ok(marked);
            }
        }
    }

    fn mark_and_remove(&mut self) -> io::Result<Marked> {
        loop {
            let (failed, next) = self.mark_oldest();
            self.unmarked_from = next;
            let failed_at = failed.as_ref().map(|(first, _)| *first);
            let removed = self.remove_drained(failed_at.or(next))?;
            match failed {
                None if next.is_some() => return Ok(Marked::InPart),
                None => return Ok(Marked::OnDisk),
                // The removal made room.
                Some((_, error)) if is_full(&error) && removed > 0 => {}
                Some((_, error)) if is_full(&error) && reserve::release(&*self.disk) => {}
                Some((_, error)) => {
                    if !is_full(&error) {
                        warn!(%error, "a segment of the spool takes no marks; its delivered events are \
                            looked up again after a restart");
                    }
                    return Ok(Marked::InMemory(error));
                }
            }
        }
    }

    /// Writes the marks of the oldest scanned segments that stay. Returns the first segment that took none, and the
    /// first one that is left.
    fn mark_oldest(&mut self) -> (Option<(u64, io::Error)>, Option<u64>) {
        let unmarked: Vec<u64> = {
            let index = lock(&self.index);
            let newest = index.newest();
            let segments = index.segments.values().filter(|segment| {
                // A drained segment is removed instead, unless it is the newest.
                let stays = !segment.is_drained() || Some(segment.first) == newest;
                segment.is_scanned && !segment.unmarked.is_empty() && stays
            });
            segments.map(|segment| segment.first).collect()
        };
        let (mut failed, mut marked) = (None, 0);
        for first in unmarked {
            if marked == MAX_MARKED {
                return (failed, Some(first));
            }
            match self.mark(first) {
                Ok(()) => marked += 1,
                Err(error) => {
                    failed.get_or_insert((first, error));
                }
            }
        }
        (failed, None)
    }

    fn mark(&mut self, first: u64) -> io::Result<()> {
        let (id, name, tail, mut indexes) = match lock(&self.index).segments.get(&first) {
            Some(s) => (s.id, Arc::clone(&s.name), s.tail, s.unmarked.clone()),
            None => return Ok(()),
        };
        let marked = indexes.len();
        indexes.sort_unstable();
        indexes.dedup();
        let bytes = mark(id, first, self.next_index, &indexes);
        // A rewritten file must be on the disk under its name.
        self.sync_folder()?;
        let file = match &self.active {
            Some(active) if active.first == first => Ok(Arc::clone(&active.file)),
            _ => self.disk.open(&name),
        };
        let file = match file {
            // A file that was removed by others needs no mark.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(segment) = lock(&self.index).segments.get_mut(&first) {
                    segment.unmarked.clear();
                    segment.left = 0;
                }
                return Ok(());
            }
            file => file?,
        };
        let written = file.write_at(tail, &mut [IoSlice::new(&bytes)]);
        let synced = written.and_then(|()| file.sync());
        let active = self.active.as_mut().filter(|active| active.first == first);
        match synced {
            Ok(()) => {
                let tail = tail + bytes.len() as u64;
                if let Some(active) = active {
                    active.tail = tail;
                }
                if let Some(segment) = lock(&self.index).segments.get_mut(&first) {
                    segment.tail = tail;
                    // Others have left meanwhile.
                    segment.unmarked.drain(..marked);
                    segment.left = segment.unmarked.len();
                }
            }
            Err(_) if active.is_some() => self.finish(),
            // A shorter mark must leave no bytes of this one behind it.
            Err(_) => {
                let _ = file.set_len(tail);
            }
        }
        synced
    }

    /// Removes drained segments with a first index below `before`; returns their number.
    fn remove_drained(&mut self, before: Option<u64>) -> io::Result<usize> {
        let (drained, newest) = {
            let index = lock(&self.index);
            let newest = index.newest();
            let is_empty = index.is_complete() && index.live() == 0 && index.has_scanned_all();
            let drained = index.segments.values().filter(|segment| {
                // The newest has the state that holds for the others: it goes last.
                let is_needed = Some(segment.first) == newest && !is_empty;
                let is_late = before.is_some_and(|before| segment.first >= before);
                segment.is_drained() && !is_needed && !is_late
            });
            let drained = drained.map(|s| (s.first, s.name.clone()));
            (drained.collect::<Vec<_>>(), newest)
        };
        if !drained.is_empty() {
            self.remove_stale()?;
        }
        for (first, name) in &drained {
            if Some(*first) == newest {
                self.seals.remove(&*self.disk)?;
                self.is_folder_changed = true;
                self.sync_folder()?;
            }
            self.disk.remove_if_present(name)?;
            self.is_folder_changed = true;
            lock(&self.index).segments.remove(first);
        }
        self.sync_folder()?;
        Ok(drained.len())
    }

    fn remove_stale(&mut self) -> io::Result<()> {
        while let Some(name) = self.stale.last() {
            self.disk.remove_if_present(name)?;
            self.disk.sync()?;
            self.stale.pop();
        }
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        if self.is_folder_changed {
            self.disk.sync()?;
            self.is_folder_changed = false;
        }
        Ok(())
    }

    /// Removes the active segment, if the log has no live record and the segment is longer than `longest`.
    pub(crate) fn drop_drained(&mut self, longest: u64) {
        let is_drained = {
            let index = lock(&self.index);
            index.is_complete() && index.live() == 0 && index.segments.len() == 1
        };
        let active = self.active.as_ref();
        if is_drained && active.is_some_and(|active| active.tail > longest) {
            self.finish();
            // Marks that had no room go with it.
            let _ = self.mark_left();
        }
    }
}
