//! An ephemeral consumer of a stream: its settings, its messages, and the answers to its flow control.

use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::catch_up::Cluster;
use crate::nats::api::{ANSWER_TIME, ask_in, cant_read};
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::outcome::PublishError;

/// The time limit between two messages or heartbeats of a consumer.
const MAX_SILENCE: Duration = Duration::from_secs(5);

/// The number of idle heartbeats in a row, one per second, after which no message is pending.
pub(crate) const IDLE_AT_THE_END: u32 = 2;

/// The number of stalled heartbeats in a row, one per second and each answered, after which a request shows
/// whether the server answers at all.
const STALLED_IN_DOUBT: u32 = 5;

/// The number of further stalled heartbeats from a server that answers, after which flow control is denied:
/// the server reports that only in its log and by an event without a subject. The first heartbeat may have
/// been sent before the answer.
const STALLED_FOR_GOOD: u32 = 2;

/// Returns the configuration of a consumer that sends all messages above a sequence number to `inbox`,
/// requires no acknowledgement, and that the server deletes once it is unused.
pub(crate) fn consumer(inbox: &str, above: u64) -> Value {
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

/// A consumer, as the server created it.
#[derive(Debug, Deserialize)]
pub(crate) struct Created {
    pub(crate) name: String,
    /// The number of messages that it will send.
    pub(crate) num_pending: u64,
    pub(crate) cluster: Option<Cluster>,
}

/// Creates a consumer with the settings that `config` returns for its inbox. The server deletes it once the
/// subscriber is gone.
pub(crate) async fn create(
    shared: &Shared,
    session: &Session,
    domain: Option<&str>,
    stream: &StreamName,
    config: impl FnOnce(&str) -> Value,
) -> Result<(Subscriber, Created), PublishError> {
    let inbox = session.new_inbox();
    let messages = session
        .client
        .subscribe(inbox.clone())
        .await
        .map_err(|error| cant_read(&format!("subscribing: {error}")))?;
    let details = json!({ "stream_name": stream.as_str(), "config": config(&inbox) });
    let question = Question::ConsumerCreate(stream);
    let created = ask_in(shared, session, domain, question, &details).await?;
    // The server has answered the subscription before.
    if shared.link.is_reader_denied(&inbox) {
        return Err(PublishError::InboxDenied { inbox });
    }
    Ok((messages, created))
}

/// A message or heartbeat of a consumer.
pub(crate) enum Next {
    Stored(Message),
    /// No message is pending at the moment.
    Idle {
        /// The number of messages sent so far.
        delivered: u64,
        /// The sequence number of the last message that was sent or skipped.
        passed: u64,
    },
}

/// The stalled heartbeats in a row: each repeats a flow-control request that was answered.
enum Stall {
    /// The server may be slow, or cut off.
    InDoubt(u32),
    /// The server has answered a request since.
    Answered(u32),
}

/// Waits for the next stored message or idle heartbeat, and answers flow control.
pub(crate) async fn next(
    shared: &Shared,
    session: &Session,
    messages: &mut Subscriber,
) -> Result<Next, PublishError> {
    let mut stall = Stall::InDoubt(0);
    let mut at_hand = None;
    loop {
        let message = match at_hand.take() {
            Some(message) => message,
            None => timeout(MAX_SILENCE, messages.next())
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
                        check_server_answers(shared, session).await?;
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

/// Returns the reply subject of the flow-control request that a stalled heartbeat repeats.
fn stalled(message: &Message) -> Option<&str> {
    header(message, "Nats-Consumer-Stalled")
}

/// Checks that the server answers a request.
///
/// Heartbeats may have piled up because the server received none of the answers, or because the reader was
/// slow. Only a heartbeat sent after this answer shows that the permission is missing.
async fn check_server_answers(shared: &Shared, session: &Session) -> Result<(), PublishError> {
    let subject = shared.api_subject(Question::AccountInfo);
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
        // A refusal is an answer, too, and so is the answer to a later request.
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

/// Skips the stalled heartbeats that have arrived; returns the first other message.
fn skip_stalled(messages: &mut Subscriber) -> Option<Message> {
    loop {
        let message = messages.next().now_or_never()??;
        if message.status.is_none() || stalled(&message).is_none() {
            return Some(message);
        }
    }
}
