//! The command line: one subcommand per folder, each with its own arguments.

use std::sync::LazyLock;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::audit::arguments::Audit;
#[cfg(unix)]
use crate::connection::environment;
use crate::doctor::arguments::Doctor;
#[cfg(unix)]
use crate::drill::arguments::Drill;
use crate::failure::Failure;
use crate::packaging::arguments::{Completions, ManualPages};
use crate::publish::arguments::Publish;
#[cfg(unix)]
use crate::serve::arguments::Serve;
#[cfg(unix)]
use crate::serve::configuration;
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
    /// Check servers, login, streams and gateways, and report problems with their remedies
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

impl Arguments {
    /// The command line as clap has it, for parsing and for its pages.
    pub(crate) fn described() -> clap::Command {
        let command = Self::command();
        #[cfg(unix)]
        let command = command.mut_subcommand(SERVE, configuration::with_variables);
        command
    }

    /// Parses the command line, and for `jetsink serve` also the environment and the configuration file. Wrong usage
    /// and `--help` end the process.
    pub(crate) fn read() -> Result<Self, Failure> {
        let command = Self::described();
        let flags = command.clone().get_matches();
        #[cfg(unix)]
        if let Some((SERVE, serve)) = flags.subcommand()
            && serve.subcommand().is_none()
        {
            return with_configuration(command, serve);
        }
        parsed(&flags)
    }
}

#[cfg(unix)]
const SERVE: &str = "serve";

/// Parses again, with the environment and the configuration file behind the flags of `jetsink serve`.
#[cfg(unix)]
fn with_configuration(
    command: clap::Command,
    flags: &clap::ArgMatches,
) -> Result<Arguments, Failure> {
    let Some(serve) = command.find_subcommand(SERVE).cloned() else {
        return parsed(&command.get_matches()); // it is a subcommand
    };
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let unknown_variables = configuration::unknown_variables(&serve, names);
    let (layered, settings) = configuration::layer(serve, flags, environment)?;
    let mut arguments = parsed(&command.mut_subcommand(SERVE, |_| layered).get_matches())?;
    if let Command::Serve(serve) = &mut arguments.command {
        serve.settings = settings;
        serve.unknown_variables = unknown_variables;
    }
    Ok(arguments)
}

fn parsed(matches: &clap::ArgMatches) -> Result<Arguments, Failure> {
    Arguments::from_arg_matches(matches).map_err(|error| Failure::Usage(error.to_string()))
}

#[cfg(test)]
#[path = "tests/commands.rs"]
mod tests;
