//! The kinds of problems, each with its status, as `application/problem+json` (RFC 9457).

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::protocol::webhook::METHODS;

/// Characters of a detail, at most.
const MAX_DETAIL: usize = 600;

/// The remedy for a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advice {
    /// Correct the request or the set-up; the same request has the same result.
    Correct,
    /// Send the same request again later.
    Repeat,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident: $status:literal, $name:literal, $advice:ident;)+) => {
        /// The kinds of problems that the gateway answers with. `docs/serve/README.md` lists them with a sender's remedy.
        ///
        /// New kinds may be added in any release.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ProblemKind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl ProblemKind {
            /// Every kind, by status.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// The name, as in the problem's `type`, the metrics and `docs/serve/README.md`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// The status code.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$kind => $status,)+ }
            }

            fn advice(self) -> Advice {
                match self { $(Self::$kind => Advice::$advice,)+ }
            }
        }
    };
}

kinds! {
    /// The request's headers or body cannot be read.
    Malformed: 400, "malformed-request", Correct;
    /// The event violates CloudEvents 1.0.2 or the HTTP binding.
    InvalidEvent: 400, "invalid-event", Correct;
    /// No credential, or an unknown one.
    Unauthenticated: 401, "unauthenticated", Correct;
    /// The credential does not allow the event's subject or tenant.
    Forbidden: 403, "forbidden", Correct;
    /// No route has this path.
    NotFound: 404, "no-route", Correct;
    /// Another method than POST and OPTIONS.
    MethodNotAllowed: 405, "method-not-allowed", Correct;
    /// The body did not arrive in time.
    SlowBody: 408, "slow-body", Repeat;
    /// The body, its decompressed form or the batch exceeds a limit, or the event the spool's limit.
    TooLarge: 413, "too-large", Correct;
    /// The content type is neither of the two JSON formats, and there are no attributes in headers.
    UnsupportedMediaType: 415, "unsupported-media-type", Correct;
    /// The content encoding is not gzip.
    UnsupportedEncoding: 415, "unsupported-encoding", Correct;
    /// On loopback, the Host header names another host.
    WrongHost: 421, "wrong-host", Correct;
    /// The event's own fault: an invalid tenant, an attribute that the subject needs, or too large for the stream.
    EventRefused: 422, "event-refused", Correct;
    /// An event with the same subject, source and id had other content.
    IdentityConflict: 422, "identity-conflict", Correct;
    /// The gateway, or this credential, has too many requests in flight, or too many bytes.
    TooManyRequests: 429, "too-many-requests", Repeat;
    /// The request's line and headers have more bytes than allowed.
    HeadersTooLarge: 431, "headers-too-large", Correct;
    /// The circuit is open and there is no spool.
    CircuitOpen: 503, "circuit-open", Repeat;
    /// The broker did not store the event, and there is no spool.
    NotStored: 503, "not-stored", Repeat;
    /// The spool is full.
    SpoolFull: 503, "spool-full", Repeat;
    /// The spool's disk failed or is too slow. The event may be spooled.
    DiskFailed: 503, "disk-failed", Repeat;
    /// The gateway is stopping.
    Stopping: 503, "stopping", Repeat;
    /// The event was sent, or is being sent, and its outcome is not known yet.
    OutcomeUnknown: 504, "outcome-unknown", Repeat;
}

impl ProblemKind {
    /// Whether a sender should send the same request again.
    #[must_use]
    pub fn is_passing(self) -> bool {
        self.advice() == Advice::Repeat
    }

    fn code(self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// A problem with one request or one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    kind: ProblemKind,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
}

/// One event of a batch in the body of a problem or a receipt.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EventReport<'a> {
    pub(crate) index: usize,
    #[serde(flatten)]
    pub(crate) result: EventResult<'a>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub(crate) enum EventResult<'a> {
    Stored {
        stream: &'a str,
        sequence: u64,
        duplicate: bool,
    },
    Spooled {
        duplicate: bool,
    },
    Failed {
        problem: &'static str,
        repeat: bool,
        detail: &'a str,
    },
    /// Not sent, because an earlier event of its subject failed or the deadline passed.
    NotTried,
}

#[derive(Serialize)]
struct Body_<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    /// Whether the same request may succeed later.
    repeat: bool,
    #[serde(skip_serializing_if = "<[EventReport<'_>]>::is_empty")]
    events: &'a [EventReport<'a>],
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            retry_after: None,
        }
    }

    pub(crate) fn retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    pub(crate) fn kind(&self) -> ProblemKind {
        self.kind
    }

    pub(crate) fn detail(&self) -> &str {
        bounded(&self.detail)
    }

    /// Says which event of a batch has the problem.
    pub(crate) fn of_event(mut self, index: usize) -> Self {
        self.detail = format!("event {index} of the batch: {}", self.detail).into();
        self
    }

    pub(crate) fn response(&self, events: &[EventReport<'_>]) -> Response<Body> {
        let body = Body_ {
            r#type: format!("urn:jetsink:problem:{}", self.kind.name()),
            title: self.kind.name(),
            status: self.kind.status(),
            detail: self.detail(),
            repeat: self.kind.is_passing(),
            events,
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.kind.code();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        match self.kind {
            ProblemKind::Unauthenticated => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ProblemKind::MethodNotAllowed => {
                headers.insert(ALLOW, METHODS);
            }
            ProblemKind::UnsupportedEncoding => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, identity"));
            }
            _ => {}
        }
        if let Some(time) = self.retry_after.or(self.default_retry_after()) {
            // Rounded up: an earlier repeat would be refused again.
            let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }

    fn default_retry_after(&self) -> Option<Duration> {
        let has_one = matches!(self.kind.status(), 429 | 503);
        has_one.then_some(Duration::from_secs(1))
    }

    pub(crate) fn result(&self) -> EventResult<'_> {
        EventResult::Failed {
            problem: self.kind.name(),
            repeat: self.kind.is_passing(),
            detail: self.detail(),
        }
    }
}

fn bounded(text: &str) -> &str {
    match text.char_indices().nth(MAX_DETAIL) {
        None => text,
        Some((end, _)) => &text[..end],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_the_table_of_the_docs_with_its_status() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/serve/README.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        for kind in ProblemKind::ALL {
            let repeat = if kind.is_passing() {
                "repeat"
            } else {
                "correct"
            };
            let row = format!("| {} | `{}` | {repeat} |", kind.status(), kind.name());
            assert!(docs.contains(&row), "docs/serve/README.md lacks {row}");
        }
    }

    // Knative data-plane contract: senders retry these codes and drop the event at any other of 4xx.
    #[test]
    fn passing_problems_have_codes_that_senders_retry() {
        for kind in ProblemKind::ALL {
            let is_retried = matches!(kind.status(), 404 | 408 | 409 | 429 | 500..);
            if kind.is_passing() {
                assert!(is_retried, "{kind:?}");
            } else {
                assert!(!is_retried || *kind == ProblemKind::NotFound, "{kind:?}");
            }
        }
    }
}
