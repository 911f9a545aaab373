//! The errors of an emit: rejected by a circuit, failed, not spooled, or the sink is closed.

use std::fmt;
use std::time::Duration;

use super::publish_error::{Known, PublishError, Scope};
use super::spool_error::SpoolError;
use crate::message::envelope::MessageId;
use crate::message::subject::Subject;

/// The wait for the outcome of a probe, at least.
const MIN_RETRY: Duration = Duration::from_millis(20);

/// The broker or the stream may recover at any time.
const BROKER_RETRY: Duration = Duration::from_secs(1);

/// A spool empties as fast as the broker stores.
const SPOOL_RETRY: Duration = Duration::from_secs(10);

/// An operator has to act first.
const OPERATOR_RETRY: Duration = Duration::from_secs(30);

/// A rejection by an open circuit. Nothing was sent. It contains no allocation. `Display` shows when the next
/// probe is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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

impl std::error::Error for CircuitOpen {}

impl CircuitOpen {
    /// A rejection by the broker's or a subject's circuit, while no probe is in flight.
    #[must_use]
    pub const fn new(scope: Scope, attempt: u32, retry_after: Duration) -> Self {
        Self {
            scope,
            attempt,
            retry_after,
            probing: false,
        }
    }
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
            Scope::Local => "not sent: the sink's circuit is open (reconnecting state, attempt ",
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
#[non_exhaustive]
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

impl std::error::Error for FailedEmit {}

impl FailedEmit {
    /// One failed attempt, of an event without a message id.
    #[must_use]
    pub fn new(subject: Subject, error: PublishError) -> Self {
        Self {
            subject,
            message_id: None,
            attempts: 1,
            known: error.known(),
            error,
        }
    }
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

/// The error of an emit. `Display` is one line for a log: the state of the event, the cause, and after an attempt to
/// send or spool it the subject and the message id. It contains no credentials.
///
/// Most callers need only the scope of the failure and the state of the event:
///
/// ```
/// use jetsink::{EmitError, Known, Scope};
///
/// fn remedy(error: &EmitError) -> &'static str {
///     match (error.scope(), error.known()) {
///         (Scope::Event, _) => "fix this event; others are not affected",
///         (Scope::Local, _) => "look at the spool's disk and limit; the broker is not at fault",
///         (_, Known::OutcomeUnknown) => "it may be stored: emit again only if twice is harmless",
///         (_, Known::NotSent | Known::Refused) => "it is not stored: keep it and emit it later",
///     }
/// }
/// ```
///
/// Do not emit again at once: the sink has retried as often as the deadline allowed.
/// [`retry_after`](Self::retry_after) is the time to wait. An event that may be stored keeps its
/// [message id](Self::message_id), so that it is stored once: see [`Sink::identify`](crate::Sink::identify).
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
    /// The event can't be sent now, and spooling failed: the spool is full, its disk failed or was too slow, or the
    /// event is larger than the whole spool. Only with a spool.
    #[error("{0}")]
    Spool(Box<SpoolFailed>),
    /// The sink was closed, or is closing. Nothing was sent.
    #[error("not sent: the sink is closed")]
    Closed,
}

/// An event that could not be spooled. `Display` is one line with the subject and the message id.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolFailed {
    /// The event's subject.
    pub subject: Subject,
    /// The event's message id: the one under which it may be stored or spooled.
    pub message_id: Option<MessageId>,
    /// The spool's error.
    pub error: SpoolError,
    /// The error of sending it directly; `None` if that was not tried because earlier events of its subject were
    /// pending in the spool.
    pub direct: Option<EmitError>,
}

impl fmt::Display for SpoolFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.known(), self.error)?;
        // The other failure has both.
        if let Some(failed @ EmitError::Failed(_)) = &self.direct {
            return write!(f, " [sending it: {failed}]");
        }
        write!(f, " [subject {}", self.subject)?;
        if let Some(id) = &self.message_id {
            write!(f, ", message id {id}")?;
        }
        match &self.direct {
            None => f.write_str("; earlier events of its subject are pending in the spool]"),
            Some(direct) => write!(f, "; sending it: {direct}]"),
        }
    }
}

impl std::error::Error for SpoolFailed {}

