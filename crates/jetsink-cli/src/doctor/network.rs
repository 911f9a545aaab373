//! Checks addresses up to the server's greeting, without a login.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::certificate;
use super::finding::ConnectionFinding;

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
pub(super) async fn look_at(address: &Address) -> (Vec<ConnectionFinding>, Option<Greeting>) {
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

async fn knock(
    address: &Address,
) -> Result<(TcpStream, Option<Greeting>, ConnectionFinding), ConnectionFinding> {
    use ConnectionFinding as F;
    let Address { host, port, .. } = address;
    let place = format!("{host}:{port}");
    let resolved: Vec<SocketAddr> = match lookup_host((host.as_str(), *port)).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            return Err(F::NameUnresolved {
                host: host.clone(),
                error: error.to_string(),
            });
        }
    };
    let mut stream = match timeout(TIMEOUT, TcpStream::connect(resolved.as_slice())).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let error = error.to_string();
            return Err(F::Refused { place, error });
        }
        Err(_) => {
            let after = TIMEOUT;
            return Err(F::Silent { place, after });
        }
    };
    if address.tls_first || address.is_websocket() {
        return Ok((stream, None, F::Reached { place }));
    }
    match timeout(TIMEOUT, greeting(&mut stream)).await {
        Ok(Some(greeting)) => {
            let version = greeting.version.clone();
            Ok((stream, Some(greeting), F::IsNats { place, version }))
        }
        Ok(None) | Err(_) => Err(F::NotNats { place }),
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
