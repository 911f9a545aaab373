//! Reads the message ids of one stream, and finds out which events it may have removed.

use std::collections::HashSet;

use async_nats::HeaderMap;
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Value, json};

use super::catch_up::StreamInfo;
use super::config::StreamConfig;
use super::consumer::{IDLE_AT_THE_END, Next, create, next};
use super::get::Place;
use super::getter::Getter;
use super::grouping::StreamRef;
use super::last_sequence::stream_tail;
use super::message_info::MessageInfo;
use super::progress::Seen;
use super::removals::Removals;
use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::nats::api::cant_read;
use crate::nats::failure::Failure;
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::wire::message_id;
use crate::outcome::PublishError;
use crate::publisher::baseline::Baseline;
use crate::publisher::look_up::{GapReason, LookUpGap, Moves, StoredId};

/// With more filters the stream is read whole: a consumer's filters must fit into its request.
const MAX_FILTERS: usize = 64;

/// An account may allow small messages only, requests included.
const MAX_FILTER_BYTES: usize = 2_048;

/// A stream with more messages above the baseline is read by the subjects in question only.
const MAX_UNFILTERED: u64 = 16_384;

/// With more messages removed from a stream's middle, it is not asked which ones: the answer lists all of them.
const MAX_DELETED: u64 = 32_768;

/// The maximum number of subjects of one stream that are asked for one by one, and the concurrent requests.
const MAX_ASKED: usize = 1_024;
const CONCURRENT_REQUESTS: usize = 16;

pub(super) type Visit<'a> = dyn FnMut(StoredId<'_>) + Send + 'a;

/// The stream of a look-up.
pub(super) struct Reading<'a> {
    pub(super) shared: &'a Shared,
    pub(super) session: &'a Session,
    pub(super) stream: &'a StreamRef,
    pub(super) events: &'a [&'a Envelope],
    pub(super) subjects: &'a HashSet<Subject>,
    pub(super) baseline: Option<&'a Baseline>,
}

