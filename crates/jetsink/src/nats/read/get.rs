//! Requests single messages of a stream, without a consumer: for streams and users that allow none.

use std::time::Duration;

use async_nats::{HeaderMap, HeaderName, Message, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::message::subject::Subject;
use crate::nats::api::{ANSWER_TIME, Request, ask_within, cant_read, request_in};
use crate::nats::failure::Failure;
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::outcome::{PublishError, codes};

/// The reason if a direct get is not answered.
pub(super) const NO_DIRECT_GET: &str = "direct gets are not answered: the stream allows none (`allow_direct`), or its servers are busy";

/// The pause before another replica is asked, since one is behind the leader.
const PAUSE: Duration = Duration::from_millis(50);

/// The headers that a direct get adds to a message.
const OF_DIRECT_GET: [HeaderName; 4] = [
    header::NATS_STREAM,
    header::NATS_SUBJECT,
    header::NATS_SEQUENCE,
    header::NATS_TIME_STAMP,
];

/// A message of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) payload: Bytes,
    /// As the server writes it (RFC 3339).
    pub(crate) time: String,
}

#[derive(Deserialize)]
struct Answer {
    message: Raw,
}

#[derive(Deserialize)]
struct Raw {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: Option<String>,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    time: String,
}

/// A stream, and the way to it.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) session: &'a Session,
    pub(crate) domain: Option<&'a str>,
    pub(crate) stream: &'a StreamName,
    /// Whether the stream answers direct gets; `None` if that is unknown.
    pub(crate) allows_direct: Option<bool>,
}

impl Place<'_> {
    /// Whether silence may mean that the stream allows no direct gets: so nats-server before 2.11.
    pub(super) fn leaves_direct_gets_open(self) -> bool {
        let version = self.session.client.server_info().version;
        self.allows_direct.is_none() && is_before_2_11(&version)
    }

    /// Returns the first message with this sequence number or a higher one, from the stream's leader.
    pub(super) async fn message(
        self,
        sequence: u64,
        time: Duration,
    ) -> Result<Option<Got>, PublishError> {
        let details = json!({ "seq": sequence, "next_by_subj": ">" });
        self.get(&details, time).await
    }

    /// Returns the last message of a subject, from the stream's leader.
    pub(crate) async fn last_of(self, subject: &Subject) -> Result<Option<Got>, PublishError> {
        let details = json!({ "last_by_subj": subject.as_str() });
        self.get(&details, ANSWER_TIME).await
    }

    async fn get(self, details: &Value, time: Duration) -> Result<Option<Got>, PublishError> {
        let request = Request {
            question: Question::MessageGet(self.stream),
            details,
            time,
        };
        match ask_within::<Answer>(self.shared, self.session, self.domain, request).await {
            Ok(answer) => decoded(answer.message).map(Some),
            Err(PublishError::Refused(refusal)) if refusal.code == codes::NO_MESSAGE_FOUND => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// As [`message`](Self::message), from any replica. One that is behind its leader has time to catch up.
    pub(super) async fn direct(
        self,
        sequence: u64,
        last: u64,
        time: Duration,
    ) -> Result<Option<Got>, PublishError> {
        let details = json!({ "seq": sequence, "next_by_subj": ">" });
        let give_up = Instant::now() + ANSWER_TIME;
        loop {
            match self.direct_get(&details, time).await? {
                None if sequence <= last && Instant::now() < give_up => sleep(PAUSE).await,
                got => return Ok(got),
            }
        }
    }

    /// Returns the last message, from any replica.
    pub(crate) async fn last(self) -> Result<Option<Got>, PublishError> {
        let details = json!({ "last_by_subj": ">" });
        let last = self.direct_get(&details, ANSWER_TIME).await;
        last.map_err(|error| match Failure::of(&error) {
            Failure::Silence => cant_read(NO_DIRECT_GET),
            _ => error,
        })
    }

    async fn direct_get(
        self,
        details: &Value,
        time: Duration,
    ) -> Result<Option<Got>, PublishError> {
        let request = Request {
            question: Question::DirectGet(self.stream),
            details,
            time,
        };
        let answer = request_in(self.shared, self.session, self.domain, request).await?;
        match answer.status {
            None => direct_message(answer).map(Some),
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(status) => Err(cant_read(&format!("a direct get is refused: {status}"))),
        }
    }
}

fn is_before_2_11(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (2, 11),
        _ => false,
    }
}

