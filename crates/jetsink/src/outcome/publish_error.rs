//! The errors of a publish: the cause, the state of the event, and the scope of the failure.

use std::fmt;

use super::refusal::Refusal;

/// The events that a failure concerns, and so the circuit that it changes. `Display` is one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// This event only: sending it again has the same result. Changes no circuit.
    Event,
    /// All events of this subject. Changes the subject's circuit.
    Subject,
    /// All events. Changes the broker's circuit.
    Broker,
    /// Events of this process only, not because of the broker: the spool is full or its disk fails, the sink was closed,
    /// or the pipeline stopped. Changes no circuit.
    Local,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Event => "event",
            Scope::Subject => "subject",
            Scope::Broker => "broker",
            Scope::Local => "local",
        })
    }
}

/// The state of an event after a failure. `Display` is a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Known {
    /// The event was not sent, so it is not stored. It may be emitted again.
    NotSent,
    /// The broker refused the event, so it is not stored. It may be emitted again once the cause is fixed.
    Refused,
    /// The event was sent and no answer arrived: it may be stored or not. Emitting it again may store it
    /// twice, unless both have the same message id.
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

/// The error of one publish. `Display` is one line, without credentials.
///
/// | error | [`scope`](Self::scope) | [`known`](Self::known) | [transient](Self::is_transient) |
/// | --- | --- | --- | --- |
/// | [`NotConnected`](Self::NotConnected), [`ClientBusy`](Self::ClientBusy) | broker | not sent | no |
/// | [`Stopped`](Self::Stopped) | local | not sent | no |
/// | [`ConnectionLost`](Self::ConnectionLost), [`InboxDenied`](Self::InboxDenied) | broker | unknown | no |
/// | [`AckTimeout`](Self::AckTimeout) | broker; subject if `broker_answers` | unknown | no |
/// | [`JetStreamUnavailable`](Self::JetStreamUnavailable) | broker | refused | yes |
/// | [`NoStream`](Self::NoStream), [`NoLeader`](Self::NoLeader), [`NoResponders`](Self::NoResponders), [`NotImported`](Self::NotImported) | subject | refused | yes |
/// | [`HeldBack`](Self::HeldBack) | subject, but changes no circuit | not sent | yes |
/// | [`PermissionDenied`](Self::PermissionDenied), [`FlowControlDenied`](Self::FlowControlDenied) | subject | refused | no |
/// | [`WrongStream`](Self::WrongStream), [`NotAnAcknowledgement`](Self::NotAnAcknowledgement) | subject | unknown | no |
/// | [`TooLarge`](Self::TooLarge), [`HeadersTooLarge`](Self::HeadersTooLarge) | event | not sent | no |
/// | [`Expired`](Self::Expired) | event | not sent | no |
/// | [`EndsConnection`](Self::EndsConnection) | event | refused; not sent if unexplained | no |
/// | [`HeaderRefused`](Self::HeaderRefused), [`MessageIdTaken`](Self::MessageIdTaken) | event | refused | no |
/// | [`Refused`](Self::Refused) | by the server's code | refused; unknown for 10158 | by the server's code |
/// | [`Other`](Self::Other) | its own | its own | if its scope is the broker |
///
/// A transient error is retried within the emit, as often as [`SinkSettings`](crate::SinkSettings) and the
/// deadline allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no connection. The client did not receive the message.
    #[error("no connection to the broker; it is away, out of reach, or refuses the login")]
    NotConnected,
    /// The connection ended before the answer arrived.
    #[error("the connection was lost before the broker answered")]
    ConnectionLost,
    /// The client's queue stayed full until the deadline.
    #[error(
        "the client's queue stayed full until the deadline; emit fewer events at a time, or use a spool"
    )]
    ClientBusy,
    /// The message was sent, and no answer arrived before the deadline.
    #[error("{}", ack_timeout(*.broker_answers))]
    AckTimeout {
        /// Whether the broker answered a later message.
        broker_answers: bool,
    },
    /// No stream captures the subject.
    #[error("no stream captures the subject; create one, or correct the subject")]
    NoStream,
    /// A stream captures the subject, but none received the event: the stream has no leader at the moment, or it is
    /// in another account or domain than the events of this connection. Also if the reason is unknown, because the
    /// JetStream API does not answer, as while the cluster elects a leader.
    #[error(
        "the subject's stream has no leader at the moment; if that lasts, a majority of its replicas is down, or the \
         stream is in an account or domain that receives nothing from this connection"
    )]
    NoLeader,
    /// Nothing received the event, and the reason is unknown: too many other subjects failed at the same time to ask for
    /// each before the deadline.
    #[error(
        "nothing receives the subject: no stream captures it, or its stream has no leader at the moment; too many \
         other subjects failed at the same time to ask the broker for the reason"
    )]
    NoResponders,
    /// Another event had to be sent alone, since it may be the reason why the broker ended connections. Changes no
    /// circuit.
    #[error(
        "the event was not sent before its deadline, because another one had to be sent alone; emit it again"
    )]
    HeldBack,
    /// The JetStream API does not answer: it is not enabled, or the cluster is electing a leader.
    #[error(
        "JetStream is not available on this broker or account: it is not enabled, or the server has disabled it, for \
         instance because its disk is full (see its log)"
    )]
    JetStreamUnavailable,
    /// No stream receives the subject, and the account has no JetStream of its own.
    #[error(
        "no stream receives the subject, and this account has no JetStream of its own (or the server has disabled \
         it: see its log); enable JetStream for it, or import the subject from the stream's account"
    )]
    NotImported,
    /// This user may not publish to the subject.
    #[error("this user may not publish to the subject; allow it, or correct the subject")]
    PermissionDenied,
    /// This user may not answer flow control while reading a stream. An error of a
    /// [look-up](crate::Publisher::stored_ids), never of a publish.
    #[error(
        "the stream can't be read: flow-control replies are blocked; allow this user to publish to \
         $JS.FC.>"
    )]
    FlowControlDenied,
    /// This user may not receive answers.
    #[error("this user may not subscribe to the inbox {inbox}; allow it, or set an inbox prefix")]
    InboxDenied {
        /// The inbox subject that was refused.
        inbox: String,
    },
    /// The message with its headers is larger than the broker accepts; sending it would end the connection.
    #[error(
        "{bytes} bytes with headers, but the broker accepts {limit}; make the event smaller, or raise max_payload"
    )]
    TooLarge {
        /// Payload and headers.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The headers are larger than a stream accepts.
    #[error(
        "{bytes} bytes of headers, but a stream accepts {limit}; send the event in structured mode"
    )]
    HeadersTooLarge {
        /// The header block.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The event expired before it was sent.
    #[error("the event expired before it was sent; the sender has to allow it more time")]
    Expired,
    /// The broker ends the connection when it receives this event, or one of its size.
    #[error(
        "the broker ends the connection when it receives this event ({bytes} bytes with headers): {reason}"
    )]
    EndsConnection {
        /// Payload and headers.
        bytes: usize,
        /// The reason, if the broker named one.
        reason: ConnectionEnd,
    },
    /// The broker refuses or can't use a `Nats-` header of this event.
    #[error("the broker refuses the event because of its own Nats- headers: {0}")]
    HeaderRefused(Refusal),
    /// Another event is stored under a message id that the sink has just minted, twice in a row. Two processes
    /// share the state of one sink.
    #[error(
        "the stream {stream:?} already has another event under this event's new message id (sequence {sequence}); \
         two processes share the state of this sink: make a new one after a fork or a restored snapshot"
    )]
    MessageIdTaken {
        /// The stream.
        stream: String,
        /// The sequence number of the other event.
        sequence: u64,
    },
    /// The broker refused the message. The code determines the scope:
    ///
    /// - event: too large for the stream (10054, or 10077 with "too large"), too large headers (10097), another
    ///   last sequence or id than expected (10070, 10071, 10164, 10193), and other `Nats-` headers: rollup
    ///   (10111), TTL (10165, 10166), counter (10168, 10170, 10171), batch (10174 to 10177, 10179, 10199), schedule
    ///   (10188 to 10192);
    /// - broker: limits of account, server, memory or storage (10002, 10023, 10028, 10047), no metadata leader
    ///   (10008, 10009), JetStream not enabled (10039, 10076);
    /// - subject: any other, such as a stream that is full (10077), sealed (10109), offline (10118, 10194) or
    ///   overloaded (10167), or can't compare the last sequence of the subject yet (10163).
    ///
    /// 10158 means that an earlier publish with the same message id is being stored.
    #[error("{0}")]
    Refused(Refusal),
    /// Another stream than the expected one stored the event.
    #[error(
        "stored by stream {actual:?}, but {expected:?} was expected; correct the expectation, or the subjects of the \
         streams"
    )]
    WrongStream {
        /// The expected stream.
        expected: String,
        /// The stream that stored the event.
        actual: String,
    },
    /// The answer is not a JetStream acknowledgement: a plain subscriber answers on the subject.
    #[error(
        "the answer is not a JetStream acknowledgement, so a plain subscriber answers on this subject: {0}"
    )]
    NotAnAcknowledgement(String),
    /// The pipeline was stopped before it sent the event.
    #[error("the pipeline was stopped before this event was sent")]
    Stopped,
    /// Any other failure, such as a message that the client refuses, a look-up that can't read a stream, or an error of another
    /// publisher.
    #[error("{text}")]
    #[non_exhaustive]
    Other {
        /// The cause, in one line.
        text: String,
        /// The scope.
        scope: Scope,
        /// The state of the event.
        known: Known,
    },
}

