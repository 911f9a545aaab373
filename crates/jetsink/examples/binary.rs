//! Binary mode: the event's attributes as `ce-*` headers, its data alone as the payload, for subscribers
//! that route by header or need the data alone.
//!
//! ```text
//! nats-server -js &
//! cargo run -p jetsink --example binary
//! ```
//!
//! prints
//!
//! ```text
//! ce-specversion: 1.0
//! ce-id: 42
//! ce-source: /examples/shop
//! ce-type: order.placed
//! ce-subject: caf%C3%A9
//! ce-datacontenttype: application/json
//!
//! {"total":12}
//! EXAMPLES has it at 1
//! ```
//!
//! Without a broker it ends with `nats connect to nats://127.0.0.1:4222 failed: …` and exit code 1. The broker
//! is the one that `NATS_URL` names.

use std::error::Error;
use std::process::ExitCode;

use jetsink::{
    Binding, ConnectSettings, ContentMode, Delivery, NatsPublisher, Sink, SinkSettings, StreamSpec,
    event_json,
};

const EVENT: &str = r#"{"specversion":"1.0","id":"42","source":"/examples/shop","type":"order.placed","subject":"café","datacontenttype":"application/json","data":{"total":12}}"#;

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
    // Not `start_disconnected`: a command that needs a broker fails at once without one.
    let broker = ConnectSettings::from_environment(None, |name| std::env::var(name).ok())?;
    let publisher = NatsPublisher::connect(broker).await?;
    // An operator's work, done here so that this runs on a bare broker.
    let spec = StreamSpec::new("EXAMPLES", ["examples.>"])?;
    let plan = publisher.admin().plan_stream(&spec).await?;
    publisher.admin().apply_stream(&plan, false).await?;

    // Only the mode differs: the event is still passed as JSON.
    let binding = Binding::new("examples.binary".parse()?).mode(ContentMode::Binary);
    let envelope = binding.envelope(EVENT.into())?;
    for (name, value) in envelope.headers().iter() {
        println!("{name}: {value}"); // values are percent-encoded: "café" is caf%C3%A9
    }
    println!("\n{}", String::from_utf8_lossy(envelope.payload()));

    // No information is lost: headers and payload convert back to the event.
    let again: serde_json::Value = serde_json::from_slice(&event_json(&envelope)?)?;
    let event: serde_json::Value = serde_json::from_str(EVENT)?;
    if again != event {
        return Err(format!("the envelope holds another event: {again}").into());
    }

    let sink = Sink::new(publisher, SinkSettings::default());
    // A command ends on the first failure. Its text is one line with the state of the event.
    if let Delivery::Stored(ack) = sink.emit(envelope).await? {
        println!("{} has it at {}", ack.stream, ack.sequence);
    }
    Ok(())
}
