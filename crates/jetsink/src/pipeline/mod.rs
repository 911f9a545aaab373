//! The pipeline: many envelopes in flight, results in order, order kept on the stream.
//!
//! On one connection, the envelope that is sent first is stored first, and a lost connection loses a
//! tail, never a middle. So order breaks only if sending goes on while older envelopes are unsettled.
//! Hence the rule: a failure of the broker that will be retried ends the window. Nothing new is sent until
//! everything in flight has settled; then sending resumes at the first envelope that is not
//! acknowledged, each with the same message id as before. A failure of a subject does the same for this
//! subject only. A window uses one connection only: a new connection may exist before the failures of the
//! old one are known.
//!
//! `queue` has the entries in their order, `in_flight` those on their way to the broker, and
//! `spool_side` those on their way into the spool or held back. `delayed` has the subjects that are tried
//! again later. `sending` decides the next step of each entry, and `settling` handles results.
//! The parts are not generic and `Pipeline` is: without `#[inline]` each step of an entry would be a
//! call into another crate.

mod adaptive;
mod delayed;
mod entry;
mod held_back;
mod in_flight;
mod outage_limit;
mod queue;
mod sending;
mod settling;
mod spool_side;
mod subjects;
mod width;

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::poll_proceed;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::message::envelope::Envelope;
use crate::outcome::{Delivery, EmitError, PushError};
use crate::publish::in_flight::InFlight;
use crate::publish::{Direct, LOOK_AGAIN};
use crate::publisher::Publisher;
use crate::publisher::window::WindowSize;
use crate::spool::Spool;
use delayed::Delayed;
use in_flight::InFlightSet;
use outage_limit::OutageLimit;
use queue::Queue;

use spool_side::SpoolSide;
use width::Width;

/// Envelopes on their way through one [`Sink`](crate::Sink), by [`Sink::pipeline`](crate::Sink::pipeline).
///
/// ```no_run
/// use std::time::Duration;
/// use jetsink::WindowSize;
/// # use jetsink::{Envelope, Publisher, Sink};
///
/// # async fn example<P: Publisher>(
/// #     sink: &Sink<P>,
/// #     envelopes: Vec<Envelope>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let window = WindowSize::new(512).unwrap();
/// let mut pipeline = sink.pipeline(window).max_outage(Duration::from_secs(30));
/// for envelope in envelopes {
///     // While it is full, a result makes room.
///     while !pipeline.has_room() && let Some(result) = pipeline.next().await {
///         println!("{:?}", result?); // in the order of the pushes
///     }
///     pipeline.push(envelope)?; // `Ended` if the sink was closed: this one and the rest are not sent
/// }
/// while let Some(result) = pipeline.next().await {
///     println!("{:?}", result?);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Pipeline<'a, P> {
    direct: &'a Direct<P>,
    width: Width,
    queue: Queue<'a>,
    in_flight: InFlightSet<'a>,
    spool_side: Option<SpoolSide<'a>>,
    delayed: Delayed,
    phase: Phase,
    outage_limit: OutageLimit,
    stopped: bool,
    /// `None` for replay, whose events are not emits.
    emits: Option<&'a InFlight>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Queued entries are sent.
    Sending,
    /// The window has ended: sending resumes at this time, once everything in flight has settled.
    Settling { resume_at: Instant },
}

impl<P: Publisher> Direct<P> {
    pub(crate) fn pipeline(&self, window: WindowSize) -> Pipeline<'_, P> {
        Pipeline {
            direct: self,
            width: Width::Fixed(window.get()),
            queue: Queue::default(),
            in_flight: InFlightSet::new(self.publisher().connection()),
            spool_side: None,
            delayed: Delayed::default(),
            phase: Phase::Sending,
            outage_limit: OutageLimit::default(),
            stopped: false,
            emits: None,
        }
    }
}

impl<'a, P: Publisher> Pipeline<'a, P> {
    /// Counts its envelopes as emits of a sink, and spools those that cannot be sent, if there is a
    /// spool.
    #[must_use]
    pub(crate) fn of_sink(mut self, spool: Option<&'a Spool>, emits: &'a InFlight) -> Self {
        self.spool_side = spool.map(SpoolSide::new);
        self.emits = Some(emits);
        self
    }

    /// Sets how long a failing broker, or a stream without a leader, is tried again, with the same message ids,
    /// before the failure becomes the result; [`Duration::MAX`] is for ever. Default: zero.
    ///
    /// While a stream has no leader, is offline or overloaded, only the events of its subjects wait; those of other
    /// subjects are sent as far as the window reaches, since results come in order. So this limit counts for all such
    /// streams together, and is at most ten minutes for them. It begins again once a failing subject has
    /// recovered, or after ten times its length.
    ///
    /// Keep it below the stream's duplicate window (2 minutes by default): after that the broker no
    /// longer recognizes an envelope that it stored at the first attempt.
    #[must_use]
    pub fn max_outage(mut self, max_outage: Duration) -> Self {
        self.outage_limit.limit = max_outage;
        self
    }

    /// Makes the window adaptive, with the given one as its maximum. It measures the number of envelopes in
    /// flight with the best rate: the number that the broker takes in a round trip and 40 ms, at least 16.
    /// For a near broker that is some thousand small envelopes or a few large ones; for a far one more.
    /// The round trip is measured with a window of 16, at the start and every 30 s. A window that
    /// becomes smaller does not affect envelopes in flight.
    ///
    /// It measures only while the window limits the rate, that is, while each [`next`](Self::next)
    /// comes when there is no room.
    #[must_use]
    pub fn adaptive(mut self) -> Self {
        self.width.adapt();
        self
    }