impl Reading<'_> {
    /// Reads the stream. Returns the subjects whose ids may be stored though they were not visited.
    pub(super) async fn read(&self, visit: &mut Visit<'_>) -> Result<Vec<LookUpGap>, PublishError> {
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
                Err(error) if Failure::of(&error).allows_another_way() => {
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
                let got = self.get(&tail, created, above, &mut see).await;
                // The first refusal tells more than a second one.
                got.map_err(|error| match refusal {
                    Some(first) if Failure::of(&error).is_final() => first,
                    _ => error,
                })?;
                removals
            }
        };
        removals.ended(tail.state.last_seq);
        let config = &tail.config;
        let has_removed = match (removals.are_some_missing(), created) {
            _ if !config.allows_readers() => true,
            // A message that was removed after it was visited is no gap.
            (Some(are_missing), _) => are_missing,
            (None, Some(_)) => self.has_removed(above, config).await?,
            // This user may not know it: the whole stream was read.
            (None, None) => false,
        };
        let (full, mut others) = removals.by_limit(&moves);
        let mut gaps = Vec::new();
        if let Some(kept) = config.newest_per_subject() {
            if !config.has_other_removals() {
                others.clear();
            } else if has_removed && !stores_elsewhere {
                let intact = self.intact(&others, above, kept, config).await;
                others.retain(|subject| !intact.contains(subject));
            }
            if !full.is_empty() {
                gaps.push(LookUpGap::new(full, GapReason::Newest(kept)));
            }
        }
        if has_removed && !others.is_empty() {
            gaps.push(LookUpGap::new(others, GapReason::Removed));
        }
        Ok(gaps)
    }

    /// Returns the subjects without a message above the baseline, now or before, in a stream that keeps the newest
    /// `kept` messages per subject: `kept` older ones are still stored, and one more would have replaced the first.
    async fn intact(
        &self,
        subjects: &[Subject],
        above: u64,
        kept: u64,
        config: &StreamConfig,
    ) -> HashSet<Subject> {
        let place = self.place(config);
        let asked: Vec<Subject> = subjects.iter().take(MAX_ASKED).cloned().collect();
        let answers = asked.into_iter().map(|subject| async move {
            let is_intact = self.is_intact(place, &subject, above, kept).await;
            (subject, is_intact)
        });
        let mut answers = stream::iter(answers).buffer_unordered(CONCURRENT_REQUESTS);
        let mut intact = HashSet::new();
        // A subject without an answer may have lost events.
        while let Some((subject, Ok(is_intact))) = answers.next().await {
            if is_intact {
                intact.insert(subject);
            }
        }
        intact
    }

    async fn is_intact(
        &self,
        place: Place<'_>,
        subject: &Subject,
        above: u64,
        kept: u64,
    ) -> Result<bool, PublishError> {
        if kept > 1 {
            let question = Question::StreamInfo(&self.stream.name);
            let details = json!({ "subjects_filter": subject.as_str() });
            let info = self
                .stream
                .ask::<StreamInfo>(self.shared, self.session, question, &details);
            let counts = info.await?.state.subjects.unwrap_or_default();
            if counts.get(subject.as_str()) != Some(&kept) {
                return Ok(false);
            }
        }
        let last = place.last_of(subject).await?;
        Ok(last.is_some_and(|last| last.sequence <= above))
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
        if now.num_deleted == 0 {
            return Ok(false);
        }
        // In a stream that keeps the newest messages of each subject, the list would not say more.
        if now.num_deleted > MAX_DELETED || config.newest_per_subject().is_some() {
            return Ok(true);
        }
        let deleted = state(json!({ "deleted_details": true })).await?.deleted;
        Ok(deleted.iter().flatten().any(|sequence| *sequence > above))
    }

    fn place(&self, config: &StreamConfig) -> Place<'_> {
        Place {
            shared: self.shared,
            session: self.session,
            domain: self.stream.domain.as_deref(),
            stream: &self.stream.name,
            allows_direct: config.allows_direct(),
        }
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
                    see.message(&Seen {
                        sequence: info.sequence,
                        id: message_id(headers).map(str::to_owned),
                        payload_bytes: left_out_bytes(headers),
                        subject: message.subject.into_string(),
                    });
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

    /// Reads message by message, behind those that an earlier look-up has read.
    async fn get(
        &self,
        tail: &StreamInfo,
        created: Option<&str>,
        above: u64,
        see: &mut See<'_, '_>,
    ) -> Result<(), PublishError> {
        let place = self.place(&tail.config);
        let mut getter = Getter::default();
        let last = tail.state.last_seq;
        let first = above.saturating_add(1);
        let mut read = self.shared.progress.resume(self.stream, created, first);
        let mut from = first.max(tail.state.first_seq);
        for seen in read.seen() {
            see.message(seen);
            from = from.max(seen.sequence + 1);
        }
        while from <= last {
            let messages = getter.messages_from(place, from, last).await?;
            let Some(newest) = messages.last() else {
                see.removals.lacks_the_last();
                break;
            };
            from = newest.sequence + 1;
            for message in messages {
                let seen = Seen {
                    sequence: message.sequence,
                    id: message_id(message.headers.as_ref()).map(str::to_owned),
                    payload_bytes: Some(message.payload.len()),
                    subject: message.subject,
                };
                see.message(&seen);
                read.push(seen);
            }
        }
        read.ended();
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
    fn message(&mut self, message: &Seen) {
        self.removals.seen(&message.subject, message.sequence);
        if let Some(id) = &message.id {
            let stored = StoredId::new(self.removals.subjects, &message.subject, id);
            let stored = stored.with_moves(self.moves);
            (self.visit)(stored.with_payload_bytes(message.payload_bytes));
        }
    }
}

/// The size of a payload that a consumer leaves out, behind the message's own headers.
fn left_out_bytes(headers: Option<&HeaderMap>) -> Option<usize> {
    let size = headers?.get_last("Nats-Msg-Size")?;
    size.as_str().parse().ok()
}
