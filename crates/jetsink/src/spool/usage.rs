//! The contents of the spool, counted in memory: by subject, in events and in bytes.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tracing::error;

use super::log::backlog::{Count, Counted};
use crate::message::subject::Subject;
use crate::outcome::SpoolError;
use crate::sync::lock;

/// The length of a record has 32 bits.
const MAX_RECORD: u64 = u32::MAX as u64;

#[derive(Debug)]
pub(super) struct Usage {
    limit_bytes: u64,
    /// Bytes of everything: events and dead letters, those on their way to the disk among them.
    used_bytes: AtomicU64,
    /// Events that are not known to be stored; to keep the steady path off the lock.
    events: AtomicU64,
    /// Whether a thread of the spool has panicked.
    has_failed: AtomicBool,
    /// Whether the scan has ended. Before, each subject may have events.
    is_complete: AtomicBool,
    subjects: Mutex<HashMap<Subject, Count>>,
    dead: Mutex<Count>,
    /// Subjects that got an event since [`take_entered`](Self::take_entered).
    entered: Mutex<HashSet<Subject>>,
    /// Notified when an event comes in, or is found.
    pub(super) came_in: Notify,
    /// Notified when the last event of a subject has left, when the count is complete, and when the spool is closed or
    /// fails.
    pub(super) drained: Notify,
}

impl Usage {
    /// `uncounted`: an upper bound for the bytes that the scan will count.
    pub(super) fn new(limit_bytes: u64, uncounted: u64) -> Self {
        Self {
            limit_bytes,
            used_bytes: AtomicU64::new(uncounted),
            events: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            is_complete: AtomicBool::new(false),
            subjects: Mutex::default(),
            dead: Mutex::default(),
            entered: Mutex::default(),
            came_in: Notify::new(),
            drained: Notify::new(),
        }
    }

    /// Adds contents that the scan found. Until it ends, `uncounted` has their bytes.
    pub(super) fn add(&self, counted: &Counted) {
        let mut subjects = self.lock_subjects();
        for (subject, count) in &counted.subjects {
            subjects.entry(subject.clone()).or_default().add(*count);
            self.events.fetch_add(count.events, Ordering::AcqRel);
        }
        drop(subjects);
        self.lock_dead().add(counted.letters);
    }

    /// The scan has ended.
    pub(super) fn complete(&self, counted_bytes: u64, uncounted: u64) {
        // At once, or an event would be refused for bytes that are counted twice. It wraps.
        let more = counted_bytes.wrapping_sub(uncounted);
        self.used_bytes.fetch_add(more, Ordering::AcqRel);
        self.is_complete.store(true, Ordering::Release);
        self.drained.notify_waiters();
    }

    /// A thread has panicked: the spool takes no more events.
    pub(super) fn fail(&self) {
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

    /// Whether there will never be room for so much.
    pub(super) fn is_too_large(&self, bytes: u64) -> bool {
        bytes > self.limit_bytes.min(MAX_RECORD)
    }

    /// Makes room for one event.
    pub(super) fn reserve(&self, subject: &Subject, bytes: u64) -> Result<(), SpoolError> {
        let limit_bytes = self.limit_bytes;
        if self.has_failed() {
            return Err(SpoolError::Failed);
        }
        if bytes > MAX_RECORD {
            return Err(SpoolError::TooLarge { bytes });
        }
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= limit_bytes);
        self.used_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, fits)
            .map_err(|used_bytes| SpoolError::Full {
                used_bytes,
                limit_bytes,
            })?;
        let mut subjects = self.lock_subjects();
        let one = Count { events: 1, bytes };
        match subjects.get_mut(subject) {
            Some(usage) => usage.add(one),
            None => subjects.entry(subject.clone()).or_default().add(one),
        }
        self.events.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Undoes [`reserve`](Self::reserve).
    pub(super) fn release(&self, subject: &Subject, bytes: u64) {
        self.leave(subject, bytes);
        self.free(bytes);
    }

    /// One event of this subject is stored, or a dead letter. Its bytes are free once that is on the disk.
    pub(super) fn leave(&self, subject: &Subject, bytes: u64) {
        let mut subjects = self.lock_subjects();
        let Some(usage) = subjects.get_mut(subject) else {
            return;
        };
        usage.subtract(Count { events: 1, bytes });
        let empty = usage.events == 0;
        if empty {
            subjects.remove(subject);
        }
        self.events.fetch_sub(1, Ordering::AcqRel);
        drop(subjects);
        if empty {
            self.drained.notify_waiters();
        }
    }

