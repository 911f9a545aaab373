//! `cargo xtask mutants`: cargo-mutants makes small changes to the code that the promise rests on, and each must make
//! a test fail. `.cargo/mutants.toml` has its settings, and the excused mutants with their reasons.

mod excuses;
mod report;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use fs_err as fs;
use toml::Table;

use crate::page::Tree;
use crate::process::{cargo_tool, output, path_with, root, target};
use crate::tools;
use excuses::Excuse;
use report::Outcomes;

const VERSION: &str = "27.1.0";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Continue an interrupted run without the mutants that it caught; writes no page
    #[arg(long, conflicts_with = "excused")]
    iterate: bool,

    /// Try only the excused mutants, and fail for each that a test catches
    #[arg(long)]
    excused: bool,

    /// Change only this file; repeat for more. Writes no page
    #[arg(long, value_name = "FILE", conflicts_with = "excused")]
    file: Vec<String>,
}

/// # Errors
/// A mutant survives without an excuse; an excuse fits no mutant, or one that a test catches; cargo-mutants fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let text = fs::read_to_string(root().join(excuses::FILE))?;
    let mutants = Mutants::new(&text)?;
    let excuses = excuses::read(&text)?;
    let all = mutants.names(&mutants.settings(Excused::Included))?;
    let unused: Vec<&str> = excuses
        .iter()
        .filter(|excuse| !all.iter().any(|name| excuse.fits(name)))
        .map(|excuse| excuse.pattern.as_str())
        .collect();
    ensure!(
        unused.is_empty(),
        "{} has patterns that fit no mutant:\n  {}",
        excuses::FILE,
        unused.join("\n  ")
    );
    if arguments.excused {
        let outcomes = mutants.test(&mutants.settings(Excused::Only), arguments)?;
        let caught = outcomes.caught();
        ensure!(
            caught.is_empty(),
            "a test catches these excused mutants:\n  {}",
            caught.join("\n  ")
        );
        println!("{}", outcomes.summary());
        return Ok(());
    }
    let tree = Tree::now(report::FILE)?;
    let mut settings = mutants.settings(Excused::LeftOut);
    if !arguments.file.is_empty() {
        // The option of cargo-mutants only adds to the files of the settings.
        settings.insert("examine_globs".to_owned(), arguments.file.clone().into());
    }
    let outcomes = mutants.test(&settings, arguments)?;
    println!("{}", outcomes.summary());
    let missed = outcomes.missed();
    if !missed.is_empty() {
        bail!("no test catches these mutants:\n  {}", missed.join("\n  "));
    }
    if !arguments.iterate && arguments.file.is_empty() {
        report::write(&outcomes, &with_names(&excuses, &all), &tree)?;
    }
    Ok(())
}

/// Each excused mutant with its reason.
fn with_names<'a>(excuses: &'a [Excuse], all: &'a [String]) -> Vec<(&'a str, &'a str)> {
    let named = |name: &'a String| {
        let excuse = excuses.iter().find(|excuse| excuse.fits(name))?;
        Some((name.as_str(), excuse.reason.as_str()))
    };
    all.iter().filter_map(named).collect()
}

/// The part of the excused mutants in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excused {
    LeftOut,
    Included,
    Only,
}

/// cargo-mutants, with its settings.
struct Mutants {
    program: PathBuf,
    folder: PathBuf,
    settings: Table,
}

impl Mutants {
    fn new(settings: &str) -> Result<Self> {
        let folder = target().join("mutants");
        fs::create_dir_all(&folder)?;
        Ok(Self {
            program: tools::from_crates_io("cargo-mutants", VERSION)?,
            folder,
            settings: settings.parse().context(excuses::FILE)?,
        })
    }

    fn settings(&self, excused: Excused) -> Table {
        let mut settings = self.settings.clone();
        match excused {
            Excused::LeftOut => {}
            Excused::Included => drop(settings.remove("exclude_re")),
            Excused::Only => {
                if let Some(patterns) = settings.remove("exclude_re") {
                    settings.insert("examine_re".to_owned(), patterns);
                }
            }
        }
        settings
    }

    /// The names of all mutants with these settings: `FILE:LINE:COLUMN: CHANGE`.
    fn names(&self, settings: &Table) -> Result<Vec<String>> {
        let list = output(self.command(settings)?.arg("--list"))?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    fn test(&self, settings: &Table, arguments: &Arguments) -> Result<Outcomes> {
        let mut command = self.command(settings)?;
        command
            // Each of its two copies of the tree has a build folder of its own.
            .env_remove("CARGO_TARGET_DIR")
            // The copies are built several hundred times, and no backtrace is read.
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("NATS_SERVER_BIN", nats_local::nats_server_binary()?)
            // cargo-mutants calls `cargo nextest`.
            .env("PATH", path_with(&tools::nextest()?)?)
            .args(["--jobs", "2", "--no-shuffle"]);
        if arguments.iterate {
            command.arg("--iterate");
        }
        let status = command.status().context("cargo mutants")?;
        match status.code() {
            // All caught; some missed; some timed out.
            Some(0 | 2 | 3) => Outcomes::read(&self.folder.join("mutants.out/outcomes.json")),
            _ => bail!("cargo mutants: {status}"),
        }
    }

    fn command(&self, settings: &Table) -> Result<Command> {
        let file = self.folder.join("settings.toml");
        fs::write(&file, settings.to_string())?;
        let mut command = cargo_tool(&self.program, &["mutants", "--config"]);
        command.arg(file).arg("--output").arg(&self.folder);
        Ok(command)
    }
}
