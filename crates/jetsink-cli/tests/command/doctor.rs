//! `jetsink doctor`, at broken set-ups: each has its own finding.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use nats_local::{NatsServer, TlsFiles};

use crate::support::*;

pub(crate) struct Diagnosis {
    pub(crate) code: i32,
    /// Level and code of each finding that is not ok.
    pub(crate) found: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Diagnosis {
    pub(crate) fn shows(&self, level: &str, code: &str) -> bool {
        self.found.contains(&(level.to_owned(), code.to_owned()))
    }

    #[track_caller]
    pub(crate) fn has(&self, level: &str, code: &str) {
        assert!(self.shows(level, code), "no {level} {code}:\n{}", self.text);
        let problems = self.found.iter().any(|(level, _)| level == "problem");
        assert_eq!(self.code, i32::from(problems), "{}", self.text);
    }
}

pub(crate) fn doctor(url: &str, arguments: &[&str]) -> Diagnosis {
    let output = command("doctor", &["-s", url, "--json"])
        .args(arguments)
        .output()
        .unwrap();
    Diagnosis::of(&output)
}

impl Diagnosis {
    pub(crate) fn of(output: &std::process::Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let findings = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let found = findings.filter_map(|finding: serde_json::Value| {
            let level = finding["level"].as_str()?.to_owned();
            assert!(
                level == "ok" || finding["remedy"].is_string(),
                "no remedy: {finding}"
            );
            (level != "ok").then(|| Some((level, finding["code"].as_str()?.to_owned())))?
        });
        Diagnosis {
            found: found.collect(),
            code: output.status.code().unwrap(),
            text: format!("{text}{}", stderr(output)),
        }
    }
}

fn examine(server: &NatsServer, arguments: &[&str]) -> Diagnosis {
    doctor(
        &server.url(),
        &[&["--subject", "events.{tenantId}"], arguments].concat(),
    )
}

fn healthy() -> Config {
    Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        ..Config::default()
    }
}

async fn with_stream(config: Config) -> NatsServer {
    let server = NatsServer::start().await.unwrap();
    let jetstream = server.jetstream().await.unwrap();
    jetstream.create_stream(config).await.unwrap();
    server
}

#[tokio::test]
async fn a_good_setup_is_ok_but_for_its_single_copy_and_nothing_is_stored() {
    let server = with_stream(healthy()).await;
    let diagnosis = examine(&server, &[]);
    assert_eq!(diagnosis.code, 0);
    let one_copy = ("warning".to_owned(), "stream.one-replica".to_owned());
    assert_eq!(diagnosis.found, [one_copy], "{}", diagnosis.text);
    assert_eq!(there(&server).await.len(), 0);

    let output = command("doctor", &["-s", &server.url(), "--subject", "events.a"])
        .output()
        .unwrap();
    assert_code(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("ok       stream EVENTS captures events.a\n"),
        "{text}"
    );
    assert!(
        text.contains("nats stream edit EVENTS --replicas 3"),
        "{text}"
    );
    assert!(text.ends_with("0 problems, 1 warning\n"), "{text}");
}

