//! Reads the message ids that streams have stored.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::catch_up::StreamInfo;
use super::concerns_all;
use super::consumer::{IDLE_AT_THE_END, Next, create, next};
use super::get::messages_from;
use super::grouping::{StreamRef, by_stream};
use super::last_sequence::stream_tail;
use super::message_info::MessageInfo;
use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::nats::api::cant_read;
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::nats::wire::message_id;
use crate::outcome::{PublishError, codes};
use crate::publisher::baseline::{Baseline, Baselines};
use crate::publisher::look_up::{Gap, GapReason, StoredId, StoredIds};
use crate::sync::lock;

/// With more filters the stream is read whole: a consumer's filters must fit into its request.
const MAX_FILTERS: usize = 64;

/// An account may allow small messages only, requests included.
const MAX_FILTER_BYTES: usize = 2_048;

/// A stream that takes so much longer than the first one that was read is left for a later look-up; twice the first
/// one's time, if that is more.
const GRACE: Duration = Duration::from_millis(500);

/// Receives the subject and the id of each message.
type Visit<'a> = dyn FnMut(&str, &str) + Send + 'a;

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
    let domains = after.iter().filter_map(|(stream, baseline)| {
        let domain = baseline.domain.as_deref()?;
        // It becomes a part of a subject.
        let is_valid = domain.parse::<StreamName>().is_ok();
        is_valid.then_some((stream.as_str(), domain))
    });
    let domains: BTreeMap<&str, &str> = domains.collect();
    let (groups, mut gaps) = by_stream(shared, session, events, &domains).await?;
    let visit = Mutex::new(visit);
    let groups: Vec<(StreamRef, Vec<&Envelope>)> = groups.into_iter().collect();
    let readings = groups.iter().enumerate().map(|(at, (stream, events))| {
        let visit = &visit;
        async move {
            let subjects: HashSet<Subject> = events.iter().map(|e| e.subject().clone()).collect();
            let mut newest = Newest::of(&subjects);
            let mut visit_one = |subject: &str, id: &str| {
                newest.count(subject);
                (*lock(visit))(StoredId::new(&subjects, subject, id));
            };
            let reading = Reading {
                shared,
                session,
                stream,
                events,
                baseline: after.get(stream.name.as_str()),
            };
            let read = reading.read(&mut visit_one).await;
            let gaps = match read {
                Ok(None) => Vec::new(),
                Ok(Some(GapReason::Newest(kept))) if !stream.is_mapped => {
                    newest.gaps(&subjects, kept)
                }
                Ok(Some(reason)) => vec![Gap::new(owned(&subjects), reason)],
                Err(error) if concerns_all(&error) => return (at, Err(error)),
                Err(error) => {
                    warn!(stream = %stream.name, %error, "a stream can't be looked up");
                    let was_deleted = matches!(&error, PublishError::Refused(refusal)
                        if refusal.code == codes::STREAM_NOT_FOUND && !stream.is_mapped);
                    let reason = if is_final(&error) && !was_deleted {
                        GapReason::Refused(error)
                    } else {
                        GapReason::Unanswered(error)
                    };
                    vec![Gap::new(owned(&subjects), reason)]
                }
            };
            (at, Ok(gaps))
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
        let subjects = groups[at].1.iter().map(|event| event.subject().clone());
        gaps.push(Gap::new(subjects.collect(), GapReason::Unfinished));
    }
    Ok(if gaps.is_empty() {
        StoredIds::Visited
    } else {
        StoredIds::VisitedExcept(gaps)
    })
}

fn owned(subjects: &HashSet<Subject>) -> Vec<Subject> {
    subjects.iter().cloned().collect()
}

/// The number of messages of each subject in question.
struct Newest<'a>(HashMap<&'a str, u64>);

impl<'a> Newest<'a> {
    fn of(subjects: &'a HashSet<Subject>) -> Self {
        Self(
            subjects
                .iter()
                .map(|subject| (subject.as_str(), 0))
                .collect(),
        )
    }

    fn count(&mut self, subject: &str) {
        if let Some(count) = self.0.get_mut(subject) {
            *count += 1;
        }
    }

    /// The subjects that have reached the limit: older messages may have been removed.
    fn gaps(&self, subjects: &HashSet<Subject>, kept: u64) -> Vec<Gap> {
        let is_full = |subject: &&Subject| self.0.get(subject.as_str()).is_some_and(|n| *n >= kept);
        let full: Vec<Subject> = subjects.iter().filter(is_full).cloned().collect();
        if full.is_empty() {
            return Vec::new();
        }
        vec![Gap::new(full, GapReason::Newest(kept))]
    }
}

