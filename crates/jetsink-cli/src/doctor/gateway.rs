//! Checks a running gateway by the pages of its `--admin-listen`.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode, Uri};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::finding::{GatewayFinding, RefusalRemedy};
use crate::http::exchange;

/// The longest time for an answer, with the connection.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A status lists a bounded number of subjects and refusals.
const MAX_STATUS_BYTES: usize = 1 << 20;

/// The share of a spool's limit above which it is reported, as in the alerts of `deploy/prometheus`.
const FILLING: f64 = 0.7;

/// The address of a gateway's pages for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatewayAddress {
    /// Host and port.
    authority: String,
}

/// Parses `http://HOST:PORT`, also with one of the pages behind it.
pub(crate) fn parse_address(text: &str) -> Result<GatewayAddress, String> {
    let wrong = "write it like http://127.0.0.1:9464, the address of --admin-listen";
    let uri: Uri = text.parse().map_err(|_| wrong.to_owned())?;
    let authority = uri
        .authority()
        .filter(|authority| !authority.as_str().contains('@'));
    match (uri.scheme_str(), authority) {
        (Some("http"), Some(authority)) => Ok(GatewayAddress {
            authority: match authority.port() {
                Some(_) => authority.to_string(),
                None => format!("{authority}:80"),
            },
        }),
        _ => Err(wrong.to_owned()),
    }
}

/// The parts of `/status.json` that are checked.
#[derive(Debug, Deserialize)]
struct Status {
    gateway: Gateway,
    broker: Broker,
    spool: Option<Spool>,
    refusals: Vec<Refusals>,
}

#[derive(Debug, Deserialize)]
struct Gateway {
    version: String,
    ready: bool,
    readiness: String,
}

#[derive(Debug, Deserialize)]
struct Broker {
    version: Option<String>,
    /// Missing in a status without it.
    connect_error: Option<String>,
    circuit: String,
    since_seconds: u64,
    failed_probes: u32,
    last_failure: Option<LastFailure>,
    failing_subjects: Vec<String>,
    failing_subject_count: u64,
}

#[derive(Debug, Deserialize)]
struct LastFailure {
    error: String,
}

#[derive(Debug, Deserialize)]
struct Spool {
    events: u64,
    oldest_seconds: Option<u64>,
    used_bytes: u64,
    limit_bytes: u64,
    dead_letters: u64,
    damaged: u64,
}

#[derive(Debug, Deserialize)]
struct Refusals {
    problem: String,
    count: u64,
    detail: String,
}

/// Checks the gateway at this address.
pub(super) async fn examine(address: &GatewayAddress) -> Vec<GatewayFinding> {
    match timeout(TIMEOUT, status(&address.authority)).await {
        Ok(Ok(status)) => findings(&address.authority, status),
        Ok(Err(finding)) => vec![finding],
        Err(_) => vec![GatewayFinding::Silent {
            place: address.authority.clone(),
            after: TIMEOUT,
        }],
    }
}

async fn status(authority: &str) -> Result<Status, GatewayFinding> {
    let place = || authority.to_owned();
    let stream = TcpStream::connect(authority).await.map_err(|error| {
        let error = error.to_string();
        GatewayFinding::Unreachable {
            place: place(),
            error,
        }
    })?;
    let foreign = || GatewayFinding::Foreign { place: place() };
    let answer = read(stream, authority).await.ok_or_else(foreign)?;
    match answer.status() {
        StatusCode::OK => serde_json::from_slice(answer.body()).map_err(|_| foreign()),
        StatusCode::SERVICE_UNAVAILABLE => Err(GatewayFinding::Starting { place: place() }),
        _ => Err(foreign()),
    }
}

/// Reads `/status.json`; `None` without a whole answer.
async fn read(stream: TcpStream, authority: &str) -> Option<Response<Bytes>> {
    let request = Request::get("/status.json")
        .header(HOST, authority)
        .body(Full::default())
        .ok()?;
    exchange(stream, request, MAX_STATUS_BYTES).await
}

