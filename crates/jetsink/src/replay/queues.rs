//! The subjects in the spool, and the order in which their events are sent.
//!
//! A subject is ready, delayed until a time, or idle while all its events are in flight or it is to be reconciled;
//! a result or a look-up makes an idle one ready again. An idle or delayed subject is not looked at, otherwise each event would cost
//! a look at all subjects.
//!
//! Invariant: each queue that `is_scheduled` is in `schedule` once, ready or delayed, and no other is.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

use super::LOOK_AGAIN;
use super::expiry::Expiry;
use super::subject_queue::SubjectQueue;
use crate::message::subject::Subject;
use crate::outcome::SpoolError;
use crate::publish::schedule::Schedule;
use crate::spool::{Place, Record, Spool};

/// With this many ready subjects nothing is read ahead, to bound the memory.
const FEW_SUBJECTS: usize = 8;

pub(super) struct SubjectQueues<'a> {
    spool: &'a Spool,
    expiry: &'a Expiry,
    queues: HashMap<Subject, SubjectQueue>,
    schedule: Schedule<Subject>,
    /// A subject must be reconciled, and none of its events is in flight.
    must_reconcile: bool,
}

/// What comes next for a subject that was looked at.
enum Next {
    Ready,
    ReadyLast,
    Delayed(Instant),
    Idle,
    Ended,
}

impl<'a> SubjectQueues<'a> {
    pub(super) fn new(spool: &'a Spool, expiry: &'a Expiry) -> Self {
        Self {
            spool,
            expiry,
            queues: HashMap::new(),
            schedule: Schedule::default(),
            must_reconcile: false,
        }
    }

    /// Whether a subject was found since the last call that is to be reconciled, and has nothing in flight.
    pub(super) fn take_must_reconcile(&mut self) -> bool {
        std::mem::take(&mut self.must_reconcile)
    }

    /// More subjects may be due to be reconciled.
    pub(super) fn reconcile_more(&mut self) {
        self.must_reconcile = true;
    }

    /// The subjects with events in flight.
    pub(super) fn in_flight(&self) -> HashSet<Subject> {
        let queues = self.queues.iter().filter(|(_, queue)| queue.in_flight > 0);
        queues.map(|(subject, _)| subject.clone()).collect()
    }

    /// A look-up of these subjects has ended: they are read from their beginning.
    pub(super) fn looked_up(&mut self, subjects: &[Subject]) {
        for subject in subjects {
            if let Some(queue) = self.queues.get_mut(subject) {
                queue.start_over();
            }
            self.resume(subject);
        }
    }

    /// Makes subjects ready that got an event. One without a queue comes first: the others may have a large
    /// backlog.
    pub(super) fn add_entered(&mut self) {
        for subject in self.spool.take_entered() {
            if self.queues.contains_key(&subject) {
                // It may have been reconciled because nothing of it was left.
                if !self.spool.is_unreconciled(&subject) {
                    self.resume(&subject);
                }
            } else {
                self.schedule.push_front(subject.clone());
                self.queues
                    .insert(subject.clone(), SubjectQueue::new(subject));
            }
        }
    }

    /// Adds a queue for each subject in the spool that has none.
    pub(super) fn add_all_subjects(&mut self) {
        let mut subjects = self.spool.subjects();
        // In the order on the disk: neighbours share pages when they are read and removed.
        subjects.sort_unstable();
        for subject in subjects {
            if !self.queues.contains_key(&subject) {
                self.schedule.push_back(subject.clone());
                self.queues
                    .insert(subject.clone(), SubjectQueue::new(subject));
            }
        }
    }

    /// Takes the next event to send; `None` if none may be sent now.
    pub(super) async fn next_event(&mut self) -> Result<Option<(Place, Record)>, SpoolError> {
        let now = Instant::now();
        self.schedule.wake(now);
        for _ in 0..self.schedule.ready() {
            let Some(subject) = self.schedule.pop_front() else {
                return Ok(None);
            };
            let event = self.next_of(subject, now).await?;
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Takes the next event of a subject that was ready, and schedules the subject again.
    async fn next_of(
        &mut self,
        subject: Subject,
        now: Instant,
    ) -> Result<Option<(Place, Record)>, SpoolError> {
        let reads_ahead = self.schedule.ready() < FEW_SUBJECTS;
        let Some(queue) = self.queues.get_mut(&subject) else {
            return Ok(None);
        };
        let unreconciled = self.spool.is_unreconciled(&subject);
        let waits = unreconciled || queue.waits(now);
        let event = if waits {
            None
        } else {
            queue.next(self.spool, self.expiry, reads_ahead).await?
        };
        let has_event = event.is_some();
        let in_flight = queue.in_flight as u64;
        self.must_reconcile |= unreconciled && in_flight == 0;
        let next = if unreconciled {
            // Until it is looked up.
            Next::Idle
        } else if has_event && queue.continues() {
            Next::Ready
        } else if in_flight > 0 && (waits || self.spool.waiting(&subject) <= in_flight) {
            Next::Idle
        } else if waits {
            Next::Delayed(queue.delayed_until.unwrap_or(now + LOOK_AGAIN))
        } else if has_event || in_flight > 0 {
            Next::ReadyLast
        } else {
            Next::Ended
        };
        self.reschedule(subject, next);
        Ok(event)
    }

    fn reschedule(&mut self, subject: Subject, next: Next) {
        match next {
            Next::Ready => self.schedule.push_front(subject),
            Next::ReadyLast => self.schedule.push_back(subject),
            Next::Delayed(until) => self.schedule.delay_until(subject, until),
            Next::Idle => {
                if let Some(queue) = self.queues.get_mut(&subject) {
                    queue.is_scheduled = false;
                }
            }
            Next::Ended => {
                self.queues.remove(&subject);
            }
        }
    }

    /// An event of this subject was stored.
    pub(super) fn delivered(&mut self, subject: &Subject) {
        if let Some(queue) = self.queues.get_mut(subject) {
            queue.delivered();
        }
    }

    /// An event of this subject was refused for good, which concerns no other event.
    pub(super) fn refused(&mut self, subject: &Subject) {
        if let Some(queue) = self.queues.get_mut(subject) {
            queue.in_flight -= 1;
        }
    }

    /// An event of this subject failed: the subject waits until this time.
    pub(super) fn failed(&mut self, subject: &Subject, until: Instant) {
        if let Some(queue) = self.queues.get_mut(subject) {
            queue.failed(until);
        }
    }

    /// After a result: makes an idle subject ready again if it has more to send.
    pub(super) fn resume(&mut self, subject: &Subject) {
        let Some(queue) = self.queues.get_mut(subject) else {
            return;
        };
        if queue.is_scheduled || queue.waits_for_results() {
            return;
        }
        if self.spool.waiting(subject) > queue.in_flight as u64 {
            queue.is_scheduled = true;
            self.schedule.push_back(subject.clone());
        } else if queue.in_flight == 0 {
            self.queues.remove(subject);
        }
    }

    /// The time at which a delayed subject becomes ready.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.schedule.first_due().map(|(until, _)| until)
    }
}
