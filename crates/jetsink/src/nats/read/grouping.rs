//! Finds the streams of many subjects.
//!
//! A stream's configuration has patterns, and the patterns of an account's streams don't overlap. So one
//! request per stream assigns all its subjects. A subject that no stream seems to capture may be mapped to
//! another one, or be imported from another account: the answer to a probe names its stream.
//!
//! Each of both steps begins requests for [`FINDING_TIME`] only; the other subjects are left for a later look-up.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::catch_up::StreamInfo;
use super::last_sequence::last_accepted;
use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::nats::api::{ANSWER_TIME, ask_in, cant_read, stream_names};
use crate::nats::failure::Failure;
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::outcome::PublishError;
use crate::publisher::baseline::Baselines;
use crate::publisher::look_up::{GapReason, LookUpGap};

/// The number of concurrent requests. One at a time, a spool of many subjects would spend its replay on
/// round trips; all at once, they would fill the queue of the API.
const CONCURRENT_REQUESTS: usize = 64;

/// The time limit of a request for the patterns of a stream. Without an answer its subjects are found one by one.
const PATTERNS_TIME: Duration = Duration::from_millis(250);

/// The time within which the requests of a step begin.
const FINDING_TIME: Duration = ANSWER_TIME;

/// A stream and the API under which it is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamRef {
    pub(crate) name: StreamName,
    /// `None` for the configured API.
    pub(crate) domain: Option<String>,
    /// Whether it stores its messages under other subjects than those that were asked for.
    pub(crate) is_mapped: bool,
}

impl StreamRef {
    /// Sends a request about the stream.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        shared: &Shared,
        session: &Session,
        question: Question<'_>,
        details: &Value,
    ) -> Result<T, PublishError> {
        ask_in(shared, session, self.domain.as_deref(), question, details).await
    }
}

/// The events of a look-up by their streams.
#[derive(Debug, Default)]
pub(super) struct Groups<'a> {
    pub(super) streams: BTreeMap<StreamRef, Vec<&'a Envelope>>,
    /// The subjects whose stream could not be found out.
    pub(super) gaps: Vec<LookUpGap>,
    /// The events whose stream the API does not name.
    unnamed: Vec<Unnamed<'a>>,
}

#[derive(Debug)]
struct Unnamed<'a> {
    event: &'a Envelope,
    /// Whether the API says that no stream captures the subject.
    is_uncaptured: bool,
}

/// The answer to the question which streams capture a subject.
enum Names {
    Known(Vec<StreamName>),
    /// The API answers no such request of this user: an account without JetStream may import the subject from
    /// another one, and a user without this permission may publish.
    Denied,
    /// The API is absent: during an outage, or an import of it lacks this request.
    Silent,
    Failed(PublishError),
}

/// Returns the events by their streams. Events whose subject no stream captures are left out: none of them is
/// stored. `after` are the baselines of earlier acknowledgements.
///
/// # Errors
/// Nothing can be read at the moment.
pub(super) async fn by_stream<'a>(
    shared: &Shared,
    session: &Session,
    events: &'a [Envelope],
    after: &Baselines,
) -> Result<Groups<'a>, PublishError> {
    let mut groups = Groups::default();
    groups.ask_for_names(shared, session, events).await?;
    groups.probe(shared, session, after).await?;
    Ok(groups)
}

impl<'a> Groups<'a> {
    async fn ask_for_names(
        &mut self,
        shared: &Shared,
        session: &Session,
        events: &'a [Envelope],
    ) -> Result<(), PublishError> {
        let last_start = Instant::now() + FINDING_TIME;
        let mut rest: Vec<&Envelope> = events.iter().collect();
        while !rest.is_empty() {
            if Instant::now() > last_start {
                self.gaps.extend(unfinished(rest));
                break;
            }
            let later = rest.split_off(rest.len().min(CONCURRENT_REQUESTS));
            let requests = rest.iter().map(|event| names_of(shared, session, event));
            let names: Vec<Names> = join_all(requests)
                .await
                .into_iter()
                .collect::<Result<_, _>>()?;
            let is_useless = names.iter().all(|names| matches!(names, Names::Denied));
            let mut new = Vec::new();
            for (event, names) in rest.into_iter().zip(names) {
                self.named(event, names, &mut new);
            }
            rest = later;
            if is_useless {
                for event in rest {
                    self.named(event, Names::Denied, &mut new);
                }
                break;
            }
            if !rest.is_empty() {
                self.take_captured(shared, session, &new, &mut rest).await;
            }
        }
        Ok(())
    }

    fn named(&mut self, event: &'a Envelope, names: Names, new: &mut Vec<StreamRef>) {
        let names = match names {
            Names::Known(names) if !names.is_empty() => names,
            Names::Known(_) | Names::Denied | Names::Silent => {
                let is_uncaptured = matches!(names, Names::Known(_));
                self.unnamed.push(Unnamed {
                    event,
                    is_uncaptured,
                });
                return;
            }
            Names::Failed(error) => {
                let subjects = vec![event.subject().clone()];
                self.gaps
                    .push(LookUpGap::new(subjects, GapReason::Unanswered(error)));
                return;
            }
        };
        for name in names {
            let stream = StreamRef {
                name,
                domain: None,
                is_mapped: false,
            };
            if !self.streams.contains_key(&stream) {
                new.push(stream.clone());
            }
            self.streams.entry(stream).or_default().push(event);
        }
    }

