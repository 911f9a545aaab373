//! Every finding, as text and as JSON: `snapshots/` has all of them.
//!
//! After a change of a text: `INSTA_UPDATE=always cargo test -p jetsink-cli --bin jetsink findings`, and read the
//! difference.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::spool::arguments::WhenUnconfirmed;

fn connection() -> Vec<Finding> {
    use ConnectionFinding as F;
    let host = || "n1.example".to_owned();
    let place = || "n1.example:4222".to_owned();
    let day = || "2026-12-01".to_owned();
    let reason = || "nats connect to tls://n1.example:4222 failed: (the cause)".to_owned();
    let findings = [
        F::Reached { place: place() },
        F::IsNats {
            place: place(),
            version: "2.15.1".to_owned(),
        },
        F::NameUnresolved {
            host: host(),
            error: "Name or service not known".to_owned(),
        },
        F::Refused {
            place: place(),
            error: "Connection refused (os error 111)".to_owned(),
        },
        F::Silent {
            place: place(),
            after: Duration::from_secs(3),
        },
        F::NotNats { place: place() },
        F::HandshakeFailed {
            host: host(),
            reason: "tls handshake eof".to_owned(),
        },
        F::CertificateFits {
            host: host(),
            until: day(),
        },
        F::CertificateUnreadable { host: host() },
        F::CertificateExpired {
            host: host(),
            on: day(),
        },
        F::CertificateExpiresSoon {
            host: host(),
            on: day(),
        },
        F::CertificateNotYetValid {
            host: host(),
            from: day(),
        },
        F::CertificateForOtherNames { host: host() },
        F::CertificateOfAuthority { host: host() },
        F::LoginAccepted,
        F::UntrustedAuthority { reason: reason() },
        F::ClientCertificateRequired { reason: reason() },
        F::LoginRefused { reason: reason() },
        F::NoConnection { reason: reason() },
        F::ClockSkew { seconds: 3.04 },
        F::ClockSkew { seconds: -60.0 },
    ];
    findings.map(Finding::from).into()
}

fn account() -> Vec<Finding> {
    use AccountFinding as F;
    let findings = [
        F::HasRoom,
        F::NearLimit {
            used: 90,
            limit: 100,
            unit: "bytes of file storage",
        },
        F::SmallerPayload {
            accepted: 4_096,
            refused: 4_352,
            announced: 1_048_576,
        },
        F::LimitsDenied,
        F::Imports {
            choice: WhenUnconfirmed::Deliver,
        },
        F::InboxDenied {
            inbox: "_INBOX.a.*".to_owned(),
        },
        F::NotEnabled,
        F::NoJetStream,
        F::ApiFails {
            error: "the broker did not answer in time".to_owned(),
        },
    ];
    findings.map(Finding::from).into()
}

fn stream() -> Vec<Finding> {
    use StreamFinding as F;
    let limit = StreamLimit {
        used: 950,
        limit: 1_000,
        unit: "messages",
        flag: "--max-msgs",
    };
    let day = Duration::from_secs(86_400);
    let findings = [
        F::Fits,
        F::NoAck,
        F::Sealed,
        F::Counter,
        F::SubjectTransform,
        F::ConsumerLimit {
            limit: "max_ack_pending",
            value: 10,
            flag: "--limit-consumer-max-pending",
        },
        F::PersistAsync,
        F::PerSubjectLimit { kept: 1 },
        F::DiscardsOld { limit, percent: 95 },
        F::Full(limit),
        F::Filling(limit),
        F::RetentionPolicy {
            policy: "workqueue".to_owned(),
        },
        F::Retention {
            age: 30 * day,
            floor: 90 * day,
        },
        F::Memory,
        F::OneReplica,
        F::DuplicateWindow {
            window: Duration::from_secs(10),
            retry_span: Duration::from_secs(32),
        },
        F::MessageSize {
            limit: 1_024,
            max_payload: 1_048_576,
        },
        F::NoLeader,
        F::ReplicaBehind {
            server: "n3".to_owned(),
        },
        F::InfoDenied,
        F::InfoFails {
            error: "the broker did not answer in time".to_owned(),
        },
    ];
    findings.map(|finding| finding.about("EVENTS")).into()
}

fn subject() -> Vec<Finding> {
    use SubjectFinding as F;
    let pattern = || "events.*".to_owned();
    let stream = || "EVENTS".to_owned();
    let sample = || "events.jetsink-doctor".to_owned();
    let error = || "the broker did not answer in time".to_owned();
    let several = || vec![stream(), "ORDERS".to_owned()];
    let findings = [
        F::Captured {
            pattern: pattern(),
            stream: stream(),
        },
        F::NoStream { pattern: pattern() },
        F::Partly {
            pattern: pattern(),
            streams: vec![stream()],
        },
        F::Partly {
            pattern: pattern(),
            streams: several(),
        },
        F::Several {
            pattern: pattern(),
            streams: several(),
        },
        F::Unreceived {
            pattern: pattern(),
            sample: sample(),
        },
        F::Elsewhere { pattern: pattern() },
        F::StreamsDenied,
        F::StreamsUnknown {
            pattern: pattern(),
            error: error(),
        },
        F::PublishAllowed { sample: sample() },
        F::PublishDenied {
            sample: sample(),
            pattern: pattern(),
        },
        F::PublishFails {
            sample: sample(),
            error: error(),
        },
    ];
    findings.map(Finding::from).into()
}