/// The reason why a broker ends the connection when it receives an event. `Display` contains the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionEnd {
    /// The broker named its payload limit. It may be the account's or the user's, which can be below the limit that
    /// the server announces.
    MaxPayload,
    /// The broker named its limit for the line with the subject.
    MaxControlLine,
    /// The broker named no reason, or its reason was lost: three connections ended with this event alone in flight.
    Unexplained,
}

impl fmt::Display for ConnectionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaxPayload => {
                "it is larger than max_payload of the server, the account or the user; make it smaller, or raise \
                 the limit"
            }
            Self::MaxControlLine => {
                "its subject is too long for the server's max_control_line; shorten it, or raise the limit"
            }
            Self::Unexplained => {
                "three connections ended with it alone in flight, without a reason; see the server's log"
            }
        })
    }
}

fn ack_timeout(broker_answers: bool) -> &'static str {
    if broker_answers {
        "the broker answers, but nothing acknowledged this event in time (a stream without quorum, a full disk of \
         its server, a no_ack stream, or a plain subscriber instead of a stream; see the server's log)"
    } else {
        "the broker did not answer in time; it is frozen or overloaded, or the network drops packets"
    }
}

impl PublishError {
    /// Creates an [`Other`](Self::Other) error. `text` is the cause and the remedy, in one line.
    #[must_use]
    pub fn other(text: impl Into<String>, scope: Scope, known: Known) -> Self {
        Self::Other {
            text: text.into(),
            scope,
            known,
        }
    }

