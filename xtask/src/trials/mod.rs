//! The trials: one command that tries to break the promise, and tells what it saw.

mod arguments;
mod list;
mod outcome;
mod report;
mod run;
mod table;
mod teeth;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arguments::Arguments;
use list::{TRIALS, Trial};
use run::{Part, Place};

use crate::page::Tree;

/// Runs what was asked for; an error where anything failed.
pub(crate) fn run(arguments: &[&str]) -> Result<(), String> {
    let arguments = Arguments::read(arguments)?;
    if arguments.list {
        list();
        return Ok(());
    }
    let mut bugs: Vec<&str> = arguments
        .only
        .iter()
        .filter_map(|name| teeth::named(name))
        .collect();
    if arguments.is_full() {
        bugs.push("");
    }
    let trials = chosen(&arguments)?;
    let started = Instant::now();
    let tree = arguments
        .is_full()
        .then(|| Tree::now(report::FILE))
        .transpose()?;
    let place = Place::here(arguments.quick);
    println!("building …");
    for trial in &trials {
        place.build(&trial.test)?;
    }
    // CI is to fail for what has changed, not for its luck.
    let usual = if arguments.quick { 1 } else { of_the_clock() };
    let first_seed = arguments.seed.unwrap_or(usual);
    let mut runs = Vec::new();
    for trial in &trials {
        let count = count(trial, &arguments);
        println!("{} …", trial.name);
        // What is repeated is repeated by itself.
        let processes = arguments.seed.map_or(trial.processes, |_| 1);
        let run = place.run(trial, first_seed, count, processes)?;
        if !run.is_passed() {
            let failed = run.parts.iter().filter(|part| !part.is_passed());
            failed.for_each(|part| tell_failure(trial, part, &arguments));
        }
        runs.push(run);
    }
    if !runs.is_empty() {
        let minutes = started.elapsed().as_secs_f64() / 60.0;
        println!("\n{}\n{minutes:.1} min", table::plain(&runs));
    }
    let mut bites = Vec::new();
    for bug in bugs {
        let bitten = teeth::run(bug)?;
        println!("\n{}", bitten.plain());
        bites.push(bitten);
    }
    if let (Some(tree), [bitten]) = (tree, bites.as_slice()) {
        report::write(&runs, bitten, started.elapsed(), &tree)?;
    }
    let failed: Vec<&str> = runs
        .iter()
        .filter(|run| !run.is_passed())
        .map(|run| run.trial.name)
        .chain(
            bites
                .iter()
                .filter(|b| !b.all_caught())
                .map(|_| teeth::NAME),
        )
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")))
    }
}

fn list() {
    for trial in TRIALS {
        let (full, quick) = (table::thousands(trial.full), table::thousands(trial.quick));
        let unit = trial.counts.unit();
        match trial.counts {
            list::Counts::Random(_) | list::Counts::Time(_) => {
                println!("{}: {full} {unit} ({quick})", trial.name)
            }
            list::Counts::All(_) => println!("{}: all {unit}", trial.name),
            list::Counts::Tests(_) => println!("{}: {unit}, each once", trial.name),
        }
        println!("    {}", trial.passes);
    }
    println!("{}: {}", teeth::NAME, teeth::PASSES);
}

fn chosen(arguments: &Arguments) -> Result<Vec<Trial>, String> {
    if arguments.only.is_empty() {
        return Ok(TRIALS.to_vec());
    }
    let mut chosen = Vec::new();
    for name in arguments
        .only
        .iter()
        .filter(|name| teeth::named(name).is_none())
    {
        let trial = TRIALS.iter().find(|trial| trial.name == name);
        chosen.push(*trial.ok_or_else(|| format!("there is no trial {name:?}; see --list"))?);
    }
    Ok(chosen)
}

fn count(trial: &Trial, arguments: &Arguments) -> u64 {
    let usual = if arguments.quick {
        trial.quick
    } else {
        trial.full
    };
    // A seed by itself is one history's.
    let alone = arguments.seed.map(|_| 1);
    arguments.count.or(alone).unwrap_or(usual)
}

fn tell_failure(trial: &Trial, part: &Part, arguments: &Arguments) {
    let text = std::fs::read_to_string(&part.log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let quick = if arguments.quick { " --quick" } else { "" };
    println!(
        "{}\n{} FAILED; all of it is in {}; all of it again: cargo xtask trials{quick} --only {} --seed {} --count {}",
        lines[lines.len().saturating_sub(30)..].join("\n"),
        trial.name,
        part.log.display(),
        trial.name,
        part.seed,
        part.count
    );
}

/// Another one for each full run; it stands in the table.
fn of_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs())
}
