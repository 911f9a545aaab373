//! Reads the message ids that streams have stored.

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::grouping::{Groups, StreamRef, by_stream, unfinished};
use super::reading::Reading;
use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::nats::api::ask;
use crate::nats::failure::Failure;
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::outcome::PublishError;
use crate::publisher::baseline::Baselines;
use crate::publisher::look_up::{GapReason, LookUpGap, StoredId, StoredIds};
use crate::sync::lock;

/// A stream that takes so much longer than the first one that was read is left for a later look-up; twice the first
/// one's time, if that is more.
const GRACE: Duration = Duration::from_millis(500);

/// Visits the message ids stored under the subjects of `events`, in all streams that capture them. Streams are
/// read at the same time. One that takes much longer than one that was read is in the result as unfinished, so that it
/// delays no other: the next look-up of its subjects begins without the others.
pub(crate) async fn stored_ids(
    shared: &Shared,
    session: &Session,
    events: &[Envelope],
    after: &Baselines,
    visit: &mut (dyn FnMut(StoredId<'_>) + Send),
) -> Result<StoredIds, PublishError> {
    let answers_before = shared.jetstream_answers();
    let Groups {
        streams, mut gaps, ..
    } = by_stream(shared, session, events, after).await?;
    let visit = Mutex::new(visit);
    let groups: Vec<(StreamRef, Vec<&Envelope>)> = streams.into_iter().collect();
    let readings = groups.iter().enumerate().map(|(at, (stream, events))| {
        let visit = &visit;
        async move {
            let subjects: HashSet<Subject> = events.iter().map(|e| e.subject().clone()).collect();
            let mut visit_one = |stored: StoredId<'_>| (*lock(visit))(stored);
            let reading = Reading {
                shared,
                session,
                stream,
                events,
                subjects: &subjects,
                baseline: after.get(stream.name.as_str()),
            };
            match reading.read(&mut visit_one).await {
                Ok(gaps) => (at, Ok(gaps)),
                Err(error) if Failure::of(&error).concerns_all() => (at, Err(error)),
                Err(error) => {
                    warn!(stream = %stream.name, %error, "a stream can't be looked up");
                    let failure = Failure::of(&error);
                    let was_deleted = failure == Failure::NoStream && !stream.is_mapped;
                    let reason = if failure.is_final() && !was_deleted {
                        GapReason::Refused(error)
                    } else {
                        GapReason::Unanswered(error)
                    };
                    let subjects = subjects.into_iter().collect();
                    (at, Ok(vec![LookUpGap::new(subjects, reason)]))
                }
            }
        }
    });
    let mut readings: FuturesUnordered<_> = readings.collect();
    let mut unread: BTreeSet<usize> = (0..groups.len()).collect();
    let started = Instant::now();
    let mut until = None;
    loop {
        let read = match until {
            None => readings.next().await,
            Some(until) => timeout_at(until, readings.next()).await.unwrap_or(None),
        };
        let Some((at, read)) = read else { break };
        unread.remove(&at);
        let read = read?;
        if !read
            .iter()
            .any(|gap| matches!(gap.reason, GapReason::Unanswered(_)))
        {
            until.get_or_insert_with(|| Instant::now() + GRACE.max(2 * started.elapsed()));
        }
        gaps.extend(read);
    }
    for at in unread {
        gaps.extend(unfinished(groups[at].1.iter().copied()));
    }
    let is_unanswered = |gap: &LookUpGap| matches!(gap.reason, GapReason::Unanswered(_));
    if gaps.iter().any(is_unanswered) {
        let is_away = !answers_since(shared, session, answers_before).await;
        for gap in &mut gaps {
            if let GapReason::Unanswered(error) = &gap.reason
                && (is_away || takes_no_event(error))
            {
                gap.reason = GapReason::Unreachable(error.clone());
            }
        }
    }
    Ok(if gaps.is_empty() {
        StoredIds::Visited
    } else {
        StoredIds::VisitedExcept(gaps)
    })
}

/// Whether JetStream has answered a request since there were `before` answers, or answers one now.
async fn answers_since(shared: &Shared, session: &Session, before: u64) -> bool {
    if shared.jetstream_answers() == before {
        // The answer itself is of no interest.
        let _ = ask::<Value>(shared, session, Question::AccountInfo, &json!({})).await;
    }
    shared.jetstream_answers() != before
}

/// Whether the stream stores no event either at the moment.
fn takes_no_event(error: &PublishError) -> bool {
    matches!(error, PublishError::NoStream | PublishError::NoLeader)
}
