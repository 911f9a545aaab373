//! The result of one entry: it settles the entry, queues it again for a retry, or sends it to the spool.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::State;
use super::{LOOK_AGAIN, Phase, Pipeline};
use crate::message::envelope::Envelope;
use crate::outcome::{Delivery, EmitError, PublishError, Scope};
use crate::publish::retry::Retries;
use crate::publish::spooling::may_be_spooled;
use crate::publisher::Publisher;

impl<P: Publisher> Pipeline<'_, P> {
    pub(super) fn settle(&mut self, number: u64, result: Result<Delivery, EmitError>) {
        match result {
            Ok(delivery) => {
                self.width.settled(&delivery);
                let entry = self.queue.entry_mut(number);
                self.outage_limit.succeeded(entry.envelope.subject());
                entry.state = State::Settled(Ok(delivery));
            }
            Err(error) => self.failed(number, error),
        }
    }

    fn failed(&mut self, number: u64, error: EmitError) {
        let now = Instant::now();
        if error.scope() == Scope::Broker {
            self.width.disturbed();
        }
        if let EmitError::Failed(failed) = &error
            && let PublishError::MessageIdTaken { stream, sequence } = &failed.error
            && !self.stopped
            && !self.queue.entry(number).id_was_taken
        {
            let entry = self.queue.requeue(number);
            entry.id_was_taken = true;
            let mut envelope = Envelope::clone(&entry.envelope);
            self.direct.identify_again(&mut envelope, stream, *sequence);
            entry.envelope = Arc::new(envelope);
            return self.end_window(now, now);
        }
        if self.spool_side.is_some() && !self.stopped && may_be_spooled(&error) {
            let entry = self.queue.requeue(number);
            entry.note_unknown(&error);
            entry.for_spool = Some(error);
            // In its order: once everything in flight has settled.
            self.phase = Phase::Settling { resume_at: now };
            return;
        }
        let wait = self.wait_before_retry(number, now, &error);
        let entry = self.queue.entry_mut(number);
        if let EmitError::Failed(failed) = &error
            && failed.error != PublishError::HeldBack
        {
            entry.count_failure(&failed.error);
        }
        entry.note_unknown(&error);
        match wait {
            None => self.queue.fail(number, error),
            Some(wait) => {
                self.queue.requeue(number);
                self.end_window(now, now + wait);
            }
        }
    }

    /// The wait before an entry is tried again; `None` if the error is its result.
    fn wait_before_retry(
        &mut self,
        number: u64,
        now: Instant,
        error: &EmitError,
    ) -> Option<Duration> {
        if self.stopped {
            return None;
        }
        match error {
            EmitError::CircuitOpen(open) if open.scope == Scope::Broker => {
                self.outage_limit.next_try(now, open.retry_after)
            }
            EmitError::Failed(failed) if failed.error.scope() == Scope::Broker => {
                self.outage_limit.next_try(now, LOOK_AGAIN)
            }
            // It was not sent, and others were: its turn comes. So it is no failure of the event or its subject.
            EmitError::Failed(failed) if failed.error == PublishError::HeldBack => Some(LOOK_AGAIN),
            // The sender sends it again: a wait would delay the other subjects.
            EmitError::Failed(_) | EmitError::CircuitOpen(_)
                if self.queue.holds_failed_subjects() =>
            {
                None
            }
            EmitError::Failed(failed) if failed.error.is_stream_outage() => {
                let subject = self.queue.entry(number).envelope.subject();
                self.outage_limit.next_try_of(subject, now, LOOK_AGAIN)
            }
            // The same outage opened the circuit.
            EmitError::CircuitOpen(open) => {
                let subject = self.queue.entry(number).envelope.subject();
                let limit = &mut self.outage_limit;
                if limit.is_failing(subject) {
                    limit.next_try_of(subject, now, open.retry_after)
                } else {
                    None
                }
            }
            EmitError::Failed(failed) => {
                let entry = self.queue.entry(number);
                // As in an emit: the retry of a probe would stop all subjects for a failing one.
                let retries = if entry.is_probe {
                    Retries::none()
                } else {
                    self.direct.retries()
                };
                retries.wait_after(entry.subject_failures, &failed.error)
            }
            EmitError::Spool(_) | EmitError::Closed => None,
        }
    }

    /// Ends the window: sending resumes at this time or later, once everything in flight has settled.
    fn end_window(&mut self, now: Instant, resume_at: Instant) {
        self.width.disturbed();
        let earliest = match self.phase {
            Phase::Sending => now,
            Phase::Settling { resume_at } => resume_at,
        };
        self.phase = Phase::Settling {
            resume_at: earliest.max(resume_at),
        };
    }
}