#[tokio::test]
async fn each_broken_stream_has_its_finding() {
    let day = Duration::from_secs(86_400);
    let small = DiscardPolicy::New;
    for (level, code, config) in [
        (
            "problem",
            "subject.no-stream",
            Config {
                subjects: vec!["other".into()],
                ..healthy()
            },
        ),
        (
            "problem",
            "subject.partly",
            Config {
                subjects: vec!["events.a".into()],
                ..healthy()
            },
        ),
        (
            "problem",
            "stream.no-ack",
            Config {
                no_ack: true,
                ..healthy()
            },
        ),
        (
            "problem",
            "stream.retention",
            Config {
                max_age: 30 * day,
                ..healthy()
            },
        ),
        (
            "problem",
            "stream.retention-policy",
            Config {
                retention: RetentionPolicy::WorkQueue,
                ..healthy()
            },
        ),
        (
            "problem",
            "stream.discards-old",
            Config {
                max_messages: 10,
                ..healthy()
            },
        ),
        (
            "problem",
            "stream.limit-per-subject",
            Config {
                max_messages_per_subject: 1,
                ..healthy()
            },
        ),
        (
            "problem",
            "stream.full",
            Config {
                max_messages: 5,
                discard: small,
                ..healthy()
            },
        ),
        (
            "warning",
            "stream.filling",
            Config {
                max_messages: 6,
                discard: small,
                ..healthy()
            },
        ),
        (
            "warning",
            "stream.memory",
            Config {
                storage: StorageType::Memory,
                ..healthy()
            },
        ),
        (
            "warning",
            "stream.duplicate-window",
            Config {
                duplicate_window: Duration::from_secs(1),
                ..healthy()
            },
        ),
        (
            "warning",
            "stream.message-size",
            Config {
                max_message_size: 1_000,
                ..healthy()
            },
        ),
    ] {
        let server = with_stream(config.clone()).await;
        if config.discard == small {
            let jetstream = server.jetstream().await.unwrap();
            for _ in 0..5 {
                let ack = jetstream
                    .publish("events.single", "x".into())
                    .await
                    .unwrap();
                ack.await.unwrap();
            }
        }
        examine(&server, &[]).has(level, code);
    }
}

#[tokio::test]
async fn sealed_stream_and_two_streams_with_a_part_of_a_template_each_are_reported() {
    let server = with_stream(healthy()).await;
    let jetstream = server.jetstream().await.unwrap();
    let sealed = Config {
        sealed: true,
        ..healthy()
    };
    jetstream.update_stream(sealed).await.unwrap();
    examine(&server, &[]).has("problem", "stream.sealed");

    let server = with_stream(Config {
        subjects: vec!["events.a".into()],
        ..healthy()
    })
    .await;
    let jetstream = server.jetstream().await.unwrap();
    let other = Config {
        name: "MORE".to_owned(),
        subjects: vec!["events.b".into()],
        ..healthy()
    };
    jetstream.create_stream(other).await.unwrap();
    // Events of other tenants have no stream.
    examine(&server, &[]).has("problem", "subject.partly");
}

#[tokio::test]
async fn part_of_a_template_without_a_stream_is_a_problem_although_the_sample_has_one() {
    // The sample has two tokens after the first one; other types have three.
    for streams in [
        &[&["events.*.*"][..], &["events.x.y.z"]][..],
        &[&["events.*.*", "events.x.y.z"]],
    ] {
        let server = NatsServer::start().await.unwrap();
        for (number, subjects) in streams.iter().enumerate() {
            let stream = format!("EVENTS-{number}");
            server.create_stream(&stream, subjects).await.unwrap();
        }
        let template = ["--subject", "events.{tenantId}.{type:levels}"];
        let diagnosis = doctor(&server.url(), &template);
        diagnosis.has("problem", "subject.partly");
        assert!(
            !diagnosis.shows("warning", "subject.elsewhere"),
            "{}",
            diagnosis.text
        );
        assert_eq!(diagnosis.code, 1, "{}", diagnosis.text);
    }
}

#[tokio::test]
async fn address_without_a_server_or_with_another_one_is_reported() {
    let template = ["--subject", "events.a"];
    let mut server = NatsServer::start().await.unwrap();
    let url = server.url();
    server.kill().unwrap();
    doctor(&url, &template).has("problem", "address.refused");
    doctor("nats://no-such-host.invalid", &template).has("problem", "address.unresolved");

    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", other.local_addr().unwrap());
    let greeting = tokio::spawn(async move {
        loop {
            let (mut stream, _) = other.accept().await.unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail\r\n").await;
        }
    });
    let url_of_doctor = url.clone();
    let diagnosis = tokio::task::spawn_blocking(move || doctor(&url_of_doctor, &template));
    diagnosis.await.unwrap().has("problem", "address.no-nats");
    greeting.abort();
}

