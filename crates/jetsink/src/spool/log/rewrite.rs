//! Rewrites segments with few live records, so that one blocked event does not keep the disk full.
//!
//! The live records go to a temporary file of the same segment, which then replaces the other by its name. Its
//! start lists the indexes that have left. Records keep their index, and move to another offset.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::active::put_starts;
use super::disk::{Disk, DiskFile};
use super::format::{Kind, Start, State, put_mark, put_record};
use super::index::Index;
use super::prepared::{PREPARED, wait_for};
use super::scan::scan;
use super::writer::{Log, lock, random};

/// A shorter segment is not worth the work.
const MIN_BYTES: u64 = 16 << 10;

/// A rewritten segment is larger than its live records: by its start, and a list of what has left.
const SPARE: u64 = 16 << 10;

/// Written at a time.
const CHUNK: usize = 1 << 20;

/// A segment that is being rewritten.
#[derive(Debug)]
pub(super) struct Rewriting {
    segment: u64,
    temporary: String,
    is_given_up: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Rewritten>>,
}

/// The copy of a segment: its live records.
#[derive(Debug)]
struct Rewritten {
    file: Arc<dyn DiskFile>,
    tail: u64,
    /// Indexes and offsets.
    moved: Vec<(u64, u64)>,
}

/// The way to copy one segment.
struct Copy {
    disk: Arc<dyn Disk>,
    index: Arc<Mutex<Index>>,
    from: Arc<dyn DiskFile>,
    segment: u64,
    id: u64,
    temporary: String,
    is_given_up: Arc<AtomicBool>,
}

impl Log {
    /// Replaces a segment by its copy if that is ready, and begins the next copy. Returns whether one is
    /// being made.
    pub(crate) fn rewrite(&mut self) -> bool {
        if let Some(ready) = self.rewriting.take_if(|r| r.thread.is_finished()) {
            let copied = ready.thread.join();
            let copied = copied.unwrap_or_else(|_| Err(io::Error::other("a panic")));
            self.replace(ready.segment, &ready.temporary, copied);
        }
        while self.rewriting.is_none()
            && let Some(copy) = self.next_copy()
        {
            let (segment, temporary) = (copy.segment, copy.temporary.clone());
            let is_given_up = Arc::clone(&copy.is_given_up);
            if !self.has_threads {
                self.replace(segment, &temporary, copy.make());
                continue;
            }
            let thread = std::thread::Builder::new().name("jetsink-rewrite".to_owned());
            let thread = thread.spawn(move || copy.make()).ok();
            self.rewriting = thread.map(|thread| Rewriting {
                segment,
                temporary,
                is_given_up,
                thread,
            });
        }
        self.rewriting.is_some()
    }

    /// The next segment that is worth it. Each is tried again once half of its live bytes have left.
    fn next_copy(&mut self) -> Option<Copy> {
        loop {
            let mut index = lock(&self.index);
            let newest = index.newest();
            let segment = index.segments.values_mut().find(|s| {
                // The newest has the state.
                let is_finished = s.is_scanned && s.live > 0 && Some(s.first) != newest;
                let is_sparse = s.tail > MIN_BYTES && s.live_bytes * 4 < s.tail;
                is_finished && is_sparse && s.live_bytes <= s.rewritten_at / 2
            })?;
            segment.rewritten_at = segment.live_bytes;
            let (first, id, name) = (segment.first, segment.id, segment.name.clone());
            let needed = segment.live_bytes + SPARE;
            drop(index);
            let free = self.disk.free_bytes().unwrap_or(u64::MAX);
            if free < needed && !(needed <= super::reserve::BYTES as u64 && self.reserve.release())
            {
                continue;
            }
            if let Ok(from) = self.files.get(id, &name) {
                return Some(Copy {
                    disk: Arc::clone(&self.disk),
                    index: Arc::clone(&self.index),
                    from,
                    segment: first,
                    id,
                    temporary: format!("{:016x}{PREPARED}", random()),
                    is_given_up: Arc::default(),
                });
            }
        }
    }

    fn replace(&mut self, first: u64, temporary: &str, copied: io::Result<Rewritten>) {
        let replaced = copied.and_then(|copy| self.put_in_place(first, temporary, copy));
        if replaced.is_err() {
            let _ = self.disk.remove(temporary);
        }
        self.reserve.make();
    }

