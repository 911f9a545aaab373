//! The errors of an emit: rejected by a circuit, failed, not spooled, or the sink is closed.

use std::fmt;
use std::time::Duration;

use super::publish_error::{Known, PublishError, Scope};
use super::spool_error::SpoolError;
use crate::message::envelope::MessageId;
use crate::message::subject::Subject;

/// A rejection by an open circuit. Nothing was sent; making one allocates nothing. `Display` says when the next
/// probe is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitOpen {
    /// Whose circuit is open: the broker's or the subject's.
    pub scope: Scope,
    /// Failed probes since it opened.
    pub attempt: u32,
    /// How long until the next probe is due; zero while one is under way.
    pub retry_after: Duration,
    /// Whether a probe is under way.
    pub probing: bool,
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In few and whole pieces: an outage may show it by the million.
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
                ", a probe is under way, next in 0 ms); emit it again then, or keep it elsewhere",
            );
        }
        f.write_str(", next probe in ")?;
        // Rounded up: an emit after that many milliseconds is in time.
        let subsecond = u64::from(self.retry_after.subsec_nanos().div_ceil(1_000_000));
        let seconds = self.retry_after.as_secs();
        seconds
            .saturating_mul(1_000)
            .saturating_add(subsecond)
            .fmt(f)?;
        f.write_str(" ms); emit it again then, or keep it elsewhere")
    }
}

/// A publish that was tried and failed. `Display` is one line with the subject, the message id and the attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedEmit {
    /// The subject it went to.
    pub subject: Subject,
    /// The id it carried, the same on each attempt.
    pub message_id: Option<MessageId>,
    /// How many attempts were made; 0 where a pipeline was stopped before the first.
    pub attempts: u32,
    /// Why the last one failed.
    pub error: PublishError,
    /// What is known of the event after all attempts: unknown if any of them was.
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

/// Why an emit gave no delivery. `Display` is one line: what is known of the event, what happened, and where; fit
/// for a log, with no credentials.
///
/// Most callers need two answers only, whom it concerns and what is known:
///
/// ```
/// use jetsink::{EmitError, Known, Scope};
///
/// fn what_now(error: &EmitError) -> &'static str {
///     match (error.scope(), error.known()) {
///         (Scope::Event, _) => "mend this event; others are not affected",
///         (_, Known::OutcomeUnknown) => "it may be stored: emit again only if twice is harmless",
///         (_, Known::NotSent | Known::Refused) => "it is not stored: keep it and emit it later",
///     }
/// }
/// ```
///
/// There is no use in emitting again at once: the sink has tried as often as the deadline allowed. Whoever keeps
/// the event elsewhere asks for when it is worth another try:
///
/// ```
/// use std::time::Duration;
/// use jetsink::{EmitError, PublishError};
///
/// fn try_again_in(error: &EmitError) -> Option<Duration> {
///     match error {
///         EmitError::CircuitOpen(open) => Some(open.retry_after), // zero while a probe is under way
///         EmitError::Failed(failed) => match &failed.error {
///             // Nobody but an operator can mend these.
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
    /// The broker's circuit or the subject's is open: rejected at once, nothing sent. Emit it again once
    /// `retry_after` has passed.
    #[error("{0}")]
    CircuitOpen(CircuitOpen),
    /// It was tried, within the deadline, and failed. Not sent, refused or unknown: see
    /// [`known`](Self::known).
    #[error("{0}")]
    Failed(Box<FailedEmit>),
    /// It can't be sent now, and the spool did not take it: it is full, or its disk failed or was too slow.
    /// Only with a spool.
    #[error("{0}")]
    Spool(Box<SpoolFailed>),
    /// The sink was closed, or is closing. Nothing was sent.
    #[error("not sent: the sink is closed")]
    Closed,
}

/// An event that the spool did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolFailed {
    /// Why the spool did not take it.
    pub error: SpoolError,
    /// What came of sending it, where that was tried; `None` where earlier events of its subject
    /// waited in the spool.
    pub direct: Option<EmitError>,
}

impl fmt::Display for SpoolFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.known(), self.error)?;
        match &self.direct {
            None => f.write_str(" [earlier events of its subject wait in the spool]"),
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
    /// Whom the failure concerns.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::CircuitOpen(open) => open.scope,
            Self::Failed(failed) => failed.error.scope(),
            Self::Spool(_) | Self::Closed => Scope::Broker,
        }
    }

    /// What is known of the event.
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
