//! Reads a stream's messages in their order.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Admin;
use super::gets::{Gets, by_last_message};
use super::query::{StreamContent, StreamQuery};
use crate::message::binding::ContentMode;
use crate::message::export::{ExportError, content_mode, json_of_message};
use crate::nats::api::{ask, cant_read};
use crate::nats::failure::Failure;
use crate::nats::question::Question;
use crate::nats::read::catch_up::{CatchUp, StreamInfo};
use crate::nats::read::consumer::{IDLE_AT_THE_END, Next, create, next};
use crate::nats::read::get::Got;
use crate::nats::read::message_info::MessageInfo;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::nats::wire::message_id;
use crate::outcome::{PublishError, RequestError};

/// The interval at which a stream without a consumer is asked for new messages.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

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
    fn new(
        sequence: u64,
        stored_at: SystemTime,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Self {
        Self {
            sequence,
            stored_at,
            subject,
            message_id: message_id(headers.as_ref()).map(str::to_owned),
            is_binary: content_mode(&pairs(headers.as_ref())) == Some(ContentMode::Binary),
            payload,
            headers,
        }
    }

    fn got(got: Got, stored_at: SystemTime, reading: StreamContent) -> Self {
        let payload = match reading {
            StreamContent::Full => got.payload,
            StreamContent::HeadersOnly => Bytes::new(),
        };
        Self::new(got.sequence, stored_at, got.subject, got.headers, payload)
    }

    fn of(message: Message, info: &MessageInfo) -> Self {
        let subject = message.subject.to_string();
        let (headers, payload) = (message.headers, message.payload);
        Self::new(info.sequence, info.stored_at, subject, headers, payload)
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
/// # ) -> Result<(), jetsink::RequestError> {
/// let mut reader = publisher.admin().read_stream(stream, jetsink::StreamContent::Full).await?;
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
    stream: StreamName,
    source: Source,
    first: u64,
    last: u64,
    created: String,
    stored: u64,
    waiting: u64,
    follows: bool,
    ended: bool,
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader")
            .field("stream", &self.stream)
            .field("first", &self.first)
            .field("last", &self.last)
            .field("follows", &self.follows)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// The source of a reader's messages.
enum Source {
    Consumer(Box<Consumer>),
    /// For a stream that allows no consumer.
    Gets(Box<Gets>),
}

struct Consumer {
    messages: Subscriber,
    name: String,
    /// Messages so far.
    received: u64,
    idle: u32,
    catch_up: CatchUp,
}

impl Admin<'_> {
    /// Returns a reader of the messages that `query` selects, over an ephemeral consumer without
    /// acknowledgements. A stream that allows none, such as a work queue, is read by one request per message.
    /// [`close`](StreamReader::close) deletes the consumer; otherwise the server deletes it 10 seconds after the
    /// reader is dropped.
    ///
    /// Each request takes at most 2 seconds. The user needs the permission to publish to the JetStream API's
    /// `STREAM.INFO.<stream>`, and `CONSUMER.CREATE.<stream>` and `$JS.FC.>`, or `STREAM.MSG.GET.<stream>`, or
    /// `DIRECT.GET.<stream>` alone if the stream allows it; `CONSUMER.DELETE.<stream>.*` is optional. With direct gets
    /// alone, the stream's first sequence number and creation time are unknown.
    ///
    /// ```no_run
    /// use jetsink::{NatsPublisher, StreamContent};
    ///
    /// # async fn example(publisher: &NatsPublisher) -> Result<(), Box<dyn std::error::Error>> {
    /// let stream = "EVENTS".parse()?;
    /// let mut reader = publisher.admin().read_stream(&stream, StreamContent::HeadersOnly).await?;
    /// while let Some(event) = reader.next().await? {
    ///     println!("{} {} {:?}", event.sequence, event.subject, event.message_id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError::NotConnected`]; [`RequestError::Refused`] if the stream does not exist (10059);
    /// [`RequestError::Denied`]; [`RequestError::NoAnswer`] if the broker does not answer.
    pub async fn read_stream(
        self,
        stream: &StreamName,
        query: impl Into<StreamQuery>,
    ) -> Result<StreamReader, RequestError> {
        Ok(self.reader(stream, query.into()).await?)
    }

    async fn reader(
        self,
        stream: &StreamName,
        query: StreamQuery,
    ) -> Result<StreamReader, PublishError> {
        let shared = self.publisher.shared();
        let session = shared.session().ok_or(PublishError::NotConnected)?;
        let info = match ask(shared, &session, Question::StreamInfo(stream), &json!({})).await {
            Err(denied) if Failure::of(&denied).hides_state() => {
                by_last_message(shared, &session, stream, denied).await?
            }
            info => info?,
        };
        let consumer = match info.config.allows_readers() {
            true => match consume(shared, &session, stream, &query, &info).await {
                Err(error) if Failure::of(&error).allows_another_way() => None,
                consumer => Some(consumer?),
            },
            // A consumer would change the retention of the stream's messages, or would be refused.
            false => None,
        };
        let (first, last) = (info.state.first_seq, info.state.last_seq);
        let (source, stored, ended) = match consumer {
            Some((consumer, stored)) => {
                let ended = stored == 0 && consumer.catch_up.is_complete();
                (Source::Consumer(Box::new(consumer)), stored, ended)
            }
            None => {
                let from = query.first(last).max(first);
                let stored = (last + 1).saturating_sub(from).min(info.state.messages);
                let mut gets = Gets::new(query.clone(), from, info.config.allows_direct());
                // A user who may not ask for messages learns that now.
                gets.fetch(shared, &session, stream, last).await?;
                (Source::Gets(Box::new(gets)), stored, stored == 0)
            }
        };
        Ok(StreamReader {
            shared: Arc::clone(shared),
            session,
            stream: stream.clone(),
            source,
            first,
            last,
            created: info.created,
            stored,
            waiting: stored,
            follows: query.follows,
            ended: ended && !query.follows,
        })
    }
}

/// Creates a consumer; also returns the number of messages that it will send.
async fn consume(
    shared: &Shared,
    session: &Session,
    stream: &StreamName,
    query: &StreamQuery,
    info: &StreamInfo,
) -> Result<(Consumer, u64), PublishError> {
    let config = |inbox: &str| {
        let mut config = info.config.consumer(inbox, 0);
        query.amend(&mut config, info.state.last_seq);
        config
    };
    let (messages, created) = create(shared, session, None, stream, config).await?;
    let consumer = Consumer {
        messages,
        name: created.name,
        received: 0,
        idle: 0,
        catch_up: info.catch_up(created.cluster.as_ref()),
    };
    Ok((consumer, created.num_pending))
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
    /// reader [follows](StreamQuery::follow). Messages that the stream removes meanwhile are skipped.
    ///
    /// Cancellation-safe: after a dropped call, the next call returns the same message.
    ///
    /// # Errors
    /// [`RequestError`] if the connection is lost, messages are lost in transit, the stream is silent for 5
    /// seconds, the server that reads it lags behind the leader, or the user may not answer its flow control
    /// ([`RequestError::FlowControlDenied`]). The reader has ended then: make a new one that starts after the
    /// last message returned.
    pub async fn next(&mut self) -> Result<Option<StoredEvent>, RequestError> {
        if self.ended {
            return Ok(None);
        }
        Ok(match self.source {
            Source::Consumer(_) => self.next_consumed().await?,
            Source::Gets(_) => self.next_got().await?,
        })
    }

    async fn next_consumed(&mut self) -> Result<Option<StoredEvent>, PublishError> {
        let Source::Consumer(consumer) = &mut self.source else {
            return Ok(None);
        };
        let message = loop {
            match next(&self.shared, &self.session, &mut consumer.messages).await? {
                Next::Stored(message) => break message,
                Next::Idle { delivered, .. } if delivered > consumer.received => {
                    return Err(cant_read("messages were lost in transit"));
                }
                Next::Idle { .. } if self.follows => self.waiting = 0,
                Next::Idle { passed, .. } => {
                    consumer.catch_up.observed(passed);
                    consumer.idle += 1;
                    if consumer.idle < IDLE_AT_THE_END {
                        continue;
                    }
                    consumer.catch_up.check()?;
                    // The remaining messages have been removed meanwhile.
                    self.ended = true;
                    return Ok(None);
                }
            }
        };
        consumer.idle = 0;
        let info = MessageInfo::of(&message)
            .ok_or_else(|| cant_read("a message has no sequence number"))?;
        consumer.received += 1;
        self.waiting = info.pending;
        if info.delivered != consumer.received {
            return Err(cant_read("messages were lost in transit"));
        }
        consumer.catch_up.observed(info.sequence);
        if !self.follows {
            let is_last = info.pending == 0 && consumer.catch_up.is_complete();
            self.ended = info.sequence >= self.last || is_last;
            if info.sequence > self.last {
                return Ok(None);
            }
        }
        Ok(Some(StoredEvent::of(message, &info)))
    }

    async fn next_got(&mut self) -> Result<Option<StoredEvent>, PublishError> {
        let Source::Gets(gets) = &mut self.source else {
            return Ok(None);
        };
        loop {
            if let Some(got) = gets.take() {
                if !self.follows && got.sequence > self.last {
                    self.ended = true;
                    return Ok(None);
                }
                self.waiting = self.last.saturating_sub(got.sequence);
                let stored_at = got.time.parse::<Timestamp>().unwrap_or_default();
                let stored_at = SystemTime::from(stored_at);
                if gets.query.selects(&got.subject, stored_at) {
                    let reading = gets.query.reading;
                    return Ok(Some(StoredEvent::got(got, stored_at, reading)));
                }
                continue;
            }
            if !self.follows && gets.from > self.last {
                self.ended = true;
                return Ok(None);
            }
            let fetched = gets.fetch(&self.shared, &self.session, &self.stream, self.last);
            if fetched.await? {
                continue;
            }
            if !self.follows {
                self.ended = true;
                return Ok(None);
            }
            self.waiting = 0;
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Deletes the consumer, within 2 seconds. If that fails, the server deletes it 10 seconds later.
    pub async fn close(self) {
        let Source::Consumer(consumer) = &self.source else {
            return;
        };
        let question = Question::ConsumerDelete {
            stream: &self.stream,
            consumer: &consumer.name,
        };
        let _: Result<Value, _> = ask(&self.shared, &self.session, question, &json!({})).await;
    }
}
