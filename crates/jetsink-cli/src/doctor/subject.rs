//! The streams that capture a subject, and the permission to publish to it.

use std::collections::BTreeSet;

use jetsink::{
    NatsPublisher, PublishError, StreamName, Subject, SubjectPattern, SubjectTemplate, TenantPolicy,
};
use jiff::Timestamp;
use serde_json::Value;

use super::account::Api;
use super::clock::skew;
use super::diagnosis::Diagnosis;
use super::finding::Finding;
use super::look_up::look_up;
use super::stream::{self, Expected};

/// The token that replaces a placeholder in a sample subject.
const SAMPLE: &str = "jetsink-doctor";

/// The check of one subject template.
pub(super) struct Check {
    /// All subjects of the template.
    pattern: String,
    /// One of them.
    sample: Option<Subject>,
    /// The result of a publish that no stream stores; `None` without a sample.
    publish: Option<Result<(), PublishError>>,
}

impl Check {
    /// Asks whether an event would be stored.
    pub(super) async fn of(publisher: &NatsPublisher, template: &SubjectTemplate) -> Self {
        let sample = template.resolve(None, TenantPolicy::Refuse, |_| Some(SAMPLE.into()));
        // Only a template that is nearly too long has none.
        let sample = sample.ok();
        let publish = match &sample {
            Some(sample) => Some(publisher.admin().check_publish(sample).await),
            None => None,
        };
        Self {
            pattern: template.filter(None),
            sample,
            publish,
        }
    }

    pub(super) fn reaches_a_stream(&self) -> bool {
        matches!(self.publish, Some(Ok(())))
    }

    /// Finds and examines the streams that capture the template. Streams in `examined` are not examined again.
    pub(super) async fn examine_streams(
        &self,
        publisher: &NatsPublisher,
        expected: &Expected,
        examined: &mut BTreeSet<StreamName>,
        diagnosis: &mut Diagnosis,
    ) {
        let pattern = &self.pattern;
        let names = match publisher.admin().stream_names(pattern).await {
            Err(PublishError::PermissionDenied) => {
                return diagnosis.add(&Finding::warning(
                    "stream.names-denied",
                    "this user may not ask which stream captures a subject: errors are less precise, and the stream \
                     is not examined",
                    "grant publish on $JS.API.STREAM.NAMES",
                ));
            }
            Err(error) => {
                return diagnosis.add(&Finding::problem(
                    "stream.names",
                    format!("which stream captures {pattern}? {error}"),
                    "nats stream ls",
                ));
            }
            Ok(names) => names,
        };
        let mut captures = false;
        for name in &names {
            let info = stream_info(publisher, name, diagnosis).await;
            captures |= match &info {
                None => true, // not known
                Some(info) => capturing(info, pattern),
            };
            if let Some(info) = info
                && examined.insert(name.clone())
            {
                diagnosis.extend(&stream::examine(&info, expected));
                let choice = expected.when_unconfirmed;
                let finding = look_up(publisher, name, &info["config"], choice);
                diagnosis.add(&finding.await);
                let server = info["ts"].as_str().and_then(|ts| ts.parse().ok());
                diagnosis.extend(&server.and_then(|time| skew(time, Timestamp::now())));
            }
        }
        let found = match names.as_slice() {
            [] | [_] if !captures && self.reaches_a_stream() => vec![elsewhere(pattern)],
            names => captured(pattern, names, captures),
        };
        diagnosis.extend(&found);
    }

    /// Reports whether an event would be stored.
    pub(super) fn report(&self, api: Api, diagnosis: &mut Diagnosis) {
        let (Some(sample), Some(publish)) = (&self.sample, &self.publish) else {
            return;
        };
        diagnosis.add(&match publish {
            Ok(()) => Finding::ok(
                "publish.allowed",
                format!("this user may publish to {sample} (asked; nothing was stored)"),
            ),
            // Reported with the streams, with its cause.
            Err(
                PublishError::NoStream
                | PublishError::AckTimeout {
                    broker_answers: true,
                },
            ) if api == Api::Answers => return,
            Err(PublishError::PermissionDenied) => Finding::problem(
                "publish.denied",
                format!("this user may not publish to {sample}"),
                format!("grant publish on {}", self.pattern),
            ),
            Err(error) => Finding::problem(
                "publish.failed",
                format!("an event for {sample} would fail: {error}"),
                "jetsink publish -v with one event shows more",
            ),
        });
    }
}

/// The finding for a subject that a stream receives although none of the account captures it.
fn elsewhere(pattern: &str) -> Finding {
    Finding::warning(
        "subject.elsewhere",
        format!(
            "a stream receives events of {pattern} by a mapping, an import or a leaf node: it stores them under \
             another subject or in another account, and is not examined here"
        ),
        "examine the stream in its own account: jetsink doctor with its login and subject",
    )
}

async fn stream_info(
    publisher: &NatsPublisher,
    name: &StreamName,
    diagnosis: &mut Diagnosis,
) -> Option<Value> {
    match publisher.admin().stream_info(name).await {
        Ok(info) => return Some(info),
        Err(PublishError::PermissionDenied) => diagnosis.add(&Finding::warning(
            "stream.info-denied",
            format!("this user may not read the state of stream {name}, so it is not examined"),
            format!("grant publish on $JS.API.STREAM.INFO.{name}"),
        )),
        Err(error) => diagnosis.add(&Finding::problem(
            "stream.silent",
            format!("stream {name} exists and does not report its state: {error}"),
            format!("nats stream info {name}; nats server report jetstream"),
        )),
    }
    None
}

fn capturing(info: &Value, pattern: &str) -> bool {
    let Ok(pattern) = SubjectPattern::new(pattern) else {
        return false;
    };
    let subjects = info["config"]["subjects"].as_array();
    let subjects = subjects.into_iter().flatten().filter_map(Value::as_str);
    subjects
        .filter_map(|subject| subject.parse::<SubjectPattern>().ok())
        .any(|subject| subject.covers(&pattern))
}

fn captured(pattern: &str, names: &[StreamName], all: bool) -> Vec<Finding> {
    match names {
        [] => vec![Finding::problem(
            "subject.no-stream",
            format!("no stream captures {pattern}: every emit would fail"),
            format!("jetsink stream apply --name EVENTS --subject '{pattern}'"),
        )],
        [one] if all => {
            let text = format!("stream {one} captures {pattern}");
            vec![Finding::ok("subject.captured", text)]
        }
        [one] => vec![Finding::problem(
            "subject.partly",
            format!("stream {one} captures only a part of {pattern}: other events would fail"),
            format!("jetsink stream apply --name {one} --subject '{pattern}'"),
        )],
        several => vec![Finding::warning(
            "subject.several",
            format!(
                "events of {pattern} go to {} streams, {}: each has its own order and limits{}",
                several.len(),
                several.join(", "),
                if all { "" } else { ", and some go to none" }
            ),
            "use one stream for all of them, unless this is intended",
        )],
    }
}
