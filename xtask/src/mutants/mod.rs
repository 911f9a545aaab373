//! `cargo xtask mutants`: each small change of the code that the promise rests on must make a test fail.
//! `docs/mutants.md` tells how many there are, and of those that no test notices why that is right.

mod ledger;
mod report;
mod survivors;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::checks::target;
use crate::page;
use crate::{cargo, root, succeed};
use ledger::Ledger;

const VERSION: &str = "27.1.0";

/// The modules whose mistakes would break the promise without a sound.
const FILES: [&str; 6] = [
    "crates/jetsink/src/circuit/mod.rs",
    "crates/jetsink/src/message/envelope.rs",
    "crates/jetsink/src/publish/retry.rs",
    "crates/jetsink/src/message/subject.rs",
    "crates/jetsink/src/outcome/spool_error.rs",
    "crates/jetsink/src/spool/**",
];

/// One go through all that are not caught yet.
struct Pass {
    /// Of each trial; its own default where there is none.
    trial_count: Option<&'static str>,
    /// What is after cargo test's `--`.
    arguments: &'static [&'static str],
}

/// What takes longer comes later, for those that are left.
const PASSES: [Pass; 3] = [
    Pass {
        trial_count: Some("10"),
        arguments: &[
            "--skip=nats::",
            "--skip=connect::",
            "--skip=tests::streams",
            "--skip=random_histories",
            "--skip=tests::torn",
            "--skip=sink_hours",
            "--skip=over_lost_connections",
            "--skip=tests::growth",
            "--skip=thorough_reader",
            "--skip=tests::power",
            "--skip=of_200_bytes",
            "--skip=looked_up_however_far",
            "--skip=slow_rate",
        ],
    },
    Pass {
        trial_count: Some("100"),
        arguments: &[
            "--skip=random_histories",
            "--skip=tests::torn",
            "--skip=sink_hours",
        ],
    },
    Pass {
        trial_count: None,
        arguments: &[],
    },
];

/// Runs all, or, with `iterate`, what the last run did not try, and what survived it without a reason.
///
/// # Errors
/// What could not be run, or which mutants survived without a reason, or did not although there is one.
pub(crate) fn run(iterate: bool) -> Result<(), String> {
    let survivors = survivors::read(&root().join("tests/mutants.toml"))?;
    let binary = cargo_mutants()?;
    let folder = target().join("mutants");
    if !iterate && folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut ledger = Ledger::open(folder.join("ledger.json"))?;
    // Of a run that was interrupted.
    ledger.take_from(&folder)?;
    ledger.begin_run();
    let tree = page::Tree::now(report::FILE)?;
    for pass in &PASSES {
        ledger.leave_out(&folder, &survivors)?;
        test(&binary, &folder, pass)?;
        ledger.take_from(&folder)?;
    }
    ledger.end_last_pass()?;
    let names = names(&binary)?;
    ledger.keep_only(&names);
    if ledger.len() < names.len() {
        let untried = names.len() - ledger.len();
        return Err(format!(
            "{untried} mutants were not tried: --iterate goes on"
        ));
    }
    report::write(&ledger, &survivors, &tree)?;
    println!("{}", ledger.summary());
    survivors::compare(&ledger.survivors(), &survivors)
}

/// cargo-mutants over our files.
fn over_our_files(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .current_dir(root())
        .args(["mutants", "--package", "jetsink"]);
    for file in FILES {
        command.args(["--file", file]);
    }
    command
}

/// All mutants of this tree.
fn names(binary: &Path) -> Result<HashSet<String>, String> {
    let list = page::said(over_our_files(binary).arg("--list"))?;
    Ok(list.lines().map(str::to_owned).collect())
}

fn test(binary: &Path, folder: &Path, pass: &Pass) -> Result<(), String> {
    let mut command = over_our_files(binary);
    command
        // Each of its two copies of the tree has its own.
        .env_remove("CARGO_TARGET_DIR")
        // It is built several hundred times, and nobody reads a backtrace.
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .args(["--jobs", "2", "--iterate"])
        .args(["--no-shuffle", "--minimum-test-timeout", "20"])
        // Benchmarks, examples and tests with a broker are no part of it.
        .args(["--cargo-arg", "--lib", "--output"])
        .arg(folder);
    if let Some(count) = pass.trial_count {
        command.env("JETSINK_TRIAL_COUNT", count);
    }
    command.args(["--", "--"]).args(pass.arguments);
    let status = command
        .status()
        .map_err(|e| format!("cargo mutants: {e}"))?;
    match status.code() {
        // All were caught; some were not; some took too long.
        Some(0 | 2 | 3) => Ok(()),
        _ => Err(format!("cargo mutants: {status}")),
    }
}

fn cargo_mutants() -> Result<PathBuf, String> {
    let tools = target().join(format!("tools/cargo-mutants-{VERSION}"));
    let binary = tools.join("bin/cargo-mutants");
    if !binary.is_file() {
        let mut install = cargo(&["install", "cargo-mutants", "--quiet", "--locked"]);
        install.args(["--version", VERSION, "--root"]).arg(&tools);
        succeed(&mut install)?;
    }
    Ok(binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_that_are_changed_are_there() {
        for file in FILES {
            let path = root().join(file.trim_end_matches("/**"));
            assert!(path.exists(), "{file}");
        }
    }
}
