//! The errors of an emit: rejected by a circuit, failed, not spooled, or the sink is closed.

use std::fmt;
use std::time::Duration;

use super::publish_error::{Known, PublishError, Scope};
use super::spool_error::SpoolError;
use crate::message::envelope::MessageId;
use crate::message::subject::Subject;

/// A rejection by an open circuit. Nothing was sent. It contains no allocation. `Display` shows when the next
/// probe is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitOpen {
    /// The open circuit: the broker's or the subject's.
    pub scope: Scope,
    /// Failed probes since it opened.
    pub attempt: u32,
    /// The time until the next probe is due; zero during a probe.
    pub retry_after: Duration,
    /// Whether a probe is in flight.
    pub probing: bool,
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Few writes: an outage may format this millions of times.
        f.write_str(match self.scope {
            Scope::Broker => "not sent: the broker's circuit is open (reconnecting state, attempt ",
            Scope::Subject => {
                "not sent: the subject's circuit is open (reconnecting state, attempt "
            }
            Scope::Event => "not sent: the event's circuit is open (reconnecting state, attempt ",
        })?;
        self.attempt.fmt(f)?;
        if self.probing {
            return f.write_str(
                ", a probe is in flight, next in 0 ms); emit it again then, or keep it elsewhere",
            );
        }
        f.write_str(", next probe in ")?;
        // Rounded up, so that an emit after this time is not too early.
        let subsecond = u64::from(self.retry_after.subsec_nanos().div_ceil(1_000_000));
        let seconds = self.retry_after.as_secs();
        seconds
            .saturating_mul(1_000)
            .saturating_add(subsecond)
            .fmt(f)?;
        f.write_str(" ms); emit it again then, or keep it elsewhere")
    }
}

/// A failed publish. `Display` is one line with the subject, the message id and the attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedEmit {
    /// The event's subject.
    pub subject: Subject,
    /// The event's message id, the same in each attempt.
    pub message_id: Option<MessageId>,
    /// The number of attempts; 0 if a pipeline was stopped before the first.
    pub attempts: u32,
    /// The error of the last attempt.
    pub error: PublishError,
    /// The state of the event after all attempts: unknown if the outcome of any attempt is unknown.
    pub known: Known,
}

impl fmt::Display for FailedEmit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} [subject {}",
            self.known, self.error, self.subject
        )?;
        if let Some(id) = &self.message_id {
            write!(f, ", message id {id}")?;
        }
        write!(f, ", attempts {}]", self.attempts)
    }
}

/// The error of an emit. `Display` is one line for a log: the state of the event, the cause, and the subject. It
/// contains no credentials.
///
/// Most callers need only the scope of the failure and the state of the event:
///
/// ```
/// use jetsink::{EmitError, Known, Scope};
///
/// fn remedy(error: &EmitError) -> &'static str {
///     match (error.scope(), error.known()) {
///         (Scope::Event, _) => "fix this event; others are not affected",
///         (_, Known::OutcomeUnknown) => "it may be stored: emit again only if twice is harmless",
///         (_, Known::NotSent | Known::Refused) => "it is not stored: keep it and emit it later",
///     }
/// }
/// ```
///
/// Do not emit again at once: the sink has retried as often as the deadline allowed. A caller that keeps the
/// event needs the time of the next attempt:
///
/// ```
/// use std::time::Duration;
/// use jetsink::{EmitError, PublishError};
///
/// fn retry_after(error: &EmitError) -> Option<Duration> {
///     match error {
///         EmitError::CircuitOpen(open) => Some(open.retry_after), // zero during a probe
///         EmitError::Failed(failed) => match &failed.error {
///             // Only an operator can fix these.
///             PublishError::PermissionDenied | PublishError::NoStream => None,
///             PublishError::TooLarge { .. } => None,
///             _ => Some(Duration::from_secs(1)),
///         },
///         EmitError::Spool(_) => Some(Duration::from_secs(60)), // full, or the disk failed: see its text
///         EmitError::Closed => None,
///         _ => None,
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The broker's or the subject's circuit is open. The event was rejected at once and not sent. Emit it again
    /// after `retry_after`.
    #[error("{0}")]
    CircuitOpen(CircuitOpen),
    /// All attempts within the deadline failed. The event is not sent, refused or unknown: see
    /// [`known`](Self::known).
    #[error("{0}")]
    Failed(Box<FailedEmit>),
    /// The event can't be sent now, and spooling failed: the spool is full, or its disk failed or was too slow.
    /// Only with a spool.
    #[error("{0}")]
    Spool(Box<SpoolFailed>),
    /// The sink was closed, or is closing. Nothing was sent.
    #[error("not sent: the sink is closed")]
    Closed,
}

/// An event that could not be spooled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolFailed {
    /// The spool's error.
    pub error: SpoolError,
    /// The error of sending it directly; `None` if that was not tried because earlier events of its subject were
    /// pending in the spool.
    pub direct: Option<EmitError>,
}

impl fmt::Display for SpoolFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.known(), self.error)?;
        match &self.direct {
            None => f.write_str(" [earlier events of its subject are pending in the spool]"),
            Some(direct) => write!(f, " [sending it: {direct}]"),
        }
    }
}

impl SpoolFailed {
    fn known(&self) -> Known {
        if self.error.may_be_spooled() {
            return Known::OutcomeUnknown;
        }
        self.direct
            .as_ref()
            .map_or(Known::NotSent, EmitError::known)
    }
}

impl EmitError {
    /// Returns the scope of the failure.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::CircuitOpen(open) => open.scope,
            Self::Failed(failed) => failed.error.scope(),
            Self::Spool(_) | Self::Closed => Scope::Broker,
        }
    }

    /// Returns the state of the event.
    #[must_use]
    pub fn known(&self) -> Known {
        match self {
            Self::CircuitOpen(_) => Known::NotSent,
            Self::Failed(failed) => failed.known,
            Self::Spool(failed) => failed.known(),
            Self::Closed => Known::NotSent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_tells_state_attempt_and_time() {
        let open = CircuitOpen {
            scope: Scope::Broker,
            attempt: 3,
            retry_after: Duration::from_micros(799_001),
            probing: false,
        };
        let text = open.to_string();
        assert!(
            text.contains("reconnecting state, attempt 3, next probe in 800 ms"),
            "{text}"
        );
    }
}
