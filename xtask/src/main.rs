//! The project's own commands. `cargo xtask` lists them.

mod alerts;
mod book;
mod checks;
mod clients;
mod commands;
mod dashboard;
mod demo;
mod gateway;
mod growth;
mod instructions;
mod lowest_versions;
mod mutants;
mod packages;
mod page;
mod plot;
mod process;
mod supervisor;
mod systems;
mod test;
mod tls_providers;
mod tools;
mod trials;
mod versions;

#[cfg(test)]
#[path = "tests/texts.rs"]
mod texts;

use std::process::ExitCode;

/// Exit codes: 0, 1 after a failure, 2 for wrong usage.
#[tokio::main]
async fn main() -> ExitCode {
    let command = commands::parse();
    match command.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
