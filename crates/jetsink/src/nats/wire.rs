//! Envelope to headers, answer to acknowledgement. Pure.

use std::borrow::Cow;
use std::time::SystemTime;

use async_nats::{HeaderMap, HeaderName, HeaderValue, Message, StatusCode, header};
use serde::Deserialize;

use super::stream_name::check_name;
use crate::message::envelope::{CONTENT_TYPE, Envelope};
use crate::outcome::{Acknowledgement, Known, PublishError, Refusal, Scope, codes};

const MESSAGE_ID: HeaderName = header::NATS_MESSAGE_ID;
pub(crate) const EXPECTED_STREAM: HeaderName = header::NATS_EXPECTED_STREAM;
const TIME_TO_LIVE: HeaderName = header::NATS_MESSAGE_TTL;

/// `NATS/1.0` with its line break, and the empty line at the end.
const HEADER_FRAME: usize = 12;
/// `: ` and the line break of each header.
const HEADER_OVERHEAD: usize = 4;

/// A sequence number that no stream reaches: the greatest that a server reads.
const NO_SEQUENCE: &str = "9223372036854775807";

/// Returns the envelope's headers for the client, and their size on the wire.
///
/// # Errors
/// None in practice, since an [`Envelope`] contains checked headers only. If the client's rules become
/// stricter, this returns an error instead of panicking.
pub(crate) fn headers(
    envelope: &Envelope,
    expected_stream: Option<&str>,
    now: impl FnOnce() -> SystemTime,
) -> Result<(HeaderMap, usize), PublishError> {
    let (mut map, mut size) = headers_without_id(envelope.headers().iter(), expected_stream)?;
    if let Some(expires_at) = envelope.expires_at() {
        let ttl = time_to_live(expires_at, now()).ok_or(PublishError::Expired)?;
        size += append(&mut map, TIME_TO_LIVE, &ttl.to_string())?;
    }
    if let Some(id) = envelope.message_id() {
        size += append(&mut map, MESSAGE_ID, id.as_str())?;
    }
    Ok((map, size))
}

/// The seconds until an event expires, rounded up; `None` if it has expired. A server accepts at least a second.
fn time_to_live(expires_at: SystemTime, now: SystemTime) -> Option<u64> {
    let left = expires_at.duration_since(now).ok()?;
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    (seconds > 0).then_some(seconds)
}

/// Returns the headers of a probe: a message that the stream refuses with its last sequence number.
///
/// The number counts stored messages and those accepted but not stored yet: nats-server checks
/// `Nats-Expected-Last-Sequence` on arrival since 2.12; an older server checks it when the message's turn to
/// be stored comes. The message id and the caller's own `Nats-` headers are left out, since the server may
/// check them first.
pub(crate) fn probe_headers(
    envelope: &Envelope,
    expected_stream: Option<&str>,
) -> Result<(HeaderMap, usize), PublishError> {
    let headers = envelope.headers().iter();
    let headers = headers.filter(|(name, _)| !name.starts_with("Nats-"));
    let (mut map, size) = headers_without_id(headers, expected_stream)?;
    let added = append(&mut map, header::NATS_EXPECTED_LAST_SEQUENCE, NO_SEQUENCE)?;
    Ok((map, size + added))
}

/// Returns the last sequence number in the refusal of a probe.
pub(crate) fn last_sequence(refusal: &Refusal) -> Option<u64> {
    (refusal.code == codes::STREAM_WRONG_LAST_SEQUENCE)
        .then(|| refusal.text.rsplit(' ').next()?.parse().ok())
        .flatten()
}

fn headers_without_id<'a>(
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    expected_stream: Option<&str>,
) -> Result<(HeaderMap, usize), PublishError> {
    let mut map = HeaderMap::new();
    let mut size = HEADER_FRAME;
    for (name, value) in headers {
        size += append(&mut map, header_name(name)?, value)?;
    }
    if let Some(stream) = expected_stream {
        size += append(&mut map, EXPECTED_STREAM, stream)?;
    }
    Ok((map, size))
}

/// Parses a header name; the one of every structured event without a copy.
fn header_name(name: &str) -> Result<HeaderName, PublishError> {
    match name {
        CONTENT_TYPE => Ok(const { HeaderName::from_static(CONTENT_TYPE) }),
        _ => name.parse().map_err(|e| refused(name, &e)),
    }
}

/// Appends a header and returns its size on the wire.
fn append(map: &mut HeaderMap, name: HeaderName, value: &str) -> Result<usize, PublishError> {
    let name_text: &str = name.as_ref();
    let size = name_text.len() + value.len() + HEADER_OVERHEAD;
    let value: HeaderValue = value.parse().map_err(|e| refused(name_text, &e))?;
    map.append(name, value);
    Ok(size)
}

fn refused(name: &str, reason: &dyn std::fmt::Display) -> PublishError {
    PublishError::Other {
        text: format!("the client refuses the header {name}: {reason}"),
        scope: Scope::Event,
        known: Known::NotSent,
    }
}

/// Parses an answer. `NoStream` is returned for every "no responders" answer: the caller must find the reason.
pub(crate) fn acknowledgement(
    message: &Message,
    expected_stream: Option<&str>,
) -> Result<Acknowledgement, PublishError> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(PublishError::NoStream);
    }
    match serde_json::from_slice(&message.payload) {
        Ok(PublishAnswer {
            error: Some(error), ..
        }) => Err(PublishError::Refused(error.into())),
        Ok(PublishAnswer {
            stream: Some(stream),
            sequence: sequence @ 1..,
            duplicate,
            domain,
            ..
        }) if !stream.is_empty() => match expected_stream {
            Some(expected) if expected != stream => Err(PublishError::WrongStream {
                expected: expected.to_owned(),
                actual: stream,
            }),
            _ => Ok(Acknowledgement {
                stream,
                sequence,
                duplicate,
                // A plain subscriber may answer in place of a stream.
                domain: domain.filter(|domain| check_name(domain).is_ok()),
            }),
        },
        Ok(_) | Err(_) => {
            let start = &message.payload[..message.payload.len().min(60)];
            Err(PublishError::NotAnAcknowledgement(format!(
                "{:?}",
                String::from_utf8_lossy(start)
            )))
        }
    }
}

