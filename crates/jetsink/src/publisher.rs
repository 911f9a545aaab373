//! The port between the sink and whatever carries its envelopes.

use std::collections::HashMap;
use std::future::Future;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::envelope::Envelope;
use crate::error::PublishError;
use crate::subject::Subject;
use crate::window::{EachAlone, Window};

/// A stream's word that it has stored an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acknowledgement {
    /// The stream.
    pub stream: String,
    /// The event's sequence number in it.
    pub sequence: u64,
    /// Whether the stream already had a message with this id in its duplicate window, and so stored
    /// nothing now; `sequence` is then the first one's.
    pub duplicate: bool,
}

impl Acknowledgement {
    /// An acknowledgement of a new message.
    #[must_use]
    pub fn new(stream: impl Into<String>, sequence: u64) -> Self {
        Self {
            stream: stream.into(),
            sequence,
            duplicate: false,
        }
    }
}

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
