//! The streams that store events: their specification, and the plan that makes a stream meet it.

mod calls;
pub(crate) mod plan;
pub(crate) mod spec;

pub use plan::{StreamChange, StreamChangeKind, StreamPlan};
pub use spec::{StreamSpec, StreamSpecError, StreamStorage};

use crate::outcome::RequestError;

/// The reason why a stream could not be inspected or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The broker did not answer, or refused.
    #[error("stream {stream}: {error}")]
    Broker {
        /// The stream.
        stream: String,
        /// The broker's error.
        error: RequestError,
    },
    /// This user may not send the request.
    #[error(
        "stream {stream}: this user may not publish to {subject}, a request to the JetStream API; allow it"
    )]
    Denied {
        /// The stream.
        stream: String,
        /// The subject of the request.
        subject: String,
    },
    /// The stream cannot be changed to meet the specification. Nothing was changed.
    #[error(
        "stream {stream} can't be changed to meet the specification: {reason}; nothing was changed"
    )]
    Impossible {
        /// The stream.
        stream: String,
        /// The conflict and the remedy.
        reason: String,
    },
}
