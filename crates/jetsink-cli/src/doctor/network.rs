//! Checks addresses up to the server's greeting, without a login.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::certificate;
use super::finding::Finding;

/// The longest wait for a connection, and again for the greeting.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A greeting has a few hundred bytes, and some more per server of the cluster.
const MAX_GREETING_BYTES: u64 = 1 << 20;

/// A server's greeting (`INFO`).
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Greeting {
    #[serde(default)]
    pub(super) version: String,
    #[serde(default)]
    pub(super) max_payload: Option<u64>,
    #[serde(default)]
    tls_required: bool,
}

pub(super) struct Address {
    pub(super) scheme: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls_first: bool,
}

impl Address {
    fn is_websocket(&self) -> bool {
        self.scheme.starts_with("ws")
    }
}

/// Checks an address. Returns the findings, and the greeting if there was one.
pub(super) async fn look_at(address: &Address) -> (Vec<Finding>, Option<Greeting>) {
    let mut found = Vec::new();
    let greeting = match knock(address).await {
        Err(finding) => {
            found.push(finding);
            None
        }
        Ok((mut stream, greeting, finding)) => {
            found.push(finding);
            let wants_tls = address.tls_first
                || matches!(address.scheme.as_str(), "tls" | "wss")
                || greeting.as_ref().is_some_and(|g| g.tls_required);
            if wants_tls {
                let looked = certificate::look_at(&mut stream, &address.host);
                found.extend(timeout(TIMEOUT, looked).await.unwrap_or_default());
            }
            greeting
        }
    };
    (found, greeting)
}

async fn knock(address: &Address) -> Result<(TcpStream, Option<Greeting>, Finding), Finding> {
    let Address { host, port, .. } = address;
    let place = format!("{host}:{port}");
    let resolved: Vec<SocketAddr> = match lookup_host((host.as_str(), *port)).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            return Err(Finding::problem(
                "address.unresolved",
                format!("the name {host} has no address: {error}"),
                "correct the name, or look at /etc/hosts and the resolver",
            ));
        }
    };
    let mut stream = match timeout(TIMEOUT, TcpStream::connect(resolved.as_slice())).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(Finding::problem(
                "address.refused",
                format!("{place} takes no connection: {error}"),
                "start the server, or correct the port",
            ));
        }
        Err(_) => {
            return Err(Finding::problem(
                "address.silent",
                format!("{place} does not answer within {TIMEOUT:?}"),
                "look at firewalls and routes, and whether the server's process hangs",
            ));
        }
    };
    if address.tls_first || address.is_websocket() {
        let finding = Finding::ok("address.reached", format!("{place} takes connections"));
        return Ok((stream, None, finding));
    }
    match timeout(TIMEOUT, greeting(&mut stream)).await {
        Ok(Some(greeting)) => {
            let text = format!("{place} is nats-server {}", greeting.version);
            let finding = Finding::ok("address.reached", text);
            Ok((stream, Some(greeting), finding))
        }
        Ok(None) | Err(_) => Err(Finding::problem(
            "address.no-nats",
            format!("what listens at {place} does not greet as a NATS server"),
            "correct the address; a frozen server does not greet either; one with handshake_first \
             needs --tlsfirst",
        )),
    }
}

async fn greeting(stream: &mut TcpStream) -> Option<Greeting> {
    let mut line = String::new();
    // The server sends nothing more until the client answers, so nothing is read past the line.
    BufReader::new(stream.take(MAX_GREETING_BYTES))
        .read_line(&mut line)
        .await
        .ok()?;
    serde_json::from_str(line.trim().strip_prefix("INFO ")?).ok()
}
