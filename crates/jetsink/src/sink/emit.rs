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
use crate::observe::spans;
use crate::outcome::{Delivery, EmitError, Unavailable};
use crate::publish::admission::ScopedAdmission;
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
    /// spooled or neither, the [receipt](crate::Receipt::unknown) counts it, and the circuit forgets the attempt.
    ///
    /// # Errors
    /// - [`CircuitOpen`](EmitError::CircuitOpen): rejected at once; never with a spool.
    /// - [`Failed`](EmitError::Failed): tried, and not acknowledged by the deadline. With a spool, only if the
    ///   event itself is at fault.
    /// - [`Spool`](EmitError::Spool): neither sent nor spooled; only with a spool.
    /// - [`Closed`](EmitError::Closed): after [`close`](Self::close).
    ///
    /// Each error has a [scope](EmitError::scope) and the [state of the event](EmitError::known).
    pub async fn emit(&self, envelope: Envelope) -> Result<Delivery, EmitError> {
        let started = Instant::now();
        let admission = self.admit_before_begin(envelope.subject(), started)?;
        let mut guard = self.in_flight.begin().ok_or(EmitError::Closed)?;
        let mut envelope = self.direct.identified(envelope);
        let queues_behind_spooled = match &self.spool {
            Some(spool) => self.queues_behind_spooled(spool, &envelope, started).await,
            None => false,
        };
        guard.may_be_sent();
        let result = match &self.spool {
            Some(spool) if queues_behind_spooled => {
                self.spool_event(spool, &envelope, None, started).await
            }
            spool => {
                let sent = match self.admit(admission, envelope.subject(), started) {
                    Ok(admission) => {
                        let deadline = started + self.time_to_publish();
                        self.direct
                            .publish(&mut envelope, admission, started, deadline)
                            .await
                    }
                    Err(open) => Err(open),
                };
                match spool {
                    Some(spool) => self.or_spool(spool, &envelope, sent, started).await,
                    None => sent,
                }
            }
        };
        guard.end(&result);
        let meters = self.direct.meters();
        meters.emitted(&result);
        meters.emit_took(started.elapsed());
        result
    }

    /// Adds a message id to an envelope that has none, so that the caller can emit it again after an outcome that is
    /// unknown: the stream stores it once within its duplicate window, and answers a repeat with
    /// [`duplicate`](crate::Acknowledgement::duplicate). Without it, each [`emit`](Self::emit) mints an id of its own.
    ///
    /// The id is random, from the operating system. It is the caller's: an event that another process stored under it counts
    /// as this one.
    ///
    /// ```
    /// # use jetsink::{Delivery, EmitError, Envelope, Publisher, Sink};
    /// /// Emits an event until it is stored, once.
    /// async fn deliver<P: Publisher>(sink: &Sink<P>, event: Envelope) -> Result<Delivery, EmitError> {
    ///     let event = sink.identify(event);
    ///     loop {
    ///         let error = match sink.emit(event.clone()).await { // shares the payload
    ///             Ok(delivery) => return Ok(delivery),
    ///             Err(error) => error,
    ///         };
    ///         match error.retry_after() {
    ///             Some(wait) => tokio::time::sleep(wait).await,
    ///             None => return Err(error), // no repeat succeeds
    ///         }
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn identify(&self, envelope: Envelope) -> Envelope {
        self.direct.identified_for_repeats(envelope)
    }

    /// Rejects an event before its envelope is made, with the error that any [`emit`](Self::emit) would return now: the
    /// sink is closed, or the broker's circuit is open and there is no spool. It counts as a rejected emit, so call it
    /// once per event; [`accepts`](Self::accepts) counts nothing. `None` is no promise: an emit checks again.
    ///
    /// ```
    /// # use jetsink::{EmitError, Envelope, Publisher, Sink};
    /// # async fn hand_over<P: Publisher>(
    /// #     sink: &Sink<P>,
    /// #     make: impl FnOnce() -> Envelope,
    /// # ) -> Result<(), EmitError> {
    /// if let Some(error) = sink.reject_early() {
    ///     return Err(error); // nothing was serialized for it
    /// }
    /// sink.emit(make()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn reject_early(&self) -> Option<EmitError> {
        if self.in_flight.is_closed() {
            return Some(EmitError::Closed);
        }
        if self.spool.is_some() {
            return None;
        }
        let open = self.direct.scopes().rejection(Instant::now())?;
        self.direct.meters().rejected();
        Some(EmitError::CircuitOpen(open))
    }

    /// Returns whether the sink can store or spool events now, for a readiness check or a queue in front of it. Changes no
    /// circuit and no metric. It does not check single subjects, or whether the disk works.
    ///
    /// Without a spool it is unavailable while the connection is down or the circuit is open, until the next probe is
    /// due: then an emit is the probe. With a spool it is available until the spool is full or has failed, too. The spool is
    /// full once an event has found no room, until an event leaves it or a smaller one finds room.
    ///
    /// ```
    /// # use jetsink::{Publisher, Sink};
    /// fn ready<P: Publisher>(sink: &Sink<P>) -> (u16, String) {
    ///     match sink.accepts() {
    ///         Ok(()) => (200, "ready".to_owned()),
    ///         Err(reason) => (503, reason.to_string()),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Unavailable`]: the reason.
    pub fn accepts(&self) -> Result<(), Unavailable> {
        if self.in_flight.is_closed() {
            return Err(Unavailable::Closed);
        }
        let Some(away) = self.broker_unavailable() else {
            return Ok(());
        };
        match &self.spool {
            None => Err(away),
            Some(spool) => spool.accepts(),
        }
    }

    fn broker_unavailable(&self) -> Option<Unavailable> {
        let connection = self.direct.publisher().connection();
        if connection.is_some_and(|connection| !connection.borrow().up) {
            return Some(Unavailable::NotConnected);
        }
        let open = self.direct.scopes().rejection(Instant::now())?;
        Some(Unavailable::CircuitOpen(open))
    }

    /// Without a spool, admits the event, or rejects it before anything shared is written: an outage
    /// brings rejections by the million, and they would queue for the count of emits in flight.
    fn admit_before_begin(
        &self,
        subject: &Subject,
        now: Instant,
    ) -> Result<Option<ScopedAdmission<'_>>, EmitError> {
        if self.in_flight.is_closed() {
            return Err(EmitError::Closed);
        }
        if self.spool.is_some() {
            return Ok(None);
        }
        match self.direct.admit(now, subject) {
            Ok(admission) => Ok(Some(admission)),
            Err(open) => {
                // Counted without a duration, which would hide the durations of other emits.
                self.direct.meters().rejected();
                Err(EmitError::CircuitOpen(open))
            }
        }
    }

    /// Admits the event, unless that was done before it began.
    fn admit<'a>(
        &'a self,
        admission: Option<ScopedAdmission<'a>>,
        subject: &Subject,
        now: Instant,
    ) -> Result<ScopedAdmission<'a>, EmitError> {
        match admission {
            Some(admission) => Ok(admission),
            None => self
                .direct
                .admit(now, subject)
                .map_err(EmitError::CircuitOpen),
        }
    }

    /// Spools an event after a failure that a spool helps against.
    async fn or_spool(
        &self,
        spool: &Spool,
        envelope: &Envelope,
        sent: Result<Delivery, EmitError>,
        started: Instant,
    ) -> Result<Delivery, EmitError> {
        match sent {
            Err(error) if may_be_spooled(&error) => {
                self.spool_event(spool, envelope, Some(error), started)
                    .await
            }
            sent => sent,
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

    /// Whether an event must queue behind spooled ones of its subject. Waits for a short time for them to
    /// be stored.
    async fn queues_behind_spooled(
        &self,
        spool: &Spool,
        envelope: &Envelope,
        started: Instant,
    ) -> bool {
        let subject = envelope.subject();
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
        let room = room.map(|room| (spans::spool(envelope), room));
        let deadline = sent_at + self.deadline();
        spool_event(spool, envelope, room, sent, sent_at, &self.direct, deadline).await
    }
}
