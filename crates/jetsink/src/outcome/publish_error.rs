//! The errors of a publish: what happened, what is known of the event, and its scope.

use std::fmt;

use super::codes;

/// Whom a failure concerns, and so which circuit it moves. `Display` is one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// This event only: sending it again gives the same answer. Moves no circuit.
    Event,
    /// Events of this subject. Moves the subject's circuit.
    Subject,
    /// Everybody. Moves the broker's circuit.
    Broker,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Event => "event",
            Scope::Subject => "subject",
            Scope::Broker => "broker",
        })
    }
}

/// What is known of the event after a failure. `Display` is a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Known {
    /// It never left this process: it is not stored, and may be emitted again.
    NotSent,
    /// The broker said no: it is not stored, and may be emitted again once the cause is mended.
    Refused,
    /// It was sent and nothing came back: it may be stored or not. Emitting it again may store it
    /// twice, unless its message id says that the two are one.
    OutcomeUnknown,
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Known::NotSent => "not sent",
            Known::Refused => "refused by the broker",
            Known::OutcomeUnknown => "outcome unknown",
        })
    }
}

/// The broker's own words for a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The server's error code (`err_code`), such as 10077.
    pub code: u64,
    /// The server's text.
    pub text: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text comes from outside: one line, whatever it holds.
        write!(f, "{} (code {})", self.text.escape_debug(), self.code)
    }
}

/// Why one publish failed. `Display` is one line, with no credentials.
///
/// | error | [`scope`](Self::scope) | [`known`](Self::known) | [transient](Self::is_transient) |
/// | --- | --- | --- | --- |
/// | [`NotConnected`](Self::NotConnected), [`ClientBusy`](Self::ClientBusy), [`Stopped`](Self::Stopped) | broker | not sent | no |
/// | [`ConnectionLost`](Self::ConnectionLost), [`InboxDenied`](Self::InboxDenied) | broker | unknown | no |
/// | [`AckTimeout`](Self::AckTimeout) | broker; the subject, where `broker_answers` | unknown | no |
/// | [`NoLeader`](Self::NoLeader), [`JetStreamUnavailable`](Self::JetStreamUnavailable) | broker | refused | yes |
/// | [`NoStream`](Self::NoStream) | subject | refused | yes |
/// | [`PermissionDenied`](Self::PermissionDenied), [`FlowControlDenied`](Self::FlowControlDenied) | subject | refused | no |
/// | [`WrongStream`](Self::WrongStream), [`NotAnAcknowledgement`](Self::NotAnAcknowledgement) | subject | unknown | no |
/// | [`TooLarge`](Self::TooLarge), [`HeadersTooLarge`](Self::HeadersTooLarge) | event | not sent | no |
/// | [`Refused`](Self::Refused) | by the server's code | refused; unknown for 10158 | by the server's code |
/// | [`Other`](Self::Other) | its own | its own | where the broker's |
///
/// A transient one is tried again within the emit, as often as [`SinkSettings`](crate::SinkSettings) and the
/// deadline allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no connection; nothing was handed to the client.
    #[error("no connection to the broker")]
    NotConnected,
    /// The connection ended between sending and the answer.
    #[error("the connection was lost before the broker answered")]
    ConnectionLost,
    /// The client did not take the message before the deadline: its queue is full.
    #[error("the client's queue stayed full until the deadline")]
    ClientBusy,
    /// It was sent, and nothing came back before the deadline.
    #[error("{}", ack_timeout(*.broker_answers))]
    AckTimeout {
        /// Whether the broker answered something that was sent after this event.
        broker_answers: bool,
    },
    /// No stream captures the subject.
    #[error("no stream captures the subject; create one, or correct the subject")]
    NoStream,
    /// A stream captures the subject, but nobody leads it at the moment.
    #[error("the subject's stream has no leader at the moment")]
    NoLeader,
    /// The JetStream API does not answer: not enabled, or in a flap.
    #[error("JetStream is not available on this broker or account")]
    JetStreamUnavailable,
    /// This user may not publish to the subject.
    #[error("this user may not publish to the subject; grant it, or correct the subject")]
    PermissionDenied,
    /// This user may not answer the flow control of a stream that is read; of a look-up, never of a
    /// publish.
    #[error(
        "the stream can't be read: its flow control hears nothing from us; grant this user to publish \
         to $JS.FC.>"
    )]
    FlowControlDenied,
    /// This user may not receive answers.
    #[error("this user may not subscribe to the inbox {inbox}; grant it, or set an inbox prefix")]
    InboxDenied {
        /// The inbox subject that was refused.
        inbox: String,
    },
    /// Larger, headers included, than the broker takes; sending it would end the connection.
    #[error("{bytes} bytes with headers, but the broker takes {limit}")]
    TooLarge {
        /// Payload and headers.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// More header bytes than a stream stores.
    #[error("{bytes} bytes of headers, but a stream takes {limit}")]
    HeadersTooLarge {
        /// The header block.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The broker refused it, in its own words. The event's own fault: it is too large for the stream (10054,
    /// or 10077 with "too large"), its headers are (10097), or it expected another last sequence or id (10070,
    /// 10071, 10164). The broker's: limits of account, server, memory or storage (10002, 10023, 10028, 10047), a
    /// full ingest queue (10167), unavailable, not leader, offline (10008, 10009, 10118, 10194), JetStream not
    /// enabled (10039, 10076). Any other is the subject's: a full stream (10077), a sealed one (10109) …
    ///
    /// 10158 says that an earlier publish of the same message id may be about to be stored.
    #[error("{0}")]
    Refused(Refusal),
    /// It was stored by another stream than the one expected.
    #[error("stored by stream {actual:?} where {expected:?} was expected")]
    WrongStream {
        /// The stream asked for.
        expected: String,
        /// The stream that stored it.
        actual: String,
    },
    /// The answer is no JetStream acknowledgement: someone else listens on the subject.
    #[error("the answer is not a JetStream acknowledgement: {0}")]
    NotAnAcknowledgement(String),
    /// The caller stopped sending before its turn came.
    #[error("sending was stopped before its turn")]
    Stopped,
    /// A failure of a publisher other than the NATS one.
    #[error("{text}")]
    Other {
        /// What happened, in one line.
        text: String,
        /// Whom it concerns.
        scope: Scope,
        /// What is known of the event.
        known: Known,
    },
}

fn ack_timeout(broker_answers: bool) -> &'static str {
    if broker_answers {
        "the broker answers, but nothing acknowledged this event in time (a no_ack stream, a plain \
         subscriber where a stream was meant, or a stream without quorum)"
    } else {
        "the broker did not answer in time"
    }
}