    /// Takes the events out of `rest` that streams capture by their patterns.
    async fn take_captured(
        &mut self,
        shared: &Shared,
        session: &Session,
        streams: &[StreamRef],
        rest: &mut Vec<&'a Envelope>,
    ) {
        let details = json!({});
        let patterns = streams.iter().map(|stream| async {
            let question = Question::StreamInfo(&stream.name);
            let info = stream.ask::<StreamInfo>(shared, session, question, &details);
            timeout(PATTERNS_TIME, info).await.ok()?.ok()
        });
        for (stream, info) in streams.iter().zip(join_all(patterns).await) {
            let Some(info) = info else { continue };
            let captures = |event: &mut &Envelope| info.config.captures(event.subject());
            let captured = rest.extract_if(.., captures);
            let of_stream = self.streams.entry(stream.clone()).or_default();
            of_stream.extend(captured);
        }
    }

    /// Finds the streams of unnamed events by probes.
    async fn probe(
        &mut self,
        shared: &Shared,
        session: &Session,
        after: &Baselines,
    ) -> Result<(), PublishError> {
        let last_start = Instant::now() + FINDING_TIME;
        let mut unnamed = std::mem::take(&mut self.unnamed).into_iter();
        let mut probes = FuturesUnordered::new();
        let mut absent = Vec::new();
        loop {
            while probes.len() < CONCURRENT_REQUESTS
                && Instant::now() <= last_start
                && let Some(next) = unnamed.next()
            {
                probes.push(async move {
                    let probe = last_accepted(shared, session, &[next.event]).await;
                    (next, probe)
                });
            }
            let Some((unnamed, probe)) = probes.next().await else {
                break;
            };
            let event = unnamed.event;
            let named = match probe {
                Ok(Some(accepted)) => {
                    let name = accepted.stream.ok_or("its answer does not name the stream");
                    let name = name.map_err(cant_read);
                    let name = name.and_then(|name| {
                        StreamName::try_from(name).map_err(|error| cant_read(&error.to_string()))
                    });
                    name.map_err(GapReason::Refused)
                }
                // A stream may capture the subject all the same, and its other events may be stored.
                Ok(None) => Err(GapReason::Refused(cant_read(
                    "it refuses every message of the subject, so its name is unknown",
                ))),
                Err(PublishError::NoStream) => {
                    absent.push(unnamed);
                    continue;
                }
                Err(error) if Failure::of(&error).concerns_all() => return Err(error),
                Err(error) => Err(GapReason::Unanswered(error)),
            };
            match named {
                Ok(name) => {
                    let baseline = after.get(name.as_str());
                    let stream = StreamRef {
                        domain: baseline.and_then(|baseline| baseline.domain.clone()),
                        name,
                        is_mapped: true,
                    };
                    self.streams.entry(stream).or_default().push(event);
                }
                Err(reason) => self
                    .gaps
                    .push(LookUpGap::new(vec![event.subject().clone()], reason)),
            }
        }
        self.gaps
            .extend(unfinished(unnamed.map(|unnamed| unnamed.event)));
        if absent.is_empty() {
            return Ok(());
        }
        let is_any_missing = self.is_any_missing(shared, session, after).await?;
        self.judge_absent(&absent, is_any_missing);
        Ok(())
    }

    /// Whether a stream that acknowledged events does not answer: the way to it, such as a leaf node, may be
    /// interrupted.
    async fn is_any_missing(
        &self,
        shared: &Shared,
        session: &Session,
        after: &Baselines,
    ) -> Result<bool, PublishError> {
        let is_found = |name: &str| self.streams.keys().any(|s| s.name.as_str() == name);
        let others = after.iter().filter(|(name, _)| !is_found(name));
        let answers = others.map(|(name, baseline)| async {
            let Ok(name) = StreamName::try_from(name.clone()) else {
                return Err(cant_read("its name in a baseline is no stream name"));
            };
            let (domain, question) = (baseline.domain.as_deref(), Question::StreamInfo(&name));
            ask_in::<StreamInfo>(shared, session, domain, question, &json!({})).await
        });
        let mut is_any_missing = false;
        for answer in join_all(answers).await {
            match answer {
                Err(error) if Failure::of(&error).concerns_all() => return Err(error),
                answer => is_any_missing |= answer.is_err(),
            }
        }
        Ok(is_any_missing)
    }

    /// Decides about subjects that nothing receives at the moment: their stream may have no leader.
    fn judge_absent(&mut self, absent: &[Unnamed<'_>], is_any_missing: bool) {
        let doubtful = absent
            .iter()
            .filter(|unnamed| is_any_missing || !unnamed.is_uncaptured);
        let subjects = subjects(doubtful.map(|unnamed| unnamed.event));
        if !subjects.is_empty() {
            let reason = GapReason::Unanswered(PublishError::NoStream);
            self.gaps.push(LookUpGap::new(subjects, reason));
        }
    }
}

fn subjects<'a>(events: impl Iterator<Item = &'a Envelope>) -> Vec<Subject> {
    events.map(|event| event.subject().clone()).collect()
}

/// The gap of events that are left for a later look-up.
pub(super) fn unfinished<'a>(events: impl IntoIterator<Item = &'a Envelope>) -> Option<LookUpGap> {
    let subjects = subjects(events.into_iter());
    (!subjects.is_empty()).then(|| LookUpGap::new(subjects, GapReason::Unfinished))
}

async fn names_of(
    shared: &Shared,
    session: &Session,
    event: &Envelope,
) -> Result<Names, PublishError> {
    let error = match stream_names(shared, session, event.subject().as_str()).await {
        Ok(names) => return Ok(Names::Known(names)),
        Err(error) => error,
    };
    match Failure::of(&error) {
        Failure::Denied | Failure::NoJetStream | Failure::NoStream | Failure::NoConsumer => {
            Ok(Names::Denied)
        }
        Failure::NoResponder => Ok(Names::Silent),
        Failure::Broker => Err(error),
        Failure::Silence | Failure::Other => Ok(Names::Failed(error)),
    }
}
