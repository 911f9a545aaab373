//! The messages of a stream.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer};
use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::NatsLocalError;

/// One message of a stream.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Its sequence number.
    pub sequence: u64,
    /// Its subject.
    pub subject: String,
    /// Its `Nats-Msg-Id`.
    pub message_id: Option<String>,
    /// All its headers.
    pub headers: HeaderMap,
    /// Its payload.
    pub payload: Bytes,
}

/// Reads all messages of a stream, in its order. Leaves no consumer behind.
///
/// Messages that are stored while it reads are left out.
///
/// # Errors
/// [`NatsLocalError::Broker`] if the server refuses, or if the next message takes longer than 10 s.
pub async fn stored(
    jetstream: &jetstream::Context,
    stream: &str,
) -> Result<Vec<StoredMessage>, NatsLocalError> {
    stored_after(jetstream, stream, 0).await
}

/// Reads the messages with a higher sequence number than `after`, as [`stored`].
///
/// # Errors
/// As [`stored`].
pub async fn stored_after(
    jetstream: &jetstream::Context,
    stream: &str,
    after: u64,
) -> Result<Vec<StoredMessage>, NatsLocalError> {
    let reading = || format!("reading stream {stream}");
    let mut handle = jetstream
        .get_stream(stream)
        .await
        .map_err(NatsLocalError::broker(reading()))?;
    let state = handle
        .info()
        .await
        .map_err(NatsLocalError::broker(reading()))?
        .state
        .clone();
    let mut messages = Vec::new();
    if state.messages == 0 || state.last_sequence <= after {
        return Ok(messages);
    }
    let ordered = consumer::pull::OrderedConfig {
        deliver_policy: consumer::DeliverPolicy::ByStartSequence {
            start_sequence: after + 1,
        },
        ..consumer::pull::OrderedConfig::default()
    };
    let consumer = handle
        .create_consumer(ordered)
        .await
        .map_err(NatsLocalError::broker(reading()))?;
    let mut incoming = consumer
        .messages()
        .await
        .map_err(NatsLocalError::broker(reading()))?;
    let mut seen = after;
    loop {
        let next = tokio::time::timeout(Duration::from_secs(10), incoming.next()).await;
        let message = match next {
            Ok(Some(message)) => message.map_err(NatsLocalError::broker(reading()))?,
            Ok(None) | Err(_) => {
                return Err(NatsLocalError::Broker {
                    what: reading(),
                    reason: format!("{} of {} messages came", messages.len(), state.messages),
                });
            }
        };
        let sequence = message
            .info()
            .map_err(NatsLocalError::broker(reading()))?
            .stream_sequence;
        // The client replaces a lost consumer, and starts again at the stream's beginning if the lost one
        // had delivered nothing.
        if sequence <= seen {
            continue;
        }
        seen = sequence;
        let headers = message.headers.clone().unwrap_or_default();
        messages.push(StoredMessage {
            sequence,
            subject: message.subject.to_string(),
            message_id: headers.get("Nats-Msg-Id").map(ToString::to_string),
            headers,
            payload: message.payload.clone(),
        });
        if sequence >= state.last_sequence {
            return Ok(messages);
        }
    }
}
