//! Which message ids have streams stored? Read by an ephemeral consumer that sends headers only.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::api::{ANSWER_TIME, ask};
use super::end::end_of;
use super::place::Place;
use super::publisher::Shared;
use super::reach::Cluster;
use super::session::Session;
use super::wire::MESSAGE_ID;
use crate::envelope::Envelope;
use crate::error::{Known, PublishError, Scope};
use crate::publisher::StoredIds;
use crate::subject::Subject;

/// The longest silence between two messages of a consumer, or its heartbeat.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// So many heartbeats in a row that tell of nothing to send, a second apart: there is no more.
pub(super) const IDLE_AT_THE_END: u32 = 2;

/// After so many heartbeats in a row, a second apart, that ask for a word which was given each time, it
/// is found out whether the server answers anything.
const STALLED_IN_DOUBT: u32 = 5;

/// So many more from a server that does: it refuses the word, which it tells nobody but its log and an
/// event without a place. The first may have been on its way together with the answer.
const STALLED_FOR_GOOD: u32 = 2;

/// One after another, a spool of many subjects would spend its replay on the way to the broker and
/// back; all at once, it would fill the queue of the API.
const QUESTIONS_AT_ONCE: usize = 64;

/// With more, the stream is read whole: a consumer's filters have to fit its request.
const MOST_FILTERS: usize = 64;

