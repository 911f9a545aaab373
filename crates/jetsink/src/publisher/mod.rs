//! The port between the sink and the transport of its envelopes.
//!
//! A sink publishes through [`Publisher`]: one envelope goes in, an acknowledgement or a typed error comes
//! out. [`Window`] keeps many envelopes in flight over one connection. `nats/` implements both; tests
//! implement them with a script or a simulated broker.

pub(crate) mod window;

use std::collections::HashMap;
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
use crate::message::subject::Subject;
use crate::outcome::{Acknowledgement, PublishError};
use window::{Sent, Window};

/// What came of looking up message ids, by [`Publisher::stored_ids`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoredIds {
    /// All were visited.
    Visited,
    /// All but those of these subjects, whose streams don't answer at the moment.
    VisitedExcept(Vec<Subject>),
    /// This publisher can't look them up.
    Unsupported,
}

/// What a publisher knows of its connection: evidence for the broker's circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connection {
    /// Whether there is one.
    pub up: bool,
    /// Which one it is, or was: no two connections of a publisher share a number.
    pub number: u64,
    /// Counts up with each sign that the broker is there again: a new connection, or an answer to
    /// something that had been given up.
    pub signs_of_life: u64,
}

/// Sends one envelope and waits for the acknowledgement.
///
/// Implemented by [`NatsPublisher`](crate::NatsPublisher); by tests with a script. One that wraps another has to
/// hand on every method: the defaults say less than the one inside knows.
///
/// ```
/// use jetsink::{Acknowledgement, Envelope, PublishError, Publisher};
/// use tokio::time::Instant;
///
/// /// Stores nothing and says so.
/// struct Nowhere;
///
/// impl Publisher for Nowhere {
///     async fn publish(&self, _: &Envelope, _: Instant) -> Result<Acknowledgement, PublishError> {
///         Err(PublishError::NotConnected)
///     }
/// }
/// ```
pub trait Publisher: Send + Sync {
    /// Sends `envelope` once and waits, until `deadline` at the most, for the stream's word.
    ///
    /// `Ok` means stored. Dropping the future gives up the wait; the event may be stored all the
    /// same.
    ///
    /// # Errors
    /// [`PublishError`], which says what is known of the event.
    fn publish(
        &self,
        envelope: &Envelope,
        deadline: Instant,
    ) -> impl Future<Output = Result<Acknowledgement, PublishError>> + Send;

    /// Whether [`publish`](Self::publish) ends by its deadline by itself, whatever happens. For those
    /// that don't, which is the default, the sink sets a timer of its own around each publish.
    fn keeps_deadline(&self) -> bool {
        false
    }

    /// As [`publish`](Self::publish), but over the connection of that number and no other: once it
    /// has ended this gives [`PublishError::NotConnected`] and sends nothing.
    ///
    /// For senders who keep order with many in flight. What they send over a new connection while
    /// they have not yet looked at the failures of the old one would overtake what failed.
    ///
    /// # Errors
    /// As [`publish`](Self::publish). By default it is the same, for publishers whose
    /// [`connection`](Self::connection) is `None`.
    fn publish_over(
        &self,
        connection: u64,
        envelope: &Envelope,
        deadline: Instant,
    ) -> impl Future<Output = Result<Acknowledgement, PublishError>> + Send {
        let _ = connection;
        self.publish(envelope, deadline)
    }

    /// A window over the connection of that number, as [`publish_over`](Self::publish_over); over
    /// whatever connection there is, where `connection` is `None`.
    ///
    /// By default each envelope in it is a publish of its own; a publisher that can do with less says
    /// so here.
    fn window(&self, connection: Option<u64>) -> Box<dyn Window + '_>
    where
        Self: Sized,
    {
        Box::new(EachAlone::new(self, connection))
    }

    /// Gives `visit` the message ids of what streams have stored under the subjects of `events`, one event
    /// for each subject, above the sequence numbers in `after` (by stream; from the beginning where it names
    /// none). Each id comes with those of the subjects that its stream captures. Ids of others may come
    /// too. By default it can't.
    ///
    /// What was sent by this publisher before counts even if it is not stored yet: a stream that has taken
    /// something and neither stored nor refused it is one that does not answer. To find that out a
    /// publisher may send one of `events` again, in a way that no stream stores it.
    ///
    /// # Errors
    /// [`PublishError`], where the broker as a whole does not say now.
    fn stored_ids(
        &self,
        events: &[Envelope],
        after: &HashMap<String, u64>,
        visit: &mut (dyn FnMut(&[&Subject], &str) + Send),
    ) -> impl Future<Output = Result<StoredIds, PublishError>> + Send {
        let _ = (events, after, visit);
        std::future::ready(Ok(StoredIds::Unsupported))
    }

    /// Told when nothing has been stored for seconds, though publishes were tried: time to leave the
    /// server that we are connected to for another one, where there is one. By default nothing happens.
    fn try_elsewhere(&self) {}

    /// The connection, as it changes. `None` where the publisher has none to speak of.
    fn connection(&self) -> Option<watch::Receiver<Connection>> {
        None
    }
}

type Flight<'a> = Pin<Box<dyn Future<Output = Sent> + Send + 'a>>;

/// A window over any publisher: each envelope is a publish of its own. What
/// [`Publisher::window`] gives by default.
pub struct EachAlone<'a, P> {
    publisher: &'a P,
    connection: Option<u64>,
    flights: FuturesUnordered<Flight<'a>>,
}

impl<'a, P: Publisher> EachAlone<'a, P> {
    /// Over the connection of that number, or any, as [`Publisher::window`].
    pub fn new(publisher: &'a P, connection: Option<u64>) -> Self {
        Self {
            publisher,
            connection,
            flights: FuturesUnordered::new(),
        }
    }
}

impl<P: Publisher> Window for EachAlone<'_, P> {
    fn send(&mut self, number: u64, envelope: &Arc<Envelope>, deadline: Instant) {
        let (publisher, connection) = (self.publisher, self.connection);
        let envelope = Arc::clone(envelope);
        // Unconstrained: tokio's budget might otherwise let a later flight hand over its envelope
        // before this one.
        self.flights.push(Box::pin(unconstrained(async move {
            let result = publish_once(publisher, &envelope, deadline, connection).await;
            (number, result)
        })));
    }

    fn poll_result(&mut self, context: &mut Context<'_>) -> Poll<Sent> {
        match self.flights.poll_next_unpin(context) {
            Poll::Ready(Some(sent)) => Poll::Ready(sent),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Publishes, over one connection only where its number is given, and no longer than the deadline. A
/// publisher that keeps it by itself knows more when it does.
pub(crate) async fn publish_once<P: Publisher>(
    publisher: &P,
    envelope: &Envelope,
    deadline: Instant,
    connection: Option<u64>,
) -> Result<Acknowledgement, PublishError> {
    let publish = async {
        match connection {
            None => publisher.publish(envelope, deadline).await,
            Some(number) => publisher.publish_over(number, envelope, deadline).await,
        }
    };
    if publisher.keeps_deadline() {
        return publish.await;
    }
    timeout_at(deadline, publish)
        .await
        .unwrap_or(Err(PublishError::AckTimeout {
            broker_answers: false,
        }))
}

impl<P> fmt::Debug for EachAlone<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EachAlone")
            .field("connection", &self.connection)
            .field("in_flight", &self.flights.len())
            .finish_non_exhaustive()
    }
}
