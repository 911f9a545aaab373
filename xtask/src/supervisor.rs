//! The published CellOS supervisor, unchanged, with our sink swapped in, against a real broker.
//!
//! Its own sink loses about one event in fourteen when the process exits: here all eleven of each
//! run must be in the stream.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use nats_local::{NatsServer, StoredMessage, stored};
use serde_json::Value;

use crate::clients::{self, Whose, command, supervisor as supervisor_with};

const CLIENT: &str = "cellos-supervisor";
const STREAM: &str = "CELLOS_EVENTS";

/// What one run of `tests/clients/cell-spec.json` emits, in this order: the type without the prefix
/// that all share, and the tenant whose subject it goes to.
const EVENTS_OF_A_RUN: [(&str, &str); 11] = [
    ("host.v1.baseline-attestation", "single"),
    ("admission.v1.allowed", "acme"),
    ("observability.v1.network_scope", "acme"),
    ("observability.v1.dns_target_set", "acme"),
    ("lifecycle.v1.started", "acme"),
    ("observability.v1.container_security", "single"),
    ("observability.v1.process_spawned", "acme"),
    ("command.v1.completed", "acme"),
    ("compliance.v1.summary", "acme"),
    ("authority.v1.homeostasis", "acme"),
    ("lifecycle.v1.destroyed", "acme"),
];

const TYPE_PREFIX: &str = "dev.cellos.events.cell.";

/// Builds the supervisor with our sink, runs it `runs` times and audits the stream after each; then has
/// the worse happen to it.
///
/// # Errors
/// What could not be built or run, or which events of which run are not stored.
pub(crate) async fn run(runs: u32) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = root.canonicalize().map_err(at("the project", &root))?;
    let folder = root.join("target/clients");
    fs::create_dir_all(&folder).map_err(at("creating", &folder))?;

    let started = Instant::now();
    let supervisor = supervisor_with(Whose::Ours)?;
    println!("built in {:.0} s", started.elapsed().as_secs_f64());

    let server = NatsServer::start().await.map_err(|e| e.to_string())?;
    let created = server.create_stream(STREAM, &["cellos.events.>"]).await;
    created.map_err(|e| e.to_string())?;
    let jetstream = server.jetstream().await.map_err(|e| e.to_string())?;

    let spec = root.join("tests/clients/cell-spec.json");
    let mut seen = 0;
    let mut longest = Duration::ZERO;
    for run in 1..=runs {
        let log = folder.join(format!("run-{run:02}.log"));
        let started = Instant::now();
        supervise(&supervisor, &spec, &server.url(), &log)?;
        longest = longest.max(started.elapsed());
        // No wait: `Ok` meant stored, and the process is gone.
        let messages = stored(&jetstream, STREAM)
            .await
            .map_err(|e| e.to_string())?;
        check(&messages[seen..])
            .map_err(|e| format!("run {run}: {e}; its log is {}", log.display()))?;
        seen = messages.len();
        println!("run {run:2}: {} events stored", EVENTS_OF_A_RUN.len());
    }
    println!(
        "{runs} runs: {seen} of {} events stored, each once, in order; longest run {} ms",
        runs as usize * EVENTS_OF_A_RUN.len(),
        longest.as_millis()
    );
    clients::ours(&supervisor).await
}

/// Whose the subject of an event is, by its type without the prefix.
pub(crate) fn tenant_of(kind: &str) -> &'static str {
    let known = EVENTS_OF_A_RUN.iter().find(|(known, _)| *known == kind);
    known.map_or("single", |(_, tenant)| tenant)
}

fn supervise(supervisor: &Path, spec: &Path, url: &str, log: &Path) -> Result<(), String> {
    let output = || File::create(log).map_err(at("creating", log));
    let mut child = command(supervisor)
        .arg(spec)
        .env("NATS_URL", url)
        // Passed on as it stands, so that it is our sink that fills in each event's tenant.
        .env("CELL_OS_EVENTS_SUBJECT", "cellos.events.{tenantId}")
        .stdout(output()?)
        .stderr(output()?)
        .spawn()
        .map_err(at("running", supervisor))?;
    let started = Instant::now();
    loop {
        match child.try_wait().map_err(at("waiting for", supervisor))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("{CLIENT}: {status}; see {}", log.display())),
            None if started.elapsed() > Duration::from_secs(60) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{CLIENT} hung for 60 s; see {}", log.display()));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// The messages of one run: all events, in order, at the right subject, sent by our sink, whose ids
/// `<sink>.<n>` count up without a gap.
fn check(messages: &[StoredMessage]) -> Result<(), String> {
    let mut found = Vec::new();
    let mut last_of_sink = HashMap::new();
    for message in messages {
        let sequence = message.sequence;
        let event: Value = serde_json::from_slice(&message.payload)
            .map_err(|e| format!("message {sequence} is no JSON: {e}"))?;
        let event_type = event["type"].as_str().unwrap_or_default();
        let event_type = event_type.strip_prefix(TYPE_PREFIX).unwrap_or(event_type);
        let tenant = message.subject.rsplit('.').next().unwrap_or_default();
        found.push((event_type.to_owned(), tenant.to_owned()));

        let id = message.message_id.as_deref().unwrap_or_default();
        let (sink, number) = id
            .rsplit_once('.')
            .and_then(|(sink, n)| Some((sink.to_owned(), n.parse::<u64>().ok()?)))
            .ok_or_else(|| format!("message {sequence} has the id {id:?}: not from our sink"))?;
        let last = last_of_sink.entry(sink).or_insert(0);
        if number != *last + 1 {
            return Err(format!("message {sequence} has the id {id:?} after {last}"));
        }
        *last = number;
    }
    let expected = EVENTS_OF_A_RUN.map(|(event_type, tenant)| (event_type.into(), tenant.into()));
    if found != expected {
        let missing: Vec<_> = expected.iter().filter(|e| !found.contains(e)).collect();
        return Err(format!("stored are {found:?}; missing {missing:?}"));
    }
    Ok(())
}

fn at<'a, E: std::fmt::Display>(what: &'a str, path: &'a Path) -> impl FnOnce(E) -> String + 'a {
    move |error| format!("{what} {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_run() -> Vec<StoredMessage> {
        let events = EVENTS_OF_A_RUN.iter().zip(1_u64..);
        events
            .map(|((event_type, tenant), sequence)| StoredMessage {
                sequence,
                subject: format!("cellos.events.{tenant}"),
                // Two sinks: the receipts before the run have their own.
                message_id: Some(match sequence {
                    1 => "a.1".to_owned(),
                    _ => format!("b.{}", sequence - 1),
                }),
                headers: Default::default(),
                payload: format!(r#"{{"type":"{TYPE_PREFIX}{event_type}"}}"#).into(),
            })
            .collect()
    }

    #[test]
    fn a_planted_loss_swap_duplicate_stranger_and_wrong_tenant_are_each_found() {
        assert_eq!(check(&a_run()), Ok(()));
        let plants: [fn(&mut Vec<StoredMessage>); 6] = [
            |run| drop(run.pop()),
            |run| drop(run.remove(0)),
            |run| run.swap(4, 5),
            |run| run.push(run[10].clone()),
            |run| run[3].message_id = None,
            |run| run[10].subject = "cellos.events.other".to_owned(),
        ];
        for (number, plant) in plants.iter().enumerate() {
            let mut run = a_run();
            plant(&mut run);
            assert!(check(&run).is_err(), "plant {number}");
        }
    }
}