impl PublishError {
    /// Whom the failure concerns, by the table above.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::NotConnected
            | Self::ConnectionLost
            | Self::ClientBusy
            | Self::Stopped
            | Self::AckTimeout {
                broker_answers: false,
            }
            | Self::NoLeader
            | Self::JetStreamUnavailable
            | Self::InboxDenied { .. } => Scope::Broker,
            Self::AckTimeout {
                broker_answers: true,
            }
            | Self::NoStream
            | Self::PermissionDenied
            | Self::FlowControlDenied
            | Self::WrongStream { .. }
            | Self::NotAnAcknowledgement(_) => Scope::Subject,
            Self::TooLarge { .. } | Self::HeadersTooLarge { .. } => Scope::Event,
            Self::Refused(refusal) => scope_of(refusal),
            Self::Other { scope, .. } => *scope,
        }
    }

    /// What is known of the event, by the table above.
    #[must_use]
    pub fn known(&self) -> Known {
        match self {
            Self::NotConnected
            | Self::ClientBusy
            | Self::Stopped
            | Self::TooLarge { .. }
            | Self::HeadersTooLarge { .. } => Known::NotSent,
            Self::NoStream
            | Self::NoLeader
            | Self::JetStreamUnavailable
            | Self::PermissionDenied
            | Self::FlowControlDenied => Known::Refused,
            Self::Refused(refusal) if refusal.code == codes::STREAM_DUPLICATE_MESSAGE_CONFLICT => {
                Known::OutcomeUnknown
            }
            Self::Refused(_) => Known::Refused,
            Self::ConnectionLost
            | Self::AckTimeout { .. }
            | Self::InboxDenied { .. }
            | Self::WrongStream { .. }
            | Self::NotAnAcknowledgement(_) => Known::OutcomeUnknown,
            Self::Other { known, .. } => *known,
        }
    }

    /// The server's code, where it gave one.
    pub(crate) fn code(&self) -> Option<u64> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            _ => None,
        }
    }

    /// Whether the same publish may well succeed a moment later, over the same connection.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoStream | Self::NoLeader | Self::JetStreamUnavailable => true,
            Self::Refused(refusal) => matches!(
                refusal.code,
                codes::STREAM_DUPLICATE_MESSAGE_CONFLICT
                    | codes::STREAM_TOO_MANY_REQUESTS
                    | codes::CLUSTER_NOT_AVAILABLE
                    | codes::CLUSTER_NOT_LEADER
                    | codes::STREAM_OFFLINE
                    | codes::STREAM_OFFLINE_REASON
                    | codes::JETSTREAM_NOT_ENABLED
            ),
            Self::Other { scope, .. } => *scope == Scope::Broker,
            Self::NotConnected
            | Self::ConnectionLost
            | Self::ClientBusy
            | Self::Stopped
            | Self::AckTimeout { .. }
            | Self::PermissionDenied
            | Self::FlowControlDenied
            | Self::InboxDenied { .. }
            | Self::TooLarge { .. }
            | Self::HeadersTooLarge { .. }
            | Self::WrongStream { .. }
            | Self::NotAnAcknowledgement(_) => false,
        }
    }
}

