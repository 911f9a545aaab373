//! A stage for cells: a broker, a folder, a supervisor, and its own log of acknowledged events.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use fs_err as fs;
use nats_local::{NatsServer, stored};
use serde_json::Value;

use super::ledger::{self, Emitted, Tally};
use crate::process::{root, target};
use crate::supervisor::tenant_of;

pub(crate) const STREAM: &str = "CELLOS_EVENTS";

/// The subjects of a supervisor's events, and the variable that sets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subjects {
    /// The sink fills in each event's tenant.
    TenantOfEach,
    /// The supervisor fills in the tenant of the spec.
    Template,
    /// The supervisor puts its own tenant in front.
    TenantOfSupervisor,
}

impl Subjects {
    fn variable(self) -> (&'static str, &'static str) {
        match self {
            Self::TenantOfEach => ("CELL_OS_EVENTS_SUBJECT", "cellos.events.{tenantId}"),
            Self::Template => (
                "CELLOS_EVENTS_SUBJECT_TEMPLATE",
                "cellos.events.of.{tenantId}.{spec_id}.{run_id}",
            ),
            Self::TenantOfSupervisor => ("CELLOS_TENANT_ID", "globex"),
        }
    }

    fn subject(self, run: u32, kind: &str) -> String {
        match self {
            Self::TenantOfEach => format!("cellos.events.{}", tenant_of(kind)),
            Self::Template => format!("cellos.events.of.acme.cell-{run}.run-{run}"),
            Self::TenantOfSupervisor => format!("cellos.events.globex.cell-{run}.run-{run}"),
        }
    }
}

pub(crate) struct Stage<'a> {
    pub(crate) server: NatsServer,
    pub(crate) folder: PathBuf,
    supervisor: &'a Path,
    subjects: Subjects,
    variables: Vec<(&'static str, String)>,
    emitted: Vec<Emitted>,
    pub(crate) runs: u32,
    /// Runs that ended in success.
    pub(crate) succeeded: u32,
}

/// A run under way.
pub(crate) struct Running {
    number: u32,
    child: Child,
    log: PathBuf,
    events: PathBuf,
}

/// Many times the usual time of a run.
const TOO_LONG: Duration = Duration::from_secs(60);

impl<'a> Stage<'a> {
    /// # Errors
    /// No broker, or no folder.
    pub(crate) async fn new(name: &str, supervisor: &'a Path, subjects: Subjects) -> Result<Self> {
        let folder = target().join("clients/runs").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let server = NatsServer::start().await?;
        server.create_stream(STREAM, &["cellos.events.>"]).await?;
        Ok(Self {
            server,
            folder,
            supervisor,
            subjects,
            variables: Vec::new(),
            emitted: Vec::new(),
            runs: 0,
            succeeded: 0,
        })
    }

    /// Sets a variable for all later runs.
    pub(crate) fn set(&mut self, variable: &'static str, value: impl Into<String>) {
        self.variables.push((variable, value.into()));
    }

    /// Creates a folder and sets a variable to its path.
    pub(crate) fn set_folder(&mut self, variable: &'static str) -> Result<PathBuf> {
        let folder = self.folder.join(variable);
        fs::create_dir_all(&folder)?;
        self.set(variable, folder.display().to_string());
        Ok(folder)
    }

    /// Runs cells to their ends, one after another.
    pub(crate) fn run(&mut self, cells: u32) -> Result<()> {
        for _ in 0..cells {
            let running = self.start("echo hello")?;
            self.end(running)?;
        }
        Ok(())
    }

