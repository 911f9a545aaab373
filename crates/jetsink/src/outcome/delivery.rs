//! The outcome of an emitted event, and the totals of a sink.

use super::acknowledgement::Acknowledgement;

/// The outcome of an event for which an emit returned `Ok`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// A stream has acknowledged it.
    Stored(Acknowledgement),
    /// It is synced to the local disk, and will be sent when the broker accepts it.
    Spooled,
}

impl From<Acknowledgement> for Delivery {
    fn from(ack: Acknowledgement) -> Self {
        Self::Stored(ack)
    }
}

/// The totals of a sink, by [`Sink::close`](crate::Sink::close). No event was lost if `unknown` is 0, the caller
/// handled each `Err`, and no emit or pipeline was dropped before it sent its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Receipt {
    /// Events that a stream acknowledged during this sink's life, including replayed ones.
    pub delivered: u64,
    /// Those of them whose message id the stream had already, so that it stored nothing: an earlier attempt was
    /// stored, or the caller gave the id to another event, too.
    pub duplicates: u64,
    /// Events pending in the spool, for the next sink that opens it.
    pub spooled: u64,
    /// Events that may be stored or spooled, or not: their result says so, their emit or their
    /// [`Pipeline`](crate::Pipeline) was dropped after it may have sent them, or they were in flight when the close ended.
    pub unknown: u64,
    /// Dead letters in the spool.
    pub dead_letters: u64,
    /// Spooled events that left the spool because a look-up found them stored. They are not in `delivered`.
    pub found_stored: u64,
    /// Spooled events that were not sent because their stream keeps only the last messages of a subject, and later
    /// ones are stored.
    pub obsolete: u64,
    /// Spooled events that were sent though they may have been stored before: no look-up could tell.
    pub possible_duplicates: u64,
}
