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
use crate::nats::read::catch_up::{Cluster, Reach, StreamInfo};
use crate::nats::read::consumer::{IDLE_AT_THE_END, Next, consumer, next};
use crate::nats::read::message_info::Place;
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
    fn of(message: Message, place: &Place) -> Self {
        let headers = message.headers.as_ref();
        let message_id = headers.and_then(|headers| headers.get(MESSAGE_ID));
        Self {
            sequence: place.sequence,
            stored_at: place.stored_at,
            message_id: message_id.map(ToString::to_string),
            is_binary: content_mode(&pairs(headers)) == Some(ContentMode::Binary),
            subject: message.subject.to_string(),
            payload: message.payload,
            headers: message.headers,
        }
    }

    /// Its header of this name; the first one, where it has several.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.as_ref()?.get(name)?;
        Some(value.as_str())
    }

    /// The event in it as one line of JSON, as [`event_json`](crate::event_json) has it.
    ///
    /// # Errors
    /// [`ExportError`], where it is in neither content mode, or its payload should be JSON and isn't.
    pub fn event_json(&self) -> Result<Vec<u8>, ExportError> {
        json_of_message(&pairs(self.headers.as_ref()), &self.payload)
    }
}

/// Names and values; the first value of a name that has several.
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
    /// By the consumer, so far.
    received: u64,
    idle: u32,
    first: u64,
    last: u64,
    created: String,
    stored: u64,
    waiting: u64,
    follows: bool,
    reach: Reach,
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
        let reach = info.reach(consumer.cluster.as_ref());
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
            ended: !query.follows && consumer.num_pending == 0 && reach.is_complete(),
            reach,
        })
    }
}

impl StreamReader {
    /// How many messages there were to read when reading began.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// How many came behind the last message that was given, as far as is known.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// The stream's first sequence number then: above 1, older messages were removed by its limits or
    /// by a purge.
    #[must_use]
    pub fn first_sequence(&self) -> u64 {
        self.first
    }

    /// The stream's last sequence number then; 0 where nothing was ever stored.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.last
    }

    /// When the stream was created, as the server writes it: another time is another stream of the
    /// same name, whose sequence numbers began anew.
    #[must_use]
    pub fn stream_created(&self) -> &str {
        &self.created
    }

    /// The next message; `None` after the last of those that were there when reading began, unless it
    /// [follows](StreamQuery::following). Messages that the stream removes meanwhile are not seen.
    ///
    /// Cancellation-safe: dropped and called again, it goes on where it was.
    ///
    /// # Errors
    /// [`PublishError`], where the connection is lost, messages are lost on their way, the stream says
    /// nothing for 5 seconds, the cluster's server that reads it stays behind its leader, or the user may
    /// not answer its flow control ([`PublishError::FlowControlDenied`]). Nothing more comes then: begin
    /// again, behind the last that came.
    pub async fn next(&mut self) -> Result<Option<StoredEvent>, PublishError> {
        if self.ended {
            return Ok(None);
        }
        let message = loop {
            match next(&self.shared, &self.session, &mut self.messages).await? {
                Next::Stored(message) => break message,
                Next::Idle { delivered, .. } if delivered > self.received => {
                    return Err(cant_read("messages were lost on their way"));
                }
                Next::Idle { .. } if self.follows => self.waiting = 0,
                Next::Idle { passed, .. } => {
                    self.reach.came_to(passed);
                    self.idle += 1;
                    if self.idle < IDLE_AT_THE_END {
                        continue;
                    }
                    self.reach.check()?;
                    // The rest has been removed meanwhile.
                    self.ended = true;
                    return Ok(None);
                }
            }
        };
        self.idle = 0;
        let place = Place::of(&message).ok_or_else(|| cant_read("a message names no place"))?;
        self.received += 1;
        self.waiting = place.pending;
        if place.delivered != self.received {
            return Err(cant_read("messages were lost on their way"));
        }
        self.reach.came_to(place.sequence);
        if !self.follows {
            let is_last = place.pending == 0 && self.reach.is_complete();
            self.ended = place.sequence >= self.last || is_last;
            if place.sequence > self.last {
                return Ok(None);
            }
        }
        Ok(Some(StoredEvent::of(message, &place)))
    }

    /// Deletes its consumer, in 2 seconds at the most. One that can't be deleted goes away by itself.
    pub async fn close(self) {
        let question = Question::ConsumerDelete {
            stream: &self.stream,
            consumer: &self.consumer,
        };
        let _: Result<Value, _> = ask(&self.shared, &self.session, question, &json!({})).await;
    }
}
