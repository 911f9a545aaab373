//! The errors of a request to the JetStream API. No event is concerned.

use super::publish_error::PublishError;
use super::refusal::Refusal;

/// The error of a request to the JetStream API, or of reading a stream. `Display` is one line, without credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no connection. The request was not sent.
    #[error("no connection to the broker; it is away, out of reach, or refuses the login")]
    NotConnected,
    /// The connection ended before the answer arrived.
    #[error("the connection was lost before the broker answered")]
    ConnectionLost,
    /// No answer arrived in time.
    #[error("{}", no_answer(*.broker_answers))]
    NoAnswer {
        /// Whether the broker answered a later message.
        broker_answers: bool,
    },
    /// This user may not send the request.
    #[error("this user may not send this request to the JetStream API; allow it")]
    Denied,
    /// This user may not receive answers.
    #[error("this user may not subscribe to the inbox {inbox}; allow it, or set an inbox prefix")]
    InboxDenied {
        /// The inbox subject that was refused.
        inbox: String,
    },
    /// This user may not answer flow control while reading a stream.
    #[error(
        "the stream can't be read: flow-control replies are blocked; allow this user to publish to $JS.FC.>"
    )]
    FlowControlDenied,
    /// The JetStream API does not answer: it is not enabled, or the cluster is electing a leader.
    #[error(
        "JetStream is not available on this broker or account: it is not enabled, or the server has disabled it, for \
         instance because its disk is full (see its log)"
    )]
    JetStreamUnavailable,
    /// The server refused the request, with its code and text.
    #[error("{0}")]
    Refused(Refusal),
    /// An answer or the stream can't be read, for the reason in the text.
    #[error("{0}")]
    Unreadable(String),
}

fn no_answer(broker_answers: bool) -> &'static str {
    if broker_answers {
        "the broker answers, but not this request in time; see the server's log"
    } else {
        "the broker did not answer in time; it is frozen or overloaded, or the network drops packets"
    }
}

impl RequestError {
    /// Returns whether the server or the permissions of this user refuse the request, or JetStream is not available: the
    /// connection is not the cause.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Denied
            | Self::FlowControlDenied
            | Self::JetStreamUnavailable
            | Self::Refused(_) => true,
            Self::NotConnected
            | Self::ConnectionLost
            | Self::NoAnswer { .. }
            | Self::InboxDenied { .. }
            | Self::Unreadable(_) => false,
        }
    }

    /// Returns whether the same request may succeed a moment later, over the same connection.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::JetStreamUnavailable | Self::Unreadable(_) => true,
            Self::Refused(refusal) => refusal.is_transient(),
            Self::NotConnected
            | Self::ConnectionLost
            | Self::NoAnswer { .. }
            | Self::Denied
            | Self::InboxDenied { .. }
            | Self::FlowControlDenied => false,
        }
    }
}

impl From<PublishError> for RequestError {
    /// Returns the error of a request that was sent as a publish is.
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::NotConnected => Self::NotConnected,
            PublishError::ConnectionLost => Self::ConnectionLost,
            PublishError::AckTimeout { broker_answers } => Self::NoAnswer { broker_answers },
            PublishError::ClientBusy | PublishError::HeldBack => Self::NoAnswer {
                broker_answers: false,
            },
            PublishError::PermissionDenied => Self::Denied,
            PublishError::InboxDenied { inbox } => Self::InboxDenied { inbox },
            PublishError::FlowControlDenied => Self::FlowControlDenied,
            PublishError::JetStreamUnavailable => Self::JetStreamUnavailable,
            PublishError::Refused(refusal) | PublishError::HeaderRefused(refusal) => {
                Self::Refused(refusal)
            }
            PublishError::NoStream
            | PublishError::NoLeader
            | PublishError::NoResponders
            | PublishError::NotImported
            | PublishError::TooLarge { .. }
            | PublishError::HeadersTooLarge { .. }
            | PublishError::Expired
            | PublishError::EndsConnection { .. }
            | PublishError::MessageIdTaken { .. }
            | PublishError::WrongStream { .. }
            | PublishError::NotAnAcknowledgement(_)
            | PublishError::Stopped
            | PublishError::Other { .. } => Self::Unreadable(error.to_string()),
        }
    }
}
