//! The spool: events on the local disk that no stream has acknowledged yet. Decision 15 has the reasons.
//!
//! # Format
//!
//! A spool is a folder with a segmented log:
//!
//! | file | contents |
//! | --- | --- |
//! | `lock` | locked from before the first read until after the last write; never deleted |
//! | `<number>-<id>.log` | a segment; the random id is at the start of each of its records |
//! | `<…>.next` | the copy of a segment that is being rewritten; deleted at the next opening |
//! | `sealed` | the newest segment, and the index below which all records are synced |
//! | `reserve` | space that is freed when the disk is full |
//!
//! A segment is a sequence of records: head, body, padding to 8 bytes. The head has the segment's id, the record's
//! index, the index below which all records were synced before it was written (`durable_below`), the index of the
//! record that it replaces, the time, the kind, the length, and checksums of body and head. Events, dead letters and
//! states (the replay marker and the baselines) take an index each; indexes rise and are never used twice. A segment
//! begins with two start records on different pages: the state at that moment, the index ranges of the older segments,
//! and their indexes that had left without a mark. A mark lists indexes of its own segment that have left.
//!
//! # Operation
//!
//! Waiting events are appended as a group, with one write and one sync. The file is filled with zeros ahead of them. A
//! delivered event leaves at once in memory, and is marked in its segment together with others.
//! A segment without live records is removed, unless it is the newest and short; one with few is rewritten. A dead letter is a record that replaces its
//! event. After 20 ms without a change, and each second under load, the seal is written. Opening reads the newest
//! segment, and a thread scans the older ones, the oldest first. Replay begins with the first of them. Until the scan
//! ends each subject counts as pending, so that new events follow the old ones. It stops before a segment that can't be
//! read, for ten minutes at most.
//!
//! # Invariants
//!
//! 1. An append that returned `Ok` is synced to the disk. After an error the event is not on the disk, unless the
//!    error says that it may be; then it is written before any later event, or found at the next opening.
//! 2. Indexes go to the disk in ascending order, so a forward read of a subject misses no event.
//! 3. An event leaves when a stream has acknowledged it, when its id is found stored, when an earlier event of its
//!    subject has the same id and was just read, when it is damaged, or as a dead letter with the reason; never
//!    otherwise. A record that replaces another is synced before the other is marked, and wins after a crash.
//! 4. From before the first send of a spooled event until the last one has left, the log has the replay marker, with
//!    sequence numbers (baselines) below which none of its events is stored. A baseline is raised once the marks of
//!    all events acknowledged below it are synced. A state that may be damaged counts as a marker without baselines.
//! 5. A failed write or sync closes its segment. At the next opening the records of the newest segment that nothing
//!    proves are written again and synced before they count: the page cache may show records that the disk lost.
//! 6. Every index below the highest `durable_below` is found, marked, or counted as damaged, also if the newest
//!    segment is cut to nothing or missing. An incomplete end above it is reported as torn.
//! 7. A segment has the index ranges of the older ones. It is not removed before them, and the last one not before
//!    the seal.
//! 8. A rewritten segment has the live records and the marks of its predecessor, and replaces it by its name.
//! 9. Memory is bounded: a few bytes per event, 16 MiB of events in the append queue, and 8 MiB in doubt.
//!
//! # Modules
//!
//! `log` knows no brokers and no callers. Its `format` and `event` are the bytes, `disk` the calls to the system,
//! `active` and `writer` the appends, `marks` and `rewrite` the segments' lives, `contents`, `opening` and `backlog` the
//! opening, `reader` the reads, `index` and `places` the memory, which alone knows the records that are pending and those
//! that have left. Here, `append`, `delivered` and `reading` are the calls of the engine, `append_queue` and `queue` lead to the
//! writer's thread, `observer` passes the ids of synced events on, and `shared` limits, wakes and reports. The operator's
//! access without a sink is in `admin/`.

mod append;
mod append_queue;
mod background_scan;
pub(crate) mod clock;
mod delivered;
pub(crate) mod log;
mod observer;
mod queue;
mod reading;
mod record;
mod shared;
#[cfg(test)]
pub(crate) mod tests;
mod waiting;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

pub(crate) use append::Reservation;
use append_queue::AppendQueue;
pub(crate) use append_queue::Unreconciled;
use background_scan::Scan;
use clock::Clock;
use log::backlog::Backlog;
use log::folder::Folder;
use log::index::Index;
pub(crate) use log::reader::{Chunk, Wanted};
use log::writer::Log;
pub(crate) use observer::Observe;
use queue::Writer;
pub(crate) use reading::{MAX_READ, Reading, Unread, lost_task};
pub(crate) use record::{DeadRecord, Record};
use shared::Shared;

use crate::message::subject::Subject;
use crate::outcome::{SpoolError, SpoolLoss, SpoolStatus};
#[cfg(test)]
pub(crate) use crate::publisher::baseline::Baseline;
pub(crate) use crate::publisher::baseline::Baselines;
use crate::sync::lock;

/// The limit on a disk with ample room.
const DEFAULT_LIMIT: u64 = 1 << 30;

/// How long a drop waits for the disk.
const DROP_WAIT: Duration = Duration::from_secs(1);

/// The results of replay's look-ups since the spool was opened.
#[derive(Debug, Default)]
pub(crate) struct LookUps {
    /// Events that were found stored.
    pub(crate) found_stored: AtomicU64,
    /// Events that later ones of their subject replaced.
    pub(crate) obsolete: AtomicU64,
    pub(crate) possible_duplicates: AtomicU64,
    pub(crate) held_subjects: AtomicU64,
}

