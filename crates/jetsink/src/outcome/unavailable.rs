//! The reason why a sink can neither store nor spool events at the moment.

use super::emit_error::CircuitOpen;

/// The reason why [`Sink::accepts`](crate::Sink::accepts) refuses events. `Display` is one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The sink was closed, or is closing.
    #[error("the sink is closed")]
    Closed,
    /// There is no connection to the broker.
    #[error("no connection to the broker; it is away, out of reach, or refuses the login")]
    NotConnected,
    /// The broker's circuit is open.
    #[error("{0}")]
    CircuitOpen(CircuitOpen),
    /// The broker is unavailable and the spool is full.
    #[error(
        "the broker is unavailable and the spool is full: {used_bytes} of {limit_bytes} bytes; repair the broker, or \
         raise the limit"
    )]
    SpoolFull {
        /// Bytes of its events, including dead letters.
        used_bytes: u64,
        /// Its limit.
        limit_bytes: u64,
    },
    /// The broker is unavailable, and a thread of the spool has panicked.
    #[error("the broker is unavailable and the spool has failed; restart the process")]
    SpoolFailed,
}
