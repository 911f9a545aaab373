//! The broker's error for a refused message, and the meaning of its code.

use std::fmt;

use super::codes;
use super::publish_error::{Known, Scope};
use crate::message::rules::OneLine;

/// The broker's error for a refused message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The server's error code (`err_code`), such as 10077.
    pub code: u64,
    /// The server's text.
    pub text: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The server's text may contain line breaks and control characters.
        write!(f, "{} (code {})", OneLine(&self.text), self.code)?;
        if self.code == codes::MESSAGE_TTL_DISABLED {
            f.write_str("; allow it (`allow_msg_ttl`), or send the event without an expiry")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// A refusal with this code and text.
    #[must_use]
    pub fn new(code: u64, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code, text }
    }

    /// The messages that the broker refuses for the same reason.
    pub(super) fn scope(&self) -> Scope {
        match self.code {
            // The text names the limit; only the message size is the event's own.
            codes::STREAM_STORE_FAILED if self.text.contains("too large") => Scope::Event,
            codes::STREAM_MESSAGE_EXCEEDS_MAXIMUM
            | codes::STREAM_HEADER_EXCEEDS_MAXIMUM
            | codes::STREAM_WRONG_LAST_MESSAGE_ID
            | codes::STREAM_WRONG_LAST_SEQUENCE
            | codes::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => Scope::Event,
            code if codes::is_of_a_header(code) => Scope::Event,
            codes::ACCOUNT_RESOURCES_EXCEEDED
            | codes::INSUFFICIENT_RESOURCES
            | codes::MEMORY_RESOURCES_EXCEEDED
            | codes::STORAGE_RESOURCES_EXCEEDED
            | codes::CLUSTER_NOT_AVAILABLE
            | codes::CLUSTER_NOT_LEADER
            | codes::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT
            | codes::JETSTREAM_NOT_ENABLED => Scope::Broker,
            _ => Scope::Subject,
        }
    }

    pub(super) fn known(&self) -> Known {
        match self.code {
            // An earlier publish with the same message id is being stored.
            codes::STREAM_DUPLICATE_MESSAGE_CONFLICT => Known::OutcomeUnknown,
            _ => Known::Refused,
        }
    }

    /// Whether the same publish may succeed a moment later.
    pub(super) fn is_transient(&self) -> bool {
        self.is_stream_outage()
            || matches!(
                self.code,
                codes::STREAM_DUPLICATE_MESSAGE_CONFLICT
                    | codes::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_NOT_READY
                    | codes::CLUSTER_NOT_AVAILABLE
                    | codes::CLUSTER_NOT_LEADER
                    | codes::JETSTREAM_NOT_ENABLED
            )
    }

    /// Whether the stream takes no message at the moment: it is offline, or its queue is full.
    pub(super) fn is_stream_outage(&self) -> bool {
        matches!(
            self.code,
            codes::STREAM_OFFLINE | codes::STREAM_OFFLINE_REASON | codes::STREAM_TOO_MANY_REQUESTS
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::PublishError;

    fn refused(code: u64, text: &str) -> PublishError {
        PublishError::Refused(Refusal {
            code,
            text: text.to_owned(),
        })
    }

    #[test]
    fn code_of_a_refusal_determines_its_scope() {
        assert_eq!(
            refused(10077, "maximum messages exceeded").scope(),
            Scope::Subject
        );
        assert_eq!(
            refused(10077, "message size exceeds: too large").scope(),
            Scope::Event
        );
        assert_eq!(refused(10054, "").scope(), Scope::Event);
        for header in [10111, 10165, 10168, 10174, 10179, 10188, 10192, 10193] {
            assert_eq!(refused(header, "").scope(), Scope::Event, "{header}");
        }
        assert_eq!(
            refused(10169, "").scope(),
            Scope::Subject,
            "a counter stream"
        );
        assert_eq!(refused(10060, "").scope(), Scope::Subject);
        for broker in [10002, 10008, 10009, 10023, 10028, 10039, 10047, 10076] {
            assert_eq!(refused(broker, "").scope(), Scope::Broker, "{broker}");
        }
        for stream in [10118, 10167, 10194] {
            assert_eq!(refused(stream, "").scope(), Scope::Subject, "{stream}");
            assert!(refused(stream, "").is_transient(), "{stream}");
        }
        assert_eq!(
            refused(99999, "").scope(),
            Scope::Subject,
            "an unknown code"
        );
        let in_process = refused(10158, "duplicate message id is in process");
        assert!(in_process.is_transient());
        assert_eq!(in_process.known(), Known::OutcomeUnknown);
        let not_ready = refused(10163, "temporarily unavailable");
        assert!(not_ready.is_transient());
        assert_eq!(not_ready.scope(), Scope::Subject);
        assert_eq!(refused(10077, "").known(), Known::Refused);
        assert!(!refused(10077, "").is_transient());
    }

    #[test]
    fn error_is_one_line_for_a_server_text_with_line_breaks() {
        let text = refused(10077, "a\nb\r\u{1b}[31m").to_string();
        assert_eq!(text, "a\\nb\\r\\u{1b}[31m (code 10077)");
    }
}