/// An open spool.
#[derive(Debug)]
pub(crate) struct Spool {
    path: PathBuf,
    index: Arc<Mutex<Index>>,
    shared: Arc<Shared>,
    appends: Arc<Mutex<AppendQueue>>,
    /// Events that were found damaged after the scan.
    damaged: AtomicU64,
    /// Room in the queue of the writer, in bytes.
    queue: Arc<Semaphore>,
    /// Held from the wait for that room until the event is queued: its waiters come in the order of their calls.
    line: tokio::sync::Mutex<()>,
    pub(crate) look_ups: LookUps,
    clock: Clock,
}

/// An event's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) subject: Subject,
    pub(crate) index: u64,
    pub(crate) bytes: u64,
}

impl Spool {
    /// Opens the spool in `path`, or makes it; blocking. A thread scans the segments of a large backlog. Without a limit
    /// from the caller, the free space of the disk determines it.
    ///
    /// # Errors
    /// [`SpoolError`]: in use, another format, or the disk.
    pub(crate) fn open(path: &Path, limit_bytes: Option<u64>) -> Result<Self, SpoolError> {
        let disk = Folder::open(path, true)?;
        let failed = |doing| move |error: io::Error| SpoolError::io(path, doing, &error);
        let own = disk.own_bytes().map_err(failed("reading its size"))?;
        let limit_bytes = limit_bytes.unwrap_or_else(|| default_limit(disk.free_bytes(), own));
        let (log, backlog) = log::opening::open(disk, Some(segment_bytes(limit_bytes)))?;
        let spool = Self::over(log, backlog, limit_bytes, Writer::start, Scan::start);
        spool.map_err(failed("starting its threads"))
    }

    fn over(
        log: Log,
        backlog: Backlog,
        limit_bytes: u64,
        writer: impl FnOnce(Log, Arc<Shared>) -> io::Result<Writer>,
        scan: impl FnOnce(Scan) -> io::Result<()>,
    ) -> io::Result<Self> {
        let (path, index) = (log.disk.path().to_owned(), Arc::clone(&log.index));
        let shared = Arc::new(Shared::new(limit_bytes, Arc::clone(&index)));
        let (clock, may_be_stored) = (log.clock, lock(&index).state.replay_began);
        let appends = AppendQueue {
            next_index: log.next_index,
            unreconciled: Unreconciled::default(),
            writer: writer(log, Arc::clone(&shared))?,
        };
        let spool = Self {
            path,
            index,
            shared,
            appends: Arc::new(Mutex::new(appends)),
            damaged: AtomicU64::new(0),
            queue: Arc::new(Semaphore::new(append::MAX_QUEUED_BYTES as usize)),
            line: tokio::sync::Mutex::default(),
            look_ups: LookUps::default(),
            clock,
        };
        scan(Scan {
            logged: backlog.loss.clone(),
            backlog,
            may_be_stored,
            shared: Arc::clone(&spool.shared),
            appends: Arc::clone(&spool.appends),
        })?;
        Ok(spool)
    }

    /// Accepts no more changes, and waits up to `wait` until all accepted ones are on the disk and the folder
    /// is unlocked; blocking. Returns whether that happened in time.
    pub(crate) fn close(&self, wait: Duration) -> bool {
        self.shared.is_closed.store(true, Ordering::Relaxed);
        self.queue.close();
        self.shared.drained.notify_waiters();
        self.lock().writer.close();
        self.shared.has_ended_within(wait)
    }

    pub(crate) fn status(&self) -> SpoolStatus {
        let status = lock(&self.index).status();
        SpoolStatus {
            events: status.events.max(u64::from(!self.shared.is_complete())),
            limit_bytes: self.shared.limit_bytes,
            is_full: self.shared.full_at().is_some(),
            damaged: self.damaged.load(Ordering::Relaxed)
                + self.loss().map_or(0, |loss| loss.damaged),
            possible_duplicates: self.look_ups.possible_duplicates.load(Ordering::Relaxed),
            held_subjects: self.look_ups.held_subjects.load(Ordering::Relaxed),
            ..status
        }
    }

    /// Passes the message ids of spooled events to `observe`, on the writer's thread. Returns false if there is another
    /// function: the first one stays.
    pub(crate) fn observe(&self, observe: Observe) -> bool {
        self.shared.observer.set(observe)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The error of a change that gets no answer.
    fn ended(&self) -> SpoolError {
        // The caller may be faster than the thread that fails.
        let is_closed = self.shared.is_closed.load(Ordering::Relaxed);
        if !is_closed || self.shared.has_failed() {
            SpoolError::Failed
        } else {
            SpoolError::Closed
        }
    }

    /// The damage that the scan found; `None` until the scan has ended.
    pub(crate) fn loss(&self) -> Option<&SpoolLoss> {
        self.shared.loss.get()
    }

    /// The time for the age of events: a clock of the system that is set does not change it.
    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    fn lock(&self) -> MutexGuard<'_, AppendQueue> {
        lock(&self.appends)
    }
}

impl Drop for Spool {
    /// Waits for the last sync, some milliseconds on a healthy disk.
    fn drop(&mut self) {
        self.close(DROP_WAIT);
    }
}

/// The limit on a disk with this much free space, beside `own` bytes of the spool itself.
fn default_limit(free: Option<u64>, own: u64) -> u64 {
    let usual = free.map_or(u64::MAX, |free| free / 2 + own);
    usual.clamp(1 << 20, DEFAULT_LIMIT)
}

/// The size of the segments of a spool with this limit.
fn segment_bytes(limit_bytes: u64) -> u64 {
    (limit_bytes / 16).clamp(256 << 10, 16 << 20)
}