    /// Returns the scope, by the table above.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::NotConnected
            | Self::ConnectionLost
            | Self::ClientBusy
            | Self::AckTimeout {
                broker_answers: false,
            }
            | Self::JetStreamUnavailable
            | Self::InboxDenied { .. } => Scope::Broker,
            Self::Stopped => Scope::Local,
            Self::AckTimeout {
                broker_answers: true,
            }
            | Self::NoStream
            | Self::NoLeader
            | Self::NoResponders
            | Self::HeldBack
            | Self::NotImported
            | Self::PermissionDenied
            | Self::FlowControlDenied
            | Self::WrongStream { .. }
            | Self::NotAnAcknowledgement(_) => Scope::Subject,
            Self::TooLarge { .. }
            | Self::HeadersTooLarge { .. }
            | Self::Expired
            | Self::EndsConnection { .. }
            | Self::HeaderRefused(_)
            | Self::MessageIdTaken { .. } => Scope::Event,
            Self::Refused(refusal) => refusal.scope(),
            Self::Other { scope, .. } => *scope,
        }
    }

    /// Returns the state of the event, by the table above.
    #[must_use]
    pub fn known(&self) -> Known {
        match self {
            Self::NotConnected
            | Self::ClientBusy
            | Self::HeldBack
            | Self::Stopped
            | Self::TooLarge { .. }
            | Self::HeadersTooLarge { .. }
            | Self::Expired
            | Self::EndsConnection {
                reason: ConnectionEnd::Unexplained,
                ..
            } => Known::NotSent,
            Self::EndsConnection { .. }
            | Self::HeaderRefused(_)
            | Self::MessageIdTaken { .. }
            | Self::NoStream
            | Self::NotImported
            | Self::NoLeader
            | Self::NoResponders
            | Self::JetStreamUnavailable
            | Self::PermissionDenied
            | Self::FlowControlDenied => Known::Refused,
            Self::Refused(refusal) => refusal.known(),
            Self::ConnectionLost
            | Self::AckTimeout { .. }
            | Self::InboxDenied { .. }
            | Self::WrongStream { .. }
            | Self::NotAnAcknowledgement(_) => Known::OutcomeUnknown,
            Self::Other { known, .. } => *known,
        }
    }

    /// Returns the server's code, if any.
    pub(crate) fn code(&self) -> Option<u64> {
        match self {
            Self::Refused(refusal) | Self::HeaderRefused(refusal) => Some(refusal.code),
            _ => None,
        }
    }

    /// Returns whether the same publish may succeed a moment later, over the same connection.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoStream
            | Self::NotImported
            | Self::NoLeader
            | Self::NoResponders
            | Self::HeldBack
            | Self::JetStreamUnavailable => true,
            Self::Refused(refusal) => refusal.is_transient(),
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
            | Self::Expired
            | Self::EndsConnection { .. }
            | Self::HeaderRefused(_)
            | Self::MessageIdTaken { .. }
            | Self::WrongStream { .. }
            | Self::NotAnAcknowledgement(_) => false,
        }
    }

    /// Whether a repeat fails until an operator changes the streams or the permissions.
    pub(crate) fn needs_operator(&self) -> bool {
        matches!(
            self,
            Self::NoStream
                | Self::NotImported
                | Self::PermissionDenied
                | Self::FlowControlDenied
                | Self::InboxDenied { .. }
                | Self::WrongStream { .. }
                | Self::NotAnAcknowledgement(_)
        )
    }

    /// Whether the subject's stream takes no message at the moment, as far as is known: it has no leader, is offline, or its
    /// queue is full. Such a failure ends by itself, as one of the broker.
    pub(crate) fn is_stream_outage(&self) -> bool {
        match self {
            Self::NoLeader | Self::NoResponders => true,
            Self::Refused(refusal) => refusal.is_stream_outage(),
            _ => false,
        }
    }
}