impl SpoolFailed {
    /// The failure of a spool that has earlier events of the subject, for an event without a message id.
    #[must_use]
    pub fn new(subject: Subject, error: SpoolError) -> Self {
        Self {
            subject,
            message_id: None,
            error,
            direct: None,
        }
    }

    /// Returns the state of the event: unknown if it may be stored or spooled.
    #[must_use]
    pub fn known(&self) -> Known {
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
            Self::Spool(failed) => failed.error.scope(),
            Self::Closed => Scope::Local,
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

    /// Returns the message id of an event that was sent or spooled: a repeat with it is stored once within the stream's
    /// duplicate window. `None` after a rejection.
    #[must_use]
    pub fn message_id(&self) -> Option<&MessageId> {
        match self {
            Self::CircuitOpen(_) | Self::Closed => None,
            Self::Failed(failed) => failed.message_id.as_ref(),
            Self::Spool(failed) => failed.message_id.as_ref(),
        }
    }

    /// Returns the time after which a repeat may succeed, never zero. `None` if no repeat does: the event itself is at
    /// fault, or this sink is closed or its spool has failed for good.
    ///
    /// | error | time |
    /// | --- | --- |
    /// | an open circuit | until its next probe is due; 20 ms during a probe |
    /// | the spool is full, or its disk fails | 10 s |
    /// | only an operator can help: no stream, no permission, another stream or a plain subscriber answers | 30 s |
    /// | any other | 1 s |
    ///
    /// [`Sink::identify`](crate::Sink::identify) has an example.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if self.scope() == Scope::Event {
            return None;
        }
        match self {
            Self::CircuitOpen(open) => Some(open.retry_after.max(MIN_RETRY)),
            Self::Failed(failed) if failed.error.needs_operator() => Some(OPERATOR_RETRY),
            Self::Failed(_) => Some(BROKER_RETRY),
            Self::Spool(failed) if failed.error.is_final() => None,
            Self::Spool(_) => Some(SPOOL_RETRY),
            Self::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Refusal;

    #[test]
    fn a_rejection_tells_state_attempt_and_time() {
        let open = CircuitOpen::new(Scope::Broker, 3, Duration::from_micros(799_001));
        let text = open.to_string();
        assert!(
            text.contains("reconnecting state, attempt 3, next probe in 800 ms"),
            "{text}"
        );
    }

    #[test]
    fn time_before_a_repeat_is_never_zero_and_none_if_no_repeat_succeeds() {
        let subject = Subject::new("a").unwrap();
        let failed = |error| EmitError::Failed(Box::new(FailedEmit::new(subject.clone(), error)));
        let spool = |error| EmitError::Spool(Box::new(SpoolFailed::new(subject.clone(), error)));
        let refused = |code| {
            PublishError::Refused(Refusal {
                code,
                text: String::new(),
            })
        };
        for error in [
            failed(PublishError::Expired),
            failed(PublishError::TooLarge { bytes: 2, limit: 1 }),
            failed(PublishError::HeadersTooLarge { bytes: 2, limit: 1 }),
            failed(refused(10054)),
            failed(refused(10071)),
            spool(SpoolError::TooLarge { bytes: 2, limit: 1 }),
            spool(SpoolError::Closed),
            spool(SpoolError::Failed),
            EmitError::Closed,
        ] {
            assert_eq!(error.retry_after(), None, "{error}");
        }
        let waited = Duration::from_secs(1);
        let mut probe = CircuitOpen::new(Scope::Broker, 1, Duration::ZERO);
        probe.probing = true;
        let open = CircuitOpen::new(Scope::Subject, 1, Duration::from_millis(400));
        for (error, millis) in [
            (EmitError::CircuitOpen(probe), 20),
            (EmitError::CircuitOpen(open), 400),
            (failed(PublishError::NotConnected), 1_000),
            (failed(PublishError::NoLeader), 1_000),
            (failed(refused(10077)), 1_000),
            (failed(PublishError::NoStream), 30_000),
            (failed(PublishError::PermissionDenied), 30_000),
            (failed(PublishError::NotImported), 30_000),
            (spool(SpoolError::TooSlow { waited }), 10_000),
            (spool(SpoolError::Busy { waited }), 10_000),
        ] {
            let time = Some(Duration::from_millis(millis));
            assert_eq!(error.retry_after(), time, "{error}");
        }
    }
}
