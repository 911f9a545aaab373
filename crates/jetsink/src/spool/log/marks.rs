//! Marks what has left, and removes segments of which nothing is left.
//!
//! A mark is written before the segments that follow are removed: one of them may have the record that
//! replaces an unmarked one, which would come back at the next opening.

use std::io;
use std::sync::Arc;

use tracing::warn;

use super::disk::DiskFile;
use super::format::{Head, Kind, encode_runs, put_record};
use super::reserve::is_full;
use super::writer::{Log, lock, write};
use crate::message::subject::Subject;

/// A segment with indexes that have left without a mark.
struct Unmarked {
    first: u64,
    id: u64,
    file: Arc<dyn DiskFile>,
    tail: u64,
    runs: Vec<u8>,
}

impl Log {
    /// Marks what has left, and removes the segments that hold nothing else. Calls `on_left` with each
    /// position in `left` of a record that was live. Returns whether all marks are on the disk; those
    /// that are not stay in memory.
    pub(crate) fn deliver(
        &mut self,
        left: &[(Option<Subject>, u64)],
        mut on_left: impl FnMut(usize),
    ) -> io::Result<bool> {
        {
            let mut index = lock(&self.index);
            for (at, (_, left)) in left.iter().enumerate() {
                if index.leave(*left) {
                    on_left(at);
                }
            }
            for (subject, _) in left.chunk_by(|a, b| a.0 == b.0).map(|run| &run[0]) {
                index.trim(subject.as_ref());
            }
        }
        loop {
            let failed = self.mark_all();
            let before = failed.as_ref().map(|(first, _)| *first);
            let removed = self.remove_drained(before)?;
            match failed {
                None => return Ok(true),
                // The removal made room.
                Some((_, error)) if is_full(&error) && removed > 0 => {}
                Some((_, error)) if is_full(&error) && self.reserve.release() => {}
                Some((_, error)) => {
                    if !is_full(&error) {
                        warn!(%error, "a segment of the spool takes no marks; its delivered events are \
                            looked up again after a restart");
                    }
                    return Ok(false);
                }
            }
        }
    }

    /// Writes the marks of all segments that stay. Returns the first segment that took none.
    fn mark_all(&mut self) -> Option<(u64, io::Error)> {
        let unmarked: Vec<_> = {
            let mut index = lock(&self.index);
            let newest = index.segments.keys().next_back().copied();
            let segments = index.segments.values_mut();
            // A drained segment is removed instead, unless it is the newest.
            let segments = segments.filter(|segment| {
                let is_drained = segment.live == 0 && segment.is_scanned && !segment.is_active;
                !segment.unmarked.is_empty() && (!is_drained || Some(segment.first) == newest)
            });
            let unmarked = segments.map(|segment| {
                segment.unmarked.sort_unstable();
                Unmarked {
                    first: segment.first,
                    id: segment.id,
                    file: Arc::clone(&segment.file),
                    tail: segment.tail,
                    runs: encode_runs(&segment.unmarked),
                }
            });
            unmarked.collect()
        };
        let mut failed = None;
        for segment in unmarked {
            let first = segment.first;
            if let Err(error) = self.mark(&segment) {
                failed.get_or_insert((first, error));
            }
        }
        failed
    }

    fn mark(&mut self, segment: &Unmarked) -> io::Result<()> {
        let mut bytes = Vec::new();
        let head = Head::of(
            Kind::Delivered,
            segment.first,
            self.next_index,
            &segment.runs,
        );
        put_record(&head, segment.id, &segment.runs, &mut bytes);
        let file = &*segment.file;
        let marked = write(file, segment.tail, &bytes, &[]).and_then(|()| file.sync());
        let active = self.active.as_mut();
        let active = active.filter(|active| active.first == segment.first);
        match marked {
            Ok(()) => {
                let tail = segment.tail + bytes.len() as u64;
                if let Some(active) = active {
                    active.tail = tail;
                }
                if let Some(segment) = lock(&self.index).segments.get_mut(&segment.first) {
                    segment.tail = tail;
                    segment.unmarked.clear();
                }
            }
            Err(_) if active.is_some() => self.finish(),
            // So that a shorter mark leaves nothing of this one behind it.
            Err(_) => {
                let _ = file.set_len(segment.tail);
            }
        }
        marked
    }

    /// Removes the segments of which nothing is left, of those before the index `before`, and returns
    /// their number.
    fn remove_drained(&mut self, before: Option<u64>) -> io::Result<usize> {
        let drained: Vec<_> = {
            let index = lock(&self.index);
            let newest = index.segments.keys().next_back().copied();
            let all_drained = index.is_complete
                && index.live() == 0
                && index.segments.values().all(|segment| segment.is_scanned);
            let segments = index.segments.values().filter(|segment| {
                // The newest has the state that holds for the others: it goes last.
                let is_needed = Some(segment.first) == newest && !all_drained;
                let is_late = before.is_some_and(|before| segment.first >= before);
                let is_drained = segment.live == 0 && segment.is_scanned && !segment.is_active;
                is_drained && !is_needed && !is_late
            });
            let drained = segments.map(|segment| (segment.first, segment.name.clone()));
            drained.collect()
        };
        self.remove(&drained)?;
        Ok(drained.len())
    }

    /// Removes segments, oldest first.
    fn remove(&mut self, segments: &[(u64, String)]) -> io::Result<()> {
        while let Some(name) = self.stale.last().filter(|_| !segments.is_empty()) {
            gone(self.disk.remove(name))?;
            self.disk.sync()?;
            self.stale.pop();
        }
        let newest = lock(&self.index).segments.keys().next_back().copied();
        for (first, name) in segments {
            if Some(*first) == newest {
                self.disk.sync()?;
            }
            gone(self.disk.remove(name))?;
            self.has_removed = true;
            lock(&self.index).segments.remove(first);
        }
        if self.has_removed {
            self.disk.sync()?;
            self.has_removed = false;
        }
        Ok(())
    }
}

/// A file that is missing counts as removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
