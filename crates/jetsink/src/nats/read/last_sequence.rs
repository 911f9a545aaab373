//! Finds a stream's last sequence number, including messages that are accepted but not stored yet.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::catch_up::StreamInfo;
use super::grouping::StreamRef;
use crate::message::envelope::Envelope;
use crate::nats::api::{ANSWER_TIME, cant_read};
use crate::nats::failure::Failure;
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::{Accepted, Shared};
use crate::outcome::PublishError;

/// The time between two requests for a stream's state.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until a stream's leader has stored every message that it had accepted, and returns its state. A
/// leader may have proposed messages to replicas that are now unreachable; it stores them once they return.
///
/// The stream must capture the subjects of `events`. If the user or the account may not read the stream's state, the
/// result contains only the last accepted sequence number.
pub(crate) async fn stream_tail(
    shared: &Shared,
    session: &Session,
    stream: &StreamRef,
    events: &[&Envelope],
) -> Result<StreamInfo, PublishError> {
    let accepted = match last_accepted(shared, session, events).await {
        // The caller knows that a stream captures the subject.
        Err(PublishError::NoStream) => return Err(PublishError::NoLeader),
        accepted => accepted?.map(|accepted| accepted.sequence),
    };
    let give_up = Instant::now() + ANSWER_TIME;
    loop {
        let info: StreamInfo = match stream
            .ask(
                shared,
                session,
                Question::StreamInfo(&stream.name),
                &json!({}),
            )
            .await
        {
            Err(denied) if Failure::of(&denied).hides_state() => {
                return accepted.map(StreamInfo::up_to).ok_or(denied);
            }
            answer => answer?,
        };
        if info.state.last_seq >= accepted.unwrap_or(0) {
            return Ok(info);
        }
        if Instant::now() >= give_up {
            return Err(cant_read(
                "its leader has not stored every message that it accepted; if all replicas are reachable, \
                 move the leader (nats stream cluster step-down)",
            ));
        }
        sleep(PAUSE).await;
    }
}

/// Returns the answer to the first event that the stream refuses for its sequence number alone. If all are
/// refused for another reason, such as their size, an empty message is sent: only last, because a plain
/// subscriber copes better with a repeated event than with an empty one. `None` if that is refused, too.
pub(super) async fn last_accepted(
    shared: &Shared,
    session: &Session,
    events: &[&Envelope],
) -> Result<Option<Accepted>, PublishError> {
    let empty = events.first().map(|event| {
        let subject = event.subject().clone();
        Envelope::new(subject, Bytes::new())
    });
    for event in events.iter().copied().chain(&empty) {
        let deadline = Instant::now() + ANSWER_TIME;
        match shared.last_accepted(session, event, deadline).await {
            Ok(Some(accepted)) => return Ok(Some(accepted)),
            Ok(None)
            | Err(
                PublishError::TooLarge { .. }
                | PublishError::HeadersTooLarge { .. }
                | PublishError::PermissionDenied,
            ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
