//! What goes out next, and where to: to the broker, into the spool, or not yet.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::entry::State;
use super::subjects::Counts;
use super::{LOOK_AGAIN, LOOK_AT_HELD, Phase, Pipeline};
use crate::circuit;
use crate::message::subject::Subject;
use crate::outcome::{EmitError, Scope, SpoolError};
use crate::publish::admission::ScopedAdmission;
use crate::publish::in_flight::{Emits, UnderWay};
use crate::publish::spooling::{HAND_OVER, spool_event};
use crate::publisher::Publisher;
use crate::spool::Spool;

impl<'a, P: Publisher> Pipeline<'a, P> {
    /// Sends what is queued, oldest first, as far as the circuits let it.
    pub(super) fn send_queued(&mut self) {
        if self.is_ended() {
            self.stop();
            return;
        }
        let now = Instant::now();
        if self.sent == 0 {
            self.follow_connection();
        }
        let first_unseen = self.begin_round(now);
        // Subjects of which one goes to the spool in this round.
        let mut spooled = HashSet::new();
        for index in first_unseen..self.entries.len() {
            let number = self.first + index as u64;
            let entry = &mut self.entries[index];
            match entry.state {
                State::InFlight { .. } | State::Spooling { .. } | State::Settled(_) => continue,
                State::Queued => {}
            }
            let envelope = Arc::clone(&entry.envelope);
            let subject = envelope.subject();
            let failed = self.failed_subjects.as_ref();
            if failed.is_some_and(|failed| failed.contains(subject)) {
                entry.state = State::Settled(Err(entry.not_sent()));
                continue;
            }
            if self.held_back.contains(subject) {
                self.queued(number);
                continue;
            }
            let for_spool = entry.for_spool.is_some() || spooled.contains(subject);
            if for_spool || self.queues_behind_spooled(index) {
                if !for_spool && self.hands_over(index, now) {
                    self.hold_back(number, subject);
                } else {
                    self.spool_next(index, now, &mut spooled);
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
                    self.unseen_from = number;
                    return;
                }
                Err(open) if self.spool.is_some() => {
                    self.entries[index].for_spool = Some(EmitError::CircuitOpen(open));
                    self.spool_next(index, now, &mut spooled);
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

    /// Gives the index of the first entry to look at.
    fn begin_round(&mut self, now: Instant) -> usize {
        let end = self.first + self.entries.len() as u64;
        let holds_back = !self.held_back.is_empty() || !self.handing_over.is_empty();
        let nothing_else = self.sent == 0 && self.spooling.is_empty();
        if nothing_else || (holds_back && now >= self.look_at_held) {
            self.look_at_held = now + LOOK_AT_HELD;
            self.unseen_from = self.unseen_from.min(self.queued_from);
            self.held_back.clear();
            self.waits_for_room = false;
            let spool = self.spool;
            let holds = |subject: &Subject| spool.is_some_and(|spool| spool.holds(subject));
            self.handing_over.retain(|subject, _| holds(subject));
            if spool.is_none_or(Spool::is_empty) {
                self.sent_subjects = None;
            }
        }
        if self.held_back.is_empty() {
            self.queued_from = end;
        }
        let first_unseen = self.unseen_from.saturating_sub(self.first) as usize;
        self.unseen_from = end;
        first_unseen
    }

    fn hold_back(&mut self, number: u64, subject: &Subject) {
        self.held_back.insert(subject.clone());
        self.queued(number);
    }

    /// The entry of this number is queued, or was: it is looked at once nothing else is on its way.
    pub(super) fn queued(&mut self, number: u64) {
        self.queued_from = self.queued_from.min(number);
    }

    /// Whether something of the same subject is in the spool, or on its way there.
    fn queues_behind_spooled(&self, index: usize) -> bool {
        let Some(spool) = self.spool else {
            return false;
        };
        let subject = self.entries[index].envelope.subject();
        spool.holds(subject) || self.spooling_subjects.contains(subject)
    }

    /// Whether to wait for what is spooled of the entry's subject rather than to put it behind it.
    fn hands_over(&mut self, index: usize, now: Instant) -> bool {
        let subject = self.entries[index].envelope.subject();
        let delivering = self.direct.state() == circuit::State::Connected
            && self.direct.subject_state(subject) == circuit::State::Connected;
        if !delivering {
            // Until when would be long over, once the broker is there again.
            self.handing_over.remove(subject);
            return false;
        }
        match self.handing_over.get(subject) {
            None => {
                self.handing_over.insert(subject.clone(), now + HAND_OVER);
                true
            }
            Some(until) if now < *until => true,
            Some(_) => {
                self.handing_over.remove(subject);
                false
            }
        }
    }

    /// Whose wait for the spool ends first.
    pub(super) fn next_handed_over(&self) -> Option<(&Subject, Instant)> {
        let waits = self.handing_over.iter();
        let first = waits.min_by_key(|(subject, until)| (**until, *subject));
        first.map(|(subject, until)| (subject, *until))
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

    /// Counts an entry among what is under way, where that is counted; `None` where the sink was closed
    /// at this very moment.
    fn begin(&mut self) -> Option<Option<UnderWay<'a>>> {
        let begun = self.emits.map(Emits::begin);
        if let Some(None) = begun {
            self.stop();
            return None;
        }
        Some(begun.flatten())
    }

    fn send(&mut self, index: usize, admission: ScopedAdmission<'a>, now: Instant) {
        let Some(under_way) = self.begin() else {
            return;
        };
        let Some(in_flight) = &mut self.in_flight else {
            return; // there is one: `send_queued` begins with it
        };
        let entry = &mut self.entries[index];
        entry.sent_at.get_or_insert(now);
        entry.state = State::InFlight {
            sent_at: now,
            admission,
            _under_way: under_way,
        };
        let deadline = now + self.direct.settings().deadline;
        if let Some(sent) = &mut self.sent_subjects {
            sent.add(entry.envelope.subject());
        }
        in_flight.send(self.first + index as u64, &entry.envelope, deadline);
        self.sent += 1;
    }

    /// Sends an entry into the spool, unless something of its subject in front of it is on its way to
    /// the broker: should that fail, it goes there first.
    fn spool_next(&mut self, index: usize, now: Instant, spooled: &mut HashSet<Subject>) {
        let Some(spool) = self.spool else { return };
        let number = self.first + index as u64;
        let subject = self.entries[index].envelope.subject().clone();
        if self.is_on_its_way(&subject) {
            self.hold_back(number, &subject);
            return;
        }
        let envelope = &self.entries[index].envelope;
        let room = spool.reserve(envelope);
        if let Err(SpoolError::Full { .. }) = room
            && spool.can_hold(envelope)
            && self.next_look(now, LOOK_AGAIN).is_some()
        {
            // A smaller one behind it might fit, and would overtake it.
            self.hold_back(number, &subject);
            self.waits_for_room = true;
            return;
        }
        let Some(under_way) = self.begin() else {
            return;
        };
        self.spooling_subjects.add(&subject);
        spooled.insert(subject);
        let direct = self.direct;
        let entry = &mut self.entries[index];
        entry.state = State::Spooling {
            _under_way: under_way,
        };
        let cause = entry.for_spool.take();
        let sent_at = entry.sent_at.unwrap_or(now);
        self.spooling.push(Box::pin(unconstrained(async move {
            let deadline = now + direct.settings().deadline;
            let result = spool_event(spool, room, cause, sent_at, direct, deadline).await;
            (number, result)
        })));
    }

    /// Whether something of this subject is on its way to the broker: in front of what is queued, then.
    fn is_on_its_way(&mut self, subject: &Subject) -> bool {
        if self.sent == 0 {
            return false;
        }
        let sent_subjects = self.sent_subjects.get_or_insert_with(|| {
            let entries = self.entries.iter();
            let sent = entries.filter(|entry| matches!(entry.state, State::InFlight { .. }));
            Counts::of(sent.map(|entry| entry.envelope.subject()))
        });
        sent_subjects.contains(subject)
    }
}
