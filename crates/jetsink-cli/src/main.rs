//! The command `jetsink`. Here: run, print, exit.

mod arguments;
mod audit;
mod doctor;
mod drill;
mod input;
mod interrupt;
mod metrics;
mod output;
mod packaging;
mod publish;
mod report;
mod settings;
mod spool;
mod stream;
mod tail;
mod units;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::Parser as _;
use report::Report;
use settings::{Failure, Settings};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Publish(arguments) => publish(*arguments),
        Command::Spool(arguments) => spool::run(arguments),
        Command::Stream(arguments) => stream::run(arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Drill(arguments) => drill::run(&arguments),
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Completions(arguments) => packaging::completions(&arguments),
        Command::Man(arguments) => packaging::manual_pages(&arguments),
    };
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

fn publish(arguments: arguments::Publish) -> Result<u8, Failure> {
    let settings = Settings::resolve(arguments, environment)?;
    output::start_log(settings.verbose, settings.show_progress || settings.quiet);
    let input = input::open(&settings)?;
    let report = Report::new(&settings, input.total_bytes);
    let runtime = runtime()?;
    let code = runtime.block_on(publish::publish(&settings, input, report))?;
    // The thread that reads may hang in a read of standard input; it has nothing to tidy up.
    runtime.shutdown_background();
    Ok(code)
}

fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
