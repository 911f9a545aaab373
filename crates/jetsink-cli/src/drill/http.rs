//! The gateway as a contender: requests by HTTP to a `jetsink serve` in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Response};
use jetsink::{NatsPublisher, Sink};
use jetsink_serve::{Gateway, GatewaySettings, Listener, Route, Server, ServerSettings};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::verdict::EmitResult;
use crate::failure::Failure;
use crate::http::exchange;

/// The longest wait for an answer after the gateway's deadline.
const MARGIN: Duration = Duration::from_millis(400);

/// A gateway on loopback, and its client.
pub(super) struct Http {
    pub(super) sink: Arc<Sink<NatsPublisher>>,
    address: SocketAddr,
    /// The client's own limit.
    patience: Duration,
}

impl Http {
    /// Starts a gateway whose events go to `subject`. It serves until the runtime ends.
    pub(super) async fn start(
        sink: Sink<NatsPublisher>,
        subject: &str,
        deadline: Duration,
    ) -> Result<Self, Failure> {
        let sink = Arc::new(sink);
        let route = Route::new("/", subject.parse()?)?;
        let settings = GatewaySettings::default().deadline(deadline)?;
        let gateway = Gateway::new(Arc::clone(&sink), vec![route], settings)?;
        let listener = Listener::tcp(SocketAddr::from(([127, 0, 0, 1], 0)), None).await?;
        let address = listener.address();
        let address = address.ok_or_else(|| Failure::Usage("no loopback address".to_owned()))?;
        let server = Server::new(&gateway, vec![listener], ServerSettings::default())?;
        tokio::spawn(async move {
            let never = std::future::pending();
            server.serve(&gateway, never, Duration::ZERO).await
        });
        Ok(Self {
            sink,
            address,
            patience: deadline + MARGIN,
        })
    }

    /// Sends one event, as a sender that has a timeout of its own.
    pub(super) async fn emit(&self, event: Vec<u8>) -> EmitResult {
        let answer = timeout(self.patience, self.send(event)).await;
        answer
            .ok()
            .flatten()
            .map_or(EmitResult::Unknown, |answer| result(&answer))
    }

    async fn send(&self, event: Vec<u8>) -> Option<Response<Bytes>> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        let request = Request::post("/")
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/cloudevents+json")
            .body(Full::from(event))
            .ok()?;
        exchange(stream, request, 1 << 16).await
    }
}

/// The promise of an answer, by the table of `docs/serve`.
fn result(answer: &Response<Bytes>) -> EmitResult {
    let outcome = answer.headers().get("jetsink-outcome");
    match (
        answer.status().as_u16(),
        outcome.map(|value| value.as_bytes()),
    ) {
        (202, Some(b"spooled")) => EmitResult::Spooled,
        (202, _) => EmitResult::Stored,
        // `outcome-unknown`, and a disk that failed while the event was spooled.
        (504, _) => EmitResult::Unknown,
        (503, _) if is_disk_failure(answer.body()) => EmitResult::Unknown,
        _ => EmitResult::NotStored,
    }
}

fn is_disk_failure(body: &[u8]) -> bool {
    let problem: Result<serde_json::Value, _> = serde_json::from_slice(body);
    problem.is_ok_and(|problem| problem["title"] == "disk-failed")
}
