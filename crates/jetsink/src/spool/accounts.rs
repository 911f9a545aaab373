//! What the spool holds, counted in memory: by subject, in events and in bytes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::tables::{Batch, Contents, Lane};
use crate::message::subject::Subject;
use crate::outcome::SpoolError;

#[derive(Debug)]
pub(super) struct Accounts {
    limit_bytes: u64,
    /// Bytes of everything: events and dead letters, those on their way to the disk among them.
    used_bytes: AtomicU64,
    /// Events that are not known to be stored; to keep the steady path off the lock.
    events: AtomicU64,
    lanes: Mutex<HashMap<Subject, Lane>>,
    dead: Mutex<Lane>,
    /// Told when an event comes in.
    pub(super) came_in: Notify,
    /// Told when the last event of a subject has left.
    pub(super) drained: Notify,
}

impl Accounts {
    pub(super) fn new(contents: &Contents, limit_bytes: u64) -> Self {
        let lanes = contents.lanes.values();
        let bytes: u64 = lanes.clone().map(|lane| lane.bytes).sum();
        Self {
            limit_bytes,
            used_bytes: AtomicU64::new(bytes + contents.dead.bytes),
            events: AtomicU64::new(lanes.map(|lane| lane.events).sum()),
            lanes: Mutex::new(contents.lanes.clone()),
            dead: Mutex::new(contents.dead),
            came_in: Notify::new(),
            drained: Notify::new(),
        }
    }

    /// Takes back what [`take_in`](Self::take_in) did.
    pub(super) fn give_back(&self, subject: &Subject, bytes: u64) {
        self.leave(subject, bytes);
        self.used_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Whether there will never be room for so much.
    pub(super) fn is_too_large(&self, bytes: u64) -> bool {
        bytes > self.limit_bytes
    }

    /// Makes room for one event.
    pub(super) fn take_in(&self, subject: &Subject, bytes: u64) -> Result<(), SpoolError> {
        let limit_bytes = self.limit_bytes;
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= limit_bytes);
        self.used_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, fits)
            .map_err(|used_bytes| SpoolError::Full {
                used_bytes,
                limit_bytes,
            })?;
        let mut lanes = self.lanes();
        match lanes.get_mut(subject) {
            Some(lane) => lane.add(bytes),
            None => lanes.entry(subject.clone()).or_default().add(bytes),
        }
        self.events.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// One event of this subject is stored, or buried. Its bytes are free once that is on the disk.
    pub(super) fn leave(&self, subject: &Subject, bytes: u64) {
        let mut lanes = self.lanes();
        let Some(lane) = lanes.get_mut(subject) else {
            return;
        };
        lane.events = lane.events.saturating_sub(1);
        lane.bytes = lane.bytes.saturating_sub(bytes);
        let empty = lane.events == 0;
        if empty {
            lanes.remove(subject);
        }
        self.events.fetch_sub(1, Ordering::AcqRel);
        drop(lanes);
        if empty {
            self.drained.notify_waiters();
        }
    }

    /// What a commit came to.
    pub(super) fn settle(&self, batch: &Batch, committed: bool) {
        if committed {
            self.used_bytes
                .fetch_sub(batch.freed_bytes, Ordering::AcqRel);
            self.add_letters(batch);
            if !batch.append.is_empty() {
                self.came_in.notify_one();
            }
        } else {
            for (subject, _, record) in &batch.append {
                self.give_back(subject, record.len() as u64);
            }
        }
    }

    /// Nobody knows yet what a commit came to: its events count among those that wait, so that later
    /// ones queue behind them. Whoever reads finds out.
    pub(super) fn leave_open(&self, batch: &Batch) {
        if !batch.append.is_empty() {
            self.came_in.notify_one();
        }
    }

