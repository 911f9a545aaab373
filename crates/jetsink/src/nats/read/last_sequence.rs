//! How far a stream goes, with what it has taken and not stored yet.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::catch_up::StreamInfo;
use crate::message::envelope::Envelope;
use crate::nats::api::{ANSWER_TIME, ask, cant_read};
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::outcome::PublishError;

/// Between two questions whether a leader has stored by now what it had taken.
const PAUSE: Duration = Duration::from_millis(20);

/// What a stream's leader says once it has stored all that it had taken when it was asked; it may have
/// proposed to its replicas, before they were gone, what it stores once they are back.
///
/// `events` are of subjects that the stream captures. A user who may not ask for the stream's state gets
/// what the stream had taken, and whoever reads it must come as far.
pub(crate) async fn end_of(
    shared: &Shared,
    session: &Session,
    stream: &StreamName,
    events: &[&Envelope],
) -> Result<StreamInfo, PublishError> {
    let taken = last_taken(shared, session, events).await?.unwrap_or(0);
    let give_up = Instant::now() + ANSWER_TIME;
    loop {
        let info: StreamInfo =
            match ask(shared, session, Question::StreamInfo(stream), &json!({})).await {
                Err(PublishError::PermissionDenied) => return Ok(StreamInfo::up_to(taken)),
                answer => answer?,
            };
        if info.state.last_seq >= taken {
            return Ok(info);
        }
        if Instant::now() >= give_up {
            return Err(cant_read(
                "its leader has yet to store what it has taken; should it have all its replicas, let \
                 another one lead (nats stream cluster step-down)",
            ));
        }
        sleep(PAUSE).await;
    }
}

/// By the first of the events that is refused for its sequence number and nothing else. Should all be too
/// large, say, an empty message is: a plain subscriber would rather have an event twice.
async fn last_taken(
    shared: &Shared,
    session: &Session,
    events: &[&Envelope],
) -> Result<Option<u64>, PublishError> {
    let empty = events.first().map(|event| {
        let subject = event.subject().clone();
        Envelope::new(subject, Bytes::new())
    });
    for event in events.iter().copied().chain(&empty) {
        let deadline = Instant::now() + ANSWER_TIME;
        match shared.last_taken(session, event, deadline).await {
            Ok(Some(sequence)) => return Ok(Some(sequence)),
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
