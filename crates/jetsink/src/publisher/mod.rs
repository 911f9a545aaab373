//! The port between the sink and the transport of its envelopes.
//!
//! A sink publishes through [`Publisher`]: one envelope in, an acknowledgement or a typed error out.
//! [`Window`] keeps many envelopes in flight over one connection. `nats/` implements both; tests
//! implement them with a script or a simulated broker.

pub(crate) mod baseline;
mod forward;
pub(crate) mod look_up;
pub(crate) mod window;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, timeout_at};

use crate::message::envelope::Envelope;
use crate::outcome::{Acknowledgement, PublishError};
use baseline::Baselines;
use look_up::{StoredId, StoredIds};
use window::{Window, WindowResult};

/// The state of a publisher's connection: evidence for the broker's circuit. A publisher begins with the default, and
/// sets the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ConnectionState {
    /// Whether it is established.
    pub up: bool,
    /// The number of the current or last connection, unique for the publisher.
    pub number: u64,
    /// Increments with each sign that the broker is back: a new connection, or an answer to a request
    /// that had timed out.
    pub signs_of_life: u64,
}

/// Sends one envelope and waits for the acknowledgement.
///
/// Implemented by [`NatsPublisher`](crate::NatsPublisher), by `&P`, `Arc<P>` and `Box<P>` of a publisher `P`, and by tests
/// with a script. Another wrapper must forward every method: the defaults are weaker than the wrapped publisher's.
///
/// ```
/// use jetsink::{Acknowledgement, Envelope, PublishError, Publisher};
/// use tokio::time::Instant;
///
/// /// Stores no event.
/// struct Nowhere;
///
/// impl Publisher for Nowhere {
///     async fn publish(&self, _: &Envelope, _: Instant) -> Result<Acknowledgement, PublishError> {
///         Err(PublishError::NotConnected)
///     }
/// }
/// ```
pub trait Publisher: Send + Sync {
    /// Sends `envelope` once and waits for the acknowledgement, at most until `deadline`.
    ///
    /// `Ok` means stored. Dropping the future ends the wait; the event may still be stored.
    ///
    /// # Errors
    /// [`PublishError`], which states whether the event may be stored.
    fn publish(
        &self,
        envelope: &Envelope,
        deadline: Instant,
    ) -> impl Future<Output = Result<Acknowledgement, PublishError>> + Send;

    /// Whether [`publish`](Self::publish) always ends by its deadline. If not, which is the default, the
    /// sink sets a timer around each publish.
    fn enforces_deadline(&self) -> bool {
        false
    }

    /// Returns a window over the connection with this number, or over the current one if `connection`
    /// is `None`.
    ///
    /// Once that connection has ended, the window sends nothing and returns
    /// [`PublishError::NotConnected`] for each envelope. Otherwise envelopes on a new connection would
    /// overtake those that failed on the old one.
    ///
    /// The default sends each envelope as a publish of its own, over any connection. A publisher whose
    /// [`connection`](Self::connection) is not `None` must override it, at least with
    /// [`PerMessageWindow::with`].
    fn window(&self, connection: Option<u64>) -> Box<dyn Window + '_>
    where
        Self: Sized,
    {
        let _ = connection;
        Box::new(PerMessageWindow::new(self))
    }

