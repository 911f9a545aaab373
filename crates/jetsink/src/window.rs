//! What the pipeline has in flight over one connection.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, timeout_at};

use crate::envelope::Envelope;
use crate::error::PublishError;
use crate::publisher::{Acknowledgement, Publisher};

/// What came of one envelope, by the number it was sent with.
pub type Sent = (u64, Result<Acknowledgement, PublishError>);

/// Many envelopes in flight over one connection, by [`Publisher::window`].
///
/// Dropping it gives up on what is in flight, which may be stored or not.
pub trait Window: Send {
    /// Sends `envelope` behind all that were sent before. Does not wait: where it can't go out now, it
    /// does so while [`poll_result`](Self::poll_result) is called, and where it never does, its result
    /// says so.
    fn send(&mut self, number: u64, envelope: &Arc<Envelope>, deadline: Instant);

    /// What came of one of them, whichever is first; pending while there is nothing to tell. Each has
    /// its result by its deadline.
    fn poll_result(&mut self, context: &mut Context<'_>) -> Poll<Sent>;
}

impl<P> fmt::Debug for EachAlone<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EachAlone")
            .field("connection", &self.connection)
            .field("in_flight", &self.flights.len())
            .finish_non_exhaustive()
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
