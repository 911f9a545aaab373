//! Which message ids have streams stored? Read by an ephemeral consumer that sends headers only.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::{Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use tracing::warn;

use super::api::ask;
use super::publisher::Shared;
use super::session::Session;
use super::wire::MESSAGE_ID;
use crate::error::{Known, PublishError, Scope};
use crate::publisher::StoredIds;
use crate::subject::Subject;

/// The longest silence between two messages of a consumer, or its heartbeat.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// So many heartbeats in a row that tell of nothing to send, a second apart: there is no more.
pub(super) const IDLE_AT_THE_END: u32 = 2;

/// So many heartbeats in a row, a second apart, that ask for a word which was given each time: it does
/// not get through, which the server tells nobody but its log and an event without a place.
const STALLED_FOR_GOOD: u32 = 5;

/// One after another, a spool of many subjects would spend its replay on the way to the broker and
/// back; all at once, it would fill the queue of the API.
const QUESTIONS_AT_ONCE: usize = 64;

/// With more, the stream is read whole: a consumer's filters have to fit its request.
const MOST_FILTERS: usize = 64;

/// Visits the ids of what is stored under `subjects`, in whatever streams capture them.
pub(super) async fn stored_ids(
    shared: &Shared,
    session: &Session,
    subjects: &[Subject],
    after: &HashMap<String, u64>,
    visit: &mut (dyn FnMut(&str) + Send),
) -> Result<StoredIds, PublishError> {
    let mut by_stream: HashMap<String, Vec<&Subject>> = HashMap::new();
    for subjects in subjects.chunks(QUESTIONS_AT_ONCE) {
        let questions = subjects.iter().map(|s| streams_of(shared, session, s));
        let answers = try_join_all(questions).await?;
        for (subject, streams) in subjects.iter().zip(answers) {
            for stream in streams {
                by_stream.entry(stream).or_default().push(subject);
            }
        }
    }
    let mut unread = Vec::new();
    for (stream, subjects) in by_stream {
        let above = after.get(&stream).copied().unwrap_or(0);
        match read(shared, session, &stream, &subjects, above, visit).await {
            Ok(()) => {}
            Err(error) if is_for_good(&error) => warn!(
                %stream, %error,
                "a stream can't be looked up: events past its duplicate window may be stored twice"
            ),
            Err(error) if is_the_streams(&error) => {
                warn!(%stream, %error, "a stream can't be read at the moment");
                unread.extend(subjects.into_iter().cloned());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(if unread.is_empty() {
        StoredIds::Visited
    } else {
        StoredIds::VisitedExcept(unread)
    })
}

/// Whether it says nothing of other streams.
fn is_the_streams(error: &PublishError) -> bool {
    !matches!(
        error,
        PublishError::NotConnected
            | PublishError::ConnectionLost
            | PublishError::ClientBusy
            | PublishError::AckTimeout {
                broker_answers: false
            }
            | PublishError::PermissionDenied
            | PublishError::InboxDenied { .. }
    )
}

/// Whether it will be no better in a minute: waiting for ever would be worse than a duplicate. A
/// work-queue stream takes no second reader (10098 to 10101), another one has all that it may have
/// (10026).
fn is_for_good(error: &PublishError) -> bool {
    matches!(error, PublishError::Refused(refusal)
        if matches!(refusal.code, 10_026 | 10_098..=10_101))
}

async fn streams_of(
    shared: &Shared,
    session: &Session,
    subject: &Subject,
) -> Result<Vec<String>, PublishError> {
    #[derive(Deserialize)]
    struct Names {
        #[serde(default)]
        streams: Option<Vec<String>>,
    }
    let names: Names = ask(
        shared,
        session,
        "STREAM.NAMES",
        &json!({ "subject": subject.as_str() }),
    )
    .await?;
    Ok(names.streams.unwrap_or_default())
}

async fn read(
    shared: &Shared,
    session: &Session,
    stream: &str,
    subjects: &[&Subject],
    above: u64,
    visit: &mut (dyn FnMut(&str) + Send),
) -> Result<(), PublishError> {
    #[derive(Deserialize)]
    struct Created {
        num_pending: u64,
    }
    let inbox = session.client.new_inbox();
    let mut messages = session
        .client
        .subscribe(inbox.clone())
        .await
        .map_err(|error| cant_read(&format!("subscribing: {error}")))?;
    let mut config = consumer(&inbox, above);
    config["headers_only"] = true.into();
    if subjects.len() <= MOST_FILTERS {
        config["filter_subjects"] = subjects.iter().map(|s| s.as_str()).collect();
    }
    let created: Created = ask(
        shared,
        session,
        &format!("CONSUMER.CREATE.{stream}"),
        &json!({ "stream_name": stream, "config": config }),
    )
    .await?;
    let (mut received, mut idle) = (0, 0);
    while received < created.num_pending && idle < IDLE_AT_THE_END {
        match next(session, &mut messages).await? {
            Next::Stored(message) => {
                if let Some(id) = message.headers.as_ref().and_then(|h| h.get(MESSAGE_ID)) {
                    visit(id.as_str());
                }
                received += 1;
                idle = 0;
            }
            Next::Idle { delivered } if delivered > received => {
                return Err(cant_read("messages were lost on their way"));
            }
            // What was pending has gone meanwhile: too old, too many, purged.
            Next::Idle { .. } => idle += 1,
        }
    }
    // The server takes the consumer away once nobody listens.
    let _ = messages.unsubscribe().await;
    Ok(())
}

/// One that sends all above a sequence number to `inbox`, acknowledges nothing, and goes away by itself.
pub(super) fn consumer(inbox: &str, above: u64) -> Value {
    json!({
        "deliver_subject": inbox,
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": above + 1,
        "ack_policy": "none",
        "replay_policy": "instant",
        "flow_control": true,
        "idle_heartbeat": 1_000_000_000_u64,
        "inactive_threshold": 10_000_000_000_u64,
        "mem_storage": true,
        "num_replicas": 1,
    })
}

/// What a consumer sends.
pub(super) enum Next {
    Stored(Message),
    /// It has nothing to send at the moment, and has sent so many.
    Idle {
        delivered: u64,
    },
}

/// The next stored message, or the word that there is none; answers flow control on the way.
pub(super) async fn next(
    session: &Session,
    messages: &mut Subscriber,
) -> Result<Next, PublishError> {
    let mut stalled = 0;
    loop {
        let message = timeout(LONGEST_SILENCE, messages.next())
            .await
            .map_err(|_| cant_read("the stream fell silent"))?
            .ok_or(PublishError::ConnectionLost)?;
        match message.status {
            None => return Ok(Next::Stored(message)),
            Some(StatusCode::IDLE_HEARTBEAT) => {}
            Some(status) => return Err(cant_read(&format!("the consumer ended ({status})"))),
        }
        let header = |name| {
            let headers = message.headers.as_ref();
            headers
                .and_then(|headers| headers.get(name))
                .map(|value| value.as_str())
        };
        let reply = match (&message.reply, header("Nats-Consumer-Stalled")) {
            (Some(reply), _) => reply.to_string(),
            (None, Some(_)) if stalled == STALLED_FOR_GOOD => return Err(no_flow_control()),
            (None, Some(reply)) => {
                stalled += 1;
                reply.to_owned()
            }
            (None, None) => {
                let delivered = header("Nats-Last-Consumer").and_then(|text| text.parse().ok());
                return Ok(Next::Idle {
                    delivered: delivered.unwrap_or(0),
                });
            }
        };
        session
            .client
            .publish(reply, Bytes::new())
            .await
            .map_err(|error| cant_read(&format!("flow control: {error}")))?;
    }
}

/// No matter of time, unlike what else is in the way of reading.
fn no_flow_control() -> PublishError {
    PublishError::Other {
        text:
            "the stream can't be read: its flow control hears nothing from us; grant this user to \
               publish to $JS.FC.>"
                .to_owned(),
        scope: Scope::Subject,
        known: Known::Refused,
    }
}

pub(super) fn cant_read(reason: &str) -> PublishError {
    PublishError::Other {
        text: format!("the stream can't be read: {reason}"),
        scope: Scope::Broker,
        known: Known::NotSent,
    }
}
