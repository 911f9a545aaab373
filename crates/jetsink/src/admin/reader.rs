//! Reads a stream's messages in their order.

use std::sync::Arc;
use std::time::SystemTime;

use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::query::StreamQuery;
use crate::message::binding::ContentMode;
use crate::message::export::{ExportError, content_mode, json_of_message};
use crate::nats::api::{ask, cant_read};
use crate::nats::question::Question;
use crate::nats::read::catch_up::{CatchUp, Cluster, StreamInfo};
use crate::nats::read::consumer::{IDLE_AT_THE_END, Next, consumer, next};
use crate::nats::read::message_info::MessageInfo;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::nats::wire::MESSAGE_ID;
use crate::outcome::PublishError;

/// One message of a stream, by [`StreamReader`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredEvent {
    /// Its sequence number in the stream.
    pub sequence: u64,
    /// When the stream stored it, by the server's clock.
    pub stored_at: SystemTime,
    /// Its subject.
    pub subject: String,
    /// Its `Nats-Msg-Id`, if it has one.
    pub message_id: Option<String>,
    /// Whether it is a CloudEvent in binary mode: its attributes are headers.
    pub is_binary: bool,
    /// Its payload.
    pub payload: Bytes,
    headers: Option<HeaderMap>,
}

impl StoredEvent {
    fn of(message: Message, info: &MessageInfo) -> Self {
        let headers = message.headers.as_ref();
        let message_id = headers.and_then(|headers| headers.get(MESSAGE_ID));
        Self {
            sequence: info.sequence,
            stored_at: info.stored_at,
            message_id: message_id.map(ToString::to_string),
            is_binary: content_mode(&pairs(headers)) == Some(ContentMode::Binary),
            subject: message.subject.to_string(),
            payload: message.payload,
            headers: message.headers,
        }
    }

    /// Returns its header of this name; the first one if it has several.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.as_ref()?.get(name)?;
        Some(value.as_str())
    }

    /// Returns the event as one line of JSON, as [`event_json`](crate::event_json) does.
    ///
    /// # Errors
    /// [`ExportError`] if the message is in neither content mode, or its payload is invalid JSON.
    pub fn event_json(&self) -> Result<Vec<u8>, ExportError> {
        json_of_message(&pairs(self.headers.as_ref()), &self.payload)
    }
}

/// Returns names and values; the first value if a name has several.
fn pairs(headers: Option<&HeaderMap>) -> Vec<(&str, &str)> {
    let headers = headers.into_iter().flat_map(HeaderMap::iter);
    headers
        .filter_map(|(name, values)| Some((name.as_ref(), values.first()?.as_str())))
        .collect()
}

/// Reads a stream, first to last, one message at a time.
///
/// ```no_run
/// # async fn count(
/// #     publisher: &jetsink::NatsPublisher,
/// #     stream: &jetsink::StreamName,
/// # ) -> Result<(), jetsink::PublishError> {
/// let mut reader = publisher.admin().read_stream(stream, jetsink::StreamReading::Whole).await?;
/// while let Some(event) = reader.next().await? {
///     println!("{} {}", event.sequence, event.subject);
/// }
/// reader.close().await;
/// # Ok(())
/// # }
/// ```
pub struct StreamReader {
    shared: Arc<Shared>,
    session: Arc<Session>,
    messages: Subscriber,
    stream: StreamName,
    consumer: String,
    /// Messages from the consumer so far.
    received: u64,
    idle: u32,
    first: u64,
    last: u64,
    created: String,
    stored: u64,
    waiting: u64,
    follows: bool,
    catch_up: CatchUp,
    ended: bool,
}

