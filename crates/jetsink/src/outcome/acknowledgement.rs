//! The acknowledgement of a stream.

/// A stream's confirmation that it has stored an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acknowledgement {
    /// The stream.
    pub stream: String,
    /// The event's sequence number in it.
    pub sequence: u64,
    /// Whether the stream already had a message with this id in its duplicate window, from an earlier attempt or from
    /// another event with the id, and stored nothing now; `sequence` is then that of the earlier message.
    pub duplicate: bool,
    /// The JetStream domain of the server that stored it, if it has one.
    pub domain: Option<String>,
}

impl Acknowledgement {
    /// An acknowledgement of a new message.
    #[must_use]
    pub fn new(stream: impl Into<String>, sequence: u64) -> Self {
        Self {
            stream: stream.into(),
            sequence,
            duplicate: false,
            domain: None,
        }
    }
}
