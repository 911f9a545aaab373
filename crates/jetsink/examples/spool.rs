//! Through an outage: with a spool, an emit is `Ok` with no broker in sight, and the next run delivers
//! what this one could not.
//!
//! ```text
//! nats-server -js &
//! cargo run -p jetsink --example spool -- /tmp/jetsink-example-spool
//! ```
//!
//! prints
//!
//! ```text
//! event 1: EXAMPLES has it at 1
//! event 2: EXAMPLES has it at 2
//! event 3: EXAMPLES has it at 3
//! delivered 3, waiting 0, unknown 0, dead letters 0
//! ```
//!
//! Without a broker: each event is `spooled, the disk has it`, and the last line says `waiting 3`. Start the
//! broker, run it again, and it says `delivered 6, waiting 0`. The broker is the one that `NATS_URL` names, by
//! default `nats://127.0.0.1:4222`.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use jetsink::streams::StreamSpec;
use jetsink::{
    Binding, ConnectSettings, Delivery, EmitError, NatsPublisher, Scope, Sink, SinkSettings,
    SpoolSettings,
};

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
    let folder = std::env::args()
        .nth(1)
        .ok_or("which folder for the spool?")?;
    let broker = ConnectSettings::from_environment(None, |name| std::env::var(name).ok())?;

    let publisher = match NatsPublisher::connect(broker.clone()).await {
        Ok(publisher) => {
            // A sink makes no streams: an operator does. Done here so that this runs on a bare broker.
            let spec = StreamSpec::new("EXAMPLES", ["examples.>"])?;
            let plan = publisher.admin().plan_stream(&spec).await?;
            publisher.admin().apply_stream(&plan, false).await?;
            publisher
        }
        // Whoever has a spool starts also while the broker is down, and connects in the background.
        Err(_) => NatsPublisher::connect(broker.start_disconnected()).await?,
    };
    // The bound is what an outage may cost of the disk. Past it, emits fail: nothing is dropped.
    let spool = SpoolSettings::new(folder).limit_bytes(256 << 20)?;
    let sink = Sink::with_spool(publisher, SinkSettings::default(), spool).await?;
    if let Some(loss) = sink.spool_loss() {
        eprintln!("the disk has lost something: {loss:?}");
    }

    let binding = Binding::new("examples.spool".parse()?);
    for number in 1..=3 {
        let json = format!(
            r#"{{"specversion":"1.0","id":"{number}","source":"/examples/spool","type":"example"}}"#
        );
        match sink.emit(binding.envelope(json.into())?).await {
            Ok(Delivery::Stored {
                stream, sequence, ..
            }) => println!("event {number}: {stream} has it at {sequence}"),
            // Also where the broker is fine, if events of the same subject still wait in front.
            Ok(_) => println!("event {number}: spooled, the disk has it"),
            Err(error) => println!("event {number}: {}", what_now(&error)),
        }
    }

    // Waits up to 5 s for the spool to be emptied. What remains stays on the disk for the next run.
    let receipt = sink.close(Duration::from_secs(5)).await;
    println!(
        "delivered {}, waiting {}, unknown {}, dead letters {}",
        receipt.delivered, receipt.spooled, receipt.unknown, receipt.dead_letters
    );
    Ok(())
}

/// With a spool there are few errors left, and each wants somebody to act.
fn what_now(error: &EmitError) -> String {
    match (error, error.scope()) {
        // Full, or the disk fails. The event is neither stored nor on the disk, unless the text says
        // that this is unknown.
        (EmitError::Spool(failed), _) => format!("look at the disk: {failed}"),
        // Too large for the broker, for example. Waiting would not make it smaller.
        (_, Scope::Event) => format!("mend this event: {error}"),
        _ => error.to_string(),
    }
}
