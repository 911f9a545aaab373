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

/// Parses an answer. `NoStream` stands for every "no responders" answer: the caller must find the reason.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    Publish,
    Subscribe,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Headers, MessageId, Subject};

    fn answer(payload: &str) -> Message {
        Message {
            subject: "inbox.1".into(),
            reply: None,
            payload: payload.to_owned().into(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        }
    }

    #[test]
    fn time_to_live_is_the_rest_when_sent_in_whole_seconds() {
        let at = |millis| SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(millis);
        let subject = Subject::new("a").unwrap();
        let envelope = Envelope::new(subject, "{}".into()).with_expiry(at(10_000));
        for (now, ttl) in [(0, "10"), (1, "10"), (1_000, "9"), (9_999, "1")] {
            let (map, size) = headers(&envelope, None, || at(now)).unwrap();
            assert_eq!(map.get("Nats-TTL").map(|v| v.as_str()), Some(ttl));
            let written = format!("NATS/1.0\r\nNats-TTL: {ttl}\r\n\r\n");
            assert_eq!(size, written.len());
        }
        for now in [10_000, 20_000] {
            let error = headers(&envelope, None, || at(now)).unwrap_err();
            assert_eq!(error, PublishError::Expired);
        }
    }

    #[test]
    fn header_size_is_the_number_of_bytes_that_the_client_writes() {
        let mut extra = Headers::default();
        extra.push("ce-id", "1").unwrap();
        let envelope = Envelope::new(Subject::new("a").unwrap(), "".into())
            .with_headers(extra)
            .with_message_id(MessageId::new("s.1").unwrap());
        let (map, size) = headers(&envelope, Some("S"), || SystemTime::UNIX_EPOCH).unwrap();
        let written = "NATS/1.0\r\nce-id: 1\r\nNats-Msg-Id: s.1\r\nNats-Expected-Stream: S\r\n\r\n";
        assert_eq!(size, written.len());
        assert_eq!(map.get("Nats-Msg-Id").map(|v| v.as_str()), Some("s.1"));
    }

    #[test]
    fn probe_has_no_message_id_and_replaces_the_callers_expectation() {
        let mut extra = Headers::default();
        extra.push("ce-id", "1").unwrap();
        for name in ["Nats-Expected-Last-Sequence", "Nats-TTL"] {
            extra.push(name, "7").unwrap();
        }
        let envelope = Envelope::new(Subject::new("a").unwrap(), "".into())
            .with_headers(extra)
            .with_message_id(MessageId::new("s.1").unwrap());
        let (map, size) = probe_headers(&envelope, None).unwrap();
        let expected = map.get_all("Nats-Expected-Last-Sequence");
        let expected: Vec<&str> = expected.map(HeaderValue::as_str).collect();
        assert_eq!(expected, [i64::MAX.to_string()]);
        assert_eq!(map.get("ce-id").map(HeaderValue::as_str), Some("1"));
        assert_eq!(map.len(), 2, "{map:?}");
        let written =
            "NATS/1.0\r\nce-id: 1\r\nNats-Expected-Last-Sequence: 9223372036854775807\r\n\r\n";
        assert_eq!(size, written.len());
    }

    #[test]
    fn last_sequence_is_parsed_from_its_refusal_only() {
        let of = |code, text: &str| {
            last_sequence(&Refusal {
                code,
                text: text.to_owned(),
            })
        };
        assert_eq!(of(10_071, "wrong last sequence: 42"), Some(42));
        assert_eq!(of(10_071, "wrong last sequence: 0"), Some(0));
        assert_eq!(of(10_164, "wrong last sequence"), None);
        assert_eq!(of(10_071, "wrong last sequence"), None);
        assert_eq!(of(10_077, "maximum messages exceeded: 7"), None);
    }

    #[test]
    fn answers_are_parsed_by_their_content() {
        let stored = answer(r#"{"stream":"S","seq":7,"duplicate":true}"#);
        let ack = acknowledgement(&stored, Some("S")).unwrap();
        assert_eq!(
            (ack.stream.as_str(), ack.sequence, ack.duplicate),
            ("S", 7, true)
        );
        assert!(matches!(
            acknowledgement(&stored, Some("T")),
            Err(PublishError::WrongStream { .. })
        ));

        let full = answer(
            r#"{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"S","seq":0}"#,
        );
        let error = acknowledgement(&full, None).unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.scope()),
            ("maximum messages exceeded (code 10077)", Scope::Subject)
        );

        for odd in [
            "",
            "+ACK",
            "{}",
            "[]",
            r#"{"stream":"","seq":0}"#,
            r#"{"stream":"S","seq":0}"#,
            "\n\u{1b}",
        ] {
            let error = acknowledgement(&answer(odd), None).unwrap_err();
            assert!(
                matches!(error, PublishError::NotAnAcknowledgement(_)),
                "{odd:?}: {error}"
            );
            assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn refusal_is_blamed_on_the_events_own_headers_only() {
        let with = |name: &'static str| {
            let mut headers = Headers::default();
            headers.push(name, "1").unwrap();
            Envelope::new(Subject::new("a").unwrap(), "".into()).with_headers(headers)
        };
        let scope = |code, name| {
            let refusal = Refusal {
                code,
                text: String::new(),
            };
            blame_headers(PublishError::Refused(refusal), &with(name)).scope()
        };
        assert_eq!(scope(10_060, "Nats-Expected-Stream"), Scope::Event);
        assert_eq!(scope(10_060, "Nats-TTL"), Scope::Subject);
        assert_eq!(scope(10_299, "Nats-New"), Scope::Event, "an unknown code");
        assert_eq!(scope(10_299, "ce-id"), Scope::Subject);
        assert_eq!(scope(10_077, "Nats-TTL"), Scope::Subject, "a full stream");
        assert_eq!(scope(10_023, "Nats-TTL"), Scope::Broker);
        let staged = PublishError::NotAnAcknowledgement(String::new());
        let staged = |name| blame_headers(staged.clone(), &with(name)).scope();
        assert_eq!(staged("Nats-Batch-Id"), Scope::Event);
        assert_eq!(staged("ce-id"), Scope::Subject);
    }

    #[test]
    fn violation_contains_its_subject() {
        let of = |text| violation(text).map(|(subject, kind)| (subject.into_owned(), kind));
        let publish = |subject: &str| Some((subject.to_owned(), Violation::Publish));
        assert_eq!(
            of("Permissions Violation for Publish to \"a.b\""),
            publish("a.b")
        );
        assert_eq!(
            of("'Permissions Violation for Subscription to \"_INBOX.x.*\" using queue \"q\"'"),
            Some(("_INBOX.x.*".to_owned(), Violation::Subscribe))
        );
        let quoted = r#"Permissions Violation for Publish to "a.\"b\\.\u200b\xc3\xa9\U0001f600é""#;
        assert_eq!(of(quoted), publish("a.\"b\\.\u{200b}é\u{1f600}é"));
        assert_eq!(of("Stale Connection"), None);
        assert_eq!(of("Permissions Violation for Publish to \"a"), None);
    }

    #[test]
    fn broken_limit_is_read_from_the_servers_words() {
        assert_eq!(
            broken_limit("Maximum Payload Violation"),
            Some(Limit::Payload)
        );
        assert_eq!(
            broken_limit("maximum control line exceeded"),
            Some(Limit::ControlLine)
        );
        assert_eq!(broken_limit("Stale Connection"), None);
    }
}
