//! The command `jetsink`: runs a subcommand, prints its failure, exits.

mod audit;
mod commands;
mod connection;
mod doctor;
#[cfg(unix)]
mod drill;
mod failure;
mod http;
mod interrupt;
mod lines;
mod output;
mod packaging;
mod publish;
mod recorder;
mod runtime;
#[cfg(unix)]
mod serve;
mod spool;
mod stream;
mod system;
mod tail;
mod units;

use std::process::ExitCode;

use commands::{Arguments, Command};
use failure::Failure;

fn main() -> ExitCode {
    let result = Arguments::read().and_then(|arguments| run(arguments.command));
    match result {
        Ok(code) => match output::output_failure() {
            None => ExitCode::from(code),
            Some(error) => {
                output::note(&format!("standard output: {error}"));
                ExitCode::from(code.max(1))
            }
        },
        Err(failure) => {
            output::failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Publish(arguments) => publish::run(*arguments),
        #[cfg(unix)]
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Spool(arguments) => spool::run(arguments),
        Command::Stream(arguments) => stream::run(arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        #[cfg(unix)]
        Command::Drill(arguments) => drill::run(&arguments),
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Completions(arguments) => {
            packaging::completions(&arguments, Arguments::described())
        }
        Command::Man(arguments) => packaging::manual_pages(&arguments, Arguments::described()),
    }
}
