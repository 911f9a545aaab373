//! Many tenants, one sink: the event's tenant id picks the subject. An id that would reach into somebody
//! else's is refused alone; the others go on.
//!
//! ```text
//! nats-server -js &
//! cargo run -p jetsink-cli -- stream apply --name EVENTS --subject 'events.>'
//! cargo run -p jetsink --example tenants
//! ```
//!
//! prints
//!
//! ```text
//! events.acme: stored at 1
//! events.globex: stored at 2
//! refused: the event gives no valid subject: tenant id has '.' at byte 4: …
//! refused: the event gives no valid subject: tenant id has '>' at byte 0: …
//! events.single: stored at 3
//! events.acme%2Eeu: stored at 4
//! the broker's circuit: Connected
//! ```
//!
//! The broker is the one that `NATS_URL` names, else nats://127.0.0.1:4222. Without one, or without the stream,
//! one line says so and the exit code is 1.

use std::error::Error;
use std::process::ExitCode;

use jetsink::{
    Binding, ConnectSettings, Delivery, EmitError, NatsPublisher, Scope, Sink, SinkSettings,
    TenantPolicy,
};

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
    let publisher = NatsPublisher::connect(broker).await?;
    let sink = Sink::new(publisher, SinkSettings::default());

    // Where the tenant is read: `data.tenantId`, else `data.correlation.tenantId`, else "single".
    let refusing = Binding::new("events.{tenantId}".parse()?);
    emit(&sink, &refusing, r#"{"tenantId":"acme"}"#).await?;
    emit(&sink, &refusing, r#"{"correlation":{"tenantId":"globex"}}"#).await?;
    // A subscriber to `events.acme.>` would get the first of these two, one of its own level nobody.
    emit(&sink, &refusing, r#"{"tenantId":"acme.eu"}"#).await?;
    emit(&sink, &refusing, r#"{"tenantId":">"}"#).await?;
    emit(&sink, &refusing, "{}").await?;

    // Where such ids are legitimate, have them encoded. No two ids give the same token.
    let encoding = refusing.tenant_policy(TenantPolicy::Encode);
    emit(&sink, &encoding, r#"{"tenantId":"acme.eu"}"#).await?;

    // The refused ones moved nothing that the others depend on.
    println!("the broker's circuit: {:?}", sink.state());
    Ok(())
}

/// An error is one that the next event would meet as well; what is this event's own fault is told here.
async fn emit(sink: &Sink<NatsPublisher>, binding: &Binding, data: &str) -> Result<(), EmitError> {
    let json = format!(
        r#"{{"specversion":"1.0","id":"1","source":"/tenants","type":"example","data":{data}}}"#
    );
    // Refused before anything is sent: the sink never hears of it.
    let envelope = match binding.envelope(json.into()) {
        Ok(envelope) => envelope,
        Err(error) => {
            println!("refused: {error}");
            return Ok(());
        }
    };
    let subject = envelope.subject().clone();
    match sink.emit(envelope).await {
        Ok(Delivery::Stored { sequence, .. }) => println!("{subject}: stored at {sequence}"),
        Ok(other) => println!("{subject}: {other:?}"), // only a sink with a spool has other answers
        // Too large for the broker, for example.
        Err(error) if error.scope() == Scope::Event => println!("refused: {error}"),
        Err(error) => return Err(error),
    }
    Ok(())
}
