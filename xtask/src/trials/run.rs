//! Running one trial: its test by cargo, with its count and seed in the environment.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
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
    pub(crate) parts: Vec<Part>,
    pub(crate) took: Duration,
}

/// One process of it.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) seed: u64,
    pub(crate) count: u64,
    /// None where its test did not come to its end.
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

    /// Of all parts; none where one of them has none.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let outcomes = self.parts.iter().map(|part| part.outcome);
        outcomes.reduce(|all, part| Some(all?.and(part?)))?
    }
}

/// Where cargo runs: this tree, or a copy of it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) tree: PathBuf,
    pub(crate) quick: bool,
    /// How long one trial may take.
    pub(crate) longest: Duration,
    /// What is compiled goes there: cargo takes two copies of a tree for the same packages, and what one of them
    /// built, bugs and all, for the other's.
    pub(crate) target: PathBuf,
    /// How the names of its logs begin.
    pub(crate) logs: &'static str,
}

impl Place {
    pub(crate) fn here(quick: bool) -> Self {
        Self {
            tree: root(),
            quick,
            longest: LONGEST,
            target: target(),
            logs: "",
        }
    }

    fn cargo_test(&self, test: &Test) -> Command {
        let mut command = crate::cargo(&[]);
        command
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
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

    /// Runs `count` histories of a trial, by so many processes side by side, each from a seed of its own:
    /// `seed` and those behind it.
    pub(crate) fn run(
        &self,
        trial: &Trial,
        seed: u64,
        count: u64,
        processes: u64,
    ) -> Result<Run, String> {
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
            let status = wait(&mut child, self.longest.saturating_sub(started.elapsed()))?;
            part.outcome = outcome(trial, &part.log, status)?;
            parts.push(part);
        }
        Ok(Run {
            trial: *trial,
            parts,
            took: started.elapsed(),
        })
    }

    fn start(&self, trial: &Trial, part: &Part) -> Result<Child, String> {
        let told = |e: std::io::Error| format!("{}: {e}", part.log.display());
        let folder = part.log.parent().unwrap_or(&self.tree);
        std::fs::create_dir_all(folder).map_err(told)?;
        let output = File::create(&part.log).map_err(told)?;
        let mut command = self.cargo_test(&trial.test);
        command
            .env("JETSINK_SEED", part.seed.to_string())
            .env("JETSINK_TRIAL_COUNT", part.count.to_string())
            .env("JETSINK_TRIAL_THREADS", THREADS)
            .env("RUST_BACKTRACE", "0")
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone().map_err(told)?)
            .stderr(output)
            .args(["--", "--nocapture"]);
        if let Some(path) = trial.test.path {
            command.args(["--exact", path]);
        }
        let started = command.process_group(0).spawn();
        started.map_err(|e| format!("cargo: {e}"))
    }
}

/// What a process that ended so has printed.
fn outcome(trial: &Trial, log: &Path, status: ExitStatus) -> Result<Option<Outcome>, String> {
    let printed = std::fs::read(log).map_err(|e| format!("{}: {e}", log.display()))?;
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

/// `count` in so many parts, or one where there is nothing to divide.
fn split(count: u64, parts: u64) -> Vec<u64> {
    let parts = parts.min(count).max(1);
    let part = |number| count / parts + u64::from(number < count % parts);
    (0..parts).map(part).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_many_histories_as_the_whole() {
        assert_eq!(split(260, 2), [130, 130]);
        assert_eq!(split(7, 3), [3, 2, 2]);
        assert_eq!((split(1, 2), split(0, 2)), (vec![1], vec![0]));
    }
}
