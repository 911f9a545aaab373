//! The path of one event: begin, identify, queue behind spooled events if there are any, admit, publish
//! and settle, and spool after a failure.
//!
//! The spool is an optional stage on both sides of publishing. Without it an open circuit rejects the
//! event before it begins.

use std::time::Duration;

use tokio::time::Instant;

use super::Sink;
use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::outcome::{Delivery, EmitError};
use crate::publish::admission::ScopedAdmission;
use crate::publish::in_flight::InFlightGuard;
use crate::publish::spooling::{HandOver, may_be_spooled, spool_event};
use crate::publisher::Publisher;
use crate::spool::Spool;

impl<P: Publisher> Sink<P> {
    /// Sends one envelope. [`Delivery::Stored`] means that a stream has acknowledged it,
    /// [`Delivery::Spooled`] that it is synced to the local disk.
    ///
    /// Never takes longer than the deadline. While the circuit is open it returns at once, or spools.
    /// With a spool, a quarter of the deadline is reserved for the disk, and an event queues behind
    /// spooled events of its subject. Dropping the future ends the wait: the event may be stored,
    /// spooled or neither, and the circuit forgets the attempt.
    ///
    /// # Errors
    /// - [`CircuitOpen`](EmitError::CircuitOpen): rejected at once; never with a spool.
    /// - [`Failed`](EmitError::Failed): tried, and not acknowledged by the deadline. With a spool, only if the
    ///   event itself is at fault.
    /// - [`Spool`](EmitError::Spool): neither sent nor spooled; only with a spool.
    /// - [`Closed`](EmitError::Closed): after [`close`](Self::close).
    ///
    /// Each error has a [scope](EmitError::scope) and says [what is known](EmitError::known) of the event.
    pub async fn emit(&self, envelope: Envelope) -> Result<Delivery, EmitError> {
        let started = Instant::now();
        let (_guard, admission) = self.begin(envelope.subject(), started)?;
        let envelope = self.direct.identified(envelope);
        let result = self.deliver(&envelope, admission, started).await;
        self.in_flight.ended(&result);
        let meters = self.direct.meters();
        meters.emitted(&result);
        meters.emit_took(started.elapsed());
        result
    }

    /// Returns the error with which any emit would end now: the sink is closed, or the broker's circuit
    /// is open and there is no spool. A caller that checks it first saves the work for an envelope that
    /// would be rejected; a returned error counts as a rejected emit. `None` is no promise:
    /// [`emit`](Self::emit) checks again.
    ///
    /// ```
    /// # use jetsink::{EmitError, Envelope, Publisher, Sink};
    /// # async fn hand_over<P: Publisher>(
    /// #     sink: &Sink<P>,
    /// #     make: impl FnOnce() -> Envelope,
    /// # ) -> Result<(), EmitError> {
    /// if let Some(error) = sink.rejection() {
    ///     return Err(error); // nothing was serialized for it
    /// }
    /// sink.emit(make()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn rejection(&self) -> Option<EmitError> {
        if self.in_flight.is_closed() {
            return Some(EmitError::Closed);
        }
        if self.has_spool() {
            return None;
        }
        let open = self.direct.scopes().rejection(Instant::now())?;
        self.direct.meters().rejected();
        Some(EmitError::CircuitOpen(open))
    }

    /// Counts an emit in. Without a spool an open circuit rejects it here, before anything shared is
    /// written: an outage brings rejections by the million, and they would queue for the counter.
    fn begin(
        &self,
        subject: &Subject,
        now: Instant,
    ) -> Result<(InFlightGuard<'_>, Option<ScopedAdmission<'_>>), EmitError> {
        if self.in_flight.is_closed() {
            return Err(EmitError::Closed);
        }
        let admission = match &self.spool {
            Some(_) => None,
            None => Some(self.direct.admit(now, subject).map_err(|open| {
                // Counted without a duration, which would hide the durations of other emits.
                self.direct.meters().rejected();
                EmitError::CircuitOpen(open)
            })?),
        };
        let guard = self.in_flight.begin().ok_or(EmitError::Closed)?;
        Ok((guard, admission))
    }

    /// Sends an envelope, or spools it: behind spooled events of its subject, or after a failure.
    async fn deliver(
        &self,
        envelope: &Envelope,
        admission: Option<ScopedAdmission<'_>>,
        started: Instant,
    ) -> Result<Delivery, EmitError> {
        let (subject, spool) = (envelope.subject(), self.spool.as_deref());
        if let Some(spool) = spool
            && self.queues_behind_spooled(spool, subject, started).await
        {
            return self.spool_event(spool, envelope, None, started).await;
        }
        let admission = match admission {
            Some(admission) => Ok(admission),
            None => self.direct.admit(started, subject),
        };
        let sent = match admission {
            Ok(admission) => {
                let deadline = started + self.time_to_publish();
                let publish = self.direct.publish(envelope, admission, started, deadline);
                publish.await
            }
            Err(open) => Err(EmitError::CircuitOpen(open)),
        };
        match (sent, spool) {
            (Err(error), Some(spool)) if may_be_spooled(&error) => {
                self.spool_event(spool, envelope, Some(error), started)
                    .await
            }
            (sent, _) => sent,
        }
    }

    /// The deadline, without a quarter of it that is kept for the disk if there is a spool.
    fn time_to_publish(&self) -> Duration {
        let deadline = self.deadline();
        match self.spool {
            Some(_) => deadline - deadline / 4,
            None => deadline,
        }
    }

    /// Whether an event of `subject` must queue behind spooled ones; waits for a short time for them to
    /// be stored.
    async fn queues_behind_spooled(
        &self,
        spool: &Spool,
        subject: &Subject,
        started: Instant,
    ) -> bool {
        if !spool.holds(subject) {
            return false;
        }
        let hand_over = HandOver::of_emit(self.deadline());
        match hand_over.until(&self.direct, spool, subject, started) {
            Some(until) => !spool.drained(subject, until).await,
            None => true,
        }
    }

    async fn spool_event(
        &self,
        spool: &Spool,
        envelope: &Envelope,
        sent: Option<EmitError>,
        sent_at: Instant,
    ) -> Result<Delivery, EmitError> {
        let room = spool.reserve(envelope);
        let deadline = sent_at + self.deadline();
        spool_event(spool, room, sent, sent_at, &self.direct, deadline).await
    }
}
