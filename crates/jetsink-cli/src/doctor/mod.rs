//! `jetsink doctor`: what is wrong, before events are lost.

pub(crate) mod arguments;
mod certificate;
mod finding;
mod network;
mod stream;

use std::collections::BTreeSet;

use async_nats::jetstream::ErrorCode;
use jetsink::{
    ConnectCause, ConnectError, ConnectSettings, NatsPublisher, PublishError, Refusal, StreamName,
    Subject, SubjectTemplate,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::connection::{environment, resolve_connection};
use crate::failure::Failure;
use crate::output::{self, counted};
use crate::runtime::runtime;
use arguments::Doctor;
use finding::{Finding, Level};
use network::{Address, Greeting};
use stream::Expected;

/// Clocks that differ by more are worth a word.
const SKEW_SECONDS: f64 = 2.0;

/// What stands for a token that an event would fill in.
const SAMPLE: &str = "jetsink-doctor";

pub(crate) fn run(arguments: &Doctor) -> Result<u8, Failure> {
    output::start_log(0, true);
    for subject in &arguments.subjects {
        SubjectTemplate::new(subject.clone())?;
    }
    let connect = resolve_connection(&arguments.connection, environment)?.name("jetsink doctor");
    let mut told = Told {
        json: arguments.json,
        problems: 0,
        warnings: 0,
    };
    runtime()?.block_on(examine(arguments, connect, &mut told))?;
    if !arguments.json {
        output::print(&format!(
            "{}, {}",
            counted(told.problems, "problem"),
            counted(told.warnings, "warning")
        ));
    }
    Ok(u8::from(told.problems > 0))
}

/// Tells each finding as it comes.
struct Told {
    json: bool,
    problems: u64,
    warnings: u64,
}

impl Told {
    fn tell(&mut self, finding: &Finding) {
        match finding.level {
            Level::Ok => {}
            Level::Warning => self.warnings += 1,
            Level::Problem => self.problems += 1,
        }
        let line = if self.json {
            finding.as_json().to_string()
        } else {
            finding.as_text()
        };
        output::print(&line);
    }

    fn tell_all(&mut self, findings: &[Finding]) {
        for finding in findings {
            self.tell(finding);
        }
    }
}

async fn examine(
    arguments: &Doctor,
    connect: ConnectSettings,
    told: &mut Told,
) -> Result<(), Failure> {
    let mut greeting: Option<Greeting> = None;
    let mut named = false;
    for (scheme, host, port) in connect.addresses() {
        let address = Address {
            scheme,
            host,
            port,
            tls_first: connect.is_tls_first(),
        };
        let (found, greets) = network::look_at(&address).await;
        named |= found.iter().any(|finding| finding.level == Level::Problem);
        told.tell_all(&found);
        greeting = greeting.or(greets);
    }
    let publisher = match NatsPublisher::connect(connect).await {
        Ok(publisher) => publisher,
        Err(ConnectError::Refused { cause, reason, .. }) => {
            if let Some(finding) = login_failed(cause, &reason, named) {
                told.tell(&finding);
            }
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    told.tell(&Finding::ok("login", "the server lets this user in"));
    if !account(&publisher, told).await {
        return Ok(());
    }
    let expected = Expected {
        retention_floor: arguments.retention_floor,
        retry_span: arguments.retry_span,
        max_payload: greeting.and_then(|greeting| greeting.max_payload),
    };
    let mut examined = BTreeSet::new();
    for template in &arguments.subjects {
        subject(&publisher, template, &expected, &mut examined, told).await;
    }
    Ok(())
}

/// `named` says that a finding about an address or a certificate names the cause already.
fn login_failed(cause: ConnectCause, reason: &str, named: bool) -> Option<Finding> {
    let (code, remedy) = match cause {
        ConnectCause::UntrustedAuthority => (
            "tls.untrusted",
            "give the authority's certificate: --tlsca FILE, or NATS_CA",
        ),
        ConnectCause::ClientCertificateRequired => (
            "tls.client-certificate",
            "present a client certificate: --tlscert FILE --tlskey FILE",
        ),
        ConnectCause::LoginRefused | ConnectCause::LoginUnusable => (
            "login.refused",
            "check user and password, token, --creds or --nkey against the server's configuration",
        ),
        _ if named => return None,
        _ => ("connect.failed", "look at the server's log"),
    };
    Some(Finding::problem(code, reason, remedy))
}

/// JetStream, and what the account may still use; false where there is nobody to ask further.
async fn account(publisher: &NatsPublisher, told: &mut Told) -> bool {
    let problem = match publisher.admin().account_info().await {
        Ok(info) => {
            told.tell_all(&limits(&info));
            return true;
        }
        Err(PublishError::PermissionDenied) => {
            told.tell(&Finding::warning(
                "account.denied",
                "this user may not ask for the account's limits, and a late acknowledgement can't \
                 be told from a silent server",
                "grant publish on $JS.API.INFO",
            ));
            return true;
        }
        Err(PublishError::InboxDenied { inbox }) => Finding::problem(
            "inbox.denied",
            format!("this user may not subscribe to {inbox}, so no acknowledgement can come"),
            "grant subscribe on _INBOX.>, or use --inbox-prefix with one that is granted",
        ),
        Err(PublishError::Refused(Refusal { code, .. }))
            if code == ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT.0 =>
        {
            Finding::problem(
                "jetstream.account",
                "JetStream is not enabled for this account",
                "jetstream: enabled in the account's block, or nsc edit account --js-enable 1",
            )
        }
        Err(PublishError::JetStreamUnavailable) => Finding::problem(
            "jetstream.disabled",
            "the server has no JetStream, or the account may not use it",
            "jetstream { store_dir: DIR } in the server's configuration",
        ),
        Err(error) => Finding::problem(
            "jetstream.silent",
            format!("the JetStream API: {error}"),
            "nats server report jetstream",
        ),
    };
    told.tell(&problem);
    false
}

fn limits(info: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    for (limit, used, what) in [
        ("max_storage", "storage", "bytes of file storage"),
        ("max_memory", "memory", "bytes of memory storage"),
        ("max_streams", "streams", "streams"),
    ] {
        let limit = info["limits"][limit].as_i64().unwrap_or(-1);
        let used = info[used].as_i64().unwrap_or(0);
        // 0 is for what the account may not use at all.
        if limit > 0 && used as f64 >= 0.8 * limit as f64 {
            found.push(Finding::warning(
                "account.limit",
                format!("the account uses {used} of {limit} {what}"),
                "raise the account's limit, or delete what is not needed",
            ));
        }
    }
    if found.is_empty() {
        let text = "JetStream is enabled, and the account has room";
        found.push(Finding::ok("jetstream", text));
    }
    found
}

async fn subject(
    publisher: &NatsPublisher,
    template: &str,
    expected: &Expected,
    examined: &mut BTreeSet<StreamName>,
    told: &mut Told,
) {
    let fields = ["{tenantId}", "{type}", "{source}"];
    let pattern = fields
        .iter()
        .fold(template.to_owned(), |t, f| t.replace(f, "*"));
    match publisher.admin().stream_names(&pattern).await {
        Err(PublishError::PermissionDenied) => told.tell(&Finding::warning(
            "stream.names-denied",
            "this user may not ask which stream captures a subject, so errors say less, and a \
             spool can't look up what is stored",
            "grant publish on $JS.API.STREAM.NAMES",
        )),
        Err(error) => told.tell(&Finding::problem(
            "stream.names",
            format!("which stream captures {pattern}? {error}"),
            "nats stream ls",
        )),
        Ok(names) => {
            let mut captures = false;
            for name in &names {
                let info = stream_info(publisher, name, told).await;
                captures |= match &info {
                    None => true, // not to be seen
                    Some(info) => capturing(info, &pattern),
                };
                if let Some(info) = info
                    && examined.insert(name.clone())
                {
                    told.tell_all(&stream::examine(&info, expected));
                    let server = info["ts"].as_str().and_then(|ts| ts.parse().ok());
                    told.tell_all(&server.and_then(clock).into_iter().collect::<Vec<_>>());
                }
            }
            told.tell_all(&captured(&pattern, &names, captures));
        }
    }
    let sample = template.replace("{tenantId}", "single");
    let sample = fields.iter().fold(sample, |t, f| t.replace(f, SAMPLE));
    let Ok(sample) = Subject::new(&sample) else {
        return; // the template was checked
    };
    match publisher.admin().check_publish(&sample).await {
        Ok(()) => told.tell(&Finding::ok(
            "publish.allowed",
            format!("this user may publish to {sample} (asked; nothing was stored)"),
        )),
        // Told above, with its cause.
        Err(
            PublishError::NoStream
            | PublishError::AckTimeout {
                broker_answers: true,
            },
        ) => {}
        Err(PublishError::PermissionDenied) => told.tell(&Finding::problem(
            "publish.denied",
            format!("this user may not publish to {sample}"),
            format!("grant publish on {pattern}"),
        )),
        Err(error) => told.tell(&Finding::problem(
            "publish.failed",
            format!("an event for {sample} would fail: {error}"),
            "jetsink publish -v with one event shows more",
        )),
    }
}

async fn stream_info(
    publisher: &NatsPublisher,
    name: &StreamName,
    told: &mut Told,
) -> Option<Value> {
    match publisher.admin().stream_info(name).await {
        Ok(info) => return Some(info),
        Err(PublishError::PermissionDenied) => told.tell(&Finding::warning(
            "stream.info-denied",
            format!("this user may not look at stream {name}, and so neither can this command"),
            format!("grant publish on $JS.API.STREAM.INFO.{name}"),
        )),
        Err(error) => told.tell(&Finding::problem(
            "stream.silent",
            format!("stream {name} is there and does not say how it is: {error}"),
            format!("nats stream info {name}; nats server report jetstream"),
        )),
    }
    None
}

fn capturing(info: &Value, pattern: &str) -> bool {
    let subjects = info["config"]["subjects"].as_array();
    let mut subjects = subjects.into_iter().flatten().filter_map(Value::as_str);
    subjects.any(|subject| stream::covers(subject, pattern))
}

fn captured(pattern: &str, names: &[StreamName], all: bool) -> Vec<Finding> {
    match names {
        [] => vec![Finding::problem(
            "subject.no-stream",
            format!("no stream captures {pattern}: every emit would fail"),
            format!("jetsink stream apply --name EVENTS --subject '{pattern}'"),
        )],
        [one] if all => {
            let text = format!("stream {one} captures {pattern}");
            vec![Finding::ok("subject.captured", text)]
        }
        [one] => vec![Finding::problem(
            "subject.partly",
            format!("stream {one} captures only a part of {pattern}: other events would fail"),
            format!("jetsink stream apply --name {one} --subject '{pattern}'"),
        )],
        several => vec![Finding::warning(
            "subject.several",
            format!(
                "events of {pattern} go to {} streams, {}: each has its own order and limits{}",
                several.len(),
                several.join(", "),
                if all { "" } else { ", and some go to none" }
            ),
            "one stream for all of them, unless that is meant",
        )],
    }
}

fn clock(server: Timestamp) -> Option<Finding> {
    skew(server, Timestamp::now())
}

/// The answer took a moment, which counts as skew; little enough.
fn skew(server: Timestamp, here: Timestamp) -> Option<Finding> {
    let seconds = here.duration_since(server).as_secs_f64();
    (seconds.abs() > SKEW_SECONDS).then(|| {
        let ahead = if seconds > 0.0 { "ahead of" } else { "behind" };
        Finding::warning(
            "clock.skew",
            format!(
                "the clock here is {:.1} s {ahead} the server's",
                seconds.abs()
            ),
            "run a time service (chrony, systemd-timesyncd) on both",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_told() {
        let server: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let later = |seconds: i64| Timestamp::from_second(server.as_second() + seconds).unwrap();
        assert_eq!(skew(server, later(1)), None);
        let text = skew(server, later(3)).unwrap().text;
        assert_eq!(text, "the clock here is 3.0 s ahead of the server's");
        let text = skew(server, later(-60)).unwrap().text;
        assert!(text.contains("60.0 s behind"), "{text}");
    }

    #[test]
    fn an_account_that_fills_up_is_told_by_what() {
        let info = serde_json::json!({
            "storage": 90, "memory": 5, "streams": 3,
            "limits": { "max_storage": 100, "max_memory": -1, "max_streams": 10 },
        });
        let found = limits(&info);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].text,
            "the account uses 90 of 100 bytes of file storage"
        );
    }
}