    /// Passes to `visit` the message ids of the events stored under the subjects of `events` (one event
    /// per subject) above the baselines in `after`: from the beginning for a stream without one, and for a
    /// stream that is [another one](baseline::Baseline::above) than that of its baseline. Each id is passed with the subjects that its stream captures. Ids of other subjects
    /// may be passed too. The default returns [`StoredIds::Unsupported`].
    ///
    /// Events sent earlier by this publisher count even if they are not stored yet: a stream that has
    /// accepted an event and neither stored nor refused it counts as one that does not answer. To detect
    /// this, a publisher may send one of `events` again in a way that no stream stores it. The sink leaves payloads
    /// empty if those of all `events` exceed 16 MiB.
    ///
    /// # Errors
    /// [`PublishError`] if the broker as a whole does not answer now.
    fn stored_ids(
        &self,
        events: &[Envelope],
        after: &Baselines,
        visit: &mut (dyn FnMut(StoredId<'_>) + Send),
    ) -> impl Future<Output = Result<StoredIds, PublishError>> + Send {
        let _ = (events, after, visit);
        std::future::ready(Ok(StoredIds::Unsupported))
    }

    /// Returns the creation time of a stream as its server writes it, to recognise another stream of the same
    /// name later. `domain` is from an acknowledgement of the stream. `None` if it can't be known, which is the
    /// default.
    ///
    /// # Errors
    /// [`PublishError`] if a later call may succeed.
    fn stream_created(
        &self,
        stream: &str,
        domain: Option<&str>,
    ) -> impl Future<Output = Result<Option<String>, PublishError>> + Send {
        let _ = (stream, domain);
        std::future::ready(Ok(None))
    }

    /// Asks the publisher to move to another server, if it knows one: publishes were tried, and nothing
    /// has been stored for seconds. The default does nothing.
    fn request_failover(&self) {}

    /// Returns the connection and its changes; `None` for a publisher without one.
    fn connection(&self) -> Option<watch::Receiver<ConnectionState>> {
        None
    }
}

type Flight<'a> = Pin<Box<dyn Future<Output = WindowResult> + Send + 'a>>;
type Publish<'a> = dyn Fn(u64, Arc<Envelope>, Instant) -> Flight<'a> + Send + 'a;

/// A window in which each envelope is a publish of its own. The default of [`Publisher::window`].
pub struct PerMessageWindow<'a> {
    publish: Box<Publish<'a>>,
    flights: FuturesUnordered<Flight<'a>>,
}

impl<'a> PerMessageWindow<'a> {
    /// Sends by [`Publisher::publish`].
    pub fn new<P: Publisher>(publisher: &'a P) -> Self {
        Self::over(Box::new(move |number, envelope, deadline| {
            // Unconstrained: otherwise tokio's budget may let a later flight send its envelope before
            // this one.
            Box::pin(unconstrained(async move {
                (number, publish_once(publisher, &envelope, deadline).await)
            }))
        }))
    }

    /// Sends by `publish`, for a publisher that binds its windows to one connection. A result that is
    /// late becomes [`PublishError::AckTimeout`] at the deadline.
    pub fn with<F, R>(publish: F) -> Self
    where
        F: Fn(Arc<Envelope>, Instant) -> R + Send + 'a,
        R: Future<Output = Result<Acknowledgement, PublishError>> + Send + 'a,
    {
        Self::over(Box::new(move |number, envelope, deadline| {
            let result = by_deadline(deadline, publish(envelope, deadline));
            Box::pin(unconstrained(async move { (number, result.await) }))
        }))
    }

    fn over(publish: Box<Publish<'a>>) -> Self {
        Self {
            publish,
            flights: FuturesUnordered::new(),
        }
    }
}

impl Window for PerMessageWindow<'_> {
    fn send(&mut self, number: u64, envelope: &Arc<Envelope>, deadline: Instant) {
        let flight = (self.publish)(number, Arc::clone(envelope), deadline);
        self.flights.push(flight);
    }

    fn poll_result(&mut self, context: &mut Context<'_>) -> Poll<WindowResult> {
        match self.flights.poll_next_unpin(context) {
            Poll::Ready(Some(sent)) => Poll::Ready(sent),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Publishes once, at most until the deadline.
pub(crate) async fn publish_once<P: Publisher>(
    publisher: &P,
    envelope: &Envelope,
    deadline: Instant,
) -> Result<Acknowledgement, PublishError> {
    let publish = publisher.publish(envelope, deadline);
    // A publisher that keeps its deadline returns a more precise error than a timer.
    if publisher.enforces_deadline() {
        return publish.await;
    }
    by_deadline(deadline, publish).await
}

async fn by_deadline(
    deadline: Instant,
    publish: impl Future<Output = Result<Acknowledgement, PublishError>>,
) -> Result<Acknowledgement, PublishError> {
    timeout_at(deadline, publish)
        .await
        .unwrap_or(Err(PublishError::AckTimeout {
            broker_answers: false,
        }))
}

impl fmt::Debug for PerMessageWindow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerMessageWindow")
            .field("in_flight", &self.flights.len())
            .finish_non_exhaustive()
    }
}