/// Visits the ids of what is stored under the subjects of `events`, in whatever streams capture them.
pub(super) async fn stored_ids(
    shared: &Shared,
    session: &Session,
    events: &[Envelope],
    after: &HashMap<String, u64>,
    visit: &mut (dyn FnMut(&[&Subject], &str) + Send),
) -> Result<StoredIds, PublishError> {
    let mut by_stream: HashMap<String, Vec<&Envelope>> = HashMap::new();
    for events in events.chunks(QUESTIONS_AT_ONCE) {
        let questions = events
            .iter()
            .map(|event| streams_of(shared, session, event.subject()));
        let answers = try_join_all(questions).await?;
        for (event, streams) in events.iter().zip(answers) {
            for stream in streams {
                by_stream.entry(stream).or_default().push(event);
            }
        }
    }
    let mut unread = Vec::new();
    for (stream, events) in by_stream {
        let above = after.get(&stream).copied().unwrap_or(0);
        let subjects: Vec<&Subject> = events.iter().map(|event| event.subject()).collect();
        let mut visit = |id: &str| visit(&subjects, id);
        match read(shared, session, &stream, &events, above, &mut visit).await {
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
/// (10026), and a permission stays as it is.
fn is_for_good(error: &PublishError) -> bool {
    match error {
        PublishError::Refused(refusal) => matches!(refusal.code, 10_026 | 10_098..=10_101),
        PublishError::FlowControlDenied => true,
        _ => false,
    }
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
    events: &[&Envelope],
    above: u64,
    visit: &mut (dyn FnMut(&str) + Send),
) -> Result<(), PublishError> {
    #[derive(Deserialize)]
    struct Created {
        num_pending: u64,
        cluster: Option<Cluster>,
    }
    let end = end_of(shared, session, stream, events).await?;
    let inbox = session.client.new_inbox();
    let mut messages = session
        .client
        .subscribe(inbox.clone())
        .await
        .map_err(|error| cant_read(&format!("subscribing: {error}")))?;
    let mut config = consumer(&inbox, above);
    config["headers_only"] = true.into();
    if events.len() <= MOST_FILTERS {
        config["filter_subjects"] = events.iter().map(|e| e.subject().as_str()).collect();
    }
    let created: Created = ask(
        shared,
        session,
        &format!("CONSUMER.CREATE.{stream}"),
        &json!({ "stream_name": stream, "config": config }),
    )
    .await?;
    let mut reach = end.reach(created.cluster.as_ref());
    let (mut received, mut idle) = (0, 0);
    while (received < created.num_pending || !reach.is_complete()) && idle < IDLE_AT_THE_END {
        match next(shared, session, &mut messages).await? {
            Next::Stored(message) => {
                if let Some(id) = message.headers.as_ref().and_then(|h| h.get(MESSAGE_ID)) {
                    visit(id.as_str());
                }
                if let Some(place) = Place::of(&message) {
                    reach.came_to(place.sequence);
                }
                received += 1;
                idle = 0;
            }
            Next::Idle { delivered, .. } if delivered > received => {
                return Err(cant_read("messages were lost on their way"));
            }
            // What was pending has gone meanwhile: too old, too many, purged.
            Next::Idle { passed, .. } => {
                reach.came_to(passed);
                idle += 1;
            }
        }
    }
    // The server takes the consumer away once nobody listens.
    let _ = messages.unsubscribe().await;
    reach.check()
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
        /// The stream's last message that it sent, or left out.
        passed: u64,
    },
}

/// What is known of heartbeats that ask again for a word that was given.
enum Stall {
    /// So many in a row; the server may be slow, or cut off.
    InDoubt(u32),
    /// So many in a row that were sent by a server which has answered since.
    Answered(u32),
}

/// The next stored message, or the word that there is none; answers flow control on the way.
pub(super) async fn next(
    shared: &Shared,
    session: &Session,
    messages: &mut Subscriber,
) -> Result<Next, PublishError> {
    let mut stall = Stall::InDoubt(0);
    let mut at_hand = None;
    loop {
        let message = match at_hand.take() {
            Some(message) => message,
            None => timeout(LONGEST_SILENCE, messages.next())
                .await
                .map_err(|_| cant_read("the stream fell silent"))?
                .ok_or(PublishError::ConnectionLost)?,
        };
        match message.status {
            None => return Ok(Next::Stored(message)),
            Some(StatusCode::IDLE_HEARTBEAT) => {}
            Some(status) => return Err(cant_read(&format!("the consumer ended ({status})"))),
        }
        let reply = match (&message.reply, stalled(&message)) {
            (Some(reply), _) => reply.to_string(),
            (None, Some(reply)) => {
                stall = match stall {
                    Stall::InDoubt(STALLED_IN_DOUBT) => {
                        find_out_whether_it_answers(shared, session).await?;
                        at_hand = skip_stalled(messages);
                        Stall::Answered(0)
                    }
                    Stall::InDoubt(so_far) => Stall::InDoubt(so_far + 1),
                    Stall::Answered(STALLED_FOR_GOOD) => {
                        return Err(PublishError::FlowControlDenied);
                    }
                    Stall::Answered(so_far) => Stall::Answered(so_far + 1),
                };
                reply.to_owned()
            }
            (None, None) => {
                let number = |name| -> Option<u64> { header(&message, name)?.parse().ok() };
                return Ok(Next::Idle {
                    delivered: number("Nats-Last-Consumer").unwrap_or(0),
                    passed: number("Nats-Last-Stream").unwrap_or(0),
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

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let value = message.headers.as_ref()?.get(name)?;
    Some(value.as_str())
}

/// Where the word is to go which the heartbeat asks for again.
fn stalled(message: &Message) -> Option<&str> {
    header(message, "Nats-Consumer-Stalled")
}

/// Heartbeats may have piled up, of a server that hears nothing or of one that we did not listen to: what
/// was sent before its answer says nothing of the permission.
async fn find_out_whether_it_answers(
    shared: &Shared,
    session: &Session,
) -> Result<(), PublishError> {
    let subject = shared.api_subject("INFO");
    let deadline = Instant::now() + ANSWER_TIME;
    let answer = shared
        .request(
            session,
            subject.into(),
            HeaderMap::new(),
            Bytes::new(),
            deadline,
        )
        .await;
    match answer {
        // A refusal is an answer too, and so is that of a later question.
        Ok(_)
        | Err(
            PublishError::PermissionDenied
            | PublishError::AckTimeout {
                broker_answers: true,
            },
        ) => Ok(()),
        Err(_) => Err(PublishError::ConnectionLost),
    }
}

/// Skips the heartbeats that are here already; gives the first message that is none of those.
fn skip_stalled(messages: &mut Subscriber) -> Option<Message> {
    loop {
        let message = messages.next().now_or_never()??;
        if message.status.is_none() || stalled(&message).is_none() {
            return Some(message);
        }
    }
}

pub(super) fn cant_read(reason: &str) -> PublishError {
    PublishError::Other {
        text: format!("the stream can't be read: {reason}"),
        scope: Scope::Broker,
        known: Known::NotSent,
    }
}
