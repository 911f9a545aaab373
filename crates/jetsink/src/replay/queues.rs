//! The subjects in the spool, and the order in which their events are sent.
//!
//! One reading of the disk covers the next events of many ready subjects, with an equal share for each. Its events
//! are sent in the order of the log while the next reading is on its way. Subjects take turns, so a subject that
//! gets its first event comes before the rest of a large backlog. A reading is bounded in bytes, too: the subjects
//! that got nothing lead the next one.
//!
//! Invariants:
//! 1. Each queue that is [`Turn::Scheduled`] is in `schedule` once, ready or delayed, and no other is. An idle
//!    subject is not looked at, otherwise each event would cost a look at all subjects.
//! 2. In memory are the events of one reading, and of the next one.
//! 3. A queue keeps its id for as long as it is in `schedule` or has an event in flight. An event that was read may have
//!    the id of a queue that is gone: its epoch tells, which no other queue has.

use std::collections::{HashMap, HashSet, VecDeque};

use slab::Slab;
use tokio::time::Instant;
use tracing::warn;

use super::DISK_REST;
use super::expiry::{Expiry, dead_letter, move_to_dead_letters};
use super::subject_queue::{SubjectQueue, Turn};
use crate::message::subject::Subject;
use crate::outcome::SpoolError;
use crate::publish::schedule::Schedule;
use crate::spool::{Chunk, DeadRecord, MAX_READ, Place, Reading, Record, Spool, Wanted};

/// The queue of a subject.
pub(super) type QueueId = usize;

/// The damaged events of a run that have a line each in the log.
const MAX_LOGGED: u64 = 20;

pub(super) struct SubjectQueues<'a> {
    spool: &'a Spool,
    expiry: &'a Expiry,
    /// Made when a subject is first looked for: a run without new events and look-ups needs none.
    ids: Option<HashMap<Subject, QueueId>>,
    /// In the order of the log at the beginning of a run: neighbours are read together.
    queues: Slab<SubjectQueue>,
    schedule: Schedule<QueueId>,
    /// Events in the order of the log.
    read: VecDeque<ReadEvent>,
    /// The reading of the events behind those.
    ahead: Option<Ahead>,
    /// The maximum number of events in one reading of this run.
    max_read: usize,
    next_epoch: u64,
    /// A subject must be reconciled, and none of its events is in flight.
    must_reconcile: bool,
    /// Events that were damaged when they were read.
    damaged: u64,
}

/// A reading, and the queues and epochs of its chunks.
struct Ahead {
    reading: Reading,
    queues: Vec<(QueueId, u64)>,
}

/// An event that was read, with its queue and the epoch of that.
struct ReadEvent {
    queue: QueueId,
    epoch: u64,
    place: Place,
    record: Record,
}

