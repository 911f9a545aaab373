//! The state that the engine's tasks share with the threads of the spool.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::error;

use super::Place;
use super::log::event::NewRecord;
use super::log::index::Index;
use super::observer::Observer;
use crate::message::subject::Subject;
use crate::outcome::{SpoolError, SpoolLoss};
use crate::sync::lock;

/// The length of a record has 32 bits.
pub(super) const MAX_RECORD: u64 = u32::MAX as u64;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limit_bytes: u64,
    index: Arc<Mutex<Index>>,
    /// The index's counts of pending events and of those that have left, which keep the steady path off its lock.
    events: Arc<AtomicU64>,
    pub(super) left: Arc<AtomicUsize>,
    /// Whether the replay marker is on the disk.
    pub(super) has_marker: AtomicBool,
    /// The damage that the scan found, once it has ended.
    pub(super) loss: OnceLock<SpoolLoss>,
    pub(super) observer: Observer,
    pub(super) is_closed: AtomicBool,
    /// The used bytes from which on it is full: those beside which the latest event found no room, or the limit.
    /// Changed under the lock of the index.
    full_from: AtomicU64,
    /// Whether a thread of the spool has panicked.
    has_failed: AtomicBool,
    /// Whether the scan has ended. Before, each subject may have events.
    is_complete: AtomicBool,
    /// Subjects that got an event since they were last taken.
    pub(super) entered: Mutex<HashSet<Subject>>,
    /// Notified when an event comes in, or is found.
    pub(super) came_in: Notify,
    /// Notified when the last event of a subject has left, when the count is complete, and when the spool is closed or
    /// fails.
    pub(super) drained: Notify,
    /// Whether the writer has ended, and the folder is free.
    has_ended: Mutex<bool>,
    ended: Condvar,
}

impl Shared {
    pub(super) fn new(limit_bytes: u64, index: Arc<Mutex<Index>>) -> Self {
        let (events, left, has_marker) = {
            let index = lock(&index);
            let (events, left) = (Arc::clone(&index.events), Arc::clone(&index.left));
            (events, left, index.state.replay_began)
        };
        Self {
            limit_bytes,
            index,
            events,
            left,
            has_marker: AtomicBool::new(has_marker),
            loss: OnceLock::new(),
            observer: Observer::default(),
            is_closed: AtomicBool::new(false),
            full_from: AtomicU64::new(limit_bytes),
            has_failed: AtomicBool::new(false),
            is_complete: AtomicBool::new(false),
            entered: Mutex::default(),
            came_in: Notify::new(),
            drained: Notify::new(),
            has_ended: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// The scan has ended.
    pub(super) fn complete(&self) {
        self.is_complete.store(true, Ordering::Release);
        self.drained.notify_waiters();
    }

    /// Runs a thread of the spool, which takes no more events after a panic.
    pub(super) fn run(&self, thread: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(thread)).is_err() {
            self.fail();
        }
    }

    /// The writer has ended, and the folder is free.
    pub(super) fn end(&self) {
        *lock(&self.has_ended) = true;
        self.ended.notify_all();
    }

    /// Waits up to `wait` for the end of the writer; blocking. Returns whether it has ended.
    pub(super) fn has_ended_within(&self, wait: Duration) -> bool {
        let has_ended = lock(&self.has_ended);
        let waited = self
            .ended
            .wait_timeout_while(has_ended, wait, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// A thread has panicked.
    fn fail(&self) {
        self.has_failed.store(true, Ordering::Release);
        self.drained.notify_waiters();
        error!(
            "a thread of the spool has panicked: it takes no more events until the process restarts"
        );
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    /// Makes room for one event.
    pub(super) fn reserve(&self, subject: &Subject, bytes: u64) -> Result<(), SpoolError> {
        let limit_bytes = self.limit_bytes;
        if self.has_failed() {
            return Err(SpoolError::Failed);
        }
        let limit = limit_bytes.min(MAX_RECORD);
        if bytes > limit {
            return Err(SpoolError::TooLarge { bytes, limit });
        }
        let mut index = lock(&self.index);
        let used_bytes = index.used_bytes;
        if bytes > limit_bytes.saturating_sub(used_bytes) {
            let full_from = used_bytes.min(limit_bytes);
            self.full_from.store(full_from, Ordering::Relaxed);
            return Err(SpoolError::Full {
                used_bytes,
                limit_bytes,
            });
        }
        index.reserve(subject, bytes);
        self.full_from.store(limit_bytes, Ordering::Relaxed);
        Ok(())
    }

    /// The used bytes, if the latest event found no room and none has left since, or if they reach the limit.
    pub(super) fn full_at(&self) -> Option<u64> {
        let used_bytes = lock(&self.index).used_bytes;
        (used_bytes >= self.full_from.load(Ordering::Relaxed)).then_some(used_bytes)
    }

    /// Undoes [`reserve`](Self::reserve) for the events among the records.
    pub(super) fn release<'a>(&self, records: impl IntoIterator<Item = &'a NewRecord>) {
        for record in records {
            if let Some(subject) = &record.subject
                && lock(&self.index).release(subject, record.head.size())
            {
                self.drained.notify_waiters();
            }
        }
    }

    /// An event is stored, or a dead letter.
    pub(super) fn leave(&self, place: &Place) {
        let mut index = lock(&self.index);
        let is_drained = index.leave(Some(&place.subject), place.index, place.bytes);
        drop(index);
        if is_drained == Some(true) {
            self.drained.notify_waiters();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_complete() && self.counts_none()
    }

    /// Events of these subjects can be read.
    pub(super) fn entered<'a>(&self, subjects: impl IntoIterator<Item = &'a Subject>) {
        let mut entered = lock(&self.entered);
        entered.extend(subjects.into_iter().cloned());
        let is_empty = entered.is_empty();
        drop(entered);
        if !is_empty {
            self.came_in.notify_one();
        }
    }

    /// Whether no pending event is counted.
    pub(super) fn counts_none(&self) -> bool {
        self.events.load(Ordering::Acquire) == 0
    }
}