#[tokio::test]
async fn server_that_refuses_a_needed_request_is_reported() {
    let without = NatsServer::builder()
        .without_jetstream()
        .start()
        .await
        .unwrap();
    examine(&without, &[]).has("problem", "jetstream.disabled");

    let locked = NatsServer::builder()
        .user_and_password("app", "hunter2")
        .start();
    let locked = locked.await.unwrap();
    let diagnosis = examine(&locked, &["--user", "app", "--password", "sw0rdfish"]);
    diagnosis.has("problem", "login.refused");
    assert!(!diagnosis.text.contains("sw0rdfish"), "{}", diagnosis.text);

    let account = "accounts { A { users = [{ user: app, password: hunter2 }] }, \
                    SYS { users = [{ user: sys, password: sys }] } }, system_account: SYS";
    let no_account = NatsServer::builder().config(account).start().await.unwrap();
    let diagnosis = examine(&no_account, &["--user", "app", "--password", "hunter2"]);
    diagnosis.has("problem", "jetstream.account");
}

/// A server with one user who may do these things only, and a stream for all events.
async fn allowing(permissions: &str) -> NatsServer {
    restricted(permissions, &[("EVENTS", "events.>")]).await
}

/// A server with one user who may do these things only, and these streams.
async fn restricted(permissions: &str, streams: &[(&str, &str)]) -> NatsServer {
    let config = format!(
        "authorization {{ users = [ {{ user: app, password: hunter2, permissions: {{ {permissions} }} }}, \
         {{ user: admin, password: admin }} ] }}"
    );
    let server = NatsServer::builder().config(&config).start().await.unwrap();
    let url = format!("nats://admin:admin@127.0.0.1:{}", server.port());
    for (name, subject) in streams {
        let apply = ["apply", "--name", name, "--subject", subject, "-s", &url];
        assert_code(&command("stream", &apply).output().unwrap(), 0);
    }
    server
}

// A user's finding: the command reported no problem, and each event failed.
#[tokio::test]
async fn subject_without_a_stream_is_a_problem_for_a_user_who_may_not_examine_streams() {
    let login = ["--user", "app", "--password", "hunter2"];
    let publish_only = r#"publish: ["events.>"], subscribe: ["_INBOX.>"]"#;
    let names_only = r#"publish: ["events.>", "$JS.API.STREAM.NAMES"], subscribe: ["_INBOX.>"]"#;
    let two = [("A", "events.a"), ("B", "events.b")];
    for (permissions, streams, warning) in [
        (publish_only, &[][..], "stream.names-denied"),
        (publish_only, &two[..], "stream.names-denied"),
        (names_only, &two[..1], "stream.info-denied"),
        (names_only, &two[..], "subject.several"),
    ] {
        let diagnosis = examine(&restricted(permissions, streams).await, &login);
        diagnosis.has("problem", "subject.no-stream");
        diagnosis.has("warning", warning);
    }
}

#[tokio::test]
async fn missing_permission_is_named() {
    let login = ["--user", "app", "--password", "hunter2"];
    for (level, code, permissions) in [
        (
            "problem",
            "publish.denied",
            r#"publish: ["$JS.API.>"], subscribe: ["_INBOX.>"]"#,
        ),
        (
            "problem",
            "inbox.denied",
            r#"publish: [">"], subscribe: ["nowhere"]"#,
        ),
        (
            "warning",
            "account.denied",
            r#"publish: ["events.>", "$JS.API.STREAM.>"], subscribe: ["_INBOX.>"]"#,
        ),
        (
            "warning",
            "stream.names-denied",
            r#"publish: ["events.>", "$JS.API.INFO"], subscribe: ["_INBOX.>"]"#,
        ),
        (
            "warning",
            "stream.info-denied",
            r#"publish: ["events.>", "$JS.API.INFO", "$JS.API.STREAM.NAMES"], subscribe: ["_INBOX.>"]"#,
        ),
    ] {
        let server = allowing(permissions).await;
        examine(&server, &login).has(level, code);
    }
}

