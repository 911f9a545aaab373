//! Binary mode: the event's attributes as `ce-*` headers, its data alone as the payload, for subscribers that
//! route by header, or want the data and nothing around it.
//!
//! ```text
//! nats-server -js &
//! cargo run -p jetsink-cli -- stream apply --name EVENTS --subject 'events.>'
//! cargo run -p jetsink --example binary
//! ```
//!
//! prints
//!
//! ```text
//! ce-specversion: 1.0
//! ce-id: 42
//! ce-source: /caf%C3%A9
//! ce-type: order.placed
//! ce-datacontenttype: application/json
//!
//! {"total":12}
//! stored: EVENTS has it at 1
//! ```
//!
//! The broker is the one that `NATS_URL` names, else nats://127.0.0.1:4222. Without one, or without the stream,
//! one line says so and the exit code is 1.

use std::error::Error;
use std::process::ExitCode;

use jetsink::{
    Binding, ConnectSettings, ContentMode, Delivery, NatsPublisher, Sink, SinkSettings, event_json,
};

const EVENT: &str = r#"{"specversion":"1.0","id":"42","source":"/café","type":"order.placed","datacontenttype":"application/json","data":{"total":12}}"#;

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
    // Not `start_disconnected`: a command that can do nothing without a broker says so at once.
    let broker = ConnectSettings::from_environment(None, |name| std::env::var(name).ok())?;
    let sink = Sink::new(
        NatsPublisher::connect(broker).await?,
        SinkSettings::default(),
    );

    // The mode is all that differs: the event still comes in as JSON.
    let binding = Binding::new("events.binary".parse()?).mode(ContentMode::Binary);
    let envelope = binding.envelope(EVENT.into())?;
    for (name, value) in envelope.headers().iter() {
        println!("{name}: {value}"); // headers are ASCII: anything else is percent-encoded
    }
    println!("\n{}", String::from_utf8_lossy(envelope.payload()));

    // What a receiver does to have the event in one piece again. Nothing is lost on the way.
    let again: serde_json::Value = serde_json::from_slice(&event_json(&envelope)?)?;
    let event: serde_json::Value = serde_json::from_str(EVENT)?;
    if again != event {
        return Err(format!("the envelope holds another event: {again}").into());
    }

    // A command ends on the first failure; its text is one line and says what is known of the event.
    match sink.emit(envelope).await? {
        Delivery::Stored {
            stream, sequence, ..
        } => println!("stored: {stream} has it at {sequence}"),
        other => println!("{other:?}"), // only a sink with a spool has other answers
    }
    Ok(())
}
