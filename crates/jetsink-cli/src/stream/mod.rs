//! `jetsink stream`: compares streams with a specification, and creates or changes them.

pub(crate) mod arguments;
mod file;

use std::collections::BTreeSet;

use jetsink::{
    NatsPublisher, RequestError, StreamChangeKind, StreamError, StreamName, StreamPlan, StreamSpec,
    StreamStorage,
};
use serde_json::json;

use crate::connection::{environment, resolve_connection};
use crate::failure::Failure;
use crate::output::{self, LogFrom};
use crate::runtime::runtime;
use arguments::{Limits, Preset, StorageKind, Stream, Wanted};

pub(crate) fn run(command: Stream) -> Result<u8, Failure> {
    output::start_log(0, LogFrom::Error);
    let (wanted, verb) = match command {
        Stream::Plan(wanted) => (*wanted, Verb::Plan),
        Stream::Check(wanted) => (*wanted, Verb::Check),
        Stream::Apply(apply) => (apply.wanted, Verb::Apply { force: apply.force }),
    };
    let specs = specs(&wanted)?;
    let connect = resolve_connection(&wanted.connection, environment)?.name("jetsink stream");
    runtime()?.block_on(async {
        let publisher = NatsPublisher::connect(connect).await?;
        let mut code = 0;
        for spec in &specs {
            code = code.max(one(&publisher, spec, verb, wanted.json).await?);
        }
        Ok(code)
    })
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Plan,
    Check,
    Apply { force: bool },
}

async fn one(
    publisher: &NatsPublisher,
    spec: &StreamSpec,
    verb: Verb,
    json: bool,
) -> Result<u8, Failure> {
    let plan = publisher.admin().plan_stream(spec).await?;
    let (mut changed, mut failed) = (Some(false), None);
    let code = match verb {
        Verb::Plan => 0,
        Verb::Check => u8::from(!plan.is_satisfied()),
        Verb::Apply { force } => match publisher.admin().apply_stream(&plan, force).await {
            Ok(applied) => {
                changed = Some(applied);
                0
            }
            Err(StreamError::Broker { stream, error }) if !error.is_refusal() => {
                // Any other request may have been sent.
                changed = (error == RequestError::NotConnected).then_some(false);
                failed = Some(StreamError::Broker { stream, error });
                0
            }
            // Continue with the other streams.
            Err(error) => {
                let others = others_with_subjects(publisher, spec, &error).await;
                output::note(&format!("{error}{others}"));
                1
            }
        },
    };
    if json {
        let mut now = Now::after(&plan, changed);
        // A server may ignore a setting that it does not know.
        if changed == Some(true) {
            match publisher.admin().plan_stream(spec).await {
                Ok(after) => now = Now::of(&after),
                Err(error) => failed = Some(error),
            }
        }
        output::print(&described(&plan, now, changed).to_string());
    } else if changed == Some(true) && !plan.exists() {
        output::print(&format!("stream {} was created", plan.stream()));
    } else if failed.is_none() {
        output::print(&plan.to_string());
        if changed == Some(true) {
            output::print(&format!("stream {} was changed", plan.stream()));
        }
    }
    match failed {
        None => Ok(code),
        Some(error) => Err(error.into()),
    }
}

/// The server's code for a stream that would capture subjects of another one.
const SUBJECTS_OVERLAP: u64 = 10_065;

/// The streams that capture the subjects of a stream that was refused for that, as the rest of a sentence.
async fn others_with_subjects(
    publisher: &NatsPublisher,
    spec: &StreamSpec,
    error: &StreamError,
) -> String {
    match error {
        StreamError::Broker {
            error: RequestError::Refused(refusal),
            ..
        } if refusal.code == SUBJECTS_OVERLAP => {}
        _ => return String::new(),
    }
    let mut others = BTreeSet::new();
    for subject in spec.subjects() {
        let Ok(names) = publisher.admin().stream_names(subject).await else {
            break;
        };
        others.extend(names);
    }
    let others = others.iter().map(StreamName::as_str);
    let others: Vec<&str> = others.filter(|name| *name != spec.name()).collect();
    match others.as_slice() {
        [] => String::new(),
        others => format!(
            "; some of these subjects belong to {}: change that stream, or choose other subjects",
            others.join(", ")
        ),
    }
}

