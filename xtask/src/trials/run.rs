//! Running one trial: its test by cargo, with its count and seed in the environment.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fs_err as fs;

use super::outcome::Outcome;
use super::trial::{Counts, Test, Trial};
use crate::process::{cargo, root, succeed, target};

/// The release profile with the checks for overflow.
const FULL_PROFILE: &str = "trials";

/// A trial that takes longer has stalled.
const MAX_TIME: Duration = Duration::from_secs(30 * 60);

/// The number of histories at a time, for trials that support it.
const THREADS: &str = "2";

/// One run of one trial.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) trial: Trial,
    pub(crate) parts: Vec<Part>,
    pub(crate) took: Duration,
}

/// One process of a run.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) seed: u64,
    pub(crate) count: u64,
    /// `None` if its test did not finish.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) log: PathBuf,
}

impl Part {
    pub(crate) fn is_passed(&self) -> bool {
        self.outcome.is_some_and(Outcome::is_passed)
    }
}

impl Run {
    pub(crate) fn is_passed(&self) -> bool {
        self.parts.iter().all(Part::is_passed)
    }

    /// The sum of all parts; `None` if one of them did not finish.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let outcomes = self.parts.iter().map(|part| part.outcome);
        outcomes.reduce(|all, part| Some(all?.and(part?)))?
    }
}

/// The build of a trial's test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// That of the tests, with the features of the whole workspace: shared with `cargo xtask test`.
    OfTheTests,
    /// That of its package alone.
    Alone,
    /// Optimized.
    Full,
}

/// The tree in which cargo runs: this one, or a copy of it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) tree: PathBuf,
    pub(crate) build: Build,
    /// The time limit of one trial.
    pub(crate) max_time: Duration,
    /// The build folder. Two copies of a tree must not share one: to cargo they are the same packages, and a build of
    /// one, bugs included, would be used for the other.
    pub(crate) target: PathBuf,
    /// The prefix of the names of its logs.
    pub(crate) logs: &'static str,
}

impl Place {
    pub(crate) fn here(quick: bool) -> Self {
        Self {
            tree: root(),
            build: if quick {
                Build::OfTheTests
            } else {
                Build::Full
            },
            max_time: MAX_TIME,
            target: target(),
            logs: "",
        }
    }

    fn cargo_test(&self, test: &Test) -> Command {
        let mut command = cargo(&[]);
        command
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
            .args(["test", "--quiet", "--locked"]);
        match self.build {
            Build::OfTheTests => command.arg("--workspace"),
            Build::Alone => command.args(["--package", test.package]),
            Build::Full => command.args(["--package", test.package, "--profile", FULL_PROFILE]),
        };
        for feature in test.features {
            command.args(["--features", &format!("{}/{feature}", test.package)]);
        }
        match test.file {
            Some(file) => command.args(["--test", file]),
            None => command.arg("--lib"),
        };
        command
    }

    /// Compiles a trial's test, so that its time does not include the build.
    ///
    /// # Errors
    /// It does not build.
    pub(crate) fn build(&self, test: &Test) -> Result<()> {
        succeed(self.cargo_test(test).arg("--no-run"))
    }

    /// Runs `count` histories of a trial in `processes` processes side by side, the first from `seed`, the next from
    /// the seed after it, and so on.
    ///
    /// # Errors
    /// A process can't be started, or its log can't be written. A trial that fails is no error.
    pub(crate) fn run(&self, trial: &Trial, seed: u64, count: u64, processes: u64) -> Result<Run> {
        let started = Instant::now();
        let mut running = Vec::new();
        for (number, count) in (0..).zip(split(count, processes)) {
            let log = match number {
                0 => format!("{}{}.log", self.logs, trial.name),
                _ => format!("{}{}-{}.log", self.logs, trial.name, number + 1),
            };
            let part = Part {
                seed: seed.wrapping_add(number),
                count,
                outcome: None,
                log: target().join("trial-logs").join(log),
            };
            let child = self.start(trial, &part)?;
            running.push((part, child));
        }
        let mut parts = Vec::new();
        for (mut part, mut child) in running {
            let status = wait(&mut child, self.max_time.saturating_sub(started.elapsed()))?;
            part.outcome = outcome(trial, &part.log, status)?;
            parts.push(part);
        }
        Ok(Run {
            trial: *trial,
            parts,
            took: started.elapsed(),
        })
    }

    fn start(&self, trial: &Trial, part: &Part) -> Result<Child> {
        let folder = part.log.parent().unwrap_or(&self.tree);
        fs::create_dir_all(folder)?;
        let output = fs::File::create(&part.log)?.into_file();
        let mut command = self.cargo_test(&trial.test);
        command
            .env("JETSINK_SEED", part.seed.to_string())
            .env("JETSINK_TRIAL_COUNT", part.count.to_string())
            .env("JETSINK_TRIAL_THREADS", THREADS)
            .env("RUST_BACKTRACE", "0")
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .args(["--", "--nocapture"]);
        if let Some(path) = trial.test.path {
            command.args(["--exact", path]);
        }
        command.process_group(0).spawn().context("cargo")
    }
}

/// Reads the outcome of a process from its log.
fn outcome(trial: &Trial, log: &Path, status: ExitStatus) -> Result<Option<Outcome>> {
    let printed = fs::read(log)?;
    let printed = String::from_utf8_lossy(&printed);
    let mut outcome = Outcome::read(&printed, trial.name, trial.counts);
    if !status.success()
        && let Some(outcome) = &mut outcome
    {
        outcome.failures = outcome.failures.max(1);
    }
    let of_a_file = matches!(trial.counts, Counts::Tests(_));
    Ok(outcome.filter(|_| status.success() || !of_a_file || printed.contains("FAILED")))
}

/// Divides `count` into `parts` parts, or fewer if there is less to divide.
fn split(count: u64, parts: u64) -> Vec<u64> {
    let parts = parts.min(count).max(1);
    let part = |number| count / parts + u64::from(number < count % parts);
    (0..parts).map(part).collect()
}

fn wait(child: &mut Child, max_time: Duration) -> Result<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if started.elapsed() > max_time {
            // The whole group: the test would go on beside the next trial. Its servers end with it.
            let group = format!("-{}", child.id());
            let mut kill = Command::new("kill");
            kill.args(["-KILL", "--", &group])
                .status()
                .context("kill")?;
            return Ok(child.wait()?);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
#[path = "tests/run.rs"]
mod tests;
