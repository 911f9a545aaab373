//! The streams that events go to: what one should be, how it differs, and making it so.
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

/// Why a stream could not be looked at or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The broker did not answer, or refused.
    #[error("stream {stream}: {error}")]
    Broker {
        /// The stream.
        stream: String,
        /// What happened.
        error: PublishError,
    },
    /// No change can make the stream that was found what it should be. Nothing was changed.
    #[error("stream {stream} can't be made so: {reason}; nothing was changed")]
    Impossible {
        /// The stream.
        stream: String,
        /// What stands in the way.
        reason: String,
    },
}
