//! The result of one entry: it settles the entry, queues it again for a retry, or sends it to the spool.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::State;
use super::{LOOK_AGAIN, Phase, Pipeline};
use crate::message::envelope::Envelope;
use crate::outcome::{Delivery, EmitError, PublishError, Scope};
use crate::publish::spooling::may_be_spooled;
use crate::publisher::Publisher;

/// The retry of an entry, after a wait.
enum Retry {
    /// Sending of all entries resumes then.
    Window(Duration),
    /// The entries of its subject are sent then; those of others at any time.
    Subject(Duration),
}

impl<P: Publisher> Pipeline<'_, P> {
    pub(super) fn settle(&mut self, number: u64, result: Result<Delivery, EmitError>) {
        match result {
            Ok(delivery) => {
                self.width.settled(&delivery);
                let entry = self.queue.entry_mut(number);
                self.outage_limit.succeeded();
                // An event of a delayed subject was sent before the subject failed.
                let subject = entry.envelope.subject();
                if self.outage_limit.tracks_subjects() && !self.delayed.contains(subject) {
                    self.outage_limit.recovered(subject);
                }
                entry.state = State::Settled(Ok(delivery));
            }
            Err(error) => self.failed(number, error),
        }
        if !self.delayed.is_empty() {
            let subject = self.queue.entry(number).envelope.subject();
            if !self.in_flight.contains(subject, &self.queue) {
                self.delayed.landed(subject);
            }
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
        let retry = self.retry(number, now, &error);
        let entry = self.queue.entry_mut(number);
        if let EmitError::Failed(failed) = &error
            && failed.error != PublishError::HeldBack
        {
            entry.count_failure(&failed.error);
        }
        entry.note_unknown(&error);
        match retry {
            None => self.queue.fail(number, error),
            Some(Retry::Window(wait)) => {
                self.queue.requeue(number);
                self.end_window(now, now + wait);
            }
            Some(Retry::Subject(wait)) => {
                let subject = self.queue.requeue(number).envelope.subject();
                self.delayed.insert(subject.clone(), now + wait);
                // Results come in order: those behind it wait.
                self.width.disturbed();
            }
        }
    }

    /// The retry of an entry; `None` if the error is its result.
    fn retry(&mut self, number: u64, now: Instant, error: &EmitError) -> Option<Retry> {
        if self.stopped {
            return None;
        }
        let limit = &mut self.outage_limit;
        match error {
            EmitError::CircuitOpen(open) if open.scope == Scope::Broker => {
                limit.next_try(now, open.retry_after).map(Retry::Window)
            }
            EmitError::Failed(failed) if failed.error.scope() == Scope::Broker => {
                limit.next_try(now, LOOK_AGAIN).map(Retry::Window)
            }
            // It was not sent, and others were: its turn comes. So it is no failure of the event or its subject.
            EmitError::Failed(failed) if failed.error == PublishError::HeldBack => {
                Some(Retry::Window(LOOK_AGAIN))
            }
            EmitError::Failed(_) | EmitError::CircuitOpen(_) => {
                self.subject_retry(number, now, error).map(Retry::Subject)
            }
            EmitError::Spool(_) | EmitError::Closed => None,
        }
    }

    /// The wait before the entries of a subject are tried again; `None` if the error is the result.
    fn subject_retry(&mut self, number: u64, now: Instant, error: &EmitError) -> Option<Duration> {
        // The sender sends it again.
        if self.queue.holds_failed_subjects() {
            return None;
        }
        let entry = self.queue.entry(number);
        let subject = entry.envelope.subject();
        let limit = &mut self.outage_limit;
        match error {
            EmitError::Failed(failed) if failed.error.is_stream_outage() => {
                limit.next_try_of(subject, now, LOOK_AGAIN)
            }
            // The same outage opened the circuit.
            EmitError::CircuitOpen(open) if limit.is_failing(subject) => {
                limit.next_try_of(subject, now, open.retry_after)
            }
            // As in an emit: the retry of a probe would delay the results behind it, again and again.
            EmitError::Failed(_) if entry.is_probe => None,
            EmitError::Failed(failed) => {
                let retries = self.direct.retries();
                retries.wait_after(entry.subject_failures, &failed.error)
            }
            // A retry of an earlier event is the probe, and decides for those that failed with it.
            EmitError::CircuitOpen(open) if open.probing && entry.subject_failures > 0 => {
                Some(LOOK_AGAIN)
            }
            EmitError::CircuitOpen(_) | EmitError::Spool(_) | EmitError::Closed => None,
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
