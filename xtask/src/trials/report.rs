//! `docs/evidence/reliability.md`, from a full run only.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fs_err as fs;
use minijinja::value::Serde;
use minijinja::{Value, context};

use super::run::Run;
use super::table::Row;
use super::teeth::Bites;
use crate::page::{self, Tree};
use crate::process::{git, output, root, succeed};

const PAGE: &str = include_str!("reliability.md");

pub(super) const FILE: &str = "docs/evidence/reliability.md";

/// Writes the page, and prints how many of its lines changed.
///
/// # Errors
/// As [`page::write`].
pub(crate) fn write(runs: &[Run], teeth: &Bites, took: Duration, tree: &Tree) -> Result<()> {
    page::write(FILE, PAGE, values(runs, teeth, took)?, tree)?;
    succeed(&mut git(&root(), &["diff", "--stat", "--", FILE]))
}

fn values(runs: &[Run], teeth: &Bites, took: Duration) -> Result<Value> {
    let lock = fs::read_to_string(root().join("Cargo.lock"))?;
    let server = nats_local::nats_server_binary()?;
    let server = output(Command::new(server).arg("--version"))?;
    let minutes = format!("{:.0}", took.as_secs_f64() / 60.0);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let rows: Vec<Row> = runs.iter().map(Row::of).collect();
    Ok(context! {
        minutes,
        cores,
        version => env!("CARGO_PKG_VERSION"),
        rustc => output(Command::new("rustc").arg("--version"))?,
        nats_server => server.replace("nats-server: ", ""),
        async_nats => locked(&lock, "async-nats")?,
        runs => Serde(rows),
        teeth_summary => teeth.summary(),
        teeth => Serde(teeth.rows()),
    })
}

/// The version of a package in the lock file.
fn locked(lock: &str, package: &str) -> Result<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    let version = lines
        .next()
        .and_then(|line| line.strip_prefix("version = \""));
    let version = version.with_context(|| format!("Cargo.lock has no {package}"))?;
    Ok(version.trim_end_matches('"').to_owned())
}

#[cfg(test)]
#[path = "tests/report.rs"]
mod tests;
