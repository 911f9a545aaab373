//! Reads the message ids that streams have stored.

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use async_nats::HeaderMap;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::catch_up::StreamInfo;
use super::concerns_all;
use super::config::StreamConfig;
use super::consumer::{IDLE_AT_THE_END, Next, create, next};
use super::get::{Getter, Place};
use super::grouping::{Groups, StreamRef, by_stream, unfinished};
use super::last_sequence::stream_tail;
use super::message_info::MessageInfo;
use super::removals::Removals;
use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::nats::api::cant_read;
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::wire::message_id;
use crate::outcome::{PublishError, codes};
use crate::publisher::baseline::{Baseline, Baselines};
use crate::publisher::look_up::{Gap, GapReason, Moves, StoredId, StoredIds};
use crate::sync::lock;

/// With more filters the stream is read whole: a consumer's filters must fit into its request.
const MAX_FILTERS: usize = 64;

/// An account may allow small messages only, requests included.
const MAX_FILTER_BYTES: usize = 2_048;

/// A stream that takes so much longer than the first one that was read is left for a later look-up; twice the first
/// one's time, if that is more.
const GRACE: Duration = Duration::from_millis(500);

/// A stream with more messages above the baseline is read by the subjects in question only.
const MAX_UNFILTERED: u64 = 16_384;

/// With more messages removed from a stream's middle, it is not asked which ones: the answer lists all of them.
const MAX_DELETED: u64 = 32_768;

type Visit<'a> = dyn FnMut(StoredId<'_>) + Send + 'a;

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
                Err(error) if concerns_all(&error) => (at, Err(error)),
                Err(error) => {
                    warn!(stream = %stream.name, %error, "a stream can't be looked up");
                    let was_deleted = matches!(&error, PublishError::Refused(refusal)
                        if refusal.code == codes::STREAM_NOT_FOUND && !stream.is_mapped);
                    let reason = if is_final(&error) && !was_deleted {
                        GapReason::Refused(error)
                    } else {
                        GapReason::Unanswered(error)
                    };
                    let subjects = subjects.into_iter().collect();
                    (at, Ok(vec![Gap::new(subjects, reason)]))
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
    Ok(if gaps.is_empty() {
        StoredIds::Visited
    } else {
        StoredIds::VisitedExcept(gaps)
    })
}

/// Whether every later attempt to read the stream fails, too.
fn is_final(error: &PublishError) -> bool {
    let may_return = *error == PublishError::JetStreamUnavailable;
    super::is_never_answered(error) || super::is_consumer_refused(error) && !may_return
}

struct Reading<'a> {
    shared: &'a Shared,
    session: &'a Session,
    stream: &'a StreamRef,
    events: &'a [&'a Envelope],
    subjects: &'a HashSet<Subject>,
    baseline: Option<&'a Baseline>,
}