#[tokio::test]
async fn certificates_are_judged_by_name_time_and_authority() {
    let in_days = |days: u64| SystemTime::now() + Duration::from_secs(days * 86_400);
    let ago = SystemTime::now() - Duration::from_secs(86_400);
    let here = ["127.0.0.1", "localhost"];
    for (level, code, files, trusted) in [
        (
            "problem",
            "tls.expired",
            TlsFiles::generate_for(&here, Some(ago), false),
            true,
        ),
        (
            "warning",
            "tls.expires-soon",
            TlsFiles::generate_for(&here, Some(in_days(10)), false),
            true,
        ),
        (
            "problem",
            "tls.name",
            TlsFiles::generate_for(&["elsewhere"], None, false),
            true,
        ),
        ("problem", "tls.untrusted", TlsFiles::generate(false), false),
        (
            "problem",
            "tls.client-certificate",
            TlsFiles::generate(true),
            true,
        ),
    ] {
        let files = files.unwrap();
        let server = NatsServer::builder().tls(&files).start().await.unwrap();
        let root = as_text(&files.root);
        let trust: &[&str] = if trusted { &["--tlsca", root] } else { &[] };
        examine(&server, trust).has(level, code);
    }
}

// A user's finding: the certificate was called valid, and the failed connection had no usable remedy.
#[tokio::test]
async fn self_signed_certificate_is_accepted_unless_it_is_an_authoritys() {
    let files = TlsFiles::self_signed(true).unwrap();
    let other = TlsFiles::self_signed(true).unwrap();
    let server = NatsServer::builder().tls(&files).start().await.unwrap();
    for trust in [
        &["--tlsca", as_text(&files.root)][..],
        &["--tlsca", as_text(&other.root)],
        &[],
    ] {
        let diagnosis = examine(&server, trust);
        diagnosis.has("problem", "tls.authority");
        assert_eq!(diagnosis.found.len(), 1, "{}", diagnosis.text);
    }
    let files = TlsFiles::self_signed(false).unwrap();
    let server = NatsServer::builder().tls(&files).start().await.unwrap();
    examine(&server, &["--tlsca", as_text(&files.root)]).has("problem", "subject.no-stream");
}

// A user's finding: a file without certificates was ignored, and the remedy for a broken one was the server's log.
#[tokio::test]
async fn tls_file_that_cannot_be_used_is_wrong_usage() {
    let files = TlsFiles::generate(true).unwrap();
    let server = NatsServer::builder().tls(&files).start().await.unwrap();
    let [root, key, client, client_key] = [
        &files.root,
        &files.server_key,
        &files.client_certificate,
        &files.client_key,
    ]
    .map(|path| as_text(path));
    for (flags, named) in [
        (&["--tlsca", key][..], key),
        (
            &["--tlsca", root, "--tlscert", client, "--tlskey", key],
            key,
        ),
        (
            &[
                "--tlsca",
                root,
                "--tlscert",
                client_key,
                "--tlskey",
                client_key,
            ],
            client_key,
        ),
    ] {
        let diagnosis = examine(&server, flags);
        assert_eq!(diagnosis.code, 2, "{}", diagnosis.text);
        assert!(diagnosis.text.contains(named), "{}", diagnosis.text);
    }
}

#[test]
fn wrong_usage_is_2() {
    for arguments in [
        &[][..],
        &["--subject", "events.*"],
        &["--subject", "events.a", "--retention-floor", "soon"],
        &["--subject", "events.a", "--creds", "/no/such/file"],
        &["--subject", "events.a", "-s", "http://x"],
    ] {
        assert_code(&command("doctor", arguments).output().unwrap(), 2);
    }
}