/// The state of a stream after the command; `None` if it is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Now {
    exists: Option<bool>,
    satisfied: Option<bool>,
}

impl Now {
    fn of(plan: &StreamPlan) -> Self {
        Self {
            exists: Some(plan.exists()),
            satisfied: Some(plan.is_satisfied()),
        }
    }

    /// The state after a change that was made, was not made, or may have been made.
    fn after(plan: &StreamPlan, changed: Option<bool>) -> Self {
        match changed {
            Some(false) => Self::of(plan),
            Some(true) => Self {
                exists: Some(true),
                satisfied: None,
            },
            None => Self {
                exists: plan.exists().then_some(true),
                satisfied: None,
            },
        }
    }
}

/// The object of `--json`, with the differences that were found.
fn described(plan: &StreamPlan, now: Now, changed: Option<bool>) -> serde_json::Value {
    let changes = plan.changes().iter().map(|change| {
        let (kind, reason) = match change.kind {
            StreamChangeKind::Safe => ("safe", None),
            StreamChangeKind::Reduces => ("shrinks", None),
            StreamChangeKind::Impossible { reason } => ("impossible", Some(reason)),
            _ => ("unknown", None),
        };
        json!({
            "field": change.field,
            "from": change.from,
            "to": change.to,
            "kind": kind,
            "reason": reason,
        })
    });
    json!({
        "stream": plan.stream(),
        "exists": now.exists,
        "satisfied": now.satisfied,
        "changed": changed,
        "changes": changes.collect::<Vec<_>>(),
    })
}

/// The stream that the CellOS server reads.
const CELLOS_STREAM: &str = "CELLOS_EVENTS";
const CELLOS_SUBJECTS: &str = "cellos.events.>";

fn specs(wanted: &Wanted) -> Result<Vec<StreamSpec>, Failure> {
    if let Some(path) = &wanted.file {
        return file::read(path);
    }
    let spec = match (wanted.preset, &wanted.name) {
        (Some(Preset::Cellos), _) => StreamSpec::new(CELLOS_STREAM, [CELLOS_SUBJECTS])?,
        (None, name) => {
            // clap asks for one of the three.
            let name = name.as_deref().unwrap_or_default();
            StreamSpec::new(name, &wanted.subjects)?
        }
    };
    Ok(vec![wanted.limits.put_on(spec)?])
}

impl Limits {
    fn put_on(&self, mut spec: StreamSpec) -> Result<StreamSpec, Failure> {
        // Before the duplicate window, which may not be longer.
        if let Some(floor) = self.retention_floor {
            spec = spec.retention_floor(floor)?;
        }
        if let Some(window) = self.duplicate_window {
            spec = spec.duplicate_window(window)?;
        }
        if let Some(storage) = self.storage {
            spec = spec.storage(match storage {
                StorageKind::File => StreamStorage::File,
                StorageKind::Memory => StreamStorage::Memory,
            });
        }
        if let Some(replicas) = self.replicas {
            spec = spec.replicas(replicas)?;
        }
        if let Some(bytes) = self.max_bytes {
            spec = spec.max_bytes(bytes)?;
        }
        spec = spec
            .deny_delete(self.deny_delete)
            .deny_purge(self.deny_purge)
            .allow_message_ttl(self.allow_ttl);
        if let Some(on) = self.compression {
            spec = spec.compression(on);
        }
        if let Some(cluster) = &self.placement_cluster {
            spec = spec.placement_cluster(cluster);
        }
        for tag in &self.placement_tags {
            spec = spec.placement_tag(tag);
        }
        Ok(spec)
    }
}
