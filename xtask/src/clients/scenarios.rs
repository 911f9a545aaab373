//! The scenarios for supervisors and their broker, and the expected results.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use serde_json::Value;

use super::install::SinkOf;
use super::ledger::{Tally, unsigned};
use super::stage::{Stage, Subjects};
use crate::process::{output, succeed};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Healthy,
    Template,
    TenantOfSupervisor,
    Wrapped,
    KilledWithDeadLetters,
    KilledWithSpool,
    DownAtStart,
    DownAtStartReplayed,
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    pub(crate) sink_of: SinkOf,
    pub(crate) runs: u32,
    pub(crate) succeeded: u32,
    pub(crate) tally: Tally,
}

/// The variable that turns our spool on; the published sink has none.
const SPOOL: &str = "CELLOS_JETSTREAM_SPOOL_DIR";

/// Longer than a message of a process that has ended is on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// Long enough for the spool to be emptied meanwhile, on any machine.
const LONG_CELL: &str = "sleep 3";

impl Scenario {
    pub(crate) const ALL: [Self; 8] = [
        Self::Healthy,
        Self::Template,
        Self::TenantOfSupervisor,
        Self::Wrapped,
        Self::KilledWithDeadLetters,
        Self::KilledWithSpool,
        Self::DownAtStart,
        Self::DownAtStartReplayed,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Healthy => "healthy broker, subject by each event's tenant",
            Self::Template => "CELLOS_EVENTS_SUBJECT_TEMPLATE",
            Self::TenantOfSupervisor => "CELLOS_TENANT_ID",
            Self::Wrapped => "redacted, signed, DLQ on",
            Self::KilledWithDeadLetters => "broker killed within a cell, DLQ on",
            Self::KilledWithSpool => "broker killed and restarted twice, spool on",
            Self::DownAtStart => "no broker at start, spool on, next run delivers",
            Self::DownAtStartReplayed => "no broker at start, `jetsink spool replay` delivers",
        }
    }

    /// Whether it needs a spool, which the published sink does not have.
    pub(crate) fn has_spool(self) -> bool {
        match self {
            Self::Healthy
            | Self::Template
            | Self::TenantOfSupervisor
            | Self::Wrapped
            | Self::KilledWithDeadLetters => false,
            Self::KilledWithSpool | Self::DownAtStart | Self::DownAtStartReplayed => true,
        }
    }

    /// # Errors
    /// A program does not run, or breaks an expectation that the tally does not count. The caller judges the tally.
    pub(crate) async fn play(
        self,
        sink_of: SinkOf,
        supervisor: &Path,
        jetsink: &Path,
    ) -> Result<Row> {
        let subjects = match self {
            Self::Template => Subjects::Template,
            Self::TenantOfSupervisor => Subjects::TenantOfSupervisor,
            _ => Subjects::TenantOfEach,
        };
        let name = format!("{}-{self:?}", sink_of.name());
        let mut stage = Stage::new(&name, supervisor, subjects).await?;
        let mut dead = Vec::new();
        match self {
            Self::Healthy => stage.run(20)?,
            Self::Template | Self::TenantOfSupervisor => stage.run(5)?,
            Self::Wrapped => {
                wrap(&mut stage);
                let folder = stage.set_folder("CELLOS_DLQ_DIR")?;
                stage.run(5)?;
                dead = dead_letters(&folder)?;
                check_wrapped(&stage)?;
            }
            Self::KilledWithDeadLetters => {
                let folder = stage.set_folder("CELLOS_DLQ_DIR")?;
                stage.run(2)?;
                kill_within_a_cell(&mut stage)?;
                stage.start_broker().await?;
                stage.run(2)?;
                dead = dead_letters(&folder)?;
            }
            Self::KilledWithSpool => {
                let spool = stage.set_folder(SPOOL)?;
                for _ in 0..2 {
                    stage.run(3)?;
                    kill_within_a_cell(&mut stage)?;
                    stage.run(3)?;
                    // Back within a cell, too.
                    let running = stage.start("sleep 1")?;
                    stage.await_start_of_cell(&running)?;
                    stage.start_broker().await?;
                    stage.end(running)?;
                }
                stage.run(3)?;
                replay(jetsink, &spool, &stage.server.url())?;
            }
            Self::DownAtStart => {
                let spool = stage.set_folder(SPOOL)?;
                stage.kill_broker()?;
                stage.run(5)?;
                stage.start_broker().await?;
                let running = stage.start(LONG_CELL)?;
                stage.end(running)?;
                let left = pending(jetsink, &spool)?;
                ensure!(left == 0, "{left} pending events after a run with a broker");
            }
            Self::DownAtStartReplayed => {
                let spool = stage.set_folder(SPOOL)?;
                stage.kill_broker()?;
                stage.run(5)?;
                let before = pending(jetsink, &spool)?;
                ensure!(
                    before == 55,
                    "{before} of 55 events are pending in the spool"
                );
                stage.start_broker().await?;
                replay(jetsink, &spool, &stage.server.url())?;
            }
        }
        tokio::time::sleep(ON_ITS_WAY).await;
        Ok(Row {
            scenario: self,
            sink_of,
            runs: stage.runs,
            succeeded: stage.succeeded,
            tally: stage.tally(&dead).await?,
        })
    }
}

fn kill_within_a_cell(stage: &mut Stage<'_>) -> Result<()> {
    let running = stage.start("sleep 1")?;
    stage.await_start_of_cell(&running)?;
    stage.kill_broker()?;
    stage.end(running)
}

fn wrap(stage: &mut Stage<'_>) {
    stage.set("CELLOS_REDACT_EVENT_FIELDS", "defaults");
    stage.set("CELLOS_EVENT_SIGNING", "ed25519");
    stage.set("CELLOS_EVENT_SIGNING_KID", "test");
    // 32 bytes of 7: a key for nothing but this.
    let seed = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    stage.set("CELLOS_EVENT_SIGNING_KEY_BASE64", seed);
    // Otherwise a variable with a wrong value would turn the wrapper off.
    stage.set("CELLOS_STRICT_CONFIG", "1");
}

/// Checks that the wrappers did wrap, in the supervisor's own log. The tally compares that with the stream.
fn check_wrapped(stage: &Stage<'_>) -> Result<()> {
    let file = stage.folder.join("01.jsonl");
    let text = fs::read_to_string(&file)?;
    for line in text.lines() {
        let event: Value = serde_json::from_str(line)?;
        let signed = event["data"]["signature"]
            .as_str()
            .is_some_and(|s| s.len() > 80);
        if !signed || unsigned(&event)["type"].as_str().is_none() {
            bail!("not signed: {line}");
        }
    }
    ensure!(text.contains("[redacted]"), "nothing is redacted");
    Ok(())
}

/// The dead letters of the supervisor's own queue, each in a file.
fn dead_letters(folder: &Path) -> Result<Vec<Value>> {
    let mut events = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let text = fs::read(&path)?;
        let mut letter: Value =
            serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        events.push(letter["event"].take());
    }
    Ok(events)
}

fn pending(jetsink: &Path, spool: &Path) -> Result<u64> {
    let mut status = Command::new(jetsink);
    let text = output(status.args(["spool", "status", "--json"]).arg(spool))?;
    let status: Value = serde_json::from_str(&text).context("jetsink spool status")?;
    let events = status["events"].as_u64();
    events.with_context(|| format!("jetsink spool status: {status}"))
}

fn replay(jetsink: &Path, spool: &Path, url: &str) -> Result<()> {
    let mut replay = Command::new(jetsink);
    replay.args(["spool", "replay", "--server", url]);
    succeed(replay.arg(spool))
}
