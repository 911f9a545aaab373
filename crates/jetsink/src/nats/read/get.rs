//! Reads a stream message by message, without a consumer: for streams and users that allow none.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::{HeaderMap, HeaderName, Message, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::nats::api::{ANSWER_TIME, ask_in, cant_read, request_in};
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::outcome::{PublishError, codes};

/// The number of concurrent requests. An answer has a message with its payload, which may be large.
const CONCURRENT_REQUESTS: u64 = 16;

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

/// Reads messages by requests: from the stream's leader, or by direct get (`allow_direct`) if the user may ask
/// for that only.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Getter {
    is_direct: bool,
}

/// The stream of a [`Getter`].
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) session: &'a Session,
    pub(crate) domain: Option<&'a str>,
    pub(crate) stream: &'a StreamName,
}

impl Getter {
    /// Returns the first messages with the sequence number `from` or a higher one, in their order. Empty at the
    /// stream's end; `last` is its last sequence number, as far as it is known. If that is not reached, messages at
    /// the end were removed, or the server that answers direct gets is far behind its leader.
    pub(crate) async fn messages_from(
        &mut self,
        place: Place<'_>,
        from: u64,
        last: u64,
    ) -> Result<Vec<Got>, PublishError> {
        if !self.is_direct {
            match messages(from, |sequence| place.message(sequence)).await {
                Err(denied) if is_denied(&denied) => {
                    let direct = place.all_direct(from, last).await;
                    // No stream answers direct gets: the first refusal tells more.
                    let direct = direct.map_err(|error| match is_no_direct_get(&error) {
                        true => denied,
                        false => error,
                    })?;
                    self.is_direct = true;
                    return Ok(direct);
                }
                answer => return Ok(in_order(answer?)),
            }
        }
        place.all_direct(from, last).await
    }

    /// Whether it reads from any replica.
    pub(crate) fn is_direct(self) -> bool {
        self.is_direct
    }
}

/// Returns the answers to the requests from the sequence number `from` on.
async fn messages<F: Future<Output = Result<Option<Got>, PublishError>>>(
    from: u64,
    message: impl Fn(u64) -> F,
) -> Result<Vec<Option<Got>>, PublishError> {
    let requests = (from..from.saturating_add(CONCURRENT_REQUESTS)).map(message);
    try_join_all(requests).await
}

fn in_order(answers: Vec<Option<Got>>) -> Vec<Got> {
    let found = answers.into_iter().flatten();
    let found: BTreeMap<u64, Got> = found.map(|got| (got.sequence, got)).collect();
    found.into_values().collect()
}

/// Whether one replica lacks messages that another one has. `answers` are those from the sequence number `from` on.
fn lags(from: u64, answers: &[Option<Got>], last: u64) -> bool {
    let newest = answers.iter().flatten().map(|got| got.sequence).max();
    let mut asked = (from..=last).zip(answers);
    newest.is_some_and(|newest| asked.any(|(sequence, got)| got.is_none() && sequence <= newest))
}

/// Whether the user or the account may not send such a request.
fn is_denied(error: &PublishError) -> bool {
    super::is_never_answered(error) || *error == PublishError::JetStreamUnavailable
}

/// Whether nothing serves direct gets. nats-server before 2.11 leaves them unanswered then.
pub(crate) fn is_no_direct_get(error: &PublishError) -> bool {
    let is_silent = matches!(
        error,
        PublishError::AckTimeout {
            broker_answers: true
        }
    );
    is_silent || is_denied(error)
}

impl Place<'_> {
    /// Returns the first message with this sequence number or a higher one, from the stream's leader.
    async fn message(self, sequence: u64) -> Result<Option<Got>, PublishError> {
        let details = json!({ "seq": sequence, "next_by_subj": ">" });
        let question = Question::MessageGet(self.stream);
        let (shared, session) = (self.shared, self.session);
        match ask_in::<Answer>(shared, session, self.domain, question, &details).await {
            Ok(answer) => decoded(answer.message).map(Some),
            Err(PublishError::Refused(refusal)) if refusal.code == codes::NO_MESSAGE_FOUND => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns messages as [`Getter::messages_from`], from any replica.
    async fn all_direct(self, from: u64, last: u64) -> Result<Vec<Got>, PublishError> {
        let answers = messages(from, |sequence| self.direct(sequence, last)).await?;
        if lags(from, &answers, last) {
            return Err(cant_read("the server that reads it is behind its leader"));
        }
        Ok(in_order(answers))
    }

    /// As [`message`](Self::message), from any replica. One that is behind its leader has time to catch up.
    async fn direct(self, sequence: u64, last: u64) -> Result<Option<Got>, PublishError> {
        let details = json!({ "seq": sequence, "next_by_subj": ">" });
        let give_up = Instant::now() + ANSWER_TIME;
        loop {
            match self.direct_get(&details).await? {
                None if sequence <= last && Instant::now() < give_up => sleep(PAUSE).await,
                got => return Ok(got),
            }
        }
    }

    /// Returns the last message, from any replica.
    pub(crate) async fn last(self) -> Result<Option<Got>, PublishError> {
        self.direct_get(&json!({ "last_by_subj": ">" })).await
    }

    async fn direct_get(self, details: &Value) -> Result<Option<Got>, PublishError> {
        let question = Question::DirectGet(self.stream);
        let answer = request_in(self.shared, self.session, self.domain, question, details).await?;
        match answer.status {
            None => direct_message(answer).map(Some),
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(status) => Err(cant_read(&format!("a direct get is refused: {status}"))),
        }
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
    fn replica_lags_if_it_lacks_a_message_before_one_of_another_replica() {
        let got = |sequence| {
            Some(Got {
                sequence,
                subject: "events.a".to_owned(),
                headers: None,
                payload: Bytes::new(),
                time: String::new(),
            })
        };
        let (tail_removed, lagging) = ([got(5), None, None], [got(5), None, got(7)]);
        assert!(!lags(5, &tail_removed, 9));
        assert!(lags(5, &lagging, 9));
        // A message that was stored after the last one was asked for.
        assert!(!lags(5, &lagging, 5));
        assert!(!lags(5, &[None, None], 9));
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
