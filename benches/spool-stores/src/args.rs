//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::child::Task;
use crate::store::Kind;

/// Compares embedded stores under the spool's workload, and prints tables.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) bench: Bench,

    #[command(subcommand)]
    pub(crate) command: Option<Inner>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Inner {
    /// What this program runs in processes of its own.
    #[command(hide = true)]
    Child(Task),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// Events that go in and out for the size on disk
    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) events: u64,

    /// Rounds of the timed parts; each round runs all stores in turn
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,

    /// Events that pile up in the outage
    #[arg(long, default_value_t = 500_000)]
    pub(crate) deep: u64,

    /// Kills for each store and operation
    #[arg(long, default_value_t = 20)]
    pub(crate) kills: u32,

    /// Flipped bits for each store, closed and killed
    #[arg(long, default_value_t = 100)]
    pub(crate) flips: u32,

    /// Seed of the moments and places that are chosen at random
    #[arg(long, default_value_t = 6)]
    pub(crate) seed: u64,

    /// Small numbers everywhere: shows that it runs, and no more
    #[arg(long)]
    pub(crate) quick: bool,

    /// Tables as Markdown
    #[arg(long)]
    pub(crate) markdown: bool,

    /// Only these parts
    #[arg(long, value_delimiter = ',', default_values_t = Part::value_variants().iter().copied())]
    pub(crate) parts: Vec<Part>,

    /// Only these stores
    #[arg(long, value_delimiter = ',', default_values_t = candidates())]
    pub(crate) stores: Vec<Kind>,

    /// Where the stores lie while they are measured; is emptied. Not a tmpfs, where an fsync costs nothing
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/stores/under-test"))]
    pub(crate) dir: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Append,
    Queue,
    Second,
    Kill,
    Flip,
    Outage,
    Churn,
}

fn candidates() -> impl Iterator<Item = Kind> {
    Kind::value_variants()
        .iter()
        .copied()
        .filter(|kind| *kind != Kind::File)
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

impl Bench {
    /// With `--quick`, what is larger becomes small.
    pub(crate) fn settle(mut self) -> Self {
        if self.quick {
            self.events = self.events.min(50_000);
            self.rounds = self.rounds.min(2);
            self.deep = self.deep.min(20_000);
            self.kills = self.kills.min(2);
            self.flips = self.flips.min(5);
        }
        self
    }

    pub(crate) fn with_yardstick(&self) -> Vec<Kind> {
        let candidates = self
            .stores
            .iter()
            .copied()
            .filter(|kind| *kind != Kind::File);
        [Kind::File].into_iter().chain(candidates).collect()
    }

    pub(crate) fn append_time(&self) -> Duration {
        Duration::from_millis(if self.quick { 200 } else { 2_000 })
    }
}