    /// What a commit came to that was left open. Removals were told as failed and are made again,
    /// which frees their bytes.
    pub(super) fn settle_late(&self, batch: &Batch, committed: bool) {
        if committed {
            for letter in &batch.bury {
                let bytes = letter.record.encoded_len() as u64;
                self.give_back(letter.record.envelope.subject(), bytes);
            }
            self.add_letters(batch);
            self.leave_open(batch);
        } else {
            for (subject, _, record) in &batch.append {
                self.give_back(subject, record.len() as u64);
            }
        }
    }

    fn add_letters(&self, batch: &Batch) {
        if batch.bury.is_empty() {
            return;
        }
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        for letter in &batch.bury {
            let bytes = letter.encode().len() as u64;
            dead.add(bytes);
            self.used_bytes.fetch_add(bytes, Ordering::AcqRel);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.load(Ordering::Acquire) == 0
    }

    pub(super) fn lane(&self, subject: &Subject) -> Lane {
        if self.is_empty() {
            return Lane::default();
        }
        self.lanes().get(subject).copied().unwrap_or_default()
    }

    pub(super) fn subjects(&self) -> Vec<Subject> {
        self.lanes().keys().cloned().collect()
    }

    pub(super) fn totals(&self) -> Totals {
        let dead = *self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        Totals {
            events: self.events.load(Ordering::Acquire),
            subjects: self.lanes().len() as u64,
            used_bytes: self.used_bytes.load(Ordering::Acquire),
            limit_bytes: self.limit_bytes,
            dead_letters: dead.events,
        }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Subject, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sums of it.
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
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::spool::tests::{letter, record};

    /// One event that was taken in, and the batch that appends it.
    fn taken_in() -> (Accounts, Subject, Batch) {
        let accounts = Accounts::new(&Contents::default(), 10_000);
        let record = record("a", 0);
        let subject = record.envelope.subject().clone();
        let bytes = record.encode();
        accounts.take_in(&subject, bytes.len() as u64).unwrap();
        let batch = Batch {
            append: vec![(subject.clone(), 0, bytes)],
            ..Batch::default()
        };
        (accounts, subject, batch)
    }

    fn wakes(accounts: &Accounts) -> bool {
        pin!(accounts.came_in.notified()).now_or_never().is_some()
    }

    const AT_ONCE_AND_LATE: [fn(&Accounts, &Batch, bool); 2] =
        [Accounts::settle, Accounts::settle_late];

    #[test]
    fn who_reads_is_woken_where_an_event_is_or_may_be() {
        let (accounts, _, batch) = taken_in();
        for settle in AT_ONCE_AND_LATE {
            settle(&accounts, &Batch::default(), true);
            assert!(!wakes(&accounts), "nothing came in");
            settle(&accounts, &batch, true);
            assert!(wakes(&accounts));
        }
        accounts.leave_open(&Batch::default());
        assert!(!wakes(&accounts));
        accounts.leave_open(&batch);
        assert!(wakes(&accounts));
        assert_eq!(accounts.totals().events, 1);
    }

    #[test]
    fn what_was_not_made_gives_its_room_back() {
        for settle in AT_ONCE_AND_LATE {
            let (accounts, subject, batch) = taken_in();
            settle(&accounts, &batch, false);
            let totals = accounts.totals();
            let left = (totals.events, totals.subjects, totals.used_bytes);
            assert_eq!(left, (0, 0, 0));
            assert_eq!(accounts.lane(&subject), Lane::default());
            assert!(!wakes(&accounts));
        }
    }

    #[test]
    fn a_dead_letter_takes_the_room_that_it_needs() {
        let (accounts, subject, _) = taken_in();
        let letter = letter("a", 0);
        let bytes = letter.encode().len() as u64;
        let batch = Batch {
            bury: vec![letter],
            ..Batch::default()
        };
        // Late, since a burial that is told at once is counted by who asked for it.
        accounts.settle_late(&batch, true);
        let totals = accounts.totals();
        assert_eq!((totals.events, totals.dead_letters), (0, 1));
        assert_eq!(totals.used_bytes, bytes);
        assert_eq!(accounts.lane(&subject).events, 0);
    }
}
