//! Many tenants, one sink: the tenant's id determines the subject. Only an event with an id that would reach
//! another tenant's subjects is refused.
//!
//! ```text
//! nats-server -js &
//! cargo run -p jetsink --example tenants
//! ```
//!
//! prints (the numbers go on from run to run)
//!
//! ```text
//! examples.tenants.acme: stored at 1
//! examples.tenants.globex: stored at 2
//! refused: the event has no valid subject: tenant id has '.' at byte 4: '.' separates subject tokens; …
//! refused: the event has no valid subject: tenant id has '>' at byte 0: wildcards are for subscribers; …
//! examples.tenants.single: stored at 3
//! examples.tenants.acme%2Eeu: stored at 4
//! the broker's circuit: Connected
//! ```
//!
//! Without a broker it ends with `nats connect to nats://127.0.0.1:4222 failed: …` and exit code 1. The broker
//! is the one that `NATS_URL` names.

use std::error::Error;
use std::process::ExitCode;

use jetsink::{
    Binding, ConnectSettings, Delivery, NatsPublisher, Sink, SinkSettings, StreamSpec, TenantPolicy,
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
    let broker = ConnectSettings::from_environment(None, |name| std::env::var(name).ok())?;
    let publisher = NatsPublisher::connect(broker).await?;
    // An operator's work, done here so that this runs on a bare broker.
    let spec = StreamSpec::new("EXAMPLES", ["examples.>"])?;
    let plan = publisher.admin().plan_stream(&spec).await?;
    publisher.admin().apply_stream(&plan, false).await?;
    let sink = Sink::new(publisher, SinkSettings::default());

    // The tenant is `data.tenantId`, else `data.correlation.tenantId`, else "single".
    let binding = Binding::new("examples.tenants.{tenantId}".parse()?);
    for data in [
        r#"{"tenantId":"acme"}"#,
        r#"{"correlation":{"tenantId":"globex"}}"#,
        // Another level: a subscriber of `examples.tenants.acme.>` would receive it.
        r#"{"tenantId":"acme.eu"}"#,
        r#"{"tenantId":">"}"#,
        r"{}",
    ] {
        report(&sink, &binding, data).await;
    }

    // If such ids are legitimate, encode them instead. Different ids have different tokens.
    let encoding = binding.tenant_policy(TenantPolicy::Encode);
    report(&sink, &encoding, r#"{"tenantId":"acme.eu"}"#).await;

    // The refused events have not changed the circuit: other events are not affected.
    println!("the broker's circuit: {:?}", sink.state());
    Ok(())
}

async fn report(sink: &Sink<NatsPublisher>, binding: &Binding, data: &str) {
    let json = format!(
        r#"{{"specversion":"1.0","id":"1","source":"/examples/tenants","type":"example","data":{data}}}"#
    );
    // Refused before it reaches the sink.
    let envelope = match binding.envelope(json.into()) {
        Ok(envelope) => envelope,
        Err(error) => return println!("refused: {error}"),
    };
    let subject = envelope.subject().clone();
    match sink.emit(envelope).await {
        Ok(Delivery::Stored(ack)) => println!("{subject}: stored at {}", ack.sequence),
        Ok(delivery) => println!("{subject}: {delivery:?}"),
        Err(error) => println!("{subject}: {error}"),
    }
}
