//! The command line: one subcommand per folder, each with its own arguments.

use std::sync::LazyLock;

use clap::{Parser, Subcommand};

use crate::audit::arguments::Audit;
use crate::doctor::arguments::Doctor;
#[cfg(unix)]
use crate::drill::arguments::Drill;
use crate::packaging::arguments::{Completions, ManualPages};
use crate::publish::arguments::Publish;
#[cfg(unix)]
use crate::serve::arguments::Serve;
use crate::spool::arguments::Spool;
use crate::stream::arguments::Stream;
use crate::tail::arguments::Tail;

/// Publishes CloudEvents to NATS JetStream and reports which are stored.
#[derive(Debug, Parser)]
#[command(name = "jetsink", version, long_version = long_version(), max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// `jetsink --version`: with the provider of TLS. `-V` prints the first line only.
fn long_version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let provider = jetsink::select_tls_provider();
        format!("{}\nTLS: {provider}", env!("CARGO_PKG_VERSION"))
    });
    &TEXT
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish JSON lines of CloudEvents, each stored once, in order
    Publish(Box<Publish>),
    /// Accept CloudEvents by HTTP, and answer once each is stored or spooled
    #[cfg(unix)]
    Serve(Box<Serve>),
    /// Inspect and deliver a spool: pending events, dead letters
    #[command(subcommand)]
    Spool(Spool),
    /// Create and check the streams for events
    #[command(subcommand)]
    Stream(Stream),
    /// Check servers, login and streams, and report problems with their remedies
    Doctor(Box<Doctor>),
    /// Compare a stream with the emitted events: lost, altered, duplicated, out of order, unexpected
    Audit(Box<Audit>),
    /// Rehearse an outage: a local broker, a load, faults, and a verdict on each event
    #[cfg(unix)]
    Drill(Box<Drill>),
    /// Show a stream's events: new ones, or stored ones
    Tail(Box<Tail>),
    /// Print a script that completes the command in a shell
    Completions(Completions),
    /// Print the manual page, or write all of them to a folder
    Man(ManualPages),
}

#[cfg(test)]
#[path = "tests/commands.rs"]
mod tests;