impl<'a> SubjectQueues<'a> {
    /// A subject that enters the spool waits for up to two readings of `max_read` events.
    pub(super) fn new(spool: &'a Spool, expiry: &'a Expiry, max_read: usize) -> Self {
        Self {
            spool,
            expiry,
            ids: None,
            queues: Slab::new(),
            schedule: Schedule::default(),
            read: VecDeque::new(),
            ahead: None,
            max_read: max_read.clamp(1, MAX_READ),
            next_epoch: 0,
            must_reconcile: false,
            damaged: 0,
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
        queues.map(|(_, queue)| queue.subject.clone()).collect()
    }

    /// A look-up of these subjects has ended: they are read from their beginning.
    pub(super) fn looked_up(&mut self, subjects: &[Subject]) {
        for subject in subjects {
            if let Some(id) = self.id_of(subject) {
                self.start_over(id);
            }
        }
    }

    /// Makes subjects ready that got an event, unless their look-up `is_delayed`. One without a queue comes first: the
    /// others may have a large backlog.
    pub(super) fn add_entered(&mut self, is_delayed: impl Fn(&Subject) -> bool) {
        let mut new = Vec::new();
        for subject in self.spool.take_entered() {
            let Some(id) = self.id_of(&subject) else {
                new.push(subject);
                continue;
            };
            self.queues[id].has_more = true;
            // It may have been reconciled when its last event left, and be unreconciled again.
            if !is_delayed(&subject) {
                self.resume(id);
            }
        }
        if new.is_empty() {
            return;
        }
        for subject in self.spool.in_log_order(new).into_iter().rev() {
            let id = self.add_queue(subject);
            self.schedule.push_front(id);
        }
    }

    /// Adds all subjects in the spool, at the beginning of a run.
    pub(super) fn add_all_subjects(&mut self) {
        // They are among the others.
        drop(self.spool.take_entered());
        let subjects = self.spool.subjects();
        self.queues.reserve(subjects.len());
        for subject in subjects {
            let id = self.add_queue(subject);
            self.schedule.push_back(id);
        }
    }

    fn add_queue(&mut self, subject: Subject) -> QueueId {
        let epoch = self.new_epoch();
        let id = self.queues.insert(SubjectQueue::new(subject, epoch));
        if let Some(ids) = &mut self.ids {
            ids.insert(self.queues[id].subject.clone(), id);
        }
        id
    }

    fn id_of(&mut self, subject: &Subject) -> Option<QueueId> {
        let queues = self.queues.iter();
        let ids = queues.map(|(id, queue)| (queue.subject.clone(), id));
        let ids = self.ids.get_or_insert_with(|| ids.collect());
        ids.get(subject).copied()
    }

    fn new_epoch(&mut self) -> u64 {
        self.next_epoch += 1;
        self.next_epoch
    }

    /// Takes the next event to send, which is in flight from now on; `None` if none may be sent now.
    pub(super) async fn next_event(
        &mut self,
    ) -> Result<Option<(QueueId, Place, Record)>, SpoolError> {
        loop {
            while let Some(event) = self.read.pop_front() {
                // A low rate may have delayed it since it was read.
                if self
                    .expiry
                    .reason(&event.record, || self.spool.now())
                    .is_some()
                {
                    self.read.push_front(event);
                    self.move_expired().await?;
                } else if let Some(queue) = self.sendable(event.queue, event.epoch) {
                    queue.sent();
                    return Ok(Some((event.queue, event.place, event.record)));
                }
            }
            let Some(ahead) = self.ahead.take().or_else(|| self.begin_reading()) else {
                return Ok(None);
            };
            self.finish_reading(ahead).await?;
            self.ahead = self.begin_reading();
        }
    }

    /// Returns the queue of an event that was read in `epoch`, if the event may still be sent.
    fn sendable(&mut self, id: QueueId, epoch: u64) -> Option<&mut SubjectQueue> {
        let queue = self.queues.get(id).filter(|queue| queue.epoch == epoch)?;
        // Checked behind the reading: an event that may be stored is marked before it can be read.
        if self.spool.is_unreconciled(&queue.subject) {
            self.start_over(id);
            return None;
        }
        self.queues.get_mut(id)
    }

    /// Moves the events that have expired since they were read to the dead letters, with one sync.
    async fn move_expired(&mut self) -> Result<(), SpoolError> {
        let (expiry, now) = (self.expiry, self.spool.now());
        let mut expired = Vec::new();
        let mut queues = HashSet::new();
        for event in std::mem::take(&mut self.read) {
            let Some(queue) = self.sendable(event.queue, event.epoch) else {
                continue;
            };
            match expiry.reason(&event.record, || now) {
                Some(reason) => {
                    queue.read -= 1;
                    queues.insert(event.queue);
                    expired.push((dead_letter(event.record, 0, reason), event.place));
                }
                None => self.read.push_back(event),
            }
        }
        move_to_dead_letters(self.spool, expired).await?;
        for id in queues {
            self.resume(id);
        }
        Ok(())
    }

    /// Begins to read the next events of the subjects that are ready; `None` if none is.
    fn begin_reading(&mut self) -> Option<Ahead> {
        let now = Instant::now();
        self.schedule.wake(now);
        let (mut queues, mut wanted) = (Vec::new(), Vec::new());
        // Ready subjects may turn out to have to wait.
        for _ in 0..self.schedule.ready() {
            if queues.len() == self.max_read {
                break;
            }
            let Some(id) = self.schedule.pop_front() else {
                break;
            };
            let queue = &mut self.queues[id];
            queue.turn = Turn::Idle;
            if self.spool.is_unreconciled(&queue.subject) {
                self.must_reconcile |= queue.in_flight == 0;
            } else if let Some(until) = queue.delayed_until.filter(|until| now < *until) {
                queue.turn = Turn::Scheduled;
                self.schedule.delay_until(id, until);
            } else if !queue.waits_for_results() {
                let (from, limit) = queue.begin_reading();
                wanted.push(Wanted {
                    subject: queue.subject.clone(),
                    from,
                    limit,
                });
                queues.push((id, queue.epoch));
            }
        }
        let share = self.max_read.checked_div(queues.len())?;
        for wanted in &mut wanted {
            wanted.limit = wanted.limit.min(share);
        }
        let reading = self.spool.begin_reading(wanted);
        Some(Ahead { reading, queues })
    }

    async fn finish_reading(&mut self, ahead: Ahead) -> Result<(), SpoolError> {
        let chunks = self.spool.finish_reading(ahead.reading).await?;
        let (mut expired, mut unread) = (Vec::new(), Vec::new());
        for ((id, epoch), chunk) in ahead.queues.into_iter().zip(chunks) {
            let is_unread = chunk.entries.is_empty() && chunk.more;
            self.add(id, epoch, chunk, &mut expired);
            if is_unread {
                unread.push(id);
            } else {
                self.resume(id);
            }
        }
        for id in unread.into_iter().rev() {
            if self.makes_ready(id) {
                self.schedule.push_front(id);
            }
        }
        let read = self.read.make_contiguous();
        // The entries are large: their keys are sorted, and each entry is moved once.
        read.sort_by_cached_key(|event| event.place.index);
        move_to_dead_letters(self.spool, expired).await
    }

    /// Adds the events that were read of a subject.
    fn add(
        &mut self,
        id: QueueId,
        epoch: u64,
        chunk: Chunk,
        expired: &mut Vec<(DeadRecord, Place)>,
    ) {
        let queue = self.queues.get_mut(id);
        let Some(queue) = queue.filter(|queue| queue.epoch == epoch) else {
            return;
        };
        queue.next = chunk.next;
        queue.has_more |= chunk.more;
        queue.turn = Turn::Idle;
        if chunk.failed.is_some() {
            queue.delayed_until = Some(Instant::now() + DISK_REST);
        }
        let now = self.spool.now();
        for (index, bytes, record) in chunk.entries {
            let place = Place {
                subject: queue.subject.clone(),
                index,
                bytes,
            };
            match record {
                Ok(record) => match self.expiry.reason(&record, || now) {
                    None => {
                        queue.read += 1;
                        self.read.push_back(ReadEvent {
                            queue: id,
                            epoch,
                            place,
                            record,
                        });
                    }
                    Some(reason) => expired.push((dead_letter(record, 0, reason), place)),
                },
                Err(damage) => {
                    self.damaged += 1;
                    if self.damaged <= MAX_LOGGED {
                        warn!(subject = %place.subject, index, %damage, "a spooled event is damaged and lost");
                    }
                    self.spool.damaged(&place);
                }
            }
        }
    }

    /// Logs the number of damaged events, if there are more than those with a line of their own.
    pub(super) fn report(&self) {
        if self.damaged > MAX_LOGGED {
            let events = self.damaged;
            warn!(events, "spooled events are damaged and lost");
        }
    }

    /// An event of this queue was stored: it may be ready again.
    pub(super) fn delivered(&mut self, id: QueueId) {
        self.queues[id].delivered();
        // Most queues have been read ahead, or have more in flight.
        self.resume(id);
    }

    /// An event of this queue was refused for good, which concerns no other event.
    pub(super) fn refused(&mut self, id: QueueId) {
        self.queues[id].in_flight -= 1;
    }

    /// An event of this queue failed: the subject waits until this time.
    pub(super) fn failed(&mut self, id: QueueId, until: Instant) {
        let epoch = self.new_epoch();
        self.queues[id].failed(epoch, until);
    }

    /// Reads a subject from its beginning.
    fn start_over(&mut self, id: QueueId) {
        let epoch = self.new_epoch();
        self.queues[id].start_over(epoch);
        self.resume(id);
    }

    /// Makes an idle subject ready again if it may have more to send, and forgets one that has no events.
    pub(super) fn resume(&mut self, id: QueueId) {
        if self.makes_ready(id) {
            self.schedule.push_back(id);
        }
    }

    /// As [`resume`](Self::resume); returns whether the caller must add the queue to the schedule.
    fn makes_ready(&mut self, id: QueueId) -> bool {
        let queue = self.queues.get_mut(id);
        let Some(queue) = queue.filter(|queue| queue.turn == Turn::Idle) else {
            return false;
        };
        if queue.is_done() {
            let queue = self.queues.remove(id);
            if let Some(ids) = &mut self.ids {
                ids.remove(&queue.subject);
            }
            return false;
        }
        let is_ready = queue.has_more && !queue.waits_for_results();
        if is_ready {
            queue.turn = Turn::Scheduled;
        }
        is_ready
    }

    /// The time at which a delayed subject becomes ready.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.schedule.first_due().map(|(until, _)| until)
    }
}