    fn put_in_place(&mut self, first: u64, temporary: &str, mut copy: Rewritten) -> io::Result<()> {
        // Marks that went to the old file meanwhile.
        let (id, name, left) = {
            let index = lock(&self.index);
            // It may be drained and removed meanwhile.
            let segment = index.segments.get(&first).ok_or(io::ErrorKind::NotFound)?;
            let moved = copy.moved.iter().map(|(index, _)| *index);
            let left: Vec<u64> = moved.filter(|index| segment.is_gone(*index)).collect();
            (segment.id, segment.name.clone(), left)
        };
        if !left.is_empty() {
            let mut bytes = Vec::new();
            put_mark(id, first, self.next_index, &left, &mut bytes);
            copy.file.write_at(copy.tail, &mut [IoSlice::new(&bytes)])?;
            copy.file.sync()?;
            copy.tail += bytes.len() as u64;
        }
        // A reader that finds no record in its place tries again.
        lock(&self.index).is_replacing = true;
        let renamed = self.disk.rename(temporary, &name);
        self.files.forget(id);
        let mut index = lock(&self.index);
        index.is_replacing = false;
        renamed?;
        index.rewrites += 1;
        if let Some(segment) = index.segments.get_mut(&first) {
            let is_live = |index: &u64| {
                let moved = copy.moved.binary_search_by_key(index, |(at, _)| *at);
                moved.is_ok()
            };
            segment
                .unmarked
                .retain(|index| is_live(index) && left.binary_search(index).is_err());
            segment.tail = copy.tail;
            segment.moved = Some(copy.moved);
        }
        drop(index);
        // A power cut may bring the other file back: it has the same live records, and marks of them.
        self.is_folder_changed = self.disk.sync().is_err();
        Ok(())
    }
}

impl Copy {
    fn make(self) -> io::Result<Rewritten> {
        let file = self.disk.create(&self.temporary)?;
        let filled = self.fill(file);
        if filled.is_err() || self.is_given_up.load(Ordering::Relaxed) {
            let _ = self.disk.remove(&self.temporary);
        }
        filled
    }

    fn fill(&self, file: Arc<dyn DiskFile>) -> io::Result<Rewritten> {
        let (end, (live, gone)) = {
            let index = lock(&self.index);
            let segment = index.segments.get(&self.segment);
            let segment = segment.ok_or(io::ErrorKind::NotFound)?;
            let indexes = segment.first..segment.end;
            let is_live = |index: &u64| !segment.is_gone(*index);
            (segment.end, indexes.partition::<Vec<u64>, _>(is_live))
        };
        let mut mark = Vec::new();
        put_mark(self.id, self.segment, end, &gone, &mut mark);
        let mut bytes = Vec::new();
        let mut written = 0;
        let mut moved = Vec::new();
        // Only the newest segment needs the state, and the marks and ranges of others.
        let start = Start {
            state: State::unknown(),
            is_marked: false,
            older: BTreeMap::new(),
        };
        let mut has_start = false;
        let mut failed = None;
        let tail = scan(&*self.from, self.id, |_, head, body| {
            let Some(body) = body.filter(|_| failed.is_none()) else {
                return;
            };
            match head.kind {
                Kind::Start if !has_start => {
                    has_start = true;
                    put_starts(&start, self.id, self.segment, &mark, &mut bytes);
                }
                Kind::Event | Kind::DeadLetter
                    if has_start && live.binary_search(&head.index).is_ok() =>
                {
                    moved.push((head.index, written + bytes.len() as u64));
                    put_record(head, self.id, body, &mut bytes);
                }
                _ => {}
            }
            if bytes.len() >= CHUNK {
                failed = file.write_at(written, &mut [IoSlice::new(&bytes)]).err();
                written += bytes.len() as u64;
                bytes.clear();
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        // An unreadable page may be readable again. A damaged record stays behind, and is reported as such.
        if !has_start || tail.is_unreadable {
            return Err(io::ErrorKind::InvalidData.into());
        }
        moved.sort_unstable();
        moved.dedup_by_key(|(index, _)| *index);
        // Twice, apart from each other.
        bytes.extend_from_slice(&mark);
        file.write_at(written, &mut [IoSlice::new(&bytes)])?;
        file.sync()?;
        let tail = written + bytes.len() as u64;
        Ok(Rewritten { file, tail, moved })
    }
}

impl Log {
    /// Gives up the copy. Does not wait for a disk that hangs: the next opening removes the file too.
    pub(super) fn stop_rewriting(&mut self) {
        if let Some(rewriting) = self.rewriting.take() {
            rewriting.is_given_up.store(true, Ordering::Relaxed);
            wait_for(&rewriting.thread);
            let _ = self.disk.remove(&rewriting.temporary);
        }
    }
}
