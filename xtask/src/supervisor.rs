//! The published CellOS supervisor, unchanged, with our sink swapped in, against a real broker.
//!
//! Its own sink loses about one event in fourteen when the process exits: here all eleven of each
//! run must be in the stream.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use nats_local::{NatsServer, StoredMessage, stored};
use serde_json::Value;

use crate::clients::{self, SinkOf, command, supervisor as supervisor_with};
use crate::process::{root, target};

const CLIENT: &str = "cellos-supervisor";
const STREAM: &str = "CELLOS_EVENTS";

/// The events of one run of `tests/clients/cell-spec.json`, in their order: the type without the common
/// prefix, and the tenant of its subject.
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

/// Builds the supervisor with our sink, runs it `runs` times and audits the stream after each run; then the
/// same in outages.
///
/// # Errors
/// A program does not build or run, or an event is not stored.
pub(crate) async fn run(runs: u32) -> Result<()> {
    let folder = target().join("clients");
    fs::create_dir_all(&folder)?;

    let started = Instant::now();
    let supervisor = supervisor_with(SinkOf::Jetsink)?;
    println!("built in {:.0} s", started.elapsed().as_secs_f64());

    let server = NatsServer::start().await?;
    server.create_stream(STREAM, &["cellos.events.>"]).await?;
    let jetstream = server.jetstream().await?;

    let spec = root().join("tests/clients/cell-spec.json");
    let mut seen = 0;
    let mut longest = Duration::ZERO;
    for run in 1..=runs {
        let log = folder.join(format!("run-{run:02}.log"));
        let started = Instant::now();
        supervise(&supervisor, &spec, &server.url(), &log)?;
        longest = longest.max(started.elapsed());
        // No wait: `Ok` meant stored, and the process is gone.
        let messages = stored(&jetstream, STREAM).await?;
        check(&messages[seen..])
            .with_context(|| format!("run {run}, with its log in {}", log.display()))?;
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

/// The tenant of an event's subject, by its type without the prefix.
pub(crate) fn tenant_of(kind: &str) -> &'static str {
    let known = EVENTS_OF_A_RUN.iter().find(|(known, _)| *known == kind);
    known.map_or("single", |(_, tenant)| tenant)
}

fn supervise(supervisor: &Path, spec: &Path, url: &str, log: &Path) -> Result<()> {
    let output = || anyhow::Ok(fs::File::create(log)?.into_file());
    let mut child = command(supervisor)
        .arg(spec)
        .env("NATS_URL", url)
        // The supervisor passes the template on, and our sink fills in the tenant of each event.
        .env("CELL_OS_EVENTS_SUBJECT", "cellos.events.{tenantId}")
        .stdout(output()?)
        .stderr(output()?)
        .spawn()
        .with_context(|| supervisor.display().to_string())?;
    let started = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("{CLIENT}: {status}; see {}", log.display()),
            None if started.elapsed() > Duration::from_secs(60) => {
                let _ = child.kill();
                let _ = child.wait();
                bail!("{CLIENT} hung for 60 s; see {}", log.display());
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Checks the messages of one run: all events, in order, on the right subject, sent by our sink, whose ids
/// `<sink>.<n>` count up without a gap.
fn check(messages: &[StoredMessage]) -> Result<()> {
    let mut found = Vec::new();
    let mut last_of_sink = HashMap::new();
    for message in messages {
        let sequence = message.sequence;
        let event: Value = serde_json::from_slice(&message.payload)
            .with_context(|| format!("message {sequence} is not JSON"))?;
        let event_type = event["type"].as_str().unwrap_or_default();
        let event_type = event_type.strip_prefix(TYPE_PREFIX).unwrap_or(event_type);
        let tenant = message.subject.rsplit('.').next().unwrap_or_default();
        found.push((event_type.to_owned(), tenant.to_owned()));

        let id = message.message_id.as_deref().unwrap_or_default();
        let (sink, number) = id
            .rsplit_once('.')
            .and_then(|(sink, n)| Some((sink.to_owned(), n.parse::<u64>().ok()?)))
            .with_context(|| format!("message {sequence} has the id {id:?}: not from our sink"))?;
        let last = last_of_sink.entry(sink).or_insert(0);
        ensure!(
            number == *last + 1,
            "message {sequence} has the id {id:?} after {last}"
        );
        *last = number;
    }
    let expected = EVENTS_OF_A_RUN.map(|(event_type, tenant)| (event_type.into(), tenant.into()));
    if found != expected {
        let missing: Vec<_> = expected.iter().filter(|e| !found.contains(e)).collect();
        bail!("stored are {found:?}; missing {missing:?}");
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests/supervisor.rs"]
mod tests;
