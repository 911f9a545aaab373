//! What goes out next, and where to: to the broker, into the spool, or not yet.

use std::sync::Arc;

use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::entry::State;
use super::{LOOK_AGAIN, Phase, Pipeline};
use crate::circuit;
use crate::error::{EmitError, Scope};
use crate::publisher::Publisher;
use crate::scopes::ScopedAdmission;
use crate::sink::{HAND_OVER, spool_event};
use crate::spool::SpoolError;
use crate::subject::Subject;

impl<'a, P: Publisher> Pipeline<'a, P> {
    /// Sends what is queued, oldest first, as far as the circuits let it.
    pub(super) fn send_queued(&mut self) {
        let now = Instant::now();
        self.waits_for_room = false;
        if self.sent == 0 {
            self.follow_connection();
        }
        // Subjects of which one goes to the spool in this round, or has to wait: none behind it may
        // overtake it.
        let mut spooled = Vec::new();
        let mut held_back = Vec::new();
        self.handing_over.retain(|(subject, _)| {
            let spool = self.spool;
            spool.is_some_and(|spool| spool.holds(subject))
        });
        let first_queued = self.queued_from.saturating_sub(self.first) as usize;
        self.queued_from = self.first + self.entries.len() as u64;
        for index in first_queued..self.entries.len() {
            let number = self.first + index as u64;
            let entry = &mut self.entries[index];
            match entry.state {
                State::InFlight { .. } | State::Spooling | State::Settled(_) => continue,
                State::Queued => {}
            }
            let envelope = Arc::clone(&entry.envelope);
            let subject = envelope.subject();
            let failed = self.failed_subjects.as_ref();
            if failed.is_some_and(|failed| failed.contains(subject)) {
                entry.state = State::Settled(Err(entry.not_sent()));
                continue;
            }
            if held_back.contains(subject) {
                self.queued(number);
                continue;
            }
            let for_spool = entry.for_spool.is_some() || spooled.contains(subject);
            if for_spool || self.queues_behind_spooled(index) {
                if !for_spool && self.hands_over(index, now) {
                    held_back.push(subject.clone());
                    self.queued(number);
                } else {
                    self.spool_next(index, now, &mut spooled, &mut held_back);
                }
                continue;
            }
            match self.direct.admit(now, subject) {
                Ok(admission) => self.send(index, admission, now),
                // One of ours is the probe, or will settle; then this is looked at again.
                Err(open)
                    if open.scope == Scope::Broker
                        && (self.sent > 0 || !self.spooling.is_empty()) =>
                {
                    self.queued(number);
                    return;
                }
                Err(open) if self.spool.is_some() => {
                    self.entries[index].for_spool = Some(EmitError::CircuitOpen(open));
                    self.spool_next(index, now, &mut spooled, &mut held_back);
                }
                Err(open) => {
                    self.settle(number, Err(EmitError::CircuitOpen(open)));
                    if let Phase::Settling { .. } = self.phase {
                        self.queued(number);
                        return;
                    }
                }
            }
        }
    }

    /// The entry of this number is queued, or was: it is looked at the next time.
    pub(super) fn queued(&mut self, number: u64) {
        self.queued_from = self.queued_from.min(number);
    }

    /// Whether something of the same subject is in the spool, or on its way there.
    fn queues_behind_spooled(&self, index: usize) -> bool {
        let Some(spool) = self.spool else {
            return false;
        };
        let subject = self.entries[index].envelope.subject();
        let mut before = self.entries.iter().take(index);
        spool.holds(subject)
            || (!self.spooling.is_empty()
                && before.any(|entry| {
                    matches!(entry.state, State::Spooling) && entry.envelope.subject() == subject
                }))
    }

    /// Whether to wait for what is spooled of the entry's subject rather than to put it behind it.
    fn hands_over(&mut self, index: usize, now: Instant) -> bool {
        let subject = self.entries[index].envelope.subject();
        let delivering = self.direct.state() == circuit::State::Connected
            && self.direct.subject_state(subject) == circuit::State::Connected;
        let since = self.handing_over.iter().position(|(s, _)| s == subject);
        match since {
            _ if !delivering => false,
            None => {
                self.handing_over.push((subject.clone(), now + HAND_OVER));
                true
            }
            Some(at) if now < self.handing_over[at].1 => true,
            Some(at) => {
                self.handing_over.swap_remove(at);
                false
            }
        }
    }

    /// A window over the connection that is there now.
    fn follow_connection(&mut self) {
        let connection = self.connection.as_ref();
        let current = connection.map(|connection| connection.borrow().number);
        if self.in_flight.is_none() || current != self.connection_in_use {
            self.connection_in_use = current;
            self.in_flight = Some(self.direct.publisher().window(current));
        }
    }

    fn send(&mut self, index: usize, admission: ScopedAdmission<'a>, now: Instant) {
        let Some(in_flight) = &mut self.in_flight else {
            return; // there is one: `send_queued` begins with it
        };
        let entry = &mut self.entries[index];
        entry.sent_at.get_or_insert(now);
        entry.state = State::InFlight {
            sent_at: now,
            admission,
            _counted: self.direct.in_flight(),
        };
        let deadline = now + self.direct.settings().deadline;
        in_flight.send(self.first + index as u64, &entry.envelope, deadline);
        self.sent += 1;
    }

    /// Sends an entry into the spool, unless something of its subject in front of it is on its way to
    /// the broker: should that fail, it goes there first.
    fn spool_next(
        &mut self,
        index: usize,
        now: Instant,
        spooled: &mut Vec<Subject>,
        held_back: &mut Vec<Subject>,
    ) {
        let Some(spool) = self.spool else { return };
        let subject = self.entries[index].envelope.subject().clone();
        if self.sent_before(index) {
            held_back.push(subject);
            self.queued(self.first + index as u64);
            return;
        }
        let envelope = &self.entries[index].envelope;
        let room = spool.reserve(envelope);
        if let Err(SpoolError::Full { .. }) = room
            && spool.can_hold(envelope)
            && self.next_look(now, LOOK_AGAIN).is_some()
        {
            // A smaller one behind it might fit, and would overtake it.
            held_back.push(subject);
            self.queued(self.first + index as u64);
            self.waits_for_room = true;
            return;
        }
        if !spooled.contains(&subject) {
            spooled.push(subject);
        }
        let number = self.first + index as u64;
        let direct = self.direct;
        let entry = &mut self.entries[index];
        entry.state = State::Spooling;
        let cause = entry.for_spool.take();
        let sent_at = entry.sent_at.unwrap_or(now);
        self.spooling.push(Box::pin(unconstrained(async move {
            let deadline = now + direct.settings().deadline;
            let result = spool_event(spool, room, cause, sent_at, direct, deadline).await;
            (number, result)
        })));
    }

    /// Whether something of the same subject is in front of it and on its way to the broker.
    fn sent_before(&self, index: usize) -> bool {
        if self.sent == 0 {
            return false;
        }
        let subject = self.entries[index].envelope.subject();
        let mut before = self.entries.iter().take(index);
        before.any(|entry| {
            matches!(entry.state, State::InFlight { .. }) && entry.envelope.subject() == subject
        })
    }
}
