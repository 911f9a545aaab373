//! Checks a running gateway by the pages of its `--admin-listen`.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode, Uri};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::finding::Finding;
use crate::http::exchange;
use crate::output::counted;
use crate::units::format_seconds;

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
    circuit: String,
    since_seconds: u64,
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
pub(super) async fn examine(address: &GatewayAddress) -> Vec<Finding> {
    match timeout(TIMEOUT, status(&address.authority)).await {
        Ok(Ok(status)) => findings(&address.authority, &status),
        Ok(Err(finding)) => vec![finding],
        Err(_) => vec![Finding::problem(
            "gateway.silent",
            format!("{} does not answer within {TIMEOUT:?}", address.authority),
            "look at firewalls and routes, and whether the gateway's process hangs",
        )],
    }
}

async fn status(authority: &str) -> Result<Status, Finding> {
    let stream = TcpStream::connect(authority).await.map_err(|error| {
        Finding::problem(
            "gateway.unreachable",
            format!("{authority} takes no connection: {error}"),
            "start jetsink serve with --admin-listen, or correct the address",
        )
    })?;
    let foreign = || {
        Finding::problem(
            "gateway.foreign",
            format!("{authority} has no status of jetsink serve"),
            "give the address of --admin-listen, not that for events; an older gateway has no status",
        )
    };
    let answer = read(stream, authority).await.ok_or_else(foreign)?;
    match answer.status() {
        StatusCode::OK => serde_json::from_slice(answer.body()).map_err(|_| foreign()),
        StatusCode::SERVICE_UNAVAILABLE => Err(Finding::warning(
            "gateway.starting",
            format!("the gateway at {authority} is starting: its spool is not open yet"),
            "wait; if it lasts, look at the gateway's log and at the disk of its spool",
        )),
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

fn findings(place: &str, status: &Status) -> Vec<Finding> {
    let Status {
        gateway,
        broker,
        spool,
        refusals,
    } = status;
    let text = format!("{place} is jetsink serve {}", gateway.version);
    let mut findings = vec![Finding::ok("gateway.reached", text)];
    if !gateway.ready {
        findings.push(Finding::problem(
            "gateway.not-ready",
            format!("it is not ready: {}", gateway.readiness),
            "deliver or enlarge the spool, or replace its disk; a gateway that is stopping ends soon",
        ));
    }
    findings.push(circuit(broker, spool.is_some()));
    if broker.failing_subject_count > 0 {
        let named = broker.failing_subjects.first().map_or("", String::as_str);
        let subjects = counted(broker.failing_subject_count, "subject");
        findings.push(Finding::warning(
            "gateway.subjects",
            format!(
                "events of {subjects} are not stored now, such as {named}{}",
                why(broker)
            ),
            format!("jetsink doctor --subject '{named}'"),
        ));
    }
    match spool {
        Some(spool) => findings.extend(of_spool(spool)),
        None => findings.push(Finding::warning(
            "gateway.no-spool",
            "it has no spool: senders get 503 while the broker is away",
            "jetsink serve --spool DIR",
        )),
    }
    findings.extend(refusals.iter().filter_map(of_refusals));
    findings
}

fn circuit(broker: &Broker, has_spool: bool) -> Finding {
    let since = format_seconds(broker.since_seconds);
    if broker.circuit == "connected" {
        let version = broker
            .version
            .as_deref()
            .unwrap_or("without a connection yet");
        let text = format!("its circuit has been closed for {since}; nats-server {version}");
        return Finding::ok("gateway.circuit", text);
    }
    let text = format!("its broker has been away for {since}{}", why(broker));
    let remedy = "jetsink doctor --subject SUBJECT, with the gateway's own login";
    match has_spool {
        true => Finding::warning("gateway.circuit", text + "; events are spooled", remedy),
        false => Finding::problem("gateway.circuit", text + "; events are refused", remedy),
    }
}

fn why(broker: &Broker) -> String {
    let failure = broker.last_failure.as_ref();
    failure.map_or_else(String::new, |failure| format!(" ({})", failure.error))
}

fn of_spool(spool: &Spool) -> Vec<Finding> {
    let oldest = spool.oldest_seconds.map_or_else(String::new, |oldest| {
        format!(", the oldest for {}", format_seconds(oldest))
    });
    let pending = counted(spool.events, "event");
    let mut findings = vec![Finding::ok(
        "gateway.spool",
        format!("{pending} in its spool{oldest}"),
    )];
    let usage = spool.used_bytes as f64 / spool.limit_bytes.max(1) as f64;
    if usage > FILLING {
        findings.push(Finding::warning(
            "gateway.spool-filling",
            format!("its spool is {:.0} % full", usage * 100.0),
            "repair the broker, or raise --spool-limit; senders get 503 once it is full",
        ));
    }
    if spool.damaged > 0 {
        let events = counted(spool.damaged, "spooled event");
        findings.push(Finding::problem(
            "gateway.spool-damaged",
            format!("{events} were damaged on the disk and are lost"),
            "replace the disk; jetsink spool verify DIR lists the damage",
        ));
    }
    if spool.dead_letters > 0 {
        let letters = counted(spool.dead_letters, "dead letter");
        findings.push(Finding::warning(
            "gateway.dead-letters",
            format!("its spool has {letters}: refused for good, or too old"),
            "jetsink spool dead DIR shows why; --revive or --delete ends it",
        ));
    }
    findings
}

/// A refusal that a sender or an operator has to correct.
fn of_refusals(refusals: &Refusals) -> Option<Finding> {
    let remedy = match refusals.problem.as_str() {
        "invalid-event"
        | "malformed-request"
        | "unsupported-media-type"
        | "unsupported-encoding" => "correct the sender; docs/serve describes requests",
        "event-refused" | "too-large" | "headers-too-large" => {
            "correct the sender, or raise the limit that the text names"
        }
        "identity-conflict" => "give each event its own id, or another source per sender",
        "unauthenticated" | "forbidden" => "correct the sender's token, or its entry in --access",
        "no-route" => "correct the sender's path; the paths are those of --subject (/) and --route",
        "method-not-allowed" => "correct the sender: events are sent by POST",
        "wrong-host" => "send to localhost, or add the name with --allow-host",
        "too-many-requests" => "raise --max-requests or --max-bytes, or add a gateway",
        // A state that the other findings name, or that a repeat has ended.
        _ => return None,
    };
    let requests = counted(refusals.count, "request");
    Some(Finding::warning(
        "gateway.refusals",
        format!(
            "{requests} of the last hour: {}; the last: {}",
            refusals.problem, refusals.detail
        ),
        remedy,
    ))
}

#[cfg(test)]
#[path = "tests/gateway.rs"]
mod tests;
