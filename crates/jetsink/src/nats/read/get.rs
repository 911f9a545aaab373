//! Reads a stream message by message, without a consumer: for streams that allow none.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::json;

use crate::nats::api::{ask_in, cant_read};
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::outcome::{PublishError, codes};

/// The number of concurrent requests. An answer has a message with its payload, which may be large.
const CONCURRENT_REQUESTS: u64 = 16;

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

/// Returns the first messages with the sequence number `from` or a higher one, in their order. Empty at the
/// stream's end.
pub(crate) async fn messages_from(
    shared: &Shared,
    session: &Session,
    domain: Option<&str>,
    stream: &StreamName,
    from: u64,
) -> Result<Vec<Got>, PublishError> {
    let requests = (from..from.saturating_add(CONCURRENT_REQUESTS))
        .map(|sequence| message_from(shared, session, domain, stream, sequence));
    let found = try_join_all(requests).await?.into_iter().flatten();
    let found: BTreeMap<u64, Got> = found.map(|got| (got.sequence, got)).collect();
    Ok(found.into_values().collect())
}

/// Returns the first message with this sequence number or a higher one.
async fn message_from(
    shared: &Shared,
    session: &Session,
    domain: Option<&str>,
    stream: &StreamName,
    sequence: u64,
) -> Result<Option<Got>, PublishError> {
    let details = json!({ "seq": sequence, "next_by_subj": ">" });
    let question = Question::MessageGet(stream);
    match ask_in::<Answer>(shared, session, domain, question, &details).await {
        Ok(answer) => decoded(answer.message).map(Some),
        Err(PublishError::Refused(refusal)) if refusal.code == codes::NO_MESSAGE_FOUND => Ok(None),
        Err(error) => Err(error),
    }
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
