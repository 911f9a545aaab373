//! Ways into a JetStream stream, side by side: publishes with an id and an ack each, fast ingest, atomic
//! batches; what makes one event cheaper for the server; and what the server answers where it goes wrong.
//!
//! `CARGO_TARGET_DIR=target cargo run --release --manifest-path benches/fast-ingest/Cargo.toml`

mod answers;
mod broker;
mod clients;
mod costs;
mod raw;
mod report;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Compares ways into a JetStream stream, and prints tables.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Events of each measurement
    #[arg(long, default_value_t = 100_000)]
    events: u64,

    /// Rounds; each runs all that is compared in turn, with the base directly before each
    #[arg(long, default_value_t = 5)]
    rounds: u32,

    /// Only those whose name contains this; may be given several times
    #[arg(long)]
    only: Vec<String>,

    /// What to run
    #[arg(value_enum, default_values_t = [Part::Ways, Part::Costs, Part::Answers])]
    parts: Vec<Part>,
}

impl Args {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Part {
    /// Acks, fast ingest and atomic batches, through async-nats
    Ways,
    /// What one event costs the server, through a bare socket
    Costs,
    /// What the server answers to duplicates, refusals and gaps
    Answers,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fast-ingest: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<()> {
    for part in &args.parts {
        match part {
            Part::Ways => clients::measure(args).await?,
            Part::Costs => costs::measure(args).await?,
            Part::Answers => answers::show().await?,
        }
    }
    Ok(())
}
