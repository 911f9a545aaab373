//! The servers that are compared, each in a process of its own.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use jetsink::{
    Binding, ConnectSettings, MessageIdRule, NatsPublisher, Sink, SinkSettings, SpoolSettings,
};
use jetsink_serve::{Gateway, GatewaySettings, Listener, Route, Server, ServerSettings};
use serde::Deserialize;

#[tokio::main]
pub(crate) async fn run(kind: &str, address: &str, broker: &str, spool: &str) {
    match kind {
        "bare-hyper" => {
            serve(
                address,
                Router::new().route("/", post(|_: Bytes| async { StatusCode::ACCEPTED })),
            )
            .await
        }
        "bare-acked" => {
            let client = async_nats::connect(broker).await.unwrap();
            let jetstream = async_nats::jetstream::new(client);
            serve(
                address,
                Router::new().route("/", post(acked)).with_state(jetstream),
            )
            .await;
        }
        "bare-spool" => {
            let sink = Arc::new(sink(broker, spool).await);
            let binding =
                Binding::new("events.a".parse().unwrap()).message_id(MessageIdRule::SourceAndId);
            serve(
                address,
                Router::new()
                    .route("/", post(spooled))
                    .with_state((sink, binding)),
            )
            .await;
        }
        "gateway" => gateway(address, sink(broker, "").await).await,
        _ => gateway(address, sink(broker, spool).await).await,
    }
}

async fn serve(address: &str, router: Router) {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    axum::serve(listener, router).await.unwrap();
}

#[derive(Deserialize)]
struct Identity<'a> {
    id: &'a str,
    source: &'a str,
}

async fn acked(State(jetstream): State<async_nats::jetstream::Context>, body: Bytes) -> StatusCode {
    let id = match serde_json::from_slice::<Identity<'_>>(&body) {
        Ok(Identity { id, source }) => format!("{source} {id}"),
        Err(_) => return StatusCode::BAD_REQUEST,
    };
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", id);
    match jetstream
        .publish_with_headers("events.a", headers, body)
        .await
    {
        Ok(acknowledgement) => match acknowledgement.await {
            Ok(_) => StatusCode::ACCEPTED,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        },
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn spooled(
    State((sink, binding)): State<(Arc<Sink<NatsPublisher>>, Binding)>,
    body: Bytes,
) -> StatusCode {
    let Ok(envelope) = binding.envelope(body) else {
        return StatusCode::BAD_REQUEST;
    };
    match sink.emit(envelope).await {
        Ok(_) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn sink(broker: &str, spool: &str) -> Sink<NatsPublisher> {
    let connect = ConnectSettings::new(broker).unwrap();
    let publisher = NatsPublisher::connect(connect).await.unwrap();
    match spool {
        "" => Sink::new(publisher, SinkSettings::default()),
        folder => {
            let spool = SpoolSettings::new(folder).limit_bytes(16 << 30).unwrap();
            Sink::with_spool(publisher, SinkSettings::default(), spool)
                .await
                .unwrap()
        }
    }
}

async fn gateway(address: &str, sink: Sink<NatsPublisher>) {
    let route = Route::new("/", "events.a".parse().unwrap()).unwrap();
    let gateway = Gateway::new(Arc::new(sink), vec![route], GatewaySettings::default()).unwrap();
    let listener = Listener::tcp(address.parse().unwrap(), None).await.unwrap();
    let settings = ServerSettings::default().max_connections(20_000).unwrap();
    let server = Server::new(&gateway, vec![listener], settings).unwrap();
    server
        .serve(&gateway, std::future::pending(), Duration::ZERO)
        .await;
}