impl Reading<'_> {
    /// Reads the stream. Returns the subjects whose ids may be stored though they were not visited.
    async fn read(&self, visit: &mut Visit<'_>) -> Result<Vec<Gap>, PublishError> {
        let tail = stream_tail(self.shared, self.session, self.stream, self.events).await?;
        let created = Some(tail.created.as_str()).filter(|created| !created.is_empty());
        let last = Some(tail.state.last_seq).filter(|last| created.is_some() || *last > 0);
        let above = self
            .baseline
            .map_or(0, |baseline| baseline.above(created, last));
        let stores_elsewhere = tail.config.transforms() || self.stream.is_mapped;
        // A mapping of the account may store an event under another subject of the same stream.
        let is_long = tail.state.last_seq.saturating_sub(above) > MAX_UNFILTERED;
        let is_known = created.is_some();
        let is_filtered = is_long && self.fits_a_filter() && is_known && !stores_elsewhere;
        let new_removals = |all: bool| {
            let above = Some(above).filter(|_| all);
            Removals::of(self.subjects, &tail.config, stores_elsewhere, above)
        };
        let moves = Moves::default();
        let mut refusal = None;
        // A consumer would change the content of an interest stream, and a work queue refuses it.
        let consumed = if tail.config.allows_readers() {
            let mut removals = new_removals(!is_filtered);
            let mut see = See {
                removals: &mut removals,
                moves: &moves,
                visit,
            };
            match self.consume(&tail, above, is_filtered, &mut see).await {
                Err(error) if super::is_consumer_refused(&error) => {
                    refusal = Some(error);
                    None
                }
                consumed => consumed.map(|()| Some(removals))?,
            }
        } else {
            None
        };
        let mut removals = match consumed {
            Some(removals) => removals,
            None => {
                let mut removals = new_removals(true);
                let mut see = See {
                    removals: &mut removals,
                    moves: &moves,
                    visit,
                };
                let got = self.get(&tail, above, &mut see).await;
                // The first refusal tells more than a second one.
                got.map_err(|error| match refusal {
                    Some(first) if super::is_never_answered(&error) => first,
                    _ => error,
                })?;
                removals
            }
        };
        removals.ended(tail.state.last_seq);
        let has_removed = match created {
            _ if !tail.config.allows_readers() => true,
            // A message that was removed after it was visited is no gap.
            _ if removals.sees_every_gap() => false,
            Some(_) => self.has_removed(above, &tail.config).await?,
            // This user may not know it: the whole stream was read.
            None => false,
        };
        Ok(removals.gaps(has_removed, &moves))
    }

    /// Whether the stream has removed messages above `above` until now.
    async fn has_removed(&self, above: u64, config: &StreamConfig) -> Result<bool, PublishError> {
        let state = async |details: Value| {
            let question = Question::StreamInfo(&self.stream.name);
            let info = self
                .stream
                .ask::<StreamInfo>(self.shared, self.session, question, &details);
            info.await.map(|info| info.state)
        };
        let now = state(json!({})).await?;
        if now.first_seq > above.saturating_add(1) {
            return Ok(true);
        }
        if now.num_deleted == 0 || config.newest_per_subject().is_some() {
            return Ok(false);
        }
        if now.num_deleted > MAX_DELETED {
            return Ok(true);
        }
        let deleted = state(json!({ "deleted_details": true })).await?.deleted;
        Ok(deleted.iter().flatten().any(|sequence| *sequence > above))
    }

    fn fits_a_filter(&self) -> bool {
        let bytes: usize = self.events.iter().map(|e| e.subject().as_str().len()).sum();
        self.events.len() <= MAX_FILTERS && bytes <= MAX_FILTER_BYTES
    }

    /// Reads by a consumer that sends headers only.
    async fn consume(
        &self,
        tail: &StreamInfo,
        above: u64,
        is_filtered: bool,
        see: &mut See<'_, '_>,
    ) -> Result<(), PublishError> {
        let (shared, session, stream) = (self.shared, self.session, self.stream);
        let config = |inbox: &str| {
            let mut config = tail.config.consumer(inbox, above);
            config["headers_only"] = true.into();
            if is_filtered {
                let subjects = self.events.iter().map(|event| event.subject().as_str());
                config["filter_subjects"] = subjects.collect();
            }
            config
        };
        let domain = stream.domain.as_deref();
        let (mut messages, created) = create(shared, session, domain, &stream.name, config).await?;
        let mut catch_up = tail.catch_up(created.cluster.as_ref());
        let (mut received, mut idle) = (0, 0);
        while (received < created.num_pending || !catch_up.is_complete()) && idle < IDLE_AT_THE_END
        {
            match next(shared, session, &mut messages).await? {
                Next::Stored(message) => {
                    let info = MessageInfo::of(&message)
                        .ok_or_else(|| cant_read("a message has no sequence number"))?;
                    let headers = message.headers.as_ref();
                    let bytes = left_out_bytes(headers);
                    see.message(&message.subject, info.sequence, headers, bytes);
                    catch_up.observed(info.sequence);
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
        see: &mut See<'_, '_>,
    ) -> Result<(), PublishError> {
        let place = Place {
            shared: self.shared,
            session: self.session,
            domain: self.stream.domain.as_deref(),
            stream: &self.stream.name,
        };
        let mut getter = Getter::default();
        let last = tail.state.last_seq;
        let mut from = above.saturating_add(1).max(tail.state.first_seq);
        while from <= last {
            let messages = getter.messages_from(place, from, last).await?;
            let Some(newest) = messages.last() else {
                see.removals.lacks_the_last();
                return Ok(());
            };
            from = newest.sequence + 1;
            for message in &messages {
                let headers = message.headers.as_ref();
                let bytes = Some(message.payload.len());
                see.message(&message.subject, message.sequence, headers, bytes);
            }
        }
        Ok(())
    }
}

/// Passes messages on.
struct See<'a, 'b> {
    removals: &'a mut Removals<'b>,
    moves: &'a Moves,
    visit: &'a mut Visit<'a>,
}

impl See<'_, '_> {
    fn message(
        &mut self,
        subject: &str,
        sequence: u64,
        headers: Option<&HeaderMap>,
        payload_bytes: Option<usize>,
    ) {
        self.removals.seen(subject, sequence);
        if let Some(id) = message_id(headers) {
            let stored = StoredId::new(self.removals.subjects, subject, id).with_moves(self.moves);
            (self.visit)(stored.with_payload_bytes(payload_bytes));
        }
    }
}

/// The size of a payload that a consumer leaves out, behind the message's own headers.
fn left_out_bytes(headers: Option<&HeaderMap>) -> Option<usize> {
    let size = headers?.get_last("Nats-Msg-Size")?;
    size.as_str().parse().ok()
}
