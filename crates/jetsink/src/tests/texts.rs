//! The text of every error, as an operator reads it: `snapshots/` has all of them. Each is one line.
//!
//! After a change of a text: `INSTA_UPDATE=always cargo test -p jetsink --lib texts`, and read the difference.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::{
    Binding, CircuitOpen, ConnectCause, ConnectError, ConnectionEnd, ContentMode, EmitError,
    Envelope, ExportError, FailedEmit, HeaderError, Known, MessageId, PublishError, Refusal,
    RequestError, Scope, SettingsError, SinkSettings, SpoolError, SpoolFailed, StreamError,
    StreamName, Subject, SubjectTemplate, event_json,
};

/// Compares the texts with the snapshot of this name, one line per error.
fn assert_texts<E: std::fmt::Display>(name: &str, errors: impl IntoIterator<Item = E>) {
    let mut text = String::new();
    for error in errors {
        let line = error.to_string();
        assert_eq!(line.lines().count(), 1, "{line:?}");
        writeln!(text, "{line}").unwrap();
    }
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

fn refusal(code: u64, text: &str) -> Refusal {
    let text = text.to_owned();
    Refusal { code, text }
}

/// One of each. A new variant has to be added here: `name` does not compile without it.
fn publish_errors() -> Vec<PublishError> {
    use PublishError as E;
    let name = |error: &PublishError| match error {
        E::NotConnected | E::ConnectionLost | E::ClientBusy | E::AckTimeout { .. } => "connection",
        E::HeldBack => "connection",
        E::NoStream | E::NoLeader | E::NoResponders => "stream",
        E::JetStreamUnavailable | E::NotImported => "stream",
        E::PermissionDenied | E::FlowControlDenied | E::InboxDenied { .. } => "permission",
        E::TooLarge { .. } | E::HeadersTooLarge { .. } | E::Expired => "event",
        E::EndsConnection { .. } | E::HeaderRefused(_) | E::MessageIdTaken { .. } => "event",
        E::Refused(_) | E::WrongStream { .. } | E::NotAnAcknowledgement(_) => "answer",
        E::Stopped | E::Other { .. } => "other",
    };
    let ends = |reason| E::EndsConnection {
        bytes: 5_120,
        reason,
    };
    let (limit, stream) = (1_048_576, "EVENTS".to_owned());
    let errors = vec![
        E::NotConnected,
        E::ConnectionLost,
        E::ClientBusy,
        E::AckTimeout {
            broker_answers: false,
        },
        E::AckTimeout {
            broker_answers: true,
        },
        E::NoStream,
        E::NoLeader,
        E::NoResponders,
        E::HeldBack,
        E::JetStreamUnavailable,
        E::NotImported,
        E::PermissionDenied,
        E::FlowControlDenied,
        E::InboxDenied {
            inbox: "_INBOX.a.*".to_owned(),
        },
        E::TooLarge {
            bytes: 2_000_000,
            limit,
        },
        E::HeadersTooLarge {
            bytes: 70_000,
            limit: 65_535,
        },
        E::Expired,
        ends(ConnectionEnd::MaxPayload),
        ends(ConnectionEnd::MaxControlLine),
        ends(ConnectionEnd::Unexplained),
        E::HeaderRefused(refusal(10_111, "rollup not permitted")),
        E::MessageIdTaken {
            stream: stream.clone(),
            sequence: 7,
        },
        E::Refused(refusal(10_077, "maximum messages exceeded")),
        E::Refused(refusal(10_166, "per-message ttl is disabled")),
        E::Refused(refusal(
            10_002,
            "resource \"limits\" exceeded\r\nfor account",
        )),
        E::WrongStream {
            expected: stream,
            actual: "OTHER".to_owned(),
        },
        E::NotAnAcknowledgement("hello".to_owned()),
        E::Stopped,
    ];
    assert!(errors.iter().all(|error| !name(error).is_empty()));
    errors
}

#[test]
fn publish_errors_have_these_texts() {
    assert_texts("publish_errors", publish_errors());
}

#[test]
fn emit_errors_have_these_texts() {
    let open = |scope, probing| {
        let retry_after = Duration::from_millis(if probing { 0 } else { 12_800 });
        EmitError::CircuitOpen(CircuitOpen {
            scope,
            attempt: 7,
            retry_after,
            probing,
        })
    };
    let failed = |error, known| {
        let subject = Subject::new("events.acme").unwrap();
        let message_id = Some(MessageId::new("Q2b.17").unwrap());
        EmitError::Failed(Box::new(FailedEmit {
            subject,
            message_id,
            attempts: 3,
            error,
            known,
        }))
    };
    let lost = || failed(PublishError::ConnectionLost, Known::OutcomeUnknown);
    let full = SpoolError::Full {
        used_bytes: 1_048_000,
        limit_bytes: 1_048_576,
    };
    let spool = |error: &SpoolError, direct| {
        let error = error.clone();
        let subject = Subject::new("events.acme").unwrap();
        let message_id = Some(MessageId::new("Q2b.17").unwrap());
        EmitError::Spool(Box::new(SpoolFailed {
            subject,
            message_id,
            error,
            direct,
        }))
    };
    assert_texts(
        "emit_errors",
        [
            open(Scope::Broker, false),
            open(Scope::Broker, true),
            open(Scope::Subject, false),
            failed(PublishError::NotConnected, Known::NotSent),
            failed(PublishError::NoStream, Known::Refused),
            lost(),
            spool(&full, None),
            spool(&full, Some(open(Scope::Broker, false))),
            spool(
                &SpoolError::TooSlow {
                    waited: Duration::from_secs(2),
                },
                Some(lost()),
            ),
            EmitError::Closed,
        ],
    );
}

/// A report with all causes would have a text twice otherwise.
#[test]
fn text_of_an_error_is_whole_and_its_source_repeats_no_part_of_it() {
    let binding = || Binding::new("events".parse().unwrap());
    let unreadable = io::Error::from(io::ErrorKind::StorageFull);
    let spool = SpoolError::io("spool".as_ref(), "writing events", &unreadable);
    let subject = Subject::new("a").unwrap();
    let failed = FailedEmit::new(subject.clone(), PublishError::NoStream);
    let errors: [Box<dyn Error>; 7] = [
        Box::new(binding().envelope("{}".into()).unwrap_err()),
        Box::new(SinkSettings::default().sink_id("\n").unwrap_err()),
        Box::new(StreamError::Broker {
            stream: "EVENTS".to_owned(),
            error: RequestError::NotConnected,
        }),
        Box::new(EmitError::Failed(Box::new(failed.clone()))),
        Box::new(failed),
        Box::new(SpoolFailed::new(subject, spool.clone())),
        Box::new(spool),
    ];
    for error in errors {
        let (text, source) = (error.to_string(), error.source());
        let repeats = source.is_some_and(|source| text.contains(&source.to_string()));
        assert!(!repeats, "{text}");
    }
}

#[test]
fn spool_error_has_the_kind_of_the_systems_error() {
    let full = io::Error::from(io::ErrorKind::StorageFull);
    let error = SpoolError::io("spool".as_ref(), "writing events", &full);
    assert!(matches!(error, SpoolError::Io { kind, .. } if kind == full.kind()));
}

/// One of each. A new variant has to be added here: `name` does not compile without it.
#[test]
fn spool_errors_have_these_texts() {
    use SpoolError as E;
    let path = || PathBuf::from("/var/lib/shop/spool");
    let waited = Duration::from_secs(2);
    let reason = || "Input/output error (os error 5)".to_owned();
    let name = |error: &SpoolError| match error {
        E::InUse { .. } | E::Format { .. } | E::OldStore { .. } | E::Missing { .. } => "opening",
        E::Full { .. } | E::TooLarge { .. } | E::Busy { .. } | E::TooSlow { .. } => "appending",
        E::Io { .. } | E::HalfWritten { .. } | E::Failed | E::Closed => "failure",
    };
    let errors = [
        E::InUse { path: path() },
        E::Format {
            path: path(),
            found: 9,
            expected: 1,
        },
        E::OldStore {
            path: path().join("spool.redb"),
        },
        E::Missing { path: path() },
        E::Full {
            used_bytes: 1_048_000,
            limit_bytes: 1_048_576,
        },
        E::TooLarge {
            bytes: 1_048_577,
            limit: 1_048_576,
        },
        E::Io {
            path: path(),
            doing: "write",
            kind: io::ErrorKind::Other,
            reason: reason(),
        },
        E::HalfWritten {
            path: path(),
            kind: io::ErrorKind::Other,
            reason: reason(),
        },
        E::Busy { waited },
        E::TooSlow { waited },
        E::Failed,
        E::Closed,
    ];
    assert!(errors.iter().all(|error| !name(error).is_empty()));
    assert_texts("spool_errors", errors);
}

#[test]
fn request_errors_have_these_texts() {
    use RequestError as E;
    assert_texts(
        "request_errors",
        [
            E::NotConnected,
            E::ConnectionLost,
            E::NoAnswer {
                broker_answers: true,
            },
            E::NoAnswer {
                broker_answers: false,
            },
            E::Denied,
            E::InboxDenied {
                inbox: "_INBOX.>".to_owned(),
            },
            E::FlowControlDenied,
            E::JetStreamUnavailable,
            E::Refused(refusal(10_059, "stream not found")),
            E::from(PublishError::other(
                "the stream can't be read: messages were lost in transit",
                Scope::Broker,
                Known::NotSent,
            )),
        ],
    );
}

#[test]
fn settings_errors_have_these_texts() {
    let sink_id = SinkSettings::default().sink_id("a\r\nb");
    assert_texts(
        "settings_errors",
        [
            SettingsError::Deadline(Duration::ZERO),
            SettingsError::MaxAttempts,
            sink_id.unwrap_err(),
            SettingsError::SpoolLimit,
            SettingsError::MaxAge,
            SettingsError::EventsPerSecond,
        ],
    );
}

#[test]
fn connect_errors_have_these_texts() {
    let reason = |text: &str| text.to_owned();
    assert_texts(
        "connect_errors",
        [
            ConnectError::Server {
                number: 2,
                reason: reason("it has no host"),
            },
            ConnectError::Setting {
                what: "inbox prefix",
                reason: reason("it is empty"),
            },
            ConnectError::File {
                what: "credentials",
                path: PathBuf::from("/etc/shop/nats.creds"),
                reason: reason("No such file or directory (os error 2)"),
            },
            ConnectError::Refused {
                servers: reason("nats://127.0.0.1:4222"),
                cause: ConnectCause::TimedOut,
                reason: reason("no server answered in time"),
            },
        ],
    );
}

#[test]
fn names_and_templates_have_these_errors() {
    let names = ["", "a b", "a.b", &"a".repeat(300)];
    let names = names.map(|name| name.parse::<StreamName>().unwrap_err().to_string());
    let long = "a".repeat(3_000);
    let templates = [
        "",
        "a b",
        "a..b",
        ".a",
        "a.*",
        "a.>",
        "a\u{7}b",
        "events.{tenantId",
        "events.{TenantId}",
        "{tenantId}.a",
        "events.{type|}",
        "events.{type|a b}",
        "events.{type|a.b}",
        "events.{type:levels|a..b}",
        "events.{type}{id}",
        "events.x{type:levels}",
        "events.{type:levels}.{source:levels}",
        "$JS.{type}",
        &long,
    ];
    let templates = templates.map(|template| match template.parse::<SubjectTemplate>() {
        Ok(_) => format!("{template}: valid"),
        Err(error) => error.to_string(),
    });
    let headers = [
        HeaderError::Name {
            name: "`a:b`".to_owned(),
        },
        HeaderError::MessageId {
            name: "`nats-msg-id`".to_owned(),
        },
        HeaderError::NotStored {
            name: "`nats-trace-only`".to_owned(),
        },
        HeaderError::Value {
            name: "`x`".to_owned(),
            position: 3,
        },
    ];
    assert_texts("stream_names", names);
    assert_texts("subject_templates", templates);
    assert_texts("headers", headers);
}

#[test]
fn invalid_events_have_these_errors() {
    let base = r#""specversion":"1.0","id":"1","source":"/s","type":"t""#;
    let with = |rest: &str| format!("{{{base},{rest}}}");
    let events = [
        String::new(),
        "[]".to_owned(),
        "{".to_owned(),
        r#"{"specversion":"1.0","id":"1","type":"t"}"#.to_owned(),
        r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#.to_owned(),
        with(r#""time":"yesterday""#),
        with(r#""Upper":"a""#),
        with(r#""count":2147483648"#),
        with(r#""nested":{}"#),
        with(r#""subject":"""#),
        with(r#""dataschema":"not a uri""#),
        with(r#""datacontenttype":"none""#),
        with(r#""id":"2""#),
        with(r#""data":1,"data_base64":"AA==""#),
        with(r#""data_base64":"!""#),
        with(r#""data":{"tenantId":"a b"}"#),
        with(r#""data":{"tenantId":"\ud800"}"#),
    ];
    let binding = Binding::new("events.{tenantId}.{key}".parse().unwrap());
    let errors = events.map(|event| match binding.envelope(event.clone().into()) {
        Ok(_) => format!("{event}: valid"),
        Err(error) => error.to_string(),
    });
    assert_texts("invalid_events", errors);
    let binary = Binding::new("events".parse().unwrap()).mode(ContentMode::Binary);
    let event = with(r#""a":"\ud800""#);
    assert_texts("binary_mode", [binary.envelope(event.into()).unwrap_err()]);
}

#[test]
fn settings_and_streams_have_these_errors() {
    let settings = SinkSettings::default;
    assert_texts(
        "settings",
        [
            settings().deadline(Duration::ZERO).unwrap_err(),
            settings().max_attempts(0).unwrap_err(),
            settings().sink_id("a\nb").unwrap_err(),
        ],
    );
    let stream = "EVENTS".to_owned();
    assert_texts(
        "streams",
        [
            StreamError::Broker {
                stream: stream.clone(),
                error: RequestError::JetStreamUnavailable,
            },
            StreamError::Denied {
                stream: stream.clone(),
                subject: "$JS.API.STREAM.INFO.EVENTS".to_owned(),
            },
            StreamError::Impossible {
                stream,
                reason: "its storage is memory".to_owned(),
            },
        ],
    );
    let plain = Envelope::new(Subject::new("events.a").unwrap(), "text".into());
    assert_texts(
        "export",
        [
            event_json(&plain).unwrap_err(),
            ExportError::NotJson("expected value at line 1 column 1".to_owned()),
            ExportError::NotUtf8 {
                name: "`ce-id`".to_owned(),
            },
        ],
    );
}
