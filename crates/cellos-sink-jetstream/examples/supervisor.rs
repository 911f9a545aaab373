//! A supervisor's loop: an event at each cell's start and end, with a broker that may be down.
//!
//! ```text
//! nats-server -js &
//! jetsink stream apply --preset cellos
//! cargo run -p cellos-sink-jetstream --example supervisor -- unreported.jsonl
//! ```
//!
//! prints
//!
//! ```text
//! cell-1: started reported
//! cell-1: destroyed reported
//! …
//! 3 cells ran; 6 events reported, 0 kept in unreported.jsonl
//! ```
//!
//! Without a broker (or without a stream) the cells run, too. Each event takes at most half a second, and events
//! that were not stored are kept in the file; `jetsink publish --subject 'cellos.events.{tenantId}'
//! unreported.jsonl` publishes them later. With `CELLOS_JETSTREAM_SPOOL_DIR=FOLDER` the sink syncs events to that
//! folder and sends them itself, and the file stays empty. `NATS_URL` names the broker, by default
//! `nats://127.0.0.1:4222`.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use cellos_core::CloudEventV1;
use cellos_core::ports::EventSink;
use cellos_sink_jetstream::{ConnectSettings, JetStreamEventSink, SpoolSettings};
use serde_json::json;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}"); // one line, without credentials
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let name = std::env::args()
        .nth(1)
        .unwrap_or("unreported.jsonl".to_owned());
    let mut reporter = Reporter {
        sink: sink().await?,
        unreported: OpenOptions::new().create(true).append(true).open(&name)?,
        reported: 0,
        kept: 0,
    };
    for (cell, tenant) in [("cell-1", "acme"), ("cell-2", "globex"), ("cell-3", "acme")] {
        reporter.report(cell, tenant, "started").await?;
        tokio::time::sleep(Duration::from_millis(50)).await; // the cell's life
        reporter.report(cell, tenant, "destroyed").await?;
    }
    let Reporter { reported, kept, .. } = reporter;
    println!("3 cells ran; {reported} events reported, {kept} kept in {name}");
    // Nothing to flush: each Ok is stored (or on the spool's disk) by now, so exiting loses nothing.
    Ok(())
}

/// A sink that is connected, or connects in the background if no broker is reachable: cells run either way.
async fn sink() -> Result<Box<dyn EventSink>, Box<dyn Error>> {
    let variable = |name: &str| std::env::var(name).ok();
    let broker = ConnectSettings::from_environment(None, variable)?;
    let builder = |broker| {
        let builder = JetStreamEventSink::builder(broker, "cellos.events.{tenantId}")
            // The longest that a frozen broker may delay a cell's start.
            .deadline(Duration::from_millis(500));
        match variable("CELLOS_JETSTREAM_SPOOL_DIR") {
            None => builder,
            Some(folder) => builder.spool(SpoolSettings::new(folder)),
        }
    };
    match builder(broker.clone()).connect().await {
        Ok(sink) => Ok(Box::new(sink)),
        Err(error) => {
            eprintln!("{error}; the cells start all the same");
            let sink = builder(broker.start_disconnected(true)).connect().await?;
            Ok(Box::new(sink))
        }
    }
}

struct Reporter {
    sink: Box<dyn EventSink>,
    unreported: File,
    reported: u64,
    kept: u64,
}

impl Reporter {
    /// Fails only if an event can be neither reported nor kept.
    async fn report(&mut self, cell: &str, tenant: &str, what: &str) -> std::io::Result<()> {
        // From JSON, because cellos-core 0.8 has one more field than 0.7.
        let event: CloudEventV1 = serde_json::from_value(json!({
            "specversion": "1.0",
            "id": format!("{cell}-{what}-{}", std::process::id()),
            "source": "examples/supervisor",
            "type": format!("dev.cellos.events.cell.lifecycle.v1.{what}"),
            "datacontenttype": "application/json",
            "data": { "cellId": cell, "tenantId": tenant },
        }))?;
        if let Err(error) = self.sink.emit(&event).await {
            // No second try here: the sink has already retried within the deadline. The text says whether
            // the event may be stored. After "outcome unknown", publishing the file later may store it twice.
            println!("{cell}: {what} kept: {error}");
            let mut line = serde_json::to_vec(&event)?;
            line.push(b'\n');
            self.unreported.write_all(&line)?;
            self.kept += 1;
            return self.unreported.sync_data();
        }
        println!("{cell}: {what} reported");
        self.reported += 1;
        Ok(())
    }
}
