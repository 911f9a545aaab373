//! What happens to supervisors and their broker, and what must come of it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::install::Whose;
use super::ledger::{Tally, unsigned};
use super::stage::{Stage, Subjects};

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
    pub(crate) whose: Whose,
    pub(crate) runs: u32,
    pub(crate) succeeded: u32,
    pub(crate) tally: Tally,
}

/// How our spool is turned on; the published sink has none.
const SPOOL: &str = "CELLOS_JETSTREAM_SPOOL_DIR";

/// Longer than what a process has sent by its end is on its way.
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

    /// Whether it is about the spool, which the published sink has not.
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
    /// What could not be run, or is wrong beyond what the tally counts. What it counts is for the caller
    /// to judge.
    pub(crate) async fn play(
        self,
        whose: Whose,
        supervisor: &Path,
        jetsink: &Path,
    ) -> Result<Row, String> {
        let subjects = match self {
            Self::Template => Subjects::Template,
            Self::TenantOfSupervisor => Subjects::TenantOfSupervisor,
            _ => Subjects::TenantOfEach,
        };
        let name = format!("{}-{self:?}", whose.name());
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
                let left = waiting(jetsink, &spool)?;
                if left != 0 {
                    return Err(format!("{left} events wait after a run with a broker"));
                }
            }
            Self::DownAtStartReplayed => {
                let spool = stage.set_folder(SPOOL)?;
                stage.kill_broker()?;
                stage.run(5)?;
                let before = waiting(jetsink, &spool)?;
                if before != 55 {
                    return Err(format!("{before} of 55 events wait in the spool"));
                }
                stage.start_broker().await?;
                replay(jetsink, &spool, &stage.server.url())?;
            }
        }
        tokio::time::sleep(ON_ITS_WAY).await;
        Ok(Row {
            scenario: self,
            whose,
            runs: stage.runs,
            succeeded: stage.succeeded,
            tally: stage.tally(&dead).await?,
        })
    }
}

fn kill_within_a_cell(stage: &mut Stage<'_>) -> Result<(), String> {
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
    // Or a variable that the supervisor does not like would turn the wrapper off.
    stage.set("CELLOS_STRICT_CONFIG", "1");
}

/// Whether the wrappers did wrap, by what the supervisor kept: the tally holds the stream against it.
fn check_wrapped(stage: &Stage<'_>) -> Result<(), String> {
    let file = stage.folder.join("01.jsonl");
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let signed = event["data"]["signature"]
            .as_str()
            .is_some_and(|s| s.len() > 80);
        if !signed || unsigned(&event)["type"].as_str().is_none() {
            return Err(format!("not signed: {line}"));
        }
    }
    if !text.contains("[redacted]") {
        return Err("nothing is redacted".to_owned());
    }
    Ok(())
}

/// What the supervisor's own queue has, which writes a file for each.
fn dead_letters(folder: &Path) -> Result<Vec<Value>, String> {
    let mut events = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry.map_err(|e| e.to_string())?.path();
        let text = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut letter: Value =
            serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        events.push(letter["event"].take());
    }
    Ok(events)
}

fn waiting(jetsink: &Path, spool: &Path) -> Result<u64, String> {
    let mut status = Command::new(jetsink);
    let output = status
        .args(["spool", "status", "--json"])
        .arg(spool)
        .output();
    let output = output.map_err(|e| format!("{}: {e}", jetsink.display()))?;
    let status: Value = serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("jetsink spool status: {e}: {output:?}"))?;
    let events = status["events"].as_u64();
    events.ok_or_else(|| format!("jetsink spool status: {status}"))
}

fn replay(jetsink: &Path, spool: &Path, url: &str) -> Result<(), String> {
    crate::succeed(
        Command::new(jetsink)
            .args(["spool", "replay", "--server", url])
            .arg(spool),
    )
}
