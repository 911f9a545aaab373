//! The settings of a sink. Checked here.

use std::time::Duration;

use crate::message::envelope::{HeaderError, MessageId};

/// An invalid setting of a sink or its spool. `Display` is one line with the valid values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The deadline is out of range.
    #[error("the deadline is {0:?}; it must be from 1 ms to 1 hour")]
    Deadline(Duration),
    /// There would be no attempt.
    #[error("max attempts is 0; it must be 1 or more")]
    MaxAttempts,
    /// The sink's id can't be part of a message id.
    #[error("sink id: {0}")]
    SinkId(HeaderError),
    /// Nothing would fit into the spool.
    #[error("the limit of the spool is 0 bytes; it must be 1 or more")]
    SpoolLimit,
    /// No spooled event would be sent.
    #[error("the maximum age of a spooled event is 0; it must be longer")]
    MaxAge,
    /// No spooled event would be sent.
    #[error("the rate of the replay is 0 events per second; it must be 1 or more")]
    EventsPerSecond,
}

/// The settings of a sink. Defaults: a deadline of 2 s, 3 attempts, a random id for each sink that is created
/// with them.
///
/// ```
/// use std::time::Duration;
/// use jetsink::{SettingsError, SinkSettings};
///
/// let settings = SinkSettings::default()
///     .deadline(Duration::from_millis(500))?
///     .max_attempts(2)?;
///
/// let error = SinkSettings::default().deadline(Duration::ZERO).unwrap_err();
/// assert_eq!(error.to_string(), "the deadline is 0ns; it must be from 1 ms to 1 hour");
/// # Ok::<(), SettingsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSettings {
    pub(crate) deadline: Duration,
    pub(crate) max_attempts: u32,
    /// `None`: each sink has a random one.
    pub(crate) sink_id: Option<String>,
}

impl Default for SinkSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(2),
            max_attempts: 3,
            sink_id: None,
        }
    }
}

impl SinkSettings {
    /// Sets the maximum duration of one emit, with all attempts and waits.
    ///
    /// # Errors
    /// [`SettingsError::Deadline`] outside 1 ms to 1 hour.
    pub fn deadline(mut self, deadline: Duration) -> Result<Self, SettingsError> {
        if !(Duration::from_millis(1)..=Duration::from_secs(3_600)).contains(&deadline) {
            return Err(SettingsError::Deadline(deadline));
        }
        self.deadline = deadline;
        Ok(self)
    }

    /// Sets the maximum number of attempts of one emit while the circuit is closed. Only a
    /// [transient](crate::PublishError::is_transient) failure is retried, after waits of 100 ms, 400 ms, 1.6 s … that fit into
    /// the deadline. A probe is always one attempt. In a [`Pipeline`](crate::Pipeline) the number applies to
    /// failures of a subject; failures of the broker are retried until the pipeline's maximum outage has passed.
    ///
    /// # Errors
    /// [`SettingsError::MaxAttempts`] for 0.
    pub fn max_attempts(mut self, attempts: u32) -> Result<Self, SettingsError> {
        if attempts == 0 {
            return Err(SettingsError::MaxAttempts);
        }
        self.max_attempts = attempts;
        Ok(self)
    }

    /// Sets the first part of the message ids that the sink mints (`<id>.<random>.<n>`), to recognize its events. The
    /// random part differs for each sink, so several sinks and runs may share the id.
    ///
    /// # Errors
    /// [`SettingsError::SinkId`] if it can't be a part of a header.
    pub fn sink_id(mut self, id: impl Into<String>) -> Result<Self, SettingsError> {
        self.sink_id = Some(
            MessageId::new(id)
                .map_err(SettingsError::SinkId)?
                .as_str()
                .to_owned(),
        );
        Ok(self)
    }
}
