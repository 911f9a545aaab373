//! Classifies the failures of requests to the JetStream API: which later requests may succeed.

use crate::outcome::{PublishError, Refusal, codes};

/// The meaning of a failed request for later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The broker answers nothing at the moment, or this user receives no answer.
    Broker,
    /// Nothing answered this request in time, but the broker answers others.
    Silence,
    /// Nothing receives this request: JetStream is away, or the account imports another part of its API.
    NoResponder,
    /// This user may not send this request, or the broker does not accept one of its size.
    Denied,
    /// The account has no JetStream.
    NoJetStream,
    /// The stream does not exist.
    NoStream,
    /// The stream or the account allows no such consumer.
    NoConsumer,
    /// Another reason, which may pass.
    Other,
}

impl Failure {
    pub(crate) fn of(error: &PublishError) -> Self {
        match error {
            PublishError::NotConnected
            | PublishError::ConnectionLost
            | PublishError::ClientBusy
            | PublishError::HeldBack
            | PublishError::InboxDenied { .. }
            | PublishError::AckTimeout {
                broker_answers: false,
            } => Self::Broker,
            PublishError::AckTimeout {
                broker_answers: true,
            } => Self::Silence,
            PublishError::JetStreamUnavailable => Self::NoResponder,
            PublishError::PermissionDenied
            | PublishError::TooLarge { .. }
            | PublishError::EndsConnection { .. } => Self::Denied,
            PublishError::FlowControlDenied => Self::NoConsumer,
            PublishError::Refused(refusal) => Self::of_code(refusal),
            PublishError::NoStream
            | PublishError::NoLeader
            | PublishError::NoResponders
            | PublishError::NotImported
            | PublishError::HeadersTooLarge { .. }
            | PublishError::Expired
            | PublishError::HeaderRefused(_)
            | PublishError::MessageIdTaken { .. }
            | PublishError::WrongStream { .. }
            | PublishError::NotAnAcknowledgement(_)
            | PublishError::Stopped
            | PublishError::Other { .. } => Self::Other,
        }
    }

    fn of_code(refusal: &Refusal) -> Self {
        match refusal.code {
            codes::STREAM_NOT_FOUND => Self::NoStream,
            codes::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => Self::NoJetStream,
            codes::JETSTREAM_NOT_ENABLED => Self::NoResponder,
            codes::MAXIMUM_CONSUMERS_LIMIT
            | codes::CONSUMER_MAX_PENDING_ACK_EXCESS
            | codes::CONSUMER_WQ_REQUIRES_EXPLICIT_ACK
            | codes::CONSUMER_WQ_MULTIPLE_UNFILTERED
            | codes::CONSUMER_WQ_CONSUMER_NOT_UNIQUE
            | codes::CONSUMER_WQ_CONSUMER_NOT_DELIVER_ALL
            | codes::CONSUMER_REPLICAS_SHOULD_MATCH_STREAM
            | codes::CONSUMER_INACTIVE_THRESHOLD_EXCESS => Self::NoConsumer,
            _ => Self::Other,
        }
    }

    /// Whether no request succeeds at the moment, whichever stream it concerns.
    pub(crate) fn concerns_all(self) -> bool {
        match self {
            Self::Broker => true,
            Self::Silence
            | Self::NoResponder
            | Self::Denied
            | Self::NoJetStream
            | Self::NoStream
            | Self::NoConsumer
            | Self::Other => false,
        }
    }

    /// Whether the same request fails at any later time, too.
    pub(crate) fn is_final(self) -> bool {
        match self {
            Self::Denied | Self::NoJetStream | Self::NoStream | Self::NoConsumer => true,
            Self::Broker | Self::Silence | Self::NoResponder | Self::Other => false,
        }
    }

    /// Whether another kind of request may succeed: a stream that allows no consumer may be read message by message,
    /// and an account may import a part of the API.
    pub(crate) fn allows_another_way(self) -> bool {
        match self {
            Self::NoResponder => true,
            Self::Broker
            | Self::Silence
            | Self::Denied
            | Self::NoJetStream
            | Self::NoStream
            | Self::NoConsumer
            | Self::Other => self.is_final(),
        }
    }

    /// Whether a stream whose state was asked for may exist, and be readable, all the same.
    pub(crate) fn hides_state(self) -> bool {
        match self {
            Self::Denied | Self::NoJetStream | Self::NoResponder => true,
            Self::Broker | Self::Silence | Self::NoStream | Self::NoConsumer | Self::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_code(code: u64) -> Failure {
        let text = String::new();
        Failure::of(&PublishError::Refused(Refusal { code, text }))
    }

    #[test]
    fn failure_that_will_last_is_distinguished_from_one_that_may_pass() {
        for (code, expected) in [
            (10_059, Failure::NoStream),
            (10_039, Failure::NoJetStream),
            (10_082, Failure::NoConsumer),
            (10_026, Failure::NoConsumer),
        ] {
            assert_eq!(of_code(code), expected, "{code}");
            assert!(expected.is_final() && expected.allows_another_way());
        }
        for code in [10_008, 10_118, 10_999] {
            assert_eq!(of_code(code), Failure::Other, "{code}");
            assert!(!of_code(code).is_final() && !of_code(code).allows_another_way());
        }
        let away = Failure::of(&PublishError::JetStreamUnavailable);
        assert!(!away.is_final() && away.allows_another_way() && away.hides_state());
        let silence = |broker_answers| Failure::of(&PublishError::AckTimeout { broker_answers });
        assert!(silence(false).concerns_all() && !silence(true).concerns_all());
        assert!(!silence(true).is_final() && !silence(true).allows_another_way());
    }

    #[test]
    fn stream_that_does_not_exist_has_no_hidden_state() {
        assert!(!Failure::NoStream.hides_state());
        assert!(Failure::Denied.hides_state() && Failure::NoJetStream.hides_state());
    }
}