    /// For a sender that sends failed events again: once an event of a subject has failed, queued
    /// events of that subject fail too, as not sent.
    #[must_use]
    pub(crate) fn holding_failed_subjects(mut self) -> Self {
        self.queue.hold_failed_subjects();
        self
    }

    /// Whether [`push`](Self::push) accepts another envelope: the window is not full, the pipeline was
    /// not stopped and the sink is not closed.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.is_ended() && self.queue.len() < self.window()
    }

    /// Whether the pipeline accepts no more envelopes: it was [stopped](Self::stop), or its sink closed.
    /// Pushed envelopes still have results.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.stopped || self.emits.is_some_and(InFlight::is_closed)
    }

    /// Whether nothing is on its way, to the broker or into the spool.
    fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.spool_side.as_ref().is_none_or(SpoolSide::is_empty)
    }

    /// The current maximum number of envelopes in the pipeline.
    #[must_use]
    pub fn window(&self) -> usize {
        self.width.get()
    }

    /// Whether the pipeline has no envelopes: [`next`](Self::next) would return `None`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Adds an envelope. It is sent when [`next`](Self::next) is awaited.
    ///
    /// # Errors
    /// [`PushError`] with the envelope: [`Full`](PushError::Full) until [`next`](Self::next) returns a result,
    /// [`Ended`](PushError::Ended) for good.
    pub fn push(&mut self, envelope: Envelope) -> Result<(), PushError> {
        if self.is_ended() {
            return Err(PushError::Ended(envelope));
        }
        if self.queue.len() >= self.window() {
            return Err(PushError::Full(envelope));
        }
        self.queue.push(self.direct.identified(envelope));
        Ok(())
    }

    /// Stops sending. Envelopes that were not sent are reported as not sent, or with the earlier
    /// failure that left it unknown whether they are stored. Envelopes in flight settle, and are not
    /// tried again.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.queue.stop();
    }

    /// Sends the pushed envelopes and returns the result of the oldest; `None` without any.
    ///
    /// Cancellation-safe: a later call resumes where a dropped one stopped. Dropping the pipeline
    /// abandons the envelopes in flight; each may be stored or not, and the [receipt](crate::Receipt::unknown)
    /// counts it. Queued envelopes are not sent. The receipt counts those that an earlier attempt may have stored.
    pub async fn next(&mut self) -> Option<Result<Delivery, EmitError>> {
        if self.has_room() {
            self.width.starved();
        }
        while !self.is_empty() {
            if let Some(result) = self.queue.take_settled() {
                if let Some(emits) = self.emits {
                    emits.ended(&result);
                    self.direct.meters().emitted(&result);
                }
                return Some(result);
            }
            self.advance().await;
        }
        None
    }

    /// Sends the queued entries, then waits for a result or for the time to go on.
    async fn advance(&mut self) {
        match self.phase {
            Phase::Sending => self.send_queued(),
            Phase::Settling { .. } => {}
        }
        if !self.is_idle() {
            if let Some((number, result)) = self.next_settled().await {
                self.settle(number, result);
            }
        } else if let Phase::Settling { resume_at } = self.phase {
            sleep_until(resume_at).await;
            self.phase = Phase::Sending;
        } else if let Some(side) = &mut self.spool_side {
            side.wait().await;
        } else if let Some(release_at) = self.delayed.next_release() {
            sleep_until(release_at).await;
        }
    }

    /// The next result of an entry on its way; `None` when it is time to look at held or delayed entries.
    async fn next_settled(&mut self) -> Option<(u64, Result<Delivery, EmitError>)> {
        let look_at_held = match (self.phase, &self.spool_side) {
            (Phase::Settling { .. }, _) => None,
            // Nothing is queued, and no round begins.
            (Phase::Sending, _) if self.stopped => None,
            (Phase::Sending, Some(side)) => side.held.next_look(),
            (Phase::Sending, None) => self.delayed.next_release(),
        };
        let settled = poll_fn(|context| self.poll_settled(context));
        match look_at_held {
            Some(then) => timeout_at(then, settled).await.ok(),
            None => Some(settled.await),
        }
    }

    fn poll_settled(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<(u64, Result<Delivery, EmitError>)> {
        // Acknowledgements may come in faster than they are taken.
        let budget = ready!(poll_proceed(context));
        while let Poll::Ready((number, result)) = self.in_flight.poll_result(context) {
            // A result that no entry waits for is an error of the publisher.
            let Some(entry) = self.queue.find(number) else {
                continue;
            };
            if let Some((admission, sent_at)) = entry.take_flight() {
                budget.made_progress();
                if result.is_err() && entry.failures == 0 {
                    entry.is_probe = admission.is_probe();
                }
                self.in_flight.landed(entry.envelope.subject());
                let (direct, envelope) = (self.direct, &entry.envelope);
                let is_first = entry.is_first_attempt();
                let result = direct.settle(envelope, admission, sent_at, is_first, result);
                return Poll::Ready((number, result));
            }
        }
        let Some(side) = &mut self.spool_side else {
            return Poll::Pending;
        };
        let (number, result) = ready!(side.poll_written(context));
        budget.made_progress();
        side.written(self.queue.entry(number).envelope.subject());
        Poll::Ready((number, result))
    }
}

impl<P> Drop for Pipeline<'_, P> {
    fn drop(&mut self) {
        if let Some(emits) = self.emits {
            emits.abandoned(self.queue.unknown());
        }
    }
}

impl<P> fmt::Debug for Pipeline<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spooling = self.spool_side.as_ref().map_or(0, SpoolSide::len);
        f.debug_struct("Pipeline")
            .field("window", &self.width)
            .field("entries", &self.queue.len())
            .field("in_flight", &self.in_flight.len())
            .field("spooling", &spooling)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}
