//! Compares jetsink with and without a spool, the published crate cellos-sink-jetstream 0.5.1, and plain
//! async-nats: all go through the same faults of a real nats-server. docs/evidence/comparison.md has the results of
//! one run.
//!
//! `cargo run --release --manifest-path benches/comparison/Cargo.toml -- [scenario…]`

mod broker;
mod contender;
mod events;
mod findings;
mod ledger;
mod load;
mod machine;
mod page;
mod scenarios;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use futures_util::future::join_all;

use contender::Contender;
use findings::{Part, Run, Table};
use machine::Machine;
use scenarios::Scenario;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An error that no library reports.
#[derive(Debug)]
struct Failed(String);

impl Failed {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// Puts jetsink and others through the same faults of a real nats-server, and prints tables. Exits with 1
/// if jetsink breaks its promise.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Scenarios; all if none is named
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,

    /// Only the scenarios without an outage, once, all contenders at the same time: takes less than a
    /// minute, and shows lost events but not times
    #[arg(long)]
    quick: bool,

    /// Rounds of the scenarios without an outage; figures that differ are shown as minimum to maximum
    #[arg(long, default_value_t = 3, conflicts_with = "quick")]
    rounds: u32,

    /// Only these contenders
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Contender>,

    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,

    /// Read the JSON of an earlier run from a file instead of running
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenarios", "quick", "only", "rounds"])]
    from: Option<PathBuf>,

    /// Also write the page, which needs all scenarios and contenders
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = PAGE)]
    markdown: Option<PathBuf>,

    /// Emit as a child of the scenario `exit`
    #[arg(long, hide = true, num_args = 4, value_names = ["CONTENDER", "URL", "SPOOL", "HOW"])]
    child: Vec<String>,
}

const PAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/evidence/comparison.md"
);

/// The arguments of the child in the scenarios of an exit.
struct Child {
    contender: String,
    url: String,
    spool: String,
    how: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match start(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("comparison: {error}");
            ExitCode::from(2)
        }
    }
}

async fn start(arguments: Arguments) -> Result<ExitCode> {
    if let [contender, url, spool, how] = &arguments.child[..] {
        let child = Child {
            contender: contender.clone(),
            url: url.clone(),
            spool: spool.clone(),
            how: how.clone(),
        };
        scenarios::child(&child).await?;
    }
    let run = match &arguments.from {
        Some(file) => serde_json::from_str(&std::fs::read_to_string(file)?)?,
        None => run(&arguments).await?,
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&run)?);
    } else if arguments.from.is_some() {
        run.tables
            .iter()
            .for_each(|table| print!("{}", page::text(table)));
    }
    if !arguments.json {
        println!("\n{}", page::machine(&run.machine));
    }
    if let Some(file) = &arguments.markdown {
        check_whole(&run)?;
        std::fs::write(file, page::page(&run)?)?;
    }
    let broken = run.broken();
    for what in &broken {
        eprintln!("broken promise: {what}");
    }
    Ok(if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn run(arguments: &Arguments) -> Result<Run> {
    let mut run = Run {
        machine: Machine::look(),
        tables: Vec::new(),
    };
    let all = Scenario::value_variants();
    let wanted = |scenario: &&Scenario| {
        let named = arguments.scenarios.is_empty() || arguments.scenarios.contains(scenario);
        named && (!arguments.quick || scenario.is_quick())
    };
    let contenders = Contender::value_variants().iter();
    let contenders: Vec<Contender> = contenders
        .filter(|contender| arguments.only.is_empty() || arguments.only.contains(contender))
        .copied()
        .collect();
    for &scenario in all.iter().filter(wanted) {
        let rounds = match (arguments.quick, scenario.is_quick()) {
            (false, true) => arguments.rounds,
            (true, _) | (_, false) => 1,
        };
        let mut parts = Vec::new();
        if arguments.quick {
            let each = contenders.iter();
            parts = join_all(each.map(|&contender| part(scenario, contender, rounds))).await;
        } else {
            for &contender in &contenders {
                parts.push(part(scenario, contender, rounds).await);
            }
        }
        let table = Table { scenario, parts };
        if !arguments.json {
            print!("{}", page::text(&table));
        }
        run.tables.push(table);
        run.machine.note_load();
    }
    Ok(run)
}

async fn part(scenario: Scenario, contender: Contender, rounds: u32) -> Part {
    let began = Instant::now();
    let mut findings = scenario.run(contender).await;
    for _ in 1..rounds {
        findings.widen(scenario.run(contender).await);
    }
    let took = began.elapsed().as_secs_f64();
    eprintln!("{}: {} ({took:.1} s)", scenario.name(), contender.title());
    Part {
        contender,
        findings,
    }
}

fn check_whole(run: &Run) -> Result<()> {
    let scenarios = run.tables.len() == Scenario::value_variants().len();
    let all = Contender::value_variants().len();
    if scenarios && run.tables.iter().all(|table| table.parts.len() == all) {
        return Ok(());
    }
    Err(Failed::new("--markdown needs all scenarios and contenders").into())
}

fn name_of(contender: Contender) -> String {
    let named = contender.to_possible_value();
    named.map_or_else(String::new, |value| value.get_name().to_owned())
}

fn contender_of(name: &str) -> Result<Contender> {
    Contender::from_str(name, false).map_err(|error| Failed::new(error).into())
}
