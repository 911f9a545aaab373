//! Rewrites segments with few live records, so that one blocked event does not keep the disk full.
//!
//! The live records go to a temporary file of the same segment, which then replaces the other by its name. Its
//! start lists the indexes that have left. Records keep their index, and move to another offset.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;

use super::active::starts;
use super::disk::DiskFile;
use super::format::{Kind, Start, State, mark, put_record};
use super::index::Segment;
use super::reserve;
use super::scan::scan;
use super::writer::Log;
use crate::random::random_number;
use crate::sync::lock;

/// How the names of files end that do not replace a segment yet.
pub(super) const TEMPORARY: &str = ".next";

/// A shorter segment is not worth the work.
const MIN_BYTES: u64 = 16 << 10;

/// A rewritten segment is larger than its live records: by its start, and a list of the records that have left.
const SPARE: u64 = 16 << 10;

/// Written at a time.
const CHUNK: usize = 1 << 20;

/// A segment to rewrite.
pub(super) struct Sparse {
    first: u64,
    id: u64,
    name: Arc<str>,
    /// Its indexes, in order.
    live: Vec<u64>,
    gone: Vec<u64>,
    live_bytes: u64,
}

/// The offset behind the copy's last record, and the indexes and offsets of its records.
type Copied = (u64, Vec<(u64, u64)>);

impl Log {
    /// Rewrites one of these segments, if that is worth it. Returns whether one was tried: without room it waits.
    pub(crate) fn rewrite(&mut self, may_be: impl Fn(&Segment) -> bool) -> bool {
        let Some(sparse) = self.next_sparse(may_be) else {
            return false;
        };
        let free = self.disk.free_bytes().unwrap_or(u64::MAX);
        let needed = sparse.live_bytes + SPARE;
        let fits_reserve = needed <= reserve::BYTES as u64;
        if free < needed && !(fits_reserve && reserve::release(&*self.disk)) {
            return false;
        }
        let temporary = format!("{:016x}{TEMPORARY}", random_number());
        if self.replace(&sparse, &temporary).is_err() {
            let _ = self.disk.remove(&temporary);
        }
        if let Some(segment) = lock(&self.index).segments.get_mut(&sparse.first) {
            segment.rewritten_at = Some(sparse.live_bytes);
        }
        reserve::make(&*self.disk);
        true
    }

    /// The segment with the fewest live bytes that is worth it. Each is tried again once half of them have left.
    pub(super) fn next_sparse(&self, may_be: impl Fn(&Segment) -> bool) -> Option<Sparse> {
        let index = lock(&self.index);
        let newest = index.newest();
        let worth_it = index.segments.values().filter(|s| {
            // The newest has the state.
            let is_finished = s.is_scanned && s.live > 0 && Some(s.first) != newest;
            let is_sparse = s.tail > MIN_BYTES && s.live_bytes * 4 < s.tail;
            let has_halved = s.rewritten_at.is_none_or(|bytes| s.live_bytes <= bytes / 2);
            is_finished && is_sparse && has_halved && may_be(s)
        });
        // If that one has no room, no other one has.
        let segment = worth_it.min_by_key(|segment| segment.live_bytes)?;
        let is_live = |index: &u64| !segment.is_gone(*index);
        let (live, gone) = (segment.first..segment.end).partition(is_live);
        Some(Sparse {
            first: segment.first,
            id: segment.id,
            name: segment.name.clone(),
            live,
            gone,
            live_bytes: segment.live_bytes,
        })
    }

    pub(super) fn replace(&mut self, sparse: &Sparse, temporary: &str) -> io::Result<()> {
        let from = self.disk.open(&sparse.name)?;
        let file = self.disk.create(temporary)?;
        let (tail, moved) = sparse.copy(&*from, &*file, self.next_index)?;
        // A reader that finds no record in its place tries again.
        lock(&self.index).replacements += 1;
        let renamed = self.disk.rename(temporary, &sparse.name);
        let mut index = lock(&self.index);
        index.replacements += 1;
        renamed?;
        if let Some(segment) = index.segments.get_mut(&sparse.first) {
            // The copy lists the others. These have left meanwhile.
            let is_listed = |index: &u64| sparse.gone.binary_search(index).is_ok();
            segment.unmarked.retain(|index| !is_listed(index));
            segment.left = segment.unmarked.len();
            segment.tail = tail;
            segment.moved = Some(moved);
        }
        drop(index);
        // A power cut may bring the other file back: it has the same live records, and marks of them.
        self.is_folder_changed = self.disk.sync().is_err();
        Ok(())
    }
}

impl Sparse {
    fn copy(&self, from: &dyn DiskFile, to: &dyn DiskFile, durable: u64) -> io::Result<Copied> {
        let mark = mark(self.id, self.first, durable, &self.gone);
        // Only the newest segment needs the state, and the ranges and marks of others.
        let start = Start {
            state: State::unknown(),
            older: BTreeMap::new(),
            left: Vec::new(),
        };
        let mut bytes = starts(&start, self.id, self.first, &mark);
        let (mut written, mut moved, mut failed) = (0, Vec::new(), None);
        let tail = scan(from, self.id, |_, head, body| {
            let is_kept = matches!(head.kind, Kind::Event | Kind::DeadLetter)
                && self.live.binary_search(&head.index).is_ok();
            let Some(body) = body.filter(|_| is_kept && failed.is_none()) else {
                return;
            };
            moved.push((head.index, written + bytes.len() as u64));
            put_record(head, self.id, body, &mut bytes);
            if bytes.len() >= CHUNK {
                failed = to.write_at(written, &mut [IoSlice::new(&bytes)]).err();
                written += bytes.len() as u64;
                bytes.clear();
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        // An unreadable page may be readable again. A damaged record stays behind, and is reported as such.
        if tail.is_unreadable {
            return Err(io::ErrorKind::InvalidData.into());
        }
        moved.sort_unstable();
        moved.dedup_by_key(|(index, _)| *index);
        // Twice, apart from each other.
        bytes.extend_from_slice(&mark);
        to.write_at(written, &mut [IoSlice::new(&bytes)])?;
        to.sync()?;
        Ok((written + bytes.len() as u64, moved))
    }
}