fn look_up() -> Vec<Finding> {
    use LookUpFinding as F;
    let stream = || "EVENTS".to_owned();
    let incomplete = |removal| F::Incomplete {
        stream: stream(),
        removal,
        choice: WhenUnconfirmed::Deliver,
    };
    let findings = [
        F::Possible {
            stream: stream(),
            choice: WhenUnconfirmed::Deliver,
        },
        F::Impossible {
            stream: stream(),
            error: "this user may not publish to the subject".to_owned(),
            choice: WhenUnconfirmed::Hold,
        },
        incomplete(Removal::Consumed),
        incomplete(Removal::PerSubject(1)),
        incomplete(Removal::Oldest),
    ];
    findings.map(Finding::from).into()
}

fn gateway() -> Vec<Finding> {
    use GatewayFinding as F;
    let place = || "127.0.0.1:9464".to_owned();
    let error = || Some("no connection to the broker".to_owned());
    let closed = |server_version| F::CircuitClosed {
        seconds: 90,
        server_version,
    };
    let open = |has_spool| F::CircuitOpen {
        seconds: 12,
        error: error(),
        has_spool,
    };
    let not_connected = |has_spool| F::NotConnected {
        error: "nats connect to nats://n1 failed: the broker refuses this login".to_owned(),
        has_spool,
    };
    let refusals = |problem: &str, remedy| F::Refusals {
        count: 2,
        problem: problem.to_owned(),
        detail: "(the detail)".to_owned(),
        remedy,
    };
    let findings = [
        F::Reached {
            place: place(),
            version: "0.1.0".to_owned(),
        },
        F::Silent {
            place: place(),
            after: Duration::from_secs(5),
        },
        F::Unreachable {
            place: place(),
            error: "Connection refused (os error 111)".to_owned(),
        },
        F::Foreign { place: place() },
        F::Starting { place: place() },
        F::NotReady {
            reason: "the spool is full".to_owned(),
        },
        closed(Some("2.15.1".to_owned())),
        closed(None),
        F::CircuitIdle {
            seconds: 12,
            server_version: "2.15.1".to_owned(),
        },
        not_connected(true),
        not_connected(false),
        open(true),
        open(false),
        F::FailingSubjects {
            count: 2,
            first: "events.acme".to_owned(),
            error: error(),
        },
        F::NoSpool,
        F::Spool {
            events: 3,
            oldest_seconds: Some(12),
        },
        F::Spool {
            events: 0,
            oldest_seconds: None,
        },
        F::SpoolFilling { percent: 71 },
        F::SpoolDamaged { records: 1 },
        F::DeadLetters { count: 2 },
        refusals("invalid-event", RefusalRemedy::Sender),
        refusals("too-large", RefusalRemedy::SenderOrLimit),
        refusals("identity-conflict", RefusalRemedy::Identity),
        refusals("forbidden", RefusalRemedy::Credential),
        refusals("no-route", RefusalRemedy::Path),
        refusals("method-not-allowed", RefusalRemedy::Method),
        refusals("wrong-host", RefusalRemedy::Host),
        refusals("too-many-requests", RefusalRemedy::Capacity),
    ];
    findings.map(Finding::from).into()
}

/// The findings of each file of `finding/`, and the file's text.
fn all() -> [(&'static str, Vec<Finding>, &'static str); 6] {
    [
        (
            "connection",
            connection(),
            include_str!("../finding/connection.rs"),
        ),
        ("account", account(), include_str!("../finding/account.rs")),
        ("stream", stream(), include_str!("../finding/stream.rs")),
        ("subject", subject(), include_str!("../finding/subject.rs")),
        ("look-up", look_up(), include_str!("../finding/look_up.rs")),
        ("gateway", gateway(), include_str!("../finding/gateway.rs")),
    ]
}

fn assert_lines(name: &str, lines: impl Iterator<Item = String>) {
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!(name, lines.collect::<Vec<_>>().join("\n"));
    });
}

#[test]
fn each_finding_has_its_text_and_its_json() {
    for (name, findings, _) in all() {
        assert_lines(name, findings.iter().map(Finding::as_text));
        let lines = findings.iter().map(|finding| finding.as_json().to_string());
        assert_lines(&format!("{name}-json"), lines);
    }
}

#[test]
fn each_finding_is_one_line_with_a_remedy_unless_it_is_ok() {
    for finding in all().into_iter().flat_map(|(_, findings, _)| findings) {
        assert_eq!(finding.text.lines().count(), 1, "{finding:?}");
        let remedy = finding.remedy.as_deref();
        assert_eq!(remedy.is_none(), finding.level == Level::Ok, "{finding:?}");
        assert!(
            remedy.is_none_or(|remedy| remedy.lines().count() == 1),
            "{finding:?}"
        );
    }
}

/// A finding that is missing in this file has its code in the source only.
#[test]
fn each_code_is_in_the_snapshots_and_in_the_manual() {
    let manual = include_str!("../../../../../docs/command/doctor.md");
    for (name, findings, source) in all() {
        let codes: BTreeSet<&str> = findings.iter().map(|finding| finding.code).collect();
        let constructors = ["::ok(", "::warning(", "::problem("];
        let written: BTreeSet<&str> = constructors
            .iter()
            .flat_map(|constructor| source.split(constructor).skip(1))
            .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
            .collect();
        assert_eq!(codes, written, "{name}");
        for code in codes {
            assert!(manual.contains(&format!("`{code}`")), "{code}");
        }
    }
}