/// Whether every later attempt to read the stream fails, too.
fn is_final(error: &PublishError) -> bool {
    super::is_never_answered(error) || super::is_consumer_refused(error)
}

struct Reading<'a> {
    shared: &'a Shared,
    session: &'a Session,
    stream: &'a StreamRef,
    events: &'a [&'a Envelope],
    baseline: Option<&'a Baseline>,
}

impl Reading<'_> {
    /// Reads the stream. Returns the reason why an id that was not visited may be stored all the same.
    async fn read(&self, visit: &mut Visit<'_>) -> Result<Option<GapReason>, PublishError> {
        let (shared, session, stream) = (self.shared, self.session, self.stream);
        let tail = stream_tail(shared, session, stream, self.events).await?;
        let created = Some(tail.created.as_str()).filter(|created| !created.is_empty());
        let last = Some(tail.state.last_seq).filter(|last| created.is_some() || *last > 0);
        let above = self
            .baseline
            .map_or(0, |baseline| baseline.above(created, last));
        if tail.config.allows_readers() {
            match self.consume(&tail, above, visit).await {
                Err(error) if super::is_consumer_refused(&error) => {
                    self.get(&tail, above, visit).await?;
                }
                read => read?,
            }
        } else {
            // A consumer would change what an interest stream keeps, and a work queue refuses it.
            self.get(&tail, above, visit).await?;
        }
        // Messages may have been removed while it was read.
        let (question, details) = (Question::StreamInfo(&stream.name), json!({}));
        let now = stream.ask::<StreamInfo>(shared, session, question, &details);
        let first = match now.await {
            Ok(info) => info.state.first_seq,
            Err(_) => tail.state.first_seq,
        };
        let has_removed = created.is_some() && first > above.saturating_add(1);
        Ok(match tail.config.newest_per_subject() {
            Some(kept) => Some(GapReason::Newest(kept)),
            None if has_removed || !tail.config.allows_readers() => Some(GapReason::Removed),
            None => None,
        })
    }

    /// Reads by a consumer that sends headers only.
    async fn consume(
        &self,
        tail: &StreamInfo,
        above: u64,
        visit: &mut Visit<'_>,
    ) -> Result<(), PublishError> {
        let (shared, session, stream) = (self.shared, self.session, self.stream);
        let is_transformed = tail.config.transforms() || stream.is_mapped;
        let filter_bytes: usize = self.events.iter().map(|e| e.subject().as_str().len()).sum();
        let is_filtered =
            self.events.len() <= MAX_FILTERS && filter_bytes <= MAX_FILTER_BYTES && !is_transformed;
        let config = |inbox: &str| {
            let mut config = tail.config.consumer(inbox, above);
            config["headers_only"] = true.into();
            if is_filtered {
                let subjects = self.events.iter().map(|event| event.subject().as_str());
                config["filter_subjects"] = subjects.collect();
            }
            config
        };
        let (mut messages, created) = create(
            shared,
            session,
            stream.domain.as_deref(),
            &stream.name,
            config,
        )
        .await?;
        let mut catch_up = tail.catch_up(created.cluster.as_ref());
        let (mut received, mut idle) = (0, 0);
        while (received < created.num_pending || !catch_up.is_complete()) && idle < IDLE_AT_THE_END
        {
            match next(shared, session, &mut messages).await? {
                Next::Stored(message) => {
                    if let Some(id) = message_id(message.headers.as_ref()) {
                        visit(&message.subject, id);
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

    /// Reads message by message.
    async fn get(
        &self,
        tail: &StreamInfo,
        above: u64,
        visit: &mut Visit<'_>,
    ) -> Result<(), PublishError> {
        let domain = self.stream.domain.as_deref();
        let name = &self.stream.name;
        let mut from = above.saturating_add(1).max(tail.state.first_seq);
        while from <= tail.state.last_seq {
            let messages = messages_from(self.shared, self.session, domain, name, from).await?;
            let Some(last) = messages.last() else {
                return Ok(());
            };
            from = last.sequence + 1;
            for message in &messages {
                if let Some(id) = message_id(message.headers.as_ref()) {
                    visit(&message.subject, id);
                }
            }
        }
        Ok(())
    }
}
