//! The project's own commands. `cargo xtask` lists them.

mod alerts;
mod checks;
mod clients;
mod dashboard;
mod demo;
mod growth;
mod instructions;
mod mutants;
mod packaging;
mod page;
mod plot;
mod supervisor;
mod test;
mod tools;
mod trials;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
usage: cargo xtask COMMAND
  demo [FILE]        publish a file of CloudEvents to a throwaway broker, and audit the stream
  test               all tests that need Rust, Python and a nats-server, of both manifests of the CellOS drop-in
  supervisor [RUNS]  run the published cellos-supervisor with our sink, and audit the stream [20];
                     then through outages, with its wrappers and with a spool
  clients            the same with the published sink beside it, cellos-server and other languages;
                     writes docs/clients.md
  clients languages  have Python and JavaScript read back what jetsink publishes
  msrv               check that no dependency needs a newer Rust than we state
  deny               check licences, sources and bans of both lock files
  dashboard [PNG]    run a drill under a real Prometheus and plot the dashboard [docs/dashboard.png]
  growth [CSV]       measure how cost grows, or take figures from CSV, and draw docs/growth/*.svg
  static             build the command as one static file (musl), and run it
  alerts             check and test the Prometheus rules and the dashboard in deploy/
  instructions       count the instructions per event, and hold them against benches/instructions.json
                     (--write: write that file)
  trials [OPTION]... try to break the promise, and tell what that showed (--list; --quick; --only NAME)
  mutants            change circuit, retry, subject, envelope and spool in small ways, each of which a test must
                     notice; writes docs/mutants.md (hours; --iterate: what was not tried, or survived without
                     a reason)";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["demo"] => demo::run(&root().join("samples/cellos-events.jsonl")).await,
        ["demo", file] => demo::run(Path::new(file)).await,
        ["test"] => test::run(),
        ["supervisor"] => supervisor::run(20).await,
        ["supervisor", runs] => match runs.parse() {
            Ok(runs) => supervisor::run(runs).await,
            Err(_) => Err(format!("{runs:?} is no number of runs")),
        },
        ["clients"] => clients::run().await,
        ["clients", "languages"] => clients::languages::run().await,
        ["msrv"] => checks::msrv(),
        ["deny"] => checks::deny(),
        ["dashboard"] => dashboard::picture(&root().join("docs/dashboard.png")).await,
        ["dashboard", file] => dashboard::picture(Path::new(file)).await,
        ["growth"] => growth::pictures(&root().join("docs/growth")),
        ["growth", figures] => growth::draw(Path::new(figures), &root().join("docs/growth")),
        ["static"] => packaging::static_build(),
        ["alerts"] => alerts::check(),
        ["instructions"] => instructions::check(),
        ["instructions", "--write"] => instructions::write(),
        ["mutants"] => mutants::run(false),
        ["mutants", "--iterate"] => mutants::run(true),
        ["trials", options @ ..] => trials::run(options),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.parent().unwrap_or(folder).to_owned()
}

/// Runs a command, with its output shown, and takes any but success for an error.
fn succeed(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}").replace('"', "");
    let status = command.status().map_err(|e| format!("{shown}: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{shown}: {status}"))
    }
}

fn cargo(arguments: &[&str]) -> Command {
    cargo_tool(Path::new(env!("CARGO")), arguments)
}

/// Cargo, or a program that runs cargo, in the root of the workspace.
fn cargo_tool(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    // The variables of the package xtask: a build script that reads one of them would run again, and its
    // dependents would be compiled again.
    for (name, _) in std::env::vars_os() {
        let of_a_package = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        if of_a_package
            .iter()
            .any(|start| name.to_string_lossy().starts_with(start))
        {
            command.env_remove(name);
        }
    }
    command
}
