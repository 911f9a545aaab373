//! A supervisor's loop: each cell's life is reported, and no cell waits for, or fails with, the broker.
//!
//! ```text
//! nats-server -js &
//! cargo run -p jetsink-cli -- stream apply --preset cellos
//! cargo run -p cellos-sink-jetstream --example supervisor [-- SPOOL_FOLDER]
//! ```
//!
//! prints
//!
//! ```text
//! cell-1 of acme ended: exit status: 0
//! cell-2 of globex ended: exit status: 3
//! cell-3 of a.b: started is not reported: event sink: not sent: tenant id has '.' at byte 1: …
//! cell-3 of a.b ended: exit status: 0
//! cell-3 of a.b: destroyed is not reported: event sink: not sent: tenant id has '.' at byte 1: …
//! 3 cells ran; events: 4 reported, 2 not
//! ```
//!
//! Without a broker or without the stream, a line says so for each event, and the cells run as ever; with a spool
//! the events wait on the disk for the next run. `NATS_URL` names the broker, else it is nats://127.0.0.1:4222.

use std::error::Error;
use std::process::{ExitCode, ExitStatus};
use std::time::{SystemTime, UNIX_EPOCH};

use cellos_core::CloudEventV1;
use cellos_core::ports::EventSink;
use cellos_sink_jetstream::{ConnectSettings, JetStreamEventSink, SpoolSettings};
use serde_json::json;
use tokio::process::Command;

/// What a supervisor would read from its specs: name, tenant, command.
const CELLS: [(&str, &str, &str); 3] = [
    ("cell-1", "acme", "true"),
    ("cell-2", "globex", "exit 3"),
    ("cell-3", "a.b", "true"), // no subject token: refused, and harms itself alone
];

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let broker = ConnectSettings::from_environment(None, |name| std::env::var(name).ok())?;
    let spool = std::env::args().nth(1).map(SpoolSettings::new);
    let connect = async |broker| {
        let sink = JetStreamEventSink::builder(broker, "cellos.events.{tenantId}");
        match spool.clone() {
            None => sink.connect().await,
            Some(spool) => sink.spool(spool).connect().await,
        }
    };
    // The first event is to find a connection; but the cells come first, whether there is a broker or not.
    let sink = match connect(broker.clone()).await {
        Ok(sink) => sink,
        Err(error) => {
            eprintln!("{error}");
            connect(broker.start_disconnected()).await?
        }
    };
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let mut reporter = Reporter {
        sink: Box::new(sink),
        run,
        reported: 0,
        lost: 0,
    };

    for (cell, tenant, command) in CELLS {
        reporter.report(cell, tenant, "started", None).await?;
        let status = Command::new("sh").args(["-c", command]).status().await?;
        println!("{cell} of {tenant} ended: {status}");
        reporter
            .report(cell, tenant, "destroyed", Some(status))
            .await?;
    }
    // Nothing to flush: what was Ok is stored, or on the disk, by now.
    let Reporter { reported, lost, .. } = reporter;
    println!(
        "{} cells ran; events: {reported} reported, {lost} not",
        CELLS.len()
    );
    Ok(())
}

struct Reporter {
    sink: Box<dyn EventSink>,
    run: u128,
    reported: u64,
    lost: u64,
}

impl Reporter {
    /// Costs a cell at most the sink's deadline (2 s), and nothing worth naming while the circuit is open.
    async fn report(
        &mut self,
        cell: &str,
        tenant: &str,
        what: &str,
        status: Option<ExitStatus>,
    ) -> Result<(), serde_json::Error> {
        // `source` and `id` are an event's identity: never the same for two.
        let event: CloudEventV1 = serde_json::from_value(json!({
            "specversion": "1.0", "source": "example-supervisor", "id": format!("{}-{cell}-{what}", self.run),
            "type": format!("dev.cellos.events.cell.lifecycle.v1.{what}"),
            "data": { "cellId": cell, "tenantId": tenant, "exitCode": status.and_then(|status| status.code()) },
        }))?;
        match self.sink.emit(&event).await {
            Ok(()) => self.reported += 1,
            // Tell and count it, and go on. Don't try it again here: the sink has done that within its
            // deadline, and an outcome that is unknown may be an event that is stored. Where none may be
            // lost, the answer is a spool: then only what is an event's own fault, or the disk's, ends here.
            Err(error) => {
                self.lost += 1;
                eprintln!("{cell} of {tenant}: {what} is not reported: {error}");
            }
        }
        Ok(())
    }
}
