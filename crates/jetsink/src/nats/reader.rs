//! A stream's messages in their order, for those who check what is stored.

use std::sync::Arc;

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::api::ask;
use super::publisher::NatsPublisher;
use super::session::Session;
use super::stored::{IDLE_AT_THE_END, Next, cant_read, consumer, next};
use super::wire::MESSAGE_ID;
use crate::error::PublishError;

/// The header that every CloudEvent in binary mode has.
const SPECVERSION: &str = "ce-specversion";

/// How much of each message a [`StreamReader`] gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamReading {
    /// All of it.
    Whole,
    /// All but the payload, which is empty then.
    HeadersOnly,
}

/// One message of a stream, as [`StreamReader`] gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredEvent {
    /// Its sequence number in the stream.
    pub sequence: u64,
    /// Its subject.
    pub subject: String,
    /// Its `Nats-Msg-Id`, if it has one.
    pub message_id: Option<String>,
    /// Whether it is a CloudEvent in binary mode: its attributes are headers.
    pub is_binary: bool,
    /// Its payload.
    pub payload: Bytes,
}

/// Reads what a stream holds when it is made, first to last; holds one message at a time.
///
/// ```no_run
/// # async fn count(publisher: &jetsink::NatsPublisher) -> Result<(), jetsink::PublishError> {
/// let mut reader = publisher.read_stream("CELLOS_EVENTS", jetsink::StreamReading::Whole).await?;
/// while let Some(event) = reader.next().await? {
///     println!("{} {}", event.sequence, event.subject);
/// }
/// # Ok(())
/// # }
/// ```
pub struct StreamReader {
    session: Arc<Session>,
    messages: Subscriber,
    /// By the consumer, so far.
    received: u64,
    idle: u32,
    first: u64,
    last: u64,
    stored: u64,
    ended: bool,
}

impl NatsPublisher {
    /// A reader of all that `stream` holds now, by an ephemeral consumer that acknowledges nothing and
    /// that the server takes away once nobody listens.
    ///
    /// Questions take 2 seconds at the most.
    ///
    /// ```no_run
    /// use jetsink::{NatsPublisher, StreamReading};
    ///
    /// # async fn example(publisher: &NatsPublisher) -> Result<(), jetsink::PublishError> {
    /// let mut reader = publisher.read_stream("EVENTS", StreamReading::HeadersOnly).await?;
    /// while let Some(event) = reader.next().await? {
    ///     println!("{} {} {:?}", event.sequence, event.subject, event.message_id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PublishError::NotConnected`]; [`PublishError::Refused`], where there is no such stream (10059)
    /// or it takes no second reader (10098 to 10101: a work queue); those of a broker that does not
    /// answer.
    pub async fn read_stream(
        &self,
        stream: &str,
        reading: StreamReading,
    ) -> Result<StreamReader, PublishError> {
        #[derive(Deserialize)]
        struct Info {
            state: State,
        }
        #[derive(Deserialize)]
        struct State {
            messages: u64,
            first_seq: u64,
            last_seq: u64,
        }
        let shared = self.shared();
        let session = shared.session().ok_or(PublishError::NotConnected)?;
        let question = format!("STREAM.INFO.{stream}");
        let Info { state } = ask(shared, &session, &question, &json!({})).await?;
        let inbox = session.client.new_inbox();
        let messages = session
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| cant_read(&format!("subscribing: {error}")))?;
        let mut config = consumer(&inbox, 0);
        config["headers_only"] = (reading == StreamReading::HeadersOnly).into();
        let details = json!({ "stream_name": stream, "config": config });
        let question = format!("CONSUMER.CREATE.{stream}");
        let _: serde_json::Value = ask(shared, &session, &question, &details).await?;
        Ok(StreamReader {
            session,
            messages,
            received: 0,
            idle: 0,
            first: state.first_seq,
            last: state.last_seq,
            stored: state.messages,
            ended: state.messages == 0,
        })
    }
}

impl StreamReader {
    /// How many messages the stream held when reading began.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// The stream's first sequence number then: above 1, older messages were removed by its limits or
    /// by a purge.
    #[must_use]
    pub fn first_sequence(&self) -> u64 {
        self.first
    }

    /// The next message; `None` after the last of those that were there when reading began. Messages
    /// that the stream removes meanwhile are not seen.
    ///
    /// Cancellation-safe: dropped and called again, it goes on where it was.
    ///
    /// # Errors
    /// [`PublishError`], where the connection is lost, messages are lost on their way, or the stream
    /// says nothing for 5 seconds. Nothing more comes then: begin again.
    pub async fn next(&mut self) -> Result<Option<StoredEvent>, PublishError> {
        if self.ended {
            return Ok(None);
        }
        let message = loop {
            match next(&self.session, &mut self.messages).await? {
                Next::Stored(message) => break message,
                Next::Idle { delivered } if delivered > self.received => {
                    return Err(cant_read("messages were lost on their way"));
                }
                Next::Idle { .. } => {
                    self.idle += 1;
                    if self.idle < IDLE_AT_THE_END {
                        continue;
                    }
                    // The rest has been removed meanwhile.
                    self.ended = true;
                    return Ok(None);
                }
            }
        };
        self.idle = 0;
        let place = Place::of(&message).ok_or_else(|| cant_read("a message names no place"))?;
        self.received += 1;
        if place.delivered != self.received {
            return Err(cant_read("messages were lost on their way"));
        }
        self.ended = place.sequence >= self.last || place.pending == 0;
        if place.sequence > self.last {
            return Ok(None);
        }
        let headers = message.headers.as_ref();
        let message_id = headers.and_then(|headers| headers.get(MESSAGE_ID));
        Ok(Some(StoredEvent {
            sequence: place.sequence,
            message_id: message_id.map(ToString::to_string),
            is_binary: headers.is_some_and(|headers| headers.get(SPECVERSION).is_some()),
            subject: message.subject.to_string(),
            payload: message.payload,
        }))
    }
}

/// What the reply subject of a consumer's message tells.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    sequence: u64,
    delivered: u64,
    pending: u64,
}

impl Place {
    fn of(message: &Message) -> Option<Self> {
        Self::parse(message.reply.as_deref()?)
    }

    /// `$JS.ACK.STREAM.CONSUMER.TRIES.SEQUENCE.DELIVERED.TIME.PENDING` (ADR-15), or with the domain and
    /// the account's hash before the stream, and maybe more behind.
    fn parse(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let tokens = match tokens.len() {
            7 => &tokens[..],
            9.. => &tokens[2..],
            _ => return None,
        };
        let number = |index: usize| tokens.get(index)?.parse().ok();
        Some(Self {
            sequence: number(3)?,
            delivered: number(4)?,
            pending: number(6)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_both_forms_of_the_reply() {
        let place = Place {
            sequence: 17,
            delivered: 4,
            pending: 9,
        };
        for reply in [
            "$JS.ACK.EVENTS.c.1.17.4.1700000000.9",
            "$JS.ACK.hub.ACCHASH.EVENTS.c.1.17.4.1700000000.9.token",
        ] {
            assert_eq!(Place::parse(reply).as_ref(), Some(&place), "{reply}");
        }
        for reply in [
            "",
            "_INBOX.1",
            "$JS.ACK.EVENTS.c.1.17.4.1",
            "$JS.ACK.E.c.1.x.4.1.9",
        ] {
            assert_eq!(Place::parse(reply), None, "{reply}");
        }
    }
}