    /// The bytes of a record that has left the disk.
    pub(super) fn free(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// A dead letter is on the disk.
    pub(super) fn add_letter(&self, bytes: u64) {
        self.lock_dead().add(Count { events: 1, bytes });
        self.used_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_complete() && self.counts_none()
    }

    /// The number of pending events of a subject: any number, until the scan has ended.
    pub(super) fn waiting(&self, subject: &Subject) -> u64 {
        match self.is_complete() {
            true => self.counted(subject),
            false => u64::MAX,
        }
    }

    /// The number of pending events of a subject, as far as they are counted.
    pub(super) fn counted(&self, subject: &Subject) -> u64 {
        if self.counts_none() {
            return 0;
        }
        self.lock_subjects()
            .get(subject)
            .map_or(0, |usage| usage.events)
    }

    /// Events of these subjects can be read.
    pub(super) fn entered<'a>(&self, subjects: impl IntoIterator<Item = &'a Subject>) {
        let mut entered = lock(&self.entered);
        for subject in subjects {
            if !entered.contains(subject) {
                entered.insert(subject.clone());
            }
        }
        let is_empty = entered.is_empty();
        drop(entered);
        if !is_empty {
            self.came_in.notify_one();
        }
    }

    /// Takes the subjects that got an event since the last call.
    pub(super) fn take_entered(&self) -> HashSet<Subject> {
        std::mem::take(&mut lock(&self.entered))
    }

    /// Whether no pending event is counted.
    pub(super) fn counts_none(&self) -> bool {
        self.events.load(Ordering::Acquire) == 0
    }

    pub(super) fn subjects(&self) -> Vec<Subject> {
        self.lock_subjects().keys().cloned().collect()
    }

    pub(super) fn totals(&self) -> Totals {
        let dead = *self.lock_dead();
        Totals {
            events: self.events.load(Ordering::Acquire),
            subjects: self.lock_subjects().len() as u64,
            used_bytes: self.used_bytes.load(Ordering::Acquire),
            limit_bytes: self.limit_bytes,
            dead_letters: dead.events,
        }
    }

    fn lock_subjects(&self) -> MutexGuard<'_, HashMap<Subject, Count>> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_dead(&self) -> MutexGuard<'_, Count> {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sums of all subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) events: u64,
    pub(super) subjects: u64,
    pub(super) used_bytes: u64,
    pub(super) limit_bytes: u64,
    pub(super) dead_letters: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_the_scan_never_counts_bytes_twice() {
        const BYTES: u64 = 1_000;
        let usage = Usage::new(u64::MAX, BYTES);
        let has_ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100_000 {
                    usage.complete(BYTES, BYTES);
                }
                has_ended.store(true, Ordering::Relaxed);
            });
            while !has_ended.load(Ordering::Relaxed) {
                assert_eq!(usage.used_bytes.load(Ordering::Relaxed), BYTES);
            }
        });
        usage.complete(100, BYTES);
        assert_eq!(usage.totals().used_bytes, 100);
    }

    #[test]
    fn uncounted_contents_keep_every_subject_waiting_until_they_are_counted() {
        let usage = Usage::new(10_000, 5_000);
        let [old, new] = ["old", "new"].map(|text| Subject::new(text).unwrap());
        assert_eq!(usage.waiting(&new), u64::MAX);
        assert!(!usage.is_empty());
        usage.reserve(&new, 5_000).unwrap();
        assert!(matches!(
            usage.reserve(&new, 1),
            Err(SpoolError::Full { .. })
        ));
        let count = |events, bytes| Count { events, bytes };
        let counted = Counted {
            subjects: [(old.clone(), count(2, 600))].into(),
            letters: count(1, 100),
        };
        usage.add(&counted);
        assert_eq!((usage.waiting(&old), usage.counted(&old)), (u64::MAX, 2));
        usage.complete(counted.bytes(), 5_000);
        assert_eq!((usage.waiting(&old), usage.waiting(&new)), (2, 1));
        let totals = usage.totals();
        assert_eq!(
            (totals.events, totals.dead_letters, totals.used_bytes),
            (3, 1, 5_700)
        );
        usage.release(&new, 5_000);
        let huge = Usage::new(u64::MAX, 0).reserve(&new, 1 << 32);
        assert_eq!(huge, Err(SpoolError::TooLarge { bytes: 1 << 32 }));
        usage.leave(&old, 300);
        assert_eq!(usage.waiting(&old), 1);
        usage.leave(&old, 300);
        assert!(usage.is_empty());
        assert_eq!(
            usage.totals().used_bytes,
            700,
            "on the disk until it is marked"
        );
    }
}
