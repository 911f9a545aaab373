//! Where cells run: a broker of its own, a folder, a supervisor, and the account of what it was told.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nats_local::{NatsServer, stored};
use serde_json::Value;

use super::ledger::{self, Emitted, Tally};
use crate::checks::target;
use crate::root;
use crate::supervisor::tenant_of;

pub(crate) const STREAM: &str = "CELLOS_EVENTS";

/// Where a supervisor is told to send its events, and where they belong for it.
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
    /// Those that ended in success.
    pub(crate) succeeded: u32,
}

/// A run under way.
pub(crate) struct Running {
    number: u32,
    child: Child,
    log: PathBuf,
    events: PathBuf,
}

/// Many times what a run takes.
const TOO_LONG: Duration = Duration::from_secs(60);

impl<'a> Stage<'a> {
    /// # Errors
    /// No broker, or no folder.
    pub(crate) async fn new(
        name: &str,
        supervisor: &'a Path,
        subjects: Subjects,
    ) -> Result<Self, String> {
        let folder = target().join("clients/runs").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let server = NatsServer::start().await.map_err(|e| e.to_string())?;
        let created = server.create_stream(STREAM, &["cellos.events.>"]).await;
        created.map_err(|e| e.to_string())?;
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

    /// For all runs from now on.
    pub(crate) fn set(&mut self, variable: &'static str, value: impl Into<String>) {
        self.variables.push((variable, value.into()));
    }

    /// The same, with a folder that is there.
    pub(crate) fn set_folder(&mut self, variable: &'static str) -> Result<PathBuf, String> {
        let folder = self.folder.join(variable);
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        self.set(variable, folder.display().to_string());
        Ok(folder)
    }

    /// Runs so many cells, one after another, to their ends.
    pub(crate) fn run(&mut self, cells: u32) -> Result<(), String> {
        for _ in 0..cells {
            let running = self.start("echo hello")?;
            self.end(running)?;
        }
        Ok(())
    }

    /// Starts the supervisor on a cell of its own, which does what the script says.
    pub(crate) fn start(&mut self, script: &str) -> Result<Running, String> {
        self.runs += 1;
        let number = self.runs;
        let at = |path: &Path| {
            let path = path.display().to_string();
            move |error: std::io::Error| format!("{path}: {error}")
        };
        let spec = root().join("tests/clients/cell-spec.json");
        let spec = fs::read(&spec).map_err(at(&spec))?;
        let mut spec: Value = serde_json::from_slice(&spec).map_err(|e| e.to_string())?;
        spec["spec"]["id"] = format!("cell-{number}").into();
        spec["spec"]["run"]["argv"][2] = script.into();
        let file = |name: &str| self.folder.join(format!("{number:02}.{name}"));
        let (spec_file, log, events) = (file("spec.json"), file("log"), file("jsonl"));
        fs::write(&spec_file, spec.to_string()).map_err(at(&spec_file))?;
        let output = File::create(&log).map_err(at(&log))?;
        let same_output = output.try_clone().map_err(at(&log))?;
        let (variable, value) = self.subjects.variable();
        let child = command(self.supervisor)
            .arg(&spec_file)
            .env("NATS_URL", self.server.url())
            .env("CELLOS_RUN_ID", format!("run-{number}"))
            // The supervisor's own account: an event is in it once the sink has said `Ok`.
            .env("CELL_OS_JSONL_EVENTS", &events)
            .env(variable, value)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdout(output)
            .stderr(same_output)
            .spawn()
            .map_err(at(self.supervisor))?;
        Ok(Running {
            number,
            child,
            log,
            events,
        })
    }

    /// Waits until the cell of a run is under way: its events are half of them out.
    pub(crate) fn await_start_of_cell(&self, running: &Running) -> Result<(), String> {
        let begun = Instant::now();
        let started = || {
            let events = fs::read_to_string(&running.events).unwrap_or_default();
            events.contains("lifecycle.v1.started")
        };
        while !started() {
            if begun.elapsed() > TOO_LONG {
                return Err(format!("no cell starts; see {}", running.log.display()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Waits for the end of a run, and takes down what it was told `Ok` for.
    pub(crate) fn end(&mut self, mut running: Running) -> Result<(), String> {
        let begun = Instant::now();
        let status = loop {
            match running.child.try_wait().map_err(|e| e.to_string())? {
                Some(status) => break status,
                None if begun.elapsed() > TOO_LONG => {
                    let _ = running.child.kill();
                    let _ = running.child.wait();
                    return Err(format!("a run hung; see {}", running.log.display()));
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
            let event: Value = serde_json::from_str(line)
                .map_err(|e| format!("{}: {e}", running.events.display()))?;
            self.emitted.push(Emitted {
                key: ledger::key(&event),
                subject: self.subjects.subject(number, ledger::kind(&event)),
            });
        }
        Ok(())
    }

    /// What is in the stream now, against what was emitted by now.
    pub(crate) async fn tally(&self, dead: &[Value]) -> Result<Tally, String> {
        let jetstream = self.server.jetstream().await.map_err(|e| e.to_string())?;
        let stored = stored(&jetstream, STREAM)
            .await
            .map_err(|e| e.to_string())?;
        ledger::compare(&self.emitted, dead, &stored)
    }

    pub(crate) fn kill_broker(&mut self) -> Result<(), String> {
        self.server.kill().map_err(|e| e.to_string())
    }

    pub(crate) async fn start_broker(&mut self) -> Result<(), String> {
        self.server.start_again().await.map_err(|e| e.to_string())
    }
}

/// With nothing of our own environment that could change what it does.
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