/// Reads the answer to a direct get: the stored message, with headers about its place behind its own.
fn direct_message(answer: Message) -> Result<Got, PublishError> {
    let added = answer.headers.unwrap_or_default();
    let value = |name| added.get_last(name).map(|value| value.as_str().to_owned());
    let sequence = value(header::NATS_SEQUENCE).and_then(|text| text.parse().ok());
    let (Some(subject), Some(sequence)) = (value(header::NATS_SUBJECT), sequence) else {
        return Err(cant_read(
            "the answer to a direct get has no sequence number",
        ));
    };
    let time = value(header::NATS_TIME_STAMP).unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (name, values) in added.iter() {
        let own = values.len() - usize::from(OF_DIRECT_GET.contains(name));
        for value in &values[..own] {
            headers.append(name.clone(), value.clone());
        }
    }
    Ok(Got {
        sequence,
        subject,
        headers: (!headers.is_empty()).then_some(headers),
        payload: answer.payload,
        time,
    })
}

fn decoded(raw: Raw) -> Result<Got, PublishError> {
    let decode = |text: Option<String>| match text {
        None => Ok(Vec::new()),
        Some(text) => STANDARD
            .decode(text)
            .map_err(|error| cant_read(&format!("a message is no base64: {error}"))),
    };
    let headers = decode(raw.hdrs)?;
    Ok(Got {
        sequence: raw.seq,
        subject: raw.subject,
        headers: (!headers.is_empty()).then(|| parsed(&headers)),
        payload: decode(raw.data)?.into(),
        time: raw.time,
    })
}

/// Parses a header block, `NATS/1.0`, a line per header, and an empty line. Lines that are no headers are left out.
fn parsed(block: &[u8]) -> HeaderMap {
    let text = String::from_utf8_lossy(block);
    let mut headers = HeaderMap::new();
    for line in text.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let name = name.parse::<async_nats::HeaderName>();
        let value = value.trim_start().parse::<async_nats::HeaderValue>();
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, is_before) in [
            ("2.10.25", true),
            ("2.9.0", true),
            ("2.11.0", false),
            ("2.11.0-RC.1", false),
            ("2.15.1", false),
            ("3.0.0", false),
            ("unknown", false),
        ] {
            assert_eq!(is_before_2_11(version), is_before, "{version}");
        }
    }

    #[test]
    fn direct_get_adds_its_headers_behind_those_of_the_message() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("Nats-Msg-Id", "a.1"),
            ("Nats-Subject", "of the publisher"),
            ("Nats-Stream", "S"),
            ("Nats-Subject", "events.a"),
            ("Nats-Sequence", "7"),
            ("Nats-Time-Stamp", "2026-11-30T07:00:00Z"),
        ] {
            headers.append(name, value);
        }
        let answer = |headers| Message {
            subject: "inbox.1".into(),
            reply: None,
            payload: Bytes::from_static(b"x"),
            headers,
            status: None,
            description: None,
            length: 0,
        };
        let got = direct_message(answer(Some(headers))).unwrap();
        assert_eq!((got.sequence, got.subject.as_str()), (7, "events.a"));
        assert_eq!(got.time, "2026-11-30T07:00:00Z");
        let own = got.headers.unwrap();
        let value = |name: &str| own.get(name).map(|value| value.as_str());
        assert_eq!(
            (value("Nats-Msg-Id"), value("Nats-Subject")),
            (Some("a.1"), Some("of the publisher"))
        );
        assert_eq!(own.len(), 2);
        assert!(direct_message(answer(None)).is_err());
    }

    #[test]
    fn header_block_is_parsed_line_by_line() {
        let headers = parsed(b"NATS/1.0\r\nNats-Msg-Id: a.1\r\nce-id:x: y\r\nno header\r\n\r\n");
        let value = |name: &str| headers.get(name).map(|value| value.as_str());
        assert_eq!(
            (value("Nats-Msg-Id"), value("ce-id")),
            (Some("a.1"), Some("x: y"))
        );
        assert_eq!(headers.len(), 2);
    }
}
