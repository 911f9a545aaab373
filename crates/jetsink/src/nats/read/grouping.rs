//! Finds the streams of many subjects.
//!
//! A stream's configuration has patterns, and the patterns of an account's streams don't overlap. So one
//! request per stream assigns all its subjects. A subject that no stream seems to capture may be mapped to
//! another one, or be imported from another account: the answer to a probe names its stream.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::catch_up::StreamInfo;
use super::concerns_all;
use crate::message::envelope::Envelope;
use crate::nats::api::{ANSWER_TIME, ask_in, cant_read, stream_names};
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::outcome::PublishError;
use crate::publisher::look_up::{Gap, GapReason};

/// The number of concurrent requests. One at a time, a spool of many subjects would spend its replay on
/// round trips; all at once, they would fill the queue of the API.
const CONCURRENT_REQUESTS: usize = 64;

/// The time limit of a request for the patterns of a stream. Without an answer its subjects are found one by one.
const PATTERNS_TIME: Duration = Duration::from_millis(250);

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

/// Returns the events by their streams, and the subjects whose stream could not be found out. Events whose subject no
/// stream captures are left out: none of them is stored. `domains` are those of earlier acknowledgements.
pub(crate) async fn by_stream<'a>(
    shared: &Shared,
    session: &Session,
    events: &'a [Envelope],
    domains: &BTreeMap<&str, &str>,
) -> Result<(BTreeMap<StreamRef, Vec<&'a Envelope>>, Vec<Gap>), PublishError> {
    let mut groups: BTreeMap<StreamRef, Vec<&Envelope>> = BTreeMap::new();
    let mut mapped = Vec::new();
    let mut gaps = Vec::new();
    let mut rest: Vec<&Envelope> = events.iter().collect();
    while !rest.is_empty() {
        let later = rest.split_off(rest.len().min(CONCURRENT_REQUESTS));
        let requests = rest.iter().map(|event| names_of(shared, session, event));
        let names = try_join_all(requests).await?;
        let mut new = Vec::new();
        for (event, names) in rest.into_iter().zip(names) {
            if names.is_empty() {
                mapped.push(event);
            }
            for name in names {
                let stream = StreamRef {
                    name,
                    domain: None,
                    is_mapped: false,
                };
                if !groups.contains_key(&stream) {
                    new.push(stream.clone());
                }
                groups.entry(stream).or_default().push(event);
            }
        }
        rest = later;
        if rest.is_empty() {
            break;
        }
        let details = json!({});
        let patterns = new.iter().map(|stream| async {
            let info = stream.ask::<StreamInfo>(
                shared,
                session,
                Question::StreamInfo(&stream.name),
                &details,
            );
            timeout(PATTERNS_TIME, info).await.ok()?.ok()
        });
        for (stream, info) in new.iter().zip(join_all(patterns).await) {
            let Some(info) = info else { continue };
            let captures = |event: &mut &Envelope| info.config.captures(event.subject());
            let captured = rest.extract_if(.., captures);
            groups.entry(stream.clone()).or_default().extend(captured);
        }
    }
    for events in mapped.chunks(CONCURRENT_REQUESTS) {
        let probes = events.iter().map(|event| async move {
            let deadline = Instant::now() + ANSWER_TIME;
            shared.last_accepted(session, event, deadline).await
        });
        for (event, probe) in events.iter().zip(join_all(probes).await) {
            let answer = match probe {
                Ok(Some(accepted)) => accepted.stream.ok_or_else(|| {
                    GapReason::Refused(cant_read("its answer does not name the stream"))
                }),
                // Nothing that a stream would answer.
                Ok(None) => continue,
                Err(error) if has_no_stream(&error) => continue,
                Err(error) if concerns_all(&error) => return Err(error),
                Err(error) => Err(GapReason::Unanswered(error)),
            };
            let name = answer.and_then(|name| {
                let name = StreamName::try_from(name);
                name.map_err(|error| GapReason::Refused(cant_read(&error.to_string())))
            });
            let name = match name {
                Ok(name) => name,
                Err(reason) => {
                    gaps.push(Gap::new(vec![event.subject().clone()], reason));
                    continue;
                }
            };
            let stream = StreamRef {
                domain: domains
                    .get(name.as_str())
                    .map(|domain| (*domain).to_owned()),
                name,
                is_mapped: true,
            };
            groups.entry(stream).or_default().push(event);
        }
    }
    Ok((groups, gaps))
}

/// Whether nothing stores messages of the subject.
fn has_no_stream(error: &PublishError) -> bool {
    matches!(
        error,
        PublishError::NoStream | PublishError::NotImported | PublishError::JetStreamUnavailable
    )
}

async fn names_of(
    shared: &Shared,
    session: &Session,
    event: &Envelope,
) -> Result<Vec<StreamName>, PublishError> {
    match stream_names(shared, session, event.subject().as_str()).await {
        // An account without JetStream may import the subject from another one, and a user without this
        // permission may publish.
        Err(error) if super::is_never_answered(&error) => Ok(Vec::new()),
        names => names,
    }
}
