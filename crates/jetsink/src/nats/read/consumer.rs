//! An ephemeral consumer of a stream: its settings, its messages, and the answers to its flow control.

use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::nats::api::{ANSWER_TIME, cant_read};
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::outcome::PublishError;

/// The longest silence between two messages of a consumer, or its heartbeat.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// So many heartbeats in a row that tell of nothing to send, a second apart: there is no more.
pub(crate) const IDLE_AT_THE_END: u32 = 2;

/// After so many heartbeats in a row, a second apart, that ask for a word which was given each time, it
/// is found out whether the server answers anything.
const STALLED_IN_DOUBT: u32 = 5;

/// So many more from a server that does: it refuses the word, which it tells nobody but its log and an
/// event without a place. The first may have been on its way together with the answer.
const STALLED_FOR_GOOD: u32 = 2;

/// One that sends all above a sequence number to `inbox`, acknowledges nothing, and goes away by itself.
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

/// What a consumer sends.
pub(crate) enum Next {
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
