//! What became of an emitted event, and of all events of a sink.

use super::acknowledgement::Acknowledgement;

/// What became of an event that was emitted with `Ok`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// A stream has acknowledged it.
    Stored {
        /// The stream.
        stream: String,
        /// The event's sequence number in it.
        sequence: u64,
        /// Whether the broker called it a duplicate: stored before, by an earlier attempt of this
        /// emit or under the same message id, and not stored again.
        duplicate: bool,
    },
    /// It is synced to the local disk, and will be sent when the broker takes it.
    Spooled,
}

impl From<Acknowledgement> for Delivery {
    fn from(ack: Acknowledgement) -> Self {
        Self::Stored {
            stream: ack.stream,
            sequence: ack.sequence,
            duplicate: ack.duplicate,
        }
    }
}

/// What became of everything, by [`Sink::close`](crate::Sink::close). Nothing was lost on the way where `unknown` is 0 and each `Err`
/// was dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Receipt {
    /// Events that a stream acknowledged during this sink's life, replayed ones among them.
    pub delivered: u64,
    /// Events that are in the spool, for the next sink on it.
    pub spooled: u64,
    /// Emits that ended without anybody knowing whether the event is stored or spooled.
    pub unknown: u64,
    /// Dead letters in the spool.
    pub dead_letters: u64,
}
