//! One admitted envelope: its attempts under one deadline, and settling its admission.

use std::sync::atomic::Ordering;

use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

use super::Direct;
use super::admission::ScopedAdmission;
use super::retry::{self, Retries};
use crate::message::envelope::Envelope;
use crate::observe::log_budget::Line;
use crate::observe::spans;
use crate::outcome::{Acknowledgement, Delivery, EmitError, FailedEmit, Known, PublishError};
use crate::publisher::{Publisher, publish_once};

impl<P: Publisher> Direct<P> {
    /// Publishes an envelope that was admitted at `now`, and settles the admission. `Ok` means stored. If its
    /// minted id is taken, the envelope gets another one.
    pub(crate) async fn publish(
        &self,
        envelope: &mut Envelope,
        admission: ScopedAdmission<'_>,
        now: Instant,
        deadline: Instant,
    ) -> Result<Delivery, EmitError> {
        let span = spans::publish(envelope);
        // Not in a variable: moving the future into each await costs a copy of it.
        if span.is_disabled() {
            return self.attempts(envelope, admission, now, deadline).await;
        }
        let attempts = self.attempts(envelope, admission, now, deadline);
        let result = attempts.instrument(span.clone()).await;
        spans::ended(&span, &result);
        result
    }

    /// Settles the admission of an envelope that was sent once by a window. `is_first` if it was never sent before.
    pub(crate) fn settle(
        &self,
        envelope: &Envelope,
        admission: ScopedAdmission<'_>,
        sent_at: Instant,
        is_first: bool,
        result: Result<Acknowledgement, PublishError>,
    ) -> Result<Delivery, EmitError> {
        match result.and_then(|ack| not_taken(envelope, is_first, ack)) {
            Ok(ack) => Ok(self.stored(envelope, admission, ack, sent_at)),
            Err(error) => {
                let known = error.known();
                Err(self.failed(envelope, admission, Instant::now(), 1, error, known))
            }
        }
    }

    /// Publishes until it is stored, the attempts are used up or the deadline comes, and settles.
    async fn attempts(
        &self,
        envelope: &mut Envelope,
        admission: ScopedAdmission<'_>,
        mut sent_at: Instant,
        deadline: Instant,
    ) -> Result<Delivery, EmitError> {
        let retries = if admission.is_probe() {
            Retries::none()
        } else {
            self.retries()
        };
        let mut failures = 0;
        let mut known = Known::NotSent;
        let mut id_was_taken = false;
        loop {
            let result = publish_once(&self.publisher, envelope, deadline).await;
            let result = result.and_then(|ack| not_taken(envelope, failures == 0, ack));
            let error = match result {
                Ok(ack) => return Ok(self.stored(envelope, admission, ack, sent_at)),
                Err(error) => error,
            };
            if let PublishError::MessageIdTaken { stream, sequence } = &error
                && !std::mem::replace(&mut id_was_taken, true)
            {
                self.identify_again(envelope, stream, *sequence);
                continue;
            }
            // An attempt that may have been stored outweighs a later refusal.
            if known != Known::OutcomeUnknown {
                known = error.known();
            }
            let now = Instant::now();
            let wait = retries.wait_after(failures, &error);
            let Some(wait) = wait.filter(|wait| retry::fits(*wait, now, deadline)) else {
                return Err(self.failed(envelope, admission, now, failures + 1, error, known));
            };
            self.meters.retries.increment(1);
            if self.retry_lines.line(now) != Line::LeaveOut {
                retry::log_retry(failures, retries.max_attempts(), wait, &error);
            }
            sleep(wait).await;
            failures += 1;
            sent_at = Instant::now();
        }
    }

    fn stored(
        &self,
        envelope: &Envelope,
        admission: ScopedAdmission<'_>,
        ack: Acknowledgement,
        sent_at: Instant,
    ) -> Delivery {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        if ack.duplicate {
            self.duplicates.fetch_add(1, Ordering::Relaxed);
            self.meters.duplicates.increment(1);
        }
        let now = Instant::now();
        self.failover.stored();
        self.meters.acknowledged_after(now - sent_at);
        if let Some(high_water) = &self.high_water {
            high_water.note(&ack, now);
        }
        admission.settle(now, envelope.subject(), None);
        ack.into()
    }

    fn failed(
        &self,
        envelope: &Envelope,
        admission: ScopedAdmission<'_>,
        now: Instant,
        attempts: u32,
        error: PublishError,
        known: Known,
    ) -> EmitError {
        admission.settle(now, envelope.subject(), Some(&error));
        self.not_stored(now, &error);
        self.meters.failed(known);
        EmitError::Failed(Box::new(FailedEmit {
            subject: envelope.subject().clone(),
            message_id: envelope.message_id().cloned(),
            attempts,
            error,
            known,
        }))
    }
}

/// Refuses the acknowledgement of another event under an id that was minted for this one and never sent.
#[inline]
fn not_taken(
    envelope: &Envelope,
    is_first: bool,
    ack: Acknowledgement,
) -> Result<Acknowledgement, PublishError> {
    if ack.duplicate && is_first && envelope.has_minted_id() {
        return Err(PublishError::MessageIdTaken {
            stream: ack.stream,
            sequence: ack.sequence,
        });
    }
    Ok(ack)
}