    /// Starts the supervisor on a new cell, which runs the script.
    pub(crate) fn start(&mut self, script: &str) -> Result<Running> {
        self.runs += 1;
        let number = self.runs;
        let spec = fs::read(root().join("tests/clients/cell-spec.json"))?;
        let mut spec: Value = serde_json::from_slice(&spec)?;
        spec["spec"]["id"] = format!("cell-{number}").into();
        spec["spec"]["run"]["argv"][2] = script.into();
        let file = |name: &str| self.folder.join(format!("{number:02}.{name}"));
        let (spec_file, log, events) = (file("spec.json"), file("log"), file("jsonl"));
        fs::write(&spec_file, spec.to_string())?;
        let output = fs::File::create(&log)?.into_file();
        let same_output = output.try_clone()?;
        let (variable, value) = self.subjects.variable();
        let child = command(self.supervisor)
            .arg(&spec_file)
            .env("NATS_URL", self.server.url())
            .env("CELLOS_RUN_ID", format!("run-{number}"))
            // The supervisor's own log: an event is in it once the sink has returned `Ok`.
            .env("CELL_OS_JSONL_EVENTS", &events)
            .env(variable, value)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdout(output)
            .stderr(same_output)
            .spawn()
            .with_context(|| self.supervisor.display().to_string())?;
        Ok(Running {
            number,
            child,
            log,
            events,
        })
    }

    /// Waits until the cell of a run has started and about half of its events are emitted.
    pub(crate) fn await_start_of_cell(&self, running: &Running) -> Result<()> {
        let begun = Instant::now();
        let started = || {
            let events = fs::read_to_string(&running.events).unwrap_or_default();
            events.contains("lifecycle.v1.started")
        };
        while !started() {
            if begun.elapsed() > TOO_LONG {
                bail!("no cell starts; see {}", running.log.display());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Waits for the end of a run, and reads the events for which the sink returned `Ok`.
    pub(crate) fn end(&mut self, mut running: Running) -> Result<()> {
        let begun = Instant::now();
        let status = loop {
            match running.child.try_wait()? {
                Some(status) => break status,
                None if begun.elapsed() > TOO_LONG => {
                    let _ = running.child.kill();
                    let _ = running.child.wait();
                    bail!("a run hung; see {}", running.log.display());
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        self.succeeded += u32::from(status.success());
        let events = fs::read_to_string(&running.events).unwrap_or_default();
        if events.is_empty() {
            return Ok(()); // It never began.
        }
        let number = running.number;
        let receipts = [
            (ledger::BASELINE, ledger::BASELINE.to_owned()),
            (
                ledger::ADMISSION,
                ledger::admission(&format!("run-{number}")),
            ),
        ];
        for (kind, key) in receipts {
            let subject = self.subjects.subject(number, kind);
            self.emitted.push(Emitted { key, subject });
        }
        for line in events.lines() {
            let event: Value =
                serde_json::from_str(line).with_context(|| running.events.display().to_string())?;
            self.emitted.push(Emitted {
                key: ledger::key(&event),
                subject: self.subjects.subject(number, ledger::kind(&event)),
            });
        }
        Ok(())
    }

    /// Compares the stream with the events that were emitted.
    pub(crate) async fn tally(&self, dead: &[Value]) -> Result<Tally> {
        let stored = stored(&self.server.jetstream().await?, STREAM).await?;
        ledger::compare(&self.emitted, dead, &stored)
    }

    pub(crate) fn kill_broker(&mut self) -> Result<()> {
        Ok(self.server.kill()?)
    }

    pub(crate) async fn start_broker(&mut self) -> Result<()> {
        Ok(self.server.restart().await?)
    }
}

/// A program without the variables of our own environment, which could change its behaviour.
pub(crate) fn command(program: &Path) -> Command {
    let ours = ["PATH", "HOME"].iter();
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(ours.filter_map(|&name| Some((name, std::env::var_os(name)?))))
        .env("CELLOS_CELL_BACKEND", "stub")
        .env("CELLOS_BROKER", "env")
        .env("CELLOS_DEPLOYMENT_PROFILE", "portable")
        // Without it a failed connect would end in silence, not in an error.
        .env("CELL_OS_REQUIRE_JETSTREAM", "1")
        .stdin(Stdio::null());
    command
}
