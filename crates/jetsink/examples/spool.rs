//! Through an outage: with a spool, an event is taken with no broker in sight, and stored when there is one.
//!
//! ```text
//! cargo run -p jetsink --example spool -- /tmp/jetsink-spool      # no broker: it takes events, and waits
//! nats-server -js &                                               # meanwhile, in another terminal
//! cargo run -p jetsink-cli -- stream apply --name EVENTS --subject 'events.>'
//! ```
//!
//! prints
//!
//! ```text
//! event 1: on the disk
//! event 2: on the disk
//! event 3: on the disk
//! waiting: reconnecting for 0 s, 0 probes failed; last failure: no connection to the broker; spool: 3 events, …
//! waiting: connected for 0 s; events.spool fails (no stream captures the subject; …); spool: 3 events, …
//! delivered 3, waiting 0, unknown 0, dead letters 0
//! ```
//!
//! Ctrl-C instead of a broker: `delivered 0, waiting 3 …`, and the next run delivers them. The broker is the one
//! that `NATS_URL` names, else nats://127.0.0.1:4222.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use jetsink::{
    Binding, ConnectSettings, Delivery, NatsPublisher, Sink, SinkSettings, SpoolSettings, Status,
};
use tokio::time::sleep;

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
    let folder = std::env::args().nth(1).ok_or("usage: spool FOLDER")?;
    let broker = ConnectSettings::from_environment(None, |name| std::env::var(name).ok())?;
    // Who has a spool needs no broker to start.
    let publisher = NatsPublisher::connect(broker.start_disconnected()).await?;
    // The bound is what an outage may cost of the disk. Past it emits fail: nothing is dropped silently.
    let spool = SpoolSettings::new(folder).limit_bytes(256 << 20)?;
    let sink = Sink::with_spool(publisher, SinkSettings::default(), spool).await?;
    if let Some(loss) = sink.spool_loss() {
        eprintln!("the disk has lost events of an earlier run: {loss:?}");
    }

    let binding = Binding::new("events.spool".parse()?);
    for number in 1..=3 {
        let json = format!(
            r#"{{"specversion":"1.0","id":"{number}","source":"/spool","type":"example"}}"#
        );
        match sink.emit(binding.envelope(json.into())?).await {
            Ok(Delivery::Stored { sequence, .. }) => {
                println!("event {number}: stored at {sequence}")
            }
            // Synced. Also where the broker is fine, behind events of its subject that still wait.
            Ok(_) => println!("event {number}: on the disk"),
            // Too large for the broker, or the spool is full, or its disk fails: somebody has to act.
            Err(error) => eprintln!("event {number}: {error}"),
        }
    }

    // A service would go on emitting. This one watches the spool empty itself.
    let mut status = sink.status();
    while status.spool.is_some_and(|spool| spool.events > 0) {
        println!("waiting: {}", told(&status));
        tokio::select! {
            () = sleep(Duration::from_secs(1)) => {}
            interrupted = tokio::signal::ctrl_c() => { interrupted?; break }
        }
        status = sink.status();
    }

    // Gives the spool a last second to empty itself. The rest stays on the disk for the next run.
    let receipt = sink.close(Duration::from_secs(1)).await;
    println!(
        "delivered {}, waiting {}, unknown {}, dead letters {}",
        receipt.delivered, receipt.spooled, receipt.unknown, receipt.dead_letters
    );
    Ok(())
}

/// The status, and why where it is not the broker but a subject that fails.
fn told(status: &Status) -> String {
    match &status.last_failure {
        Some(failure) if !status.failing_subjects.is_empty() => {
            format!("{status} ({})", failure.error)
        }
        _ => status.to_string(),
    }
}
