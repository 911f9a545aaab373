//! One round over the queued entries, oldest first: each is sent, spooled, held back or failed.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::time::Instant;

use super::spool_side::Route;
use super::{LOOK_AGAIN, Phase, Pipeline};
use crate::outcome::{CircuitOpen, EmitError, Scope, SpoolError};
use crate::publish::admission::ScopedAdmission;
use crate::publish::in_flight::InFlightGuard;
use crate::publisher::Publisher;

/// The next step of a queued entry.
enum Step<'a> {
    Send(ScopedAdmission<'a>),
    /// To the spool, because of this rejection or behind others of its subject.
    Spool(Option<CircuitOpen>),
    HoldBack,
    /// An earlier event of its subject has failed.
    NotSent,
    /// A rejection that settles the entry, or is tried again.
    Reject(CircuitOpen),
    /// A probe of this pipeline is on its way, or about to settle: its result decides.
    EndRound,
}

impl<'a, P: Publisher> Pipeline<'a, P> {
    /// Runs a round, as far as the circuits admit entries.
    pub(super) fn send_queued(&mut self) {
        if self.is_ended() {
            self.stop();
            return;
        }
        let now = Instant::now();
        self.in_flight.follow_connection(self.direct.publisher());
        self.run_round(now);
        self.delayed.end_round(Instant::now);
    }

    fn run_round(&mut self, now: Instant) {
        for number in self.begin_round(now)..self.queue.end() {
            if !self.queue.entry(number).is_queued() {
                continue;
            }
            let step = self.next_step(number, now);
            if self.take_step(number, step, now).is_break() {
                return;
            }
        }
    }

    /// Returns the number of the first entry to look at.
    fn begin_round(&mut self, now: Instant) -> u64 {
        let is_idle = self.is_idle();
        let Some(side) = &mut self.spool_side else {
            if self.delayed.is_empty() {
                return self.queue.begin_round(is_idle, false);
            }
            let looks_again = is_idle | self.delayed.release(now);
            let holds_back = !self.delayed.is_empty();
            if !holds_back {
                self.in_flight.forget_subjects();
            }
            return self.queue.begin_round(looks_again, holds_back);
        };
        let looks_again = side.begin_round(now, is_idle);
        if looks_again && side.spool.is_empty() {
            self.in_flight.forget_subjects();
        }
        self.queue.begin_round(looks_again, !side.held.is_empty())
    }

    fn next_step(&mut self, number: u64, now: Instant) -> Step<'a> {
        let is_idle = self.is_idle();
        let entry = self.queue.entry(number);
        let subject = entry.envelope.subject();
        if self.queue.has_failed(subject) {
            return Step::NotSent;
        }
        match &mut self.spool_side {
            Some(side) => match side.route(entry, self.direct, now) {
                Route::Direct => {}
                Route::HoldBack => return Step::HoldBack,
                Route::Spool => return Step::Spool(None),
            },
            None if self.delayed.is_empty() => {}
            None if self.delayed.contains(subject) => return Step::HoldBack,
            None => {}
        }
        match self.direct.admit(now, subject) {
            Ok(admission) => Step::Send(admission),
            Err(open) if open.scope == Scope::Broker && !is_idle => Step::EndRound,
            Err(open) if self.spool_side.is_some() => Step::Spool(Some(open)),
            Err(open) => Step::Reject(open),
        }
    }

    fn take_step(&mut self, number: u64, step: Step<'a>, now: Instant) -> ControlFlow<()> {
        match step {
            Step::Send(admission) => self.send(number, admission, now),
            Step::Spool(rejection) => self.spool(number, rejection, now),
            Step::HoldBack => self.hold_back(number),
            Step::NotSent => self.queue.entry_mut(number).settle_unsent(),
            Step::Reject(open) => {
                self.settle(number, Err(EmitError::CircuitOpen(open)));
                if let Phase::Settling { .. } = self.phase {
                    return ControlFlow::Break(());
                }
            }
            Step::EndRound => {
                self.queue.end_round_at(number);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn hold_back(&mut self, number: u64) {
        if let Some(side) = &mut self.spool_side {
            let subject = self.queue.entry(number).envelope.subject();
            if !side.held.contains(subject) {
                side.held.insert(subject.clone());
            }
        }
        self.queue.stays_queued(number);
    }

    fn send(&mut self, number: u64, admission: ScopedAdmission<'a>, now: Instant) {
        let Some(guard) = self.begin_emit() else {
            return;
        };
        let deadline = now + self.direct.settings().deadline;
        let entry = self.queue.entry_mut(number);
        entry.begin_flight(admission, guard, now);
        self.in_flight.send(number, entry, deadline);
    }

    /// Sends an entry into the spool. While an earlier one of its subject is in flight it is held back:
    /// should that fail, it goes to the spool first.
    fn spool(&mut self, number: u64, rejection: Option<CircuitOpen>, now: Instant) {
        let Some(side) = &mut self.spool_side else {
            return;
        };
        let entry = self.queue.entry_mut(number);
        if let Some(open) = rejection {
            entry.for_spool = Some(EmitError::CircuitOpen(open));
        }
        let envelope = Arc::clone(&entry.envelope);
        let subject = envelope.subject();
        if self.in_flight.contains(subject, &self.queue) {
            return self.hold_back(number);
        }
        let room = side.spool.reserve(&envelope);
        let is_full = matches!(room, Err(SpoolError::Full { .. }));
        if is_full && self.outage_limit.next_try(now, LOOK_AGAIN).is_some() {
            side.held.insert_until_room(subject.clone());
            return self.queue.stays_queued(number);
        }
        let Some(guard) = self.begin_emit() else {
            return;
        };
        if let Some(side) = &mut self.spool_side {
            let entry = self.queue.entry_mut(number);
            side.write(number, entry, room, guard, self.direct, now);
        }
    }

    /// Counts an entry among the emits in flight, if they are counted. Stops the pipeline and returns
    /// `None` if the sink was closed in the meantime.
    fn begin_emit(&mut self) -> Option<Option<InFlightGuard<'a>>> {
        let Some(emits) = self.emits else {
            return Some(None);
        };
        let guard = emits.begin();
        if guard.is_none() {
            self.stop();
        }
        guard.map(Some)
    }
}