impl Admin<'_> {
    /// Returns a reader of the messages that `query` selects, over an ephemeral consumer without
    /// acknowledgements. [`close`](StreamReader::close) deletes the consumer; otherwise the server deletes it
    /// 10 seconds after the reader is dropped.
    ///
    /// Each request takes at most 2 seconds. The user needs the permission to publish to the JetStream API's
    /// `STREAM.INFO.<stream>` and `CONSUMER.CREATE.<stream>` and to `$JS.FC.>`;
    /// `CONSUMER.DELETE.<stream>.*` is optional.
    ///
    /// ```no_run
    /// use jetsink::{NatsPublisher, StreamReading};
    ///
    /// # async fn example(publisher: &NatsPublisher) -> Result<(), Box<dyn std::error::Error>> {
    /// let stream = "EVENTS".parse()?;
    /// let mut reader = publisher.admin().read_stream(&stream, StreamReading::HeadersOnly).await?;
    /// while let Some(event) = reader.next().await? {
    ///     println!("{} {} {:?}", event.sequence, event.subject, event.message_id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PublishError::NotConnected`]; [`PublishError::Refused`] if the stream does not exist (10059) or is a
    /// work queue with a consumer (10098 to 10101); [`PublishError::PermissionDenied`];
    /// [`PublishError::AckTimeout`] if the broker does not answer.
    pub async fn read_stream(
        self,
        stream: &StreamName,
        query: impl Into<StreamQuery>,
    ) -> Result<StreamReader, PublishError> {
        #[derive(Deserialize)]
        struct Created {
            name: String,
            num_pending: u64,
            cluster: Option<Cluster>,
        }
        let query = query.into();
        let shared = self.publisher.shared();
        let session = shared.session().ok_or(PublishError::NotConnected)?;
        let info: StreamInfo =
            ask(shared, &session, Question::StreamInfo(stream), &json!({})).await?;
        let inbox = session.client.new_inbox();
        let messages = session
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| cant_read(&format!("subscribing: {error}")))?;
        let mut config = consumer(&inbox, 0);
        query.amend(&mut config, info.state.last_seq);
        let details = json!({ "stream_name": stream.as_str(), "config": config });
        let consumer: Created =
            ask(shared, &session, Question::ConsumerCreate(stream), &details).await?;
        let catch_up = info.catch_up(consumer.cluster.as_ref());
        Ok(StreamReader {
            shared: Arc::clone(shared),
            session,
            messages,
            stream: stream.clone(),
            consumer: consumer.name,
            received: 0,
            idle: 0,
            first: info.state.first_seq,
            last: info.state.last_seq,
            created: info.created,
            stored: consumer.num_pending,
            waiting: consumer.num_pending,
            follows: query.follows,
            ended: !query.follows && consumer.num_pending == 0 && catch_up.is_complete(),
            catch_up,
        })
    }
}

impl StreamReader {
    /// Returns the number of messages to read when reading began.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Returns the number of messages after the last one that [`next`](Self::next) returned, as last reported.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Returns the stream's first sequence number when reading began. If it is above 1, older messages were
    /// removed by its limits or by a purge.
    #[must_use]
    pub fn first_sequence(&self) -> u64 {
        self.first
    }

    /// Returns the stream's last sequence number when reading began; 0 if it never stored a message.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.last
    }

    /// Returns the time when the stream was created, as the server writes it. Another time means another
    /// stream of the same name, whose sequence numbers began at 1 again.
    #[must_use]
    pub fn stream_created(&self) -> &str {
        &self.created
    }

    /// Returns the next message; `None` after the last message that was stored when reading began, unless the
    /// reader [follows](StreamQuery::following). Messages that the stream removes meanwhile are skipped.
    ///
    /// Cancellation-safe: after a dropped call, the next call returns the same message.
    ///
    /// # Errors
    /// [`PublishError`] if the connection is lost, messages are lost in transit, the stream is silent for 5
    /// seconds, the server that reads it lags behind the leader, or the user may not answer its flow control
    /// ([`PublishError::FlowControlDenied`]). The reader has ended then: make a new one that starts after the
    /// last message returned.
    pub async fn next(&mut self) -> Result<Option<StoredEvent>, PublishError> {
        if self.ended {
            return Ok(None);
        }
        let message = loop {
            match next(&self.shared, &self.session, &mut self.messages).await? {
                Next::Stored(message) => break message,
                Next::Idle { delivered, .. } if delivered > self.received => {
                    return Err(cant_read("messages were lost in transit"));
                }
                Next::Idle { .. } if self.follows => self.waiting = 0,
                Next::Idle { passed, .. } => {
                    self.catch_up.observed(passed);
                    self.idle += 1;
                    if self.idle < IDLE_AT_THE_END {
                        continue;
                    }
                    self.catch_up.check()?;
                    // The remaining messages have been removed meanwhile.
                    self.ended = true;
                    return Ok(None);
                }
            }
        };
        self.idle = 0;
        let info = MessageInfo::of(&message)
            .ok_or_else(|| cant_read("a message has no sequence number"))?;
        self.received += 1;
        self.waiting = info.pending;
        if info.delivered != self.received {
            return Err(cant_read("messages were lost in transit"));
        }
        self.catch_up.observed(info.sequence);
        if !self.follows {
            let is_last = info.pending == 0 && self.catch_up.is_complete();
            self.ended = info.sequence >= self.last || is_last;
            if info.sequence > self.last {
                return Ok(None);
            }
        }
        Ok(Some(StoredEvent::of(message, &info)))
    }

    /// Deletes the consumer, within 2 seconds. If that fails, the server deletes it 10 seconds later.
    pub async fn close(self) {
        let question = Question::ConsumerDelete {
            stream: &self.stream,
            consumer: &self.consumer,
        };
        let _: Result<Value, _> = ask(&self.shared, &self.session, question, &json!({})).await;
    }
}