fn scope_of(refusal: &Refusal) -> Scope {
    match refusal.code {
        // The text names the limit; only the message size is the event's own.
        codes::STREAM_STORE_FAILED if refusal.text.contains("too large") => Scope::Event,
        codes::STREAM_MESSAGE_EXCEEDS_MAXIMUM
        | codes::STREAM_HEADER_EXCEEDS_MAXIMUM
        | codes::STREAM_WRONG_LAST_MESSAGE_ID
        | codes::STREAM_WRONG_LAST_SEQUENCE
        | codes::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => Scope::Event,
        codes::ACCOUNT_RESOURCES_EXCEEDED
        | codes::INSUFFICIENT_RESOURCES
        | codes::MEMORY_RESOURCES_EXCEEDED
        | codes::STORAGE_RESOURCES_EXCEEDED
        | codes::STREAM_TOO_MANY_REQUESTS
        | codes::CLUSTER_NOT_AVAILABLE
        | codes::CLUSTER_NOT_LEADER
        | codes::STREAM_OFFLINE
        | codes::STREAM_OFFLINE_REASON
        | codes::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT
        | codes::JETSTREAM_NOT_ENABLED => Scope::Broker,
        _ => Scope::Subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u64, text: &str) -> PublishError {
        PublishError::Refused(Refusal {
            code,
            text: text.to_owned(),
        })
    }

    #[test]
    fn a_refusal_concerns_whom_its_code_says() {
        assert_eq!(
            refused(10077, "maximum messages exceeded").scope(),
            Scope::Subject
        );
        assert_eq!(
            refused(10077, "message size exceeds: too large").scope(),
            Scope::Event
        );
        assert_eq!(refused(10054, "").scope(), Scope::Event);
        assert_eq!(refused(10060, "").scope(), Scope::Subject);
        assert_eq!(refused(10047, "").scope(), Scope::Broker);
        assert_eq!(
            refused(99999, "").scope(),
            Scope::Subject,
            "an unknown refusal harms its subject alone"
        );
        let earlier_one = refused(10158, "duplicate message id is in process");
        assert!(earlier_one.is_transient());
        assert_eq!(earlier_one.known(), Known::OutcomeUnknown);
        assert_eq!(refused(10077, "").known(), Known::Refused);
        assert!(!refused(10077, "").is_transient());
    }

    #[test]
    fn an_error_is_one_line_whatever_the_broker_wrote() {
        let text = refused(10077, "a\nb\r\u{1b}[31m").to_string();
        assert_eq!(text, "a\\nb\\r\\u{1b}[31m (code 10077)");
    }
}
