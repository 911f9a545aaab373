//! The streams that store events: their specification, and the plan that makes a stream meet it.
//!
//! A sink never creates a stream. An operator does, by `jetsink stream` or by these calls:
//!
//! ```no_run
//! use jetsink::streams::StreamSpec;
//! use jetsink::{ConnectSettings, NatsPublisher};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let publisher = NatsPublisher::connect(ConnectSettings::new("nats://127.0.0.1:4222")?).await?;
//! let spec = StreamSpec::new("EVENTS", ["events.>"])?.replicas(3)?;
//! let plan = publisher.admin().plan_stream(&spec).await?;
//! println!("{plan}");
//! publisher.admin().apply_stream(&plan, false).await?;
//! # Ok(())
//! # }
//! ```

mod calls;
pub(crate) mod plan;
pub(crate) mod spec;

pub use plan::{ChangeKind, StreamChange, StreamPlan};
pub use spec::{Storage, StreamSpec, StreamSpecError};

use crate::outcome::PublishError;

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
        #[source]
        error: PublishError,
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
