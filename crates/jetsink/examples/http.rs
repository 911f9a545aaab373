//! An HTTP service (axum) that takes events: `POST /events` answers when a stream has the event.
//!
//! ```text
//! nats-server -js &
//! jetsink stream apply --name EXAMPLES --subject 'examples.>'
//! cargo run -p jetsink --example http -- 127.0.0.1:8080
//! curl -i 127.0.0.1:8080/events -d '{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed"}'
//! ```
//!
//! prints `listening on 127.0.0.1:8080`, answers `201 Created` with `EXAMPLES 1`, and on Ctrl-C or SIGTERM
//! prints `delivered 1, unknown 0`.
//!
//! It also starts without a broker: `GET /ready` and each event get 503 within the emit's deadline, and 200 and
//! 201 within a second of the broker's arrival. `NATS_URL` selects the broker.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jetsink::{
    Binding, ConnectSettings, Delivery, EmitError, Known, MessageIdRule, NatsPublisher, Scope,
    Sink, SinkSettings,
};
use tokio::signal::unix::{SignalKind, signal};

struct Service {
    sink: Sink<NatsPublisher>,
    binding: Binding,
}

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
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8080");

    let broker = ConnectSettings::from_environment(None, |name| std::env::var(name).ok())?;
    let publisher = NatsPublisher::connect(broker.start_disconnected(true)).await?;
    let service = Arc::new(Service {
        sink: Sink::new(publisher, SinkSettings::default()),
        // A client without an answer posts again. With a message id from the event's own identity, the stream
        // stores it once within its duplicate window.
        binding: Binding::new("examples.http".parse()?).message_id(MessageIdRule::SourceAndId),
    });
    let router = Router::new()
        .route("/events", post(take_event))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .with_state(Arc::clone(&service));

    let mut terminate = signal(SignalKind::terminate())?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        })
        .await?;
    // All requests have ended. With a spool, this is the time to drain it.
    let receipt = service.sink.close(Duration::from_secs(5)).await;
    println!(
        "delivered {}, unknown {}",
        receipt.delivered, receipt.unknown
    );
    Ok(())
}

/// Liveness does not depend on the broker: a restart of this process would not repair it.
async fn health(State(service): State<Arc<Service>>) -> String {
    service.sink.status().to_string()
}

/// Also ready when a probe is due: only a successful emit closes the circuit. A service that is ready only with a
/// closed circuit would receive no event that closes it.
async fn ready(State(service): State<Arc<Service>>) -> (StatusCode, String) {
    match service.sink.accepts() {
        Ok(()) => (StatusCode::OK, service.sink.status().to_string()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason.to_string()),
    }
}

/// If the client disconnects, this future is dropped: the event may be stored or not, as with any lost answer.
async fn take_event(State(service): State<Arc<Service>>, body: Bytes) -> Response {
    let envelope = match service.binding.envelope(body) {
        Ok(envelope) => envelope,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    match service.sink.emit(envelope).await {
        Ok(Delivery::Stored(ack)) => (
            StatusCode::CREATED,
            format!("{} {}", ack.stream, ack.sequence),
        )
            .into_response(),
        Ok(_) => StatusCode::ACCEPTED.into_response(), // with a spool: the disk has it
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &EmitError) -> Response {
    let code = match (error.scope(), error.known()) {
        (Scope::Event, _) => StatusCode::UNPROCESSABLE_ENTITY, // a retry has the same result
        (_, Known::OutcomeUnknown) => StatusCode::GATEWAY_TIMEOUT,
        (_, Known::NotSent | Known::Refused) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = (code, error.to_string()).into_response();
    if let Some(wait) = error.retry_after() {
        let seconds = wait.as_secs() + 1;
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