fn findings(place: &str, status: Status) -> Vec<GatewayFinding> {
    let Status {
        gateway,
        broker,
        spool,
        refusals,
    } = status;
    let mut findings = vec![GatewayFinding::Reached {
        place: place.to_owned(),
        version: gateway.version,
    }];
    if !gateway.ready {
        findings.push(GatewayFinding::NotReady {
            reason: gateway.readiness,
        });
    }
    findings.extend(broker_findings(broker, spool.is_some()));
    match spool {
        Some(spool) => findings.extend(spool_findings(&spool)),
        None => findings.push(GatewayFinding::NoSpool),
    }
    findings.extend(refusals.into_iter().filter_map(refusal));
    findings
}

fn broker_findings(broker: Broker, has_spool: bool) -> Vec<GatewayFinding> {
    let seconds = broker.since_seconds;
    let error = broker.last_failure.map(|failure| failure.error);
    let circuit = match broker.circuit.as_str() {
        "connected" => match broker.connect_error {
            Some(error) => GatewayFinding::NotConnected { error, has_spool },
            None => GatewayFinding::CircuitClosed {
                seconds,
                server_version: broker.version,
            },
        },
        _ => match broker.version {
            // Only an event closes the circuit.
            Some(server_version) if broker.failed_probes == 0 => GatewayFinding::CircuitIdle {
                seconds,
                server_version,
            },
            _ => GatewayFinding::CircuitOpen {
                seconds,
                error: broker.connect_error.or_else(|| error.clone()),
                has_spool,
            },
        },
    };
    let mut findings = vec![circuit];
    if broker.failing_subject_count > 0 {
        findings.push(GatewayFinding::FailingSubjects {
            count: broker.failing_subject_count,
            first: broker
                .failing_subjects
                .into_iter()
                .next()
                .unwrap_or_default(),
            error,
        });
    }
    findings
}

fn spool_findings(spool: &Spool) -> Vec<GatewayFinding> {
    let mut findings = vec![GatewayFinding::Spool {
        events: spool.events,
        oldest_seconds: spool.oldest_seconds,
    }];
    let usage = spool.used_bytes as f64 / spool.limit_bytes.max(1) as f64;
    if usage > FILLING {
        let percent = (usage * 100.0).round() as u64;
        findings.push(GatewayFinding::SpoolFilling { percent });
    }
    if spool.damaged > 0 {
        let records = spool.damaged;
        findings.push(GatewayFinding::SpoolDamaged { records });
    }
    if spool.dead_letters > 0 {
        let count = spool.dead_letters;
        findings.push(GatewayFinding::DeadLetters { count });
    }
    findings
}

/// A refusal that a sender or an operator has to correct.
fn refusal(refusals: Refusals) -> Option<GatewayFinding> {
    let remedy = match refusals.problem.as_str() {
        "invalid-event"
        | "malformed-request"
        | "unsupported-media-type"
        | "unsupported-encoding" => RefusalRemedy::Sender,
        "event-refused" | "too-large" | "headers-too-large" => RefusalRemedy::SenderOrLimit,
        "identity-conflict" => RefusalRemedy::Identity,
        "unauthenticated" | "forbidden" => RefusalRemedy::Credential,
        "no-route" => RefusalRemedy::Path,
        "method-not-allowed" => RefusalRemedy::Method,
        "wrong-host" => RefusalRemedy::Host,
        "too-many-requests" => RefusalRemedy::Capacity,
        // A state that the other findings name, or that a repeat has ended.
        _ => return None,
    };
    Some(GatewayFinding::Refusals {
        count: refusals.count,
        problem: refusals.problem,
        detail: refusals.detail,
        remedy,
    })
}

#[cfg(test)]
#[path = "tests/gateway.rs"]
mod tests;
