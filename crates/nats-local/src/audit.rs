//! What a stream holds, against what was said to be stored.

use std::collections::HashMap;
use std::fmt;
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

/// Reads a whole stream, first to last. Leaves no consumer behind.
///
/// # Errors
/// [`NatsLocalError::Broker`], also where a message does not come within 10 s.
pub async fn stored(
    jetstream: &jetstream::Context,
    stream: &str,
) -> Result<Vec<StoredMessage>, NatsLocalError> {
    stored_after(jetstream, stream, 0).await
}

/// As [`stored`], from behind a sequence number.
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
        // The client makes a consumer anew that it has lost, and then from the stream's beginning if
        // nothing had come by then.
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

/// The difference between what was acknowledged and what is stored, as sets.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Acknowledged, and not there.
    pub lost: Vec<Bytes>,
    /// There more often than it was sent.
    pub duplicated: Vec<Bytes>,
    /// There, and never sent.
    pub unexpected: Vec<Bytes>,
    /// There after one that was acknowledged later.
    pub out_of_order: Vec<Bytes>,
}

impl Audit {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lost,
            duplicated,
            unexpected,
            out_of_order,
        } = self;
        write!(
            f,
            "{} lost, {} duplicated, {} unexpected, {} out of order",
            lost.len(),
            duplicated.len(),
            unexpected.len(),
            out_of_order.len()
        )
    }
}

/// Compares payloads: `acknowledged` in the order in which they were, `unknown` those that may be
/// stored or not. Payloads that are equal are counted: two that were acknowledged must be there
/// twice.
#[must_use]
pub fn audit(acknowledged: &[Bytes], unknown: &[Bytes], stored: &[StoredMessage]) -> Audit {
    let mut audit = Audit::default();
    let mut sent: HashMap<&Bytes, usize> = HashMap::new();
    for payload in acknowledged.iter().chain(unknown) {
        *sent.entry(payload).or_default() += 1;
    }
    let mut there: HashMap<&Bytes, usize> = HashMap::new();
    for message in stored {
        let count = there.entry(&message.payload).or_default();
        *count += 1;
        match sent.get(&message.payload) {
            None => audit.unexpected.push(message.payload.clone()),
            Some(sent) if *count > *sent => audit.duplicated.push(message.payload.clone()),
            Some(_) => {}
        }
    }
    // The place of each acknowledged payload; of equal ones, in the order of their places.
    let mut places: HashMap<&Bytes, std::collections::VecDeque<u64>> = HashMap::new();
    for message in stored {
        places
            .entry(&message.payload)
            .or_default()
            .push_back(message.sequence);
    }
    let mut highest = 0;
    for payload in acknowledged {
        match places
            .get_mut(payload)
            .and_then(std::collections::VecDeque::pop_front)
        {
            None => audit.lost.push(payload.clone()),
            Some(place) if place < highest => audit.out_of_order.push(payload.clone()),
            Some(place) => highest = place,
        }
    }
    audit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(payloads: &[&'static str]) -> Vec<StoredMessage> {
        payloads
            .iter()
            .zip(1..)
            .map(|(payload, sequence)| StoredMessage {
                sequence,
                subject: "s".to_owned(),
                message_id: None,
                headers: HeaderMap::new(),
                payload: Bytes::from_static(payload.as_bytes()),
            })
            .collect()
    }

    fn payloads(texts: &[&'static str]) -> Vec<Bytes> {
        texts
            .iter()
            .map(|text| Bytes::from_static(text.as_bytes()))
            .collect()
    }

    #[test]
    fn a_planted_loss_duplicate_stranger_and_swap_are_each_found() {
        let sent = payloads(&["a", "b", "b", "c"]);
        let check = |there: &[&'static str]| audit(&sent, &payloads(&["u"]), &stream(there));
        assert!(check(&["a", "b", "b", "c"]).is_clean());
        assert!(
            check(&["a", "b", "u", "b", "c"]).is_clean(),
            "unknown may be there"
        );
        assert_eq!(
            check(&["a", "b", "c"]).lost,
            payloads(&["b"]),
            "equal ones are counted"
        );
        assert_eq!(
            check(&["a", "a", "b", "b", "c"]).duplicated,
            payloads(&["a"])
        );
        assert_eq!(
            check(&["a", "b", "b", "c", "x"]).unexpected,
            payloads(&["x"])
        );
        assert_eq!(
            check(&["b", "b", "a", "c"]).out_of_order,
            payloads(&["b", "b"])
        );
    }
}
