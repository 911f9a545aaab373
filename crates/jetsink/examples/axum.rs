//! An HTTP service (axum) that takes events: `POST /events` answers when a stream has the event.
//!
//! ```text
//! nats-server -js &
//! cargo run -p jetsink-cli -- stream apply --name EVENTS --subject 'events.>'
//! cargo run -p jetsink --example axum -- 127.0.0.1:8080
//! curl -i 127.0.0.1:8080/events -d '{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed"}'
//! ```
//!
//! prints `listening on 127.0.0.1:8080`, answers `201 Created` and `EVENTS 1` (`200 OK` the second time: stored
//! before), and on Ctrl-C or SIGTERM prints `delivered 2, unknown 0`.
//!
//! Without a broker it starts all the same and prints `reconnecting for 0 s, …; last failure: no connection to the
//! broker`; `GET /ready` and each event get 503 with the reason until the broker is there. Without the stream each
//! event gets one that says so. `NATS_URL` names the broker, else it is nats://127.0.0.1:4222.

use std::{error::Error, process::ExitCode, sync::Arc, time::Duration};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header::RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jetsink::circuit::State as Circuit;
use jetsink::{
    Binding, ConnectSettings, Delivery, EmitError, Known, MessageIdRule, NatsPublisher, Publisher,
    Scope, Sink, SinkSettings,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

struct Service {
    sink: Sink<NatsPublisher>,
    binding: Binding,
}

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
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let broker = ConnectSettings::from_environment(None, |name| std::env::var(name).ok())?;
    let publisher = NatsPublisher::connect(broker.start_disconnected()).await?;
    let service = Arc::new(Service {
        sink: Sink::new(publisher, SinkSettings::default()),
        // Who got no answer posts again. By the event's own identity, the stream then keeps one.
        binding: Binding::new("events.http".parse()?).message_id(MessageIdRule::SourceAndId),
    });
    let router = Router::new()
        .route("/events", post(take_event))
        .route("/ready", get(ready))
        .with_state(Arc::clone(&service));

    let mut terminate = signal(SignalKind::terminate())?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let told = Arc::clone(&service);
    tokio::spawn(async move {
        let mut watch = told.sink.watch();
        loop {
            println!("{}", watch.changed().await);
        }
    });
    let ended = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    // Requests first, so that none meets a closed sink; then the sink, which tells what came of all.
    axum::serve(listener, router)
        .with_graceful_shutdown(ended)
        .await?;
    let receipt = service.sink.close(Duration::from_secs(5)).await;
    println!(
        "delivered {}, unknown {}",
        receipt.delivered, receipt.unknown
    );
    Ok(())
}

/// For readiness only: a restart of this process would mend nothing at the broker.
async fn ready(State(service): State<Arc<Service>>) -> (StatusCode, String) {
    let status = service.sink.status();
    let is_ready = match status.broker {
        Circuit::Connected => true,
        // It closes by the success of an event. Who has none until it is ready has to let one try.
        Circuit::Reconnecting { next_after, .. } => {
            let connection = service.sink.publisher().connection();
            connection.is_some_and(|connection| connection.borrow().up)
                && next_after <= Instant::now()
        }
    };
    let code = match is_ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, status.to_string())
}

/// Answers within the sink's deadline of 2 s, whatever the broker does.
async fn take_event(State(service): State<Arc<Service>>, body: Bytes) -> Response {
    let envelope = match service.binding.envelope(body) {
        Ok(envelope) => envelope,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    match service.sink.emit(envelope).await {
        Ok(Delivery::Stored {
            stream,
            sequence,
            duplicate,
        }) => {
            let code = if duplicate {
                StatusCode::OK
            } else {
                StatusCode::CREATED
            };
            (code, format!("{stream} {sequence}")).into_response()
        }
        Ok(_) => StatusCode::ACCEPTED.into_response(), // with a spool: the disk has it
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &EmitError) -> Response {
    let code = match (error.scope(), error.known()) {
        (Scope::Event, _) => StatusCode::UNPROCESSABLE_ENTITY, // again would be the same
        (_, Known::OutcomeUnknown) => StatusCode::GATEWAY_TIMEOUT, // it may be stored
        (_, Known::NotSent | Known::Refused) => StatusCode::SERVICE_UNAVAILABLE,
    };
    match error {
        EmitError::CircuitOpen(open) => {
            let seconds = (open.retry_after.as_secs() + 1).to_string();
            (code, [(RETRY_AFTER, seconds)], error.to_string()).into_response()
        }
        _ => (code, error.to_string()).into_response(),
    }
}
