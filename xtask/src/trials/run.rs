//! Running one trial: its test by cargo, with its count and seed in the environment.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use super::list::{Counts, Test, Trial};
use super::outcome::Outcome;
use crate::checks::target;
use crate::root;

/// As release, with the checks for overflow that it leaves out.
const FULL_PROFILE: &str = "trials";

/// A trial that takes longer has stalled.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// How many histories run at a time, for trials that can.
const THREADS: &str = "2";

/// One run of one trial.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) trial: Trial,
    pub(crate) seed: u64,
    /// None where its test did not come to its end.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) took: Duration,
    pub(crate) log: PathBuf,
}

impl Run {
    pub(crate) fn is_passed(&self) -> bool {
        self.outcome.is_some_and(Outcome::is_passed)
    }
}

/// Where cargo runs: this tree, or a copy of it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) tree: PathBuf,
    pub(crate) quick: bool,
    /// How long one trial may take.
    pub(crate) longest: Duration,
}

impl Place {
    pub(crate) fn here(quick: bool) -> Self {
        Self {
            tree: root(),
            quick,
            longest: LONGEST,
        }
    }

    fn cargo_test(&self, test: &Test) -> Command {
        let mut command = Command::new(env!("CARGO"));
        command
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", target())
            .args(["test", "--quiet", "--locked", "--package", test.package]);
        if !self.quick {
            command.args(["--profile", FULL_PROFILE]);
        }
        if !test.features.is_empty() {
            command.args(["--features", &test.features.join(",")]);
        }
        match test.file {
            Some(file) => command.args(["--test", file]),
            None => command.arg("--lib"),
        };
        command
    }

    /// Compiles a trial's test, so that its time is its own.
    pub(crate) fn build(&self, test: &Test) -> Result<(), String> {
        let mut command = self.cargo_test(test);
        crate::succeed(command.arg("--no-run"))
    }

    /// Runs a trial from `seed`, `count` histories of it.
    pub(crate) fn run(&self, trial: &Trial, seed: u64, count: u64) -> Result<Run, String> {
        let folder = target().join("trial-logs");
        let log = folder.join(format!("{}.log", trial.name));
        let told = |e: std::io::Error| format!("{}: {e}", log.display());
        std::fs::create_dir_all(&folder).map_err(told)?;
        let output = File::create(&log).map_err(told)?;
        let mut command = self.cargo_test(&trial.test);
        command
            .env("JETSINK_SEED", seed.to_string())
            .env("JETSINK_TRIAL_COUNT", count.to_string())
            .env("JETSINK_TRIAL_THREADS", THREADS)
            .env("RUST_BACKTRACE", "0")
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone().map_err(told)?)
            .stderr(output)
            .args(["--", "--nocapture"]);
        if let Some(path) = trial.test.path {
            command.args(["--exact", path]);
        }
        let started = Instant::now();
        let mut child = command
            .process_group(0)
            .spawn()
            .map_err(|e| format!("cargo: {e}"))?;
        let status = wait(&mut child, self.longest)?;
        let took = started.elapsed();
        let printed = std::fs::read(&log).map_err(told)?;
        let printed = String::from_utf8_lossy(&printed);
        let mut outcome = Outcome::read(&printed, trial.name, trial.counts);
        if !status.success()
            && let Some(outcome) = &mut outcome
        {
            outcome.failures = outcome.failures.max(1);
        }
        let of_a_file = matches!(trial.counts, Counts::Tests(_));
        let ran = outcome.filter(|_| status.success() || !of_a_file || printed.contains("FAILED"));
        Ok(Run {
            trial: *trial,
            seed,
            outcome: ran,
            took,
            log,
        })
    }
}

fn wait(child: &mut Child, longest: Duration) -> Result<ExitStatus, String> {
    let started = Instant::now();
    loop {
        let told = |e| format!("cargo: {e}");
        if let Some(status) = child.try_wait().map_err(told)? {
            return Ok(status);
        }
        if started.elapsed() > longest {
            // The test, too, which would go on beside the next trial. Its servers end with it.
            let group = format!("-{}", child.id());
            let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
            killed.map_err(|e| format!("kill: {e}"))?;
            return child.wait().map_err(told);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
