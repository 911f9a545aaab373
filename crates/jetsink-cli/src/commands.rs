//! The command line: one subcommand per folder, each with its own arguments.

use clap::{Parser, Subcommand};

use crate::audit::arguments::Audit;
use crate::doctor::arguments::Doctor;
use crate::drill::arguments::Drill;
use crate::packaging::arguments::{Completions, ManualPages};
use crate::publish::arguments::Publish;
use crate::serve::arguments::Serve;
use crate::spool::arguments::Spool;
use crate::stream::arguments::Stream;
use crate::tail::arguments::Tail;

/// Publishes CloudEvents to NATS JetStream and reports which are stored.
#[derive(Debug, Parser)]
#[command(name = "jetsink", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish JSON lines of CloudEvents, each stored once, in order
    Publish(Box<Publish>),
    /// Accept CloudEvents by HTTP, and answer once each is stored or spooled
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
