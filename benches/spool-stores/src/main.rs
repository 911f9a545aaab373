//! Compares embedded stores under the spool's workload: group-committed appends, reads at the head,
//! deletion of a prefix, kill -9, a flipped bit, and the size on disk after a long life.
//!
//! `cargo run --release --manifest-path benches/spool-stores/Cargo.toml -- [--events N] [--rounds N]`

mod args;
mod child;
mod damage;
mod disk;
mod group;
mod kill;
mod queue;
mod report;
mod samples;
mod store;
mod stores;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Bench, Inner, Part};

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.command {
        Some(Inner::Child(task)) => child::run(&task),
        None => compare(&args.bench.settle()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spool-stores: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(bench: &Bench) -> store::Result<()> {
    println!(
        "rounds {}, events {}, records of {} bytes on average, in {}",
        bench.rounds,
        report::count(bench.events as f64),
        samples::mean_bytes(),
        bench.dir.display(),
    );
    for part in &bench.parts {
        match part {
            Part::Append => group::measure(bench)?,
            Part::Queue => queue::measure(bench)?,
            Part::Second => damage::second_process(bench)?,
            Part::Kill => kill::measure(bench)?,
            Part::Flip => damage::flips(bench)?,
            Part::Outage => disk::outage(bench)?,
            Part::Churn => disk::churn(bench)?,
        }
    }
    Ok(std::fs::remove_dir_all(&bench.dir)?)
}
