//! Reads the message ids that streams have stored, by an ephemeral consumer that sends headers only.

use std::collections::HashMap;

use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::json;
use tracing::warn;

use super::catch_up::Cluster;
use super::consumer::{IDLE_AT_THE_END, Next, consumer, next};
use super::last_sequence::stream_tail;
use super::message_info::MessageInfo;
use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::nats::api::{ask, cant_read, stream_names};
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::nats::wire::MESSAGE_ID;
use crate::outcome::{PublishError, codes};
use crate::publisher::StoredIds;
use crate::publisher::baseline::{Baseline, Baselines};

/// The number of concurrent requests. One at a time, a spool of many subjects would spend its replay on
/// round trips; all at once, they would fill the queue of the API.
const CONCURRENT_REQUESTS: usize = 64;

/// With more filters the stream is read whole: a consumer's filters must fit into its request.
const MAX_FILTERS: usize = 64;

/// Visits the message ids stored under the subjects of `events`, in all streams that capture them.
pub(crate) async fn stored_ids(
    shared: &Shared,
    session: &Session,
    events: &[Envelope],
    after: &Baselines,
    visit: &mut (dyn FnMut(&[&Subject], &str) + Send),
) -> Result<StoredIds, PublishError> {
    let mut by_stream: HashMap<StreamName, Vec<&Envelope>> = HashMap::new();
    for events in events.chunks(CONCURRENT_REQUESTS) {
        let requests = events
            .iter()
            .map(|event| stream_names(shared, session, event.subject().as_str()));
        let answers = try_join_all(requests).await?;
        for (event, streams) in events.iter().zip(answers) {
            for stream in streams {
                by_stream.entry(stream).or_default().push(event);
            }
        }
    }
    let mut unread = Vec::new();
    for (stream, events) in by_stream {
        let baseline = after.get(stream.as_str());
        let subjects: Vec<&Subject> = events.iter().map(|event| event.subject()).collect();
        let mut visit = |id: &str| visit(&subjects, id);
        match read(shared, session, &stream, &events, baseline, &mut visit).await {
            Ok(()) => {}
            Err(error) if is_permanent(&error) => warn!(
                %stream, %error,
                "a stream can't be looked up: events older than its duplicate window may be stored twice"
            ),
            Err(error) if concerns_the_stream_only(&error) => {
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

fn concerns_the_stream_only(error: &PublishError) -> bool {
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

/// Whether every later attempt fails, too. A duplicate is better than an endless wait.
fn is_permanent(error: &PublishError) -> bool {
    match error {
        PublishError::Refused(refusal) => matches!(
            refusal.code,
            codes::MAXIMUM_CONSUMERS_LIMIT
                | codes::CONSUMER_WQ_REQUIRES_EXPLICIT_ACK
                | codes::CONSUMER_WQ_MULTIPLE_UNFILTERED
                | codes::CONSUMER_WQ_CONSUMER_NOT_UNIQUE
                | codes::CONSUMER_WQ_CONSUMER_NOT_DELIVER_ALL
        ),
        PublishError::FlowControlDenied => true,
        _ => false,
    }
}

async fn read(
    shared: &Shared,
    session: &Session,
    stream: &StreamName,
    events: &[&Envelope],
    baseline: Option<&Baseline>,
    visit: &mut (dyn FnMut(&str) + Send),
) -> Result<(), PublishError> {
    #[derive(Deserialize)]
    struct Created {
        num_pending: u64,
        cluster: Option<Cluster>,
    }
    let tail = stream_tail(shared, session, stream, events).await?;
    let created = Some(tail.created.as_str()).filter(|created| !created.is_empty());
    let last = Some(tail.state.last_seq).filter(|last| created.is_some() || *last > 0);
    let above = baseline.map_or(0, |baseline| baseline.above(created, last));
    let inbox = session.client.new_inbox();
    let mut messages = session
        .client
        .subscribe(inbox.clone())
        .await
        .map_err(|error| cant_read(&format!("subscribing: {error}")))?;
    let mut config = consumer(&inbox, above);
    config["headers_only"] = true.into();
    if events.len() <= MAX_FILTERS {
        config["filter_subjects"] = events.iter().map(|e| e.subject().as_str()).collect();
    }
    let created: Created = ask(
        shared,
        session,
        Question::ConsumerCreate(stream),
        &json!({ "stream_name": stream.as_str(), "config": config }),
    )
    .await?;
    let mut catch_up = tail.catch_up(created.cluster.as_ref());
    let (mut received, mut idle) = (0, 0);
    while (received < created.num_pending || !catch_up.is_complete()) && idle < IDLE_AT_THE_END {
        match next(shared, session, &mut messages).await? {
            Next::Stored(message) => {
                if let Some(id) = message.headers.as_ref().and_then(|h| h.get(MESSAGE_ID)) {
                    visit(id.as_str());
                }
                if let Some(info) = MessageInfo::of(&message) {
                    catch_up.observed(info.sequence);
                }
                received += 1;
                idle = 0;
            }
            Next::Idle { delivered, .. } if delivered > received => {
                return Err(cant_read("messages were lost in transit"));
            }
            // The pending messages have been removed meanwhile: by a limit, or by a purge.
            Next::Idle { passed, .. } => {
                catch_up.observed(passed);
                idle += 1;
            }
        }
    }
    // The server deletes a consumer without a subscriber.
    let _ = messages.unsubscribe().await;
    catch_up.check()
}
