//! The command `jetsink`. Here: run, print, exit.

mod arguments;
mod input;
mod publish;
mod report;
mod settings;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::Parser as _;
use report::Report;
use settings::{Failure, Settings};

fn main() -> ExitCode {
    let Command::Publish(arguments) = Arguments::parse().command;
    match run(*arguments) {
        Ok(code) => code,
        Err(failure) => {
            report::failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(arguments: arguments::Publish) -> Result<ExitCode, Failure> {
    let settings = Settings::resolve(arguments, |name| std::env::var(name).ok())?;
    report::start_log(&settings);
    let input = input::open(&settings)?;
    let report = Report::new(&settings, input.total_bytes);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let code = runtime.block_on(publish::publish(&settings, input, report))?;
    // The thread that reads may hang in a read of standard input; it has nothing to tidy up.
    runtime.shutdown_background();
    Ok(ExitCode::from(code))
}
