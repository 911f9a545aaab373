//! Through an outage: with a spool, an emit returns `Ok` without a broker, and the next run delivers the
//! spooled events.
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
//! broker and run it again: it prints `delivered 6, waiting 0`. `NATS_URL` selects the broker, by default
//! `nats://127.0.0.1:4222`.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use jetsink::{
    Binding, ConnectSettings, Delivery, EmitError, NatsPublisher, Scope, Sink, SinkSettings,
    SpoolSettings, StreamSpec,
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
            // An operator creates the stream, not a sink. Done here so that this runs on a new broker.
            let spec = StreamSpec::new("EXAMPLES", ["examples.>"])?;
            let plan = publisher.admin().plan_stream(&spec).await?;
            publisher.admin().apply_stream(&plan, false).await?;
            publisher
        }
        // With a spool, a service also starts without a broker, and connects in the background.
        Err(_) => NatsPublisher::connect(broker.start_disconnected(true)).await?,
    };
    // The limit bounds the disk usage of an outage. A full spool drops no event: emits fail.
    let spool = SpoolSettings::new(folder).limit_bytes(256 << 20)?;
    let sink = Sink::with_spool(publisher, SinkSettings::default(), spool).await?;
    if let Some(loss) = sink.spool().and_then(|spool| spool.loss()) {
        eprintln!("the disk has lost something: {loss:?}");
    }

    let binding = Binding::new("examples.spool".parse()?);
    for number in 1..=3 {
        let json = format!(
            r#"{{"specversion":"1.0","id":"{number}","source":"/examples/spool","type":"example"}}"#
        );
        match sink.emit(binding.envelope(json.into())?).await {
            Ok(Delivery::Stored(ack)) => {
                println!("event {number}: {} has it at {}", ack.stream, ack.sequence);
            }
            // Also with a working broker, if earlier events of the same subject are still pending.
            Ok(_) => println!("event {number}: spooled, the disk has it"),
            Err(error) => println!("event {number}: {}", remedy(&error)),
        }
    }

    // Drains the spool for up to 5 s. The remaining events stay on the disk for the next run.
    let receipt = sink.close(Duration::from_secs(5)).await;
    println!(
        "delivered {}, waiting {}, unknown {}, dead letters {}",
        receipt.delivered, receipt.spooled, receipt.unknown, receipt.dead_letters
    );
    Ok(())
}

/// With a spool, an error is rare and requires an action.
fn remedy(error: &EmitError) -> String {
    match (error, error.scope()) {
        // For example, the event is too large for the broker or the spool.
        (_, Scope::Event) => format!("mend this event: {error}"),
        // The spool is full, or the disk fails. The text states whether the event may be spooled.
        (EmitError::Spool(failed), _) => format!("look at the disk: {failed}"),
        _ => error.to_string(),
    }
}
