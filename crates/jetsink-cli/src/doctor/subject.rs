//! The streams that capture a subject, and the permission to publish to it.

use std::collections::BTreeSet;

use jetsink::{
    NatsPublisher, PublishError, RequestError, StreamName, Subject, SubjectPattern,
    SubjectTemplate, TenantPolicy,
};
use jiff::Timestamp;
use serde_json::Value;

use super::clock::skew;
use super::diagnosis::Diagnosis;
use super::finding::{StreamFinding, SubjectFinding};
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

    fn has_sample_in(&self, subjects: &[SubjectPattern]) -> bool {
        let sample = self.sample.as_ref();
        sample.is_some_and(|sample| subjects.iter().any(|s| s.matches(sample.as_str())))
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
            Err(RequestError::Denied) => {
                return diagnosis.add(SubjectFinding::StreamsDenied);
            }
            Err(error) => {
                return diagnosis.add(SubjectFinding::StreamsUnknown {
                    pattern: pattern.clone(),
                    error: error.to_string(),
                });
            }
            Ok(names) => names,
        };
        let (mut captures, mut captures_sample) = (false, false);
        for name in &names {
            let info = stream_info(publisher, name, diagnosis).await;
            match &info {
                None => captures = true, // not known
                Some(info) => {
                    let subjects = subjects(info);
                    captures |= covers(&subjects, pattern);
                    captures_sample |= self.has_sample_in(&subjects);
                }
            }
            if let Some(info) = info
                && examined.insert(name.clone())
            {
                let found = stream::examine(&info, expected);
                diagnosis.extend(
                    found
                        .into_iter()
                        .map(|finding| finding.about(name.as_str())),
                );
                let choice = expected.when_unconfirmed;
                let finding = look_up(publisher, name, &info["config"], choice);
                diagnosis.add(finding.await);
                let server = info["ts"].as_str().and_then(|ts| ts.parse().ok());
                diagnosis.extend(server.and_then(|time| skew(time, Timestamp::now())));
            }
        }
        let found = match names.as_slice() {
            // Otherwise the sample proves nothing about the other subjects of the template.
            _ if !captures && !captures_sample && self.reaches_a_stream() => {
                SubjectFinding::Elsewhere {
                    pattern: pattern.clone(),
                }
            }
            names => captured(pattern, names, captures),
        };
        diagnosis.add(found);
    }

    /// Reports whether an event would be stored. `explained` if a finding about the streams is a problem: it has the
    /// cause of a missing answer.
    pub(super) fn report(&self, explained: bool, diagnosis: &mut Diagnosis) {
        let (Some(sample), Some(publish)) = (&self.sample, &self.publish) else {
            return;
        };
        let (sample, pattern) = (sample.to_string(), self.pattern.clone());
        diagnosis.add(match publish {
            Ok(()) => SubjectFinding::PublishAllowed { sample },
            Err(
                PublishError::NoStream
                | PublishError::AckTimeout {
                    broker_answers: true,
                },
            ) if explained => return,
            // This user may not read the streams that would explain it.
            Err(PublishError::NoStream) => SubjectFinding::Unreceived { pattern, sample },
            Err(PublishError::PermissionDenied) => {
                SubjectFinding::PublishDenied { sample, pattern }
            }
            Err(error) => SubjectFinding::PublishFails {
                sample,
                error: error.to_string(),
            },
        });
    }
}

async fn stream_info(
    publisher: &NatsPublisher,
    name: &StreamName,
    diagnosis: &mut Diagnosis,
) -> Option<Value> {
    let finding = match publisher.admin().stream_info(name).await {
        Ok(info) => return Some(info),
        Err(RequestError::Denied) => StreamFinding::InfoDenied,
        Err(error) => StreamFinding::InfoFails {
            error: error.to_string(),
        },
    };
    diagnosis.add(finding.about(name.as_str()));
    None
}

/// The subjects of a stream.
fn subjects(info: &Value) -> Vec<SubjectPattern> {
    let subjects = info["config"]["subjects"].as_array();
    let subjects = subjects.into_iter().flatten().filter_map(Value::as_str);
    subjects
        .filter_map(|subject| subject.parse().ok())
        .collect()
}

/// Whether one of these subjects covers the template.
fn covers(subjects: &[SubjectPattern], pattern: &str) -> bool {
    let pattern = SubjectPattern::new(pattern);
    pattern.is_ok_and(|pattern| subjects.iter().any(|subject| subject.covers(&pattern)))
}

fn captured(pattern: &str, names: &[StreamName], all: bool) -> SubjectFinding {
    let pattern = pattern.to_owned();
    match names {
        [] => SubjectFinding::NoStream { pattern },
        [one] if all => SubjectFinding::Captured {
            pattern,
            stream: one.to_string(),
        },
        streams => {
            let streams = streams.iter().map(ToString::to_string).collect();
            match all {
                true => SubjectFinding::Several { pattern, streams },
                false => SubjectFinding::Partly { pattern, streams },
            }
        }
    }
}
