//! The scenarios: each runs for one contender, against a broker of its own.

mod exit;
mod exit_away;
mod full;
mod large;
mod no_stream;
mod open_circuit;
mod outage;
mod tenants;

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::contender::{Client, Contender};
use crate::findings::{Findings, Value};
use crate::ledger::{Ledger, Tally};
use crate::load::GIVEN_UP_AFTER;
use crate::{Child, Result};
use nats_local::NatsServer;

/// The time limit of one scenario for one contender.
const LONGEST: Duration = Duration::from_secs(300);

/// No emit that keeps to its deadline of 2 s takes this long, however busy the machine is.
const STALLED: Duration = Duration::from_millis(3_500);

/// A fault, and a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// No stream captures the subject
    NoStream,
    /// The process exits right after its last Ok
    Exit,
    /// The broker is gone, and the process exits before it is back
    ExitAway,
    /// The stream is full and discards new events
    Full,
    /// An event of 2 MiB, over the broker's limit of 1 MiB
    Large,
    /// Tenant ids that are not a subject token
    Tenants,
    /// Cost of an emit while the circuit is open
    OpenCircuit,
    /// The broker is killed for 6 s
    #[value(name = "killed-6")]
    #[serde(rename = "killed-6")]
    Killed6,
    /// The broker is killed for 40 s
    #[value(name = "killed-40")]
    #[serde(rename = "killed-40")]
    Killed40,
    /// The broker is frozen for 6 s
    #[value(name = "frozen-6")]
    #[serde(rename = "frozen-6")]
    Frozen6,
    /// The broker is frozen for 30 s
    #[value(name = "frozen-30")]
    #[serde(rename = "frozen-30")]
    Frozen30,
}

impl Scenario {
    /// As on the command line.
    pub(crate) fn name(self) -> String {
        let named = self.to_possible_value();
        named.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(crate) fn is_quick(self) -> bool {
        match self {
            Self::NoStream
            | Self::Exit
            | Self::ExitAway
            | Self::Full
            | Self::Large
            | Self::Tenants
            | Self::OpenCircuit => true,
            Self::Killed6 | Self::Killed40 | Self::Frozen6 | Self::Frozen30 => false,
        }
    }

    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::NoStream => "No stream captures the subject: 200 events, one after the other",
            Self::Exit => "The process exits right after its last Ok: 1,000 events",
            Self::ExitAway => {
                "The broker is gone, and the process exits before it is back: one event each 2 ms"
            }
            Self::Full => "The stream takes 10 events and discards new ones: 50 events",
            Self::Large => "An event of 2 MiB (the broker takes 1 MiB), then 10 ordinary ones",
            Self::Tenants => "Tenant ids that are not a subject token",
            Self::OpenCircuit => "Cost of an emit while the broker is down",
            Self::Killed6 => "The broker is killed for 6 s; one event each 2 ms",
            Self::Killed40 => "The broker is killed for 40 s; one event each 2 ms",
            Self::Frozen6 => "The broker is frozen for 6 s; one event each 2 ms",
            Self::Frozen30 => "The broker is frozen for 30 s; one event each 2 ms",
        }
    }

    pub(crate) async fn run(self, contender: Contender) -> Findings {
        let outcome = timeout(LONGEST, self.findings(contender)).await;
        let mut findings = Findings::default();
        match outcome {
            Ok(Ok(found)) => return found,
            Ok(Err(error)) => {
                findings.add("failed", error.to_string());
                findings.promise(false, format!("the scenario failed: {error}"));
            }
            Err(_) => {
                let over = Value::OverSeconds(LONGEST.as_secs_f64());
                findings.add("the whole scenario", over);
                findings.promise(false, "the scenario did not end");
            }
        }
        findings
    }

    async fn findings(self, contender: Contender) -> Result<Findings> {
        let seconds = Duration::from_secs;
        match self {
            Self::NoStream => no_stream::run(contender).await,
            Self::Exit => exit::run(contender).await,
            Self::ExitAway => exit_away::run(contender).await,
            Self::Full => full::run(contender).await,
            Self::Large => large::run(contender).await,
            Self::Tenants => tenants::run(contender).await,
            Self::OpenCircuit => open_circuit::run(contender).await,
            Self::Killed6 => outage::killed(contender, seconds(6)).await,
            Self::Killed40 => outage::killed(contender, seconds(40)).await,
            Self::Frozen6 => outage::frozen(contender, seconds(6)).await,
            Self::Frozen30 => outage::frozen(contender, seconds(30)).await,
        }
    }
}

/// Runs the child of a scenario of an exit.
pub(crate) async fn child(child: &Child) -> Result<()> {
    match &*child.how {
        "away" => exit_away::child(child).await,
        pause => exit::child(child, Duration::from_millis(pause.parse()?)).await,
    }
}

/// A connected contender, with a folder for a spool.
struct Opened {
    client: Client,
    _spool: TempDir,
}

async fn open(contender: Contender, server: &NatsServer) -> Result<Opened> {
    let spool = TempDir::new()?;
    let client = contender.open(&server.url(), spool.path()).await?;
    Ok(Opened {
        client,
        _spool: spool,
    })
}

/// The time of the longest emit, or the limit at which it was given up.
fn longest(ledger: &Ledger) -> Value {
    match ledger.longest() {
        longest if longest >= GIVEN_UP_AFTER => Value::OverSeconds(GIVEN_UP_AFTER.as_secs_f64()),
        longest => longest.into(),
    }
}

/// Checks the promises of every scenario: no event lost or stored twice, no emit stalled.
fn promise(findings: &mut Findings, tally: &Tally, ledger: &Ledger) {
    let longest = ledger.longest();
    findings
        .promise(
            tally.lost == 0,
            format!("{} returned Ok and not stored", tally.lost),
        )
        .promise(
            tally.duplicated == 0,
            format!("{} stored twice", tally.duplicated),
        )
        .promise(longest < STALLED, format!("an emit took {longest:?}"));
}
