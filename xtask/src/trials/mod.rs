//! `cargo xtask trials`: tries to break the promise, and reports counts, seeds and the rate that they bound.

mod arguments;
mod list;
mod outcome;
mod report;
mod run;
mod table;
mod teeth;
mod trial;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

pub(crate) use arguments::Arguments;
use arguments::Selected;
use list::TRIALS;
use run::{Part, Place, Run};
use teeth::Bites;
use trial::{Counts, Trial};

use crate::page::{Tree, thousands};

/// Runs the selected trials and planted bugs; all of them, without a selection.
///
/// # Errors
/// A trial does not build or run, or fails; a planted bug is not caught.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        print!("{}", list_text());
        return Ok(());
    }
    let started = Instant::now();
    let full = arguments.is_full();
    let tree = full.then(|| Tree::now(report::FILE)).transpose()?;
    let runs = run_trials(arguments)?;
    if !runs.is_empty() {
        let minutes = started.elapsed().as_secs_f64() / 60.0;
        println!("\n{}\n{minutes:.1} min", table::plain(&runs));
    }
    let mut teeth = Vec::new();
    for bug in planted_bugs(arguments) {
        let bites = teeth::run(bug)?;
        println!("\n{}", bites.plain());
        teeth.push(bites);
    }
    if let (Some(tree), [bites]) = (tree, teeth.as_slice()) {
        report::write(&runs, bites, started.elapsed(), &tree)?;
    }
    let mut failed: Vec<&str> = Vec::new();
    failed.extend(runs.iter().filter(|r| !r.is_passed()).map(|r| r.trial.name));
    if !teeth.iter().all(Bites::all_caught) {
        failed.push(teeth::NAME);
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn run_trials(arguments: &Arguments) -> Result<Vec<Run>> {
    let trials = selected(arguments);
    let place = Place::here(arguments.quick);
    println!("building …");
    for trial in &trials {
        place.build(&trial.test)?;
    }
    // CI must fail because of a change, not by chance.
    let usual = if arguments.quick {
        1
    } else {
        seed_of_the_clock()
    };
    let first_seed = arguments.seed.unwrap_or(usual);
    let mut runs = Vec::new();
    for trial in trials {
        println!("{} …", trial.name);
        // A repeated history runs alone.
        let processes = arguments.seed.map_or(trial.processes, |_| 1);
        let run = place.run(trial, first_seed, count(trial, arguments), processes)?;
        let failed = run.parts.iter().filter(|part| !part.is_passed());
        failed.for_each(|part| print_failure(trial, part, arguments));
        runs.push(run);
    }
    Ok(runs)
}

fn selected(arguments: &Arguments) -> Vec<&'static Trial> {
    if arguments.only.is_empty() {
        return TRIALS.iter().collect();
    }
    let trials = arguments.only.iter().filter_map(|selected| match selected {
        Selected::Trial(trial) => Some(*trial),
        Selected::Teeth | Selected::Tooth(_) => None,
    });
    trials.collect()
}

/// The planted bugs to run: `None` for all of them.
fn planted_bugs(arguments: &Arguments) -> Vec<Option<&str>> {
    if arguments.is_full() {
        return vec![None];
    }
    let bugs = arguments.only.iter().filter_map(|selected| match selected {
        Selected::Trial(_) => None,
        Selected::Teeth => Some(None),
        Selected::Tooth(name) => Some(Some(name.as_str())),
    });
    bugs.collect()
}

fn list_text() -> String {
    let mut text = "name: count of a full run (with --quick), and what a pass shows\n\n".to_owned();
    for trial in TRIALS {
        let (full, quick) = (thousands(trial.full), thousands(trial.quick));
        let unit = trial.counts.unit();
        let counts = match trial.counts {
            Counts::Random(_) | Counts::Amount(_) => format!("{full} {unit} ({quick})"),
            Counts::All(_) if trial.quick == 0 => format!("all {unit}"),
            Counts::All(_) => format!("all {unit} ({quick})"),
            Counts::Tests(_) => format!("{unit}, each once"),
        };
        text.push_str(&format!("{}: {counts}\n    {}\n", trial.name, trial.passes));
    }
    text.push_str(&format!(
        "{}: all; in full runs and with --only {0}\n    {}\n",
        teeth::NAME,
        teeth::PASSES
    ));
    text
}

fn count(trial: &Trial, arguments: &Arguments) -> u64 {
    let usual = match arguments.quick {
        true => trial.quick,
        false => trial.full,
    };
    // A seed without a count means one history.
    let alone = arguments.seed.map(|_| 1);
    arguments.count.or(alone).unwrap_or(usual)
}

fn print_failure(trial: &Trial, part: &Part, arguments: &Arguments) {
    let text = std::fs::read_to_string(&part.log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let quick = if arguments.quick { " --quick" } else { "" };
    println!(
        "{}\n{} FAILED; the whole log: {}; to repeat it: cargo xtask trials{quick} --only {1} --seed {} --count {}",
        lines[lines.len().saturating_sub(30)..].join("\n"),
        trial.name,
        part.log.display(),
        part.seed,
        part.count
    );
}

/// A different seed for each full run; the table shows it.
fn seed_of_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs())
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