/// Returns the message id in a stored message's headers.
pub(crate) fn message_id(headers: Option<&HeaderMap>) -> Option<&str> {
    Some(headers?.get(MESSAGE_ID)?.as_str())
}

/// Returns the name of the stream that answered, also in a refusal.
pub(crate) fn answering_stream(message: &Message) -> Option<String> {
    let answer: PublishAnswer = serde_json::from_slice(&message.payload).ok()?;
    answer.stream.filter(|stream| !stream.is_empty())
}

/// Returns the error as one of the event, if the event's own `Nats-` headers explain it.
pub(crate) fn blame_headers(error: PublishError, envelope: &Envelope) -> PublishError {
    let has = |prefix: &str| {
        let mut headers = envelope.headers().iter();
        headers.any(|(name, _)| name.starts_with(prefix))
    };
    match error {
        // The same event may be stored a moment later.
        error if error.is_transient() => error,
        PublishError::Refused(refusal) => {
            let explained = match refusal.code {
                codes::STREAM_NOT_MATCH => has("Nats-Expected-Stream"),
                code => !codes::is_of_the_stream(code) && has("Nats-"),
            };
            if explained && is_of_the_subject(&refusal) {
                PublishError::HeaderRefused(refusal)
            } else {
                PublishError::Refused(refusal)
            }
        }
        PublishError::NotAnAcknowledgement(_) if has("Nats-Batch-") => {
            PublishError::HeaderRefused(Refusal {
                code: 0,
                text:
                    "it is a part of a batch that is never completed: events are sent one at a time"
                        .to_owned(),
            })
        }
        error => error,
    }
}

fn is_of_the_subject(refusal: &Refusal) -> bool {
    PublishError::Refused(refusal.clone()).scope() == Scope::Subject
}

/// A stream's answer to a publish (ADR-1, `io.nats.jetstream.api.v1.pub_ack_response`).
#[derive(Deserialize)]
struct PublishAnswer {
    error: Option<ApiError>,
    stream: Option<String>,
    #[serde(default, rename = "seq")]
    sequence: u64,
    #[serde(default)]
    duplicate: bool,
    domain: Option<String>,
}

/// The error in an answer of JetStream.
#[derive(Debug, Deserialize)]
pub(crate) struct ApiError {
    #[serde(default)]
    pub(crate) err_code: u64,
    #[serde(default)]
    description: String,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self {
            code: error.err_code,
            text: error.description,
        }
    }
}

/// Returns the subject and the kind of a permissions violation.
///
/// The server writes `Permissions Violation for Publish to "subject"`; the client passes it on unchanged. The
/// subject is quoted as Go does it: a quote, a backslash or an unprintable character is escaped.
pub(crate) fn violation(text: &str) -> Option<(Cow<'_, str>, Violation)> {
    let (kind, rest) = [
        ("ermissions Violation for Publish to \"", Violation::Publish),
        (
            "ermissions Violation for Subscription to \"",
            Violation::Subscribe,
        ),
    ]
    .into_iter()
    .find_map(|(start, kind)| Some((kind, &text[text.find(start)? + start.len()..])))?;
    Some((unquoted(rest)?, kind))
}

/// Returns the text up to the closing quote, without its escapes.
fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let end = text.find(['"', '\\'])?;
    if text[end..].starts_with('"') {
        return Some(Cow::Borrowed(&text[..end]));
    }
    let mut plain = text.as_bytes()[..end].to_vec();
    let mut rest = text[end..].chars();
    loop {
        match rest.next()? {
            '"' => return String::from_utf8(plain).ok().map(Cow::Owned),
            '\\' => {
                let digits = match rest.next()? {
                    'x' => {
                        let byte: String = rest.by_ref().take(2).collect();
                        plain.push(u8::from_str_radix(&byte, 16).ok()?);
                        continue;
                    }
                    'u' => 4,
                    'U' => 8,
                    // Other escapes mean control characters, which no subject has.
                    character @ ('"' | '\\' | '\'') => {
                        plain.push(character as u8);
                        continue;
                    }
                    _ => return None,
                };
                let code: String = rest.by_ref().take(digits).collect();
                let character = char::from_u32(u32::from_str_radix(&code, 16).ok()?)?;
                plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            character => plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// A limit for which a server ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `max_payload` of the server, the account or the user.
    Payload,
    /// `max_control_line`.
    ControlLine,
}

/// Returns the limit that a server names when it ends the connection.
pub(crate) fn broken_limit(text: &str) -> Option<Limit> {
    let text = text.to_ascii_lowercase();
    let limits = [
        ("maximum payload", Limit::Payload),
        ("maximum control line", Limit::ControlLine),
    ];
    let mut limits = limits.into_iter();
    limits.find_map(|(words, limit)| text.contains(words).then_some(limit))
}

/// Whether a message may be the reason for an error after which the server ends the connection. Others are a stale
/// connection, an expired login, or the server's own end.
pub(crate) fn may_be_about_a_message(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let words = [
        "maximum payload",
        "control line",
        "protocol",
        "header",
        "subject",
    ];
    words.into_iter().any(|word| text.contains(word))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    Publish,
    Subscribe,
}

#[cfg(test)]
#[path = "../tests/wire.rs"]
mod tests;
