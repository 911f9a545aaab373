//! The streams that capture a subject, and the permission to publish to it.

use std::collections::BTreeSet;

use jetsink::{
    NatsPublisher, PublishError, StreamName, SubjectPattern, SubjectTemplate, TenantPolicy,
};
use jiff::Timestamp;
use serde_json::Value;

use super::clock::skew;
use super::diagnosis::Diagnosis;
use super::finding::Finding;
use super::stream::{self, Expected};

/// The token that replaces a placeholder in a sample subject.
const SAMPLE: &str = "jetsink-doctor";

/// Checks one subject template. Streams in `examined` are not examined again.
pub(super) async fn subject(
    publisher: &NatsPublisher,
    template: &SubjectTemplate,
    expected: &Expected,
    examined: &mut BTreeSet<StreamName>,
    diagnosis: &mut Diagnosis,
) {
    let pattern = template.filter(None);
    match publisher.admin().stream_names(&pattern).await {
        Err(PublishError::PermissionDenied) => diagnosis.add(&Finding::warning(
            "stream.names-denied",
            "this user may not ask which stream captures a subject: errors are less precise, and a \
             spool can't look up stored events",
            "grant publish on $JS.API.STREAM.NAMES",
        )),
        Err(error) => diagnosis.add(&Finding::problem(
            "stream.names",
            format!("which stream captures {pattern}? {error}"),
            "nats stream ls",
        )),
        Ok(names) => {
            let mut captures = false;
            for name in &names {
                let info = stream_info(publisher, name, diagnosis).await;
                captures |= match &info {
                    None => true, // not known
                    Some(info) => capturing(info, &pattern),
                };
                if let Some(info) = info
                    && examined.insert(name.clone())
                {
                    diagnosis.extend(&stream::examine(&info, expected));
                    let server = info["ts"].as_str().and_then(|ts| ts.parse().ok());
                    diagnosis.extend(&server.and_then(|time| skew(time, Timestamp::now())));
                }
            }
            diagnosis.extend(&captured(&pattern, &names, captures));
        }
    }
    let sample = template.resolve(None, TenantPolicy::Refuse, |_| Some(SAMPLE.into()));
    let Ok(sample) = sample else {
        return; // only a template that is nearly too long
    };
    match publisher.admin().check_publish(&sample).await {
        Ok(()) => diagnosis.add(&Finding::ok(
            "publish.allowed",
            format!("this user may publish to {sample} (asked; nothing was stored)"),
        )),
        // Reported above, with its cause.
        Err(
            PublishError::NoStream
            | PublishError::AckTimeout {
                broker_answers: true,
            },
        ) => {}
        Err(PublishError::PermissionDenied) => diagnosis.add(&Finding::problem(
            "publish.denied",
            format!("this user may not publish to {sample}"),
            format!("grant publish on {pattern}"),
        )),
        Err(error) => diagnosis.add(&Finding::problem(
            "publish.failed",
            format!("an event for {sample} would fail: {error}"),
            "jetsink publish -v with one event shows more",
        )),
    }
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
