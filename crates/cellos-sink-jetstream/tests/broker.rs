//! The drop-in against a real broker.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use cellos_core::ports::EventSink;
use cellos_sink_jetstream::{
    ConnectSettings, JetStreamEventSink, SpoolSettings, TenantPolicy, resolve_tenant_subject,
};
use common::*;
use nats_local::{NatsServer, NatsServerBuilder, StoredMessage, TlsFiles, stored};

const TEMPLATE: &str = "cellos.events.{tenantId}";

async fn broker(settings: NatsServerBuilder) -> NatsServer {
    let server = settings.start().await.unwrap();
    let created = server.create_stream("CELLOS_EVENTS", &["cellos.events.>"]);
    created.await.unwrap();
    server
}

async fn stored_by(server: &NatsServer) -> Vec<StoredMessage> {
    let jetstream = server.jetstream().await.unwrap();
    stored(&jetstream, "CELLOS_EVENTS").await.unwrap()
}

#[tokio::test]
async fn the_sample_events_are_stored_once_in_order_each_at_its_tenants_subject() {
    let server = broker(NatsServer::builder()).await;
    let sink = JetStreamEventSink::connect(&server.url(), TEMPLATE)
        .await
        .unwrap();
    let events = samples();
    assert_eq!(events.len(), 102);
    for event in &events {
        sink.emit(event).await.unwrap();
    }
    let there = stored_by(&server).await;
    assert_eq!(there.len(), events.len());
    for (message, event) in there.iter().zip(&events) {
        assert_eq!(message.payload, serde_json::to_vec(event).unwrap());
        assert_eq!(message.subject, resolve_tenant_subject(TEMPLATE, event));
        let content_type = message.headers.get("content-type").map(ToString::to_string);
        assert_eq!(
            content_type.as_deref(),
            Some("application/cloudevents+json")
        );
    }
}

#[tokio::test]
async fn each_bad_tenant_is_refused_or_encoded_and_a_good_event_after_it_is_stored() {
    let server = broker(NatsServer::builder()).await;
    let refuse = JetStreamEventSink::connect(&server.url(), TEMPLATE)
        .await
        .unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let encode = JetStreamEventSink::builder(settings, TEMPLATE)
        .tenant_policy(TenantPolicy::Encode)
        .connect()
        .await
        .unwrap();
    let bad = [
        "a.b",
        "*",
        ">",
        "a b",
        "",
        "a\r\nb",
        "\0",
        "\t",
        "$JS",
        ".a",
        "a.",
        "größe\u{a0}",
    ];
    for id in bad {
        refuse.emit(&event(id)).await.unwrap_err();
        refuse.emit(&event("good")).await.unwrap();
        encode.emit(&event(id)).await.unwrap();
    }
    let long = event(&"x".repeat(5_000));
    refuse.emit(&long).await.unwrap_err();
    encode.emit(&long).await.unwrap_err();
    refuse.emit(&event("größe")).await.unwrap();
    let there = stored_by(&server).await;
    assert_eq!(there.len(), 2 * bad.len() + 1);
    let good = there
        .iter()
        .filter(|m| m.subject == "cellos.events.good")
        .count();
    assert_eq!(good, bad.len());
    assert!(
        there.iter().all(|m| m.subject.split('.').count() == 3),
        "one level below the template"
    );
}

#[tokio::test]
async fn connecting_without_a_broker_is_an_error_that_names_nats_connect() {
    let server = NatsServer::start().await.unwrap();
    let url = server.url();
    drop(server);
    for url in [url.as_str(), "not a url", ""] {
        let started = Instant::now();
        let sink = JetStreamEventSink::connect(url, TEMPLATE).await;
        let error = sink.unwrap_err().to_string();
        assert!(error.contains("nats connect"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(1), "{error}");
    }
}

#[tokio::test]
async fn connecting_to_a_frozen_broker_is_an_error_in_time() {
    let server = NatsServer::start().await.unwrap();
    server.freeze().unwrap();
    let started = Instant::now();
    let sink = JetStreamEventSink::connect(&server.url(), TEMPLATE).await;
    let took = started.elapsed();
    server.thaw().unwrap();
    let error = sink.unwrap_err().to_string();
    assert!(error.contains("nats connect"), "{error}");
    assert!(took < Duration::from_secs(7), "{took:?}");
}

#[tokio::test]
async fn a_sink_may_start_while_the_broker_is_down_and_stores_within_a_second_of_its_return() {
    let mut server = broker(NatsServer::builder()).await;
    server.kill().unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let deadline = Duration::from_millis(500);
    let sink = JetStreamEventSink::builder(settings.start_disconnected(true), TEMPLATE)
        .deadline(deadline)
        .connect()
        .await
        .unwrap();
    for _ in 0..20 {
        let started = Instant::now();
        sink.emit(&event("acme")).await.unwrap_err();
        let took = started.elapsed();
        assert!(took < deadline + Duration::from_millis(100), "{took:?}");
    }
    server.restart().await.unwrap();
    let returned = Instant::now();
    while let Err(error) = sink.emit(&event("acme")).await {
        assert!(returned.elapsed() < Duration::from_secs(1), "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(stored_by(&server).await.len(), 1);
}

#[tokio::test]
async fn a_login_that_the_broker_refuses_is_an_error_without_the_secret() {
    let builder = NatsServer::builder().user_and_password("cellos", "right");
    let server = builder.start().await.unwrap();
    let address = format!("127.0.0.1:{}", server.port());
    for url in [
        format!("nats://{address}"),
        format!("nats://cellos:hunter2@{address}"),
        format!("nats://hunter2@{address}"),
        format!("nats://cellos:hunter2@{address}:x"),
    ] {
        let sink = JetStreamEventSink::connect(&url, TEMPLATE).await;
        let error = sink.unwrap_err().to_string();
        assert!(error.contains("nats connect"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

const CHILD_URL: &str = "CELLOS_SINK_TEST_URL";
const CHILD_EVENTS: usize = 300;

/// Runs in a process of its own, because a process has one environment.
#[tokio::test]
async fn the_login_comes_from_the_environment_and_a_process_that_exits_after_ok_lost_nothing() {
    let builder = NatsServer::builder().user_and_password("cellos", "right");
    let server = broker(builder).await;
    let child = |password: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_emits_and_exits", "--nocapture"])
            .env("NATS_USER", "cellos")
            .env("NATS_PASSWORD", password)
            .env(CHILD_URL, format!("nats://127.0.0.1:{}", server.port()))
            .output()
            .unwrap()
    };
    let right = child("right");
    assert_eq!(right.status.code(), Some(0), "{right:?}");
    assert_eq!(stored_by(&server).await.len(), CHILD_EVENTS);

    let wrong = child("hunter2");
    assert_ne!(wrong.status.code(), Some(0), "{wrong:?}");
    let output = format!("{wrong:?}");
    assert!(output.contains("authorization violation"), "{output}");
    assert!(!output.contains("hunter2"), "{output}");
}

#[tokio::test]
async fn with_a_spool_a_service_starts_without_a_broker_and_the_next_one_delivers() {
    let mut server = broker(NatsServer::builder()).await;
    let folder = tempfile::tempdir().unwrap();
    server.kill().unwrap();
    let without_broker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_emits_and_exits", "--nocapture"])
        .env("CELLOS_JETSTREAM_SPOOL_DIR", folder.path())
        .env(CHILD_URL, server.url())
        .output()
        .unwrap();
    assert_eq!(without_broker.status.code(), Some(0), "{without_broker:?}");
    server.restart().await.unwrap();
    assert!(stored_by(&server).await.is_empty());

    let settings = ConnectSettings::new(&server.url()).unwrap();
    let sink = JetStreamEventSink::builder(settings, TEMPLATE)
        .spool(SpoolSettings::new(folder.path()))
        .connect()
        .await
        .unwrap();
    let give_up = Instant::now() + Duration::from_secs(30);
    while stored_by(&server).await.len() < CHILD_EVENTS {
        assert!(Instant::now() < give_up, "{sink:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(stored_by(&server).await.len(), CHILD_EVENTS);
}

#[tokio::test]
async fn folder_of_the_audit_trail_is_refused_for_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::fs::create_dir(folder.path().join("own")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("own"), &link).unwrap();
    let child = |spool: &str, trail: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_emits_and_exits", "--nocapture"])
            .env("CELLOS_JETSTREAM_SPOOL_DIR", folder.path().join(spool))
            .env("CELLOS_SPOOL_DIR", folder.path().join(trail))
            .env(CHILD_URL, "nats://127.0.0.1:1")
            .output()
            .unwrap();
        (output.status.success(), format!("{output:?}"))
    };
    let above = folder.path().join("above");
    std::os::unix::fs::symlink(folder.path(), above).unwrap();
    // By name, by a link, and by the name of a folder that does not exist yet.
    for (spool, trail) in [
        ("own", "own"),
        ("link", "own"),
        ("new", "./new"),
        ("new", "above/new"),
    ] {
        let (succeeded, output) = child(spool, trail);
        let expected = "is the folder of CellOS's audit trail: CELLOS_SPOOL_DIR names it";
        assert!(!succeeded && output.contains(expected), "{output}");
    }
    assert!(!folder.path().join("new").exists());
    let (succeeded, output) = child("own", "trail");
    assert!(succeeded, "{output}");

    // The builder, without the variable.
    std::fs::create_dir(folder.path().join("trail")).unwrap();
    std::fs::write(folder.path().join("trail/audit-trail.jsonl"), "").unwrap();
    for (name, is_refused) in [("trail", true), ("trail/below", false)] {
        let settings = ConnectSettings::new("nats://127.0.0.1:1").unwrap();
        let builder = JetStreamEventSink::builder(settings, TEMPLATE);
        let connected = builder.spool(SpoolSettings::new(folder.path().join(name)));
        let connected = connected.connect().await;
        let error = connected.err().map(|error| error.to_string());
        let expected = "it contains audit-trail.jsonl";
        assert_eq!(
            error.as_ref().is_some_and(|error| error.contains(expected)),
            is_refused,
            "{error:?}"
        );
    }
    assert_eq!(
        std::fs::read_dir(folder.path().join("trail"))
            .unwrap()
            .count(),
        2,
        "the trail and the folder below it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spool_opens_again_right_after_a_drop() {
    let mut server = broker(NatsServer::builder()).await;
    let folder = tempfile::tempdir().unwrap();
    server.kill().unwrap();
    let connect = || {
        let settings = ConnectSettings::new(&server.url()).unwrap();
        JetStreamEventSink::builder(settings, TEMPLATE)
            .spool(SpoolSettings::new(folder.path()))
            .connect()
    };
    for round in 0..50 {
        let sink = connect().await;
        let sink = sink.unwrap_or_else(|error| panic!("opening {round}: {error}"));
        sink.emit(&event("acme")).await.unwrap();
        drop(sink);
    }
    server.restart().await.unwrap();
    let _sink = JetStreamEventSink::builder(ConnectSettings::new(&server.url()).unwrap(), TEMPLATE)
        .spool(SpoolSettings::new(folder.path()))
        .connect()
        .await
        .unwrap();
    let give_up = Instant::now() + Duration::from_secs(30);
    while stored_by(&server).await.len() < 50 {
        assert!(Instant::now() < give_up, "not delivered");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn child_emits_and_exits() {
    let Ok(url) = std::env::var(CHILD_URL) else {
        return; // Not the child.
    };
    let sink = JetStreamEventSink::connect(&url, TEMPLATE).await.unwrap();
    for _ in 0..CHILD_EVENTS {
        sink.emit(&event("acme")).await.unwrap();
    }
    std::process::exit(0); // Nothing is dropped, nothing is flushed.
}

#[tokio::test]
async fn the_sinks_of_a_process_share_the_spool_that_the_variable_names() {
    let mut server = broker(NatsServer::builder()).await;
    let folder = tempfile::tempdir().unwrap();
    let child = |url: String| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_with_three_sinks", "--nocapture"])
            .env("CELLOS_JETSTREAM_SPOOL_DIR", folder.path())
            .env(CHILD_URL, url)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    };
    child(server.url());
    server.kill().unwrap();
    child(server.url());
    server.restart().await.unwrap();

    let settings = ConnectSettings::new(&server.url()).unwrap();
    let sink = JetStreamEventSink::builder(settings, TEMPLATE)
        .spool(SpoolSettings::new(folder.path()))
        .connect()
        .await
        .unwrap();
    let give_up = Instant::now() + Duration::from_secs(30);
    while stored_by(&server).await.len() < 8 {
        assert!(Instant::now() < give_up, "{sink:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let messages = stored_by(&server).await;
    let ids = messages.iter().map(|m| m.message_id.clone().unwrap());
    let numbers: Vec<String> = ids
        .map(|id| id.rsplit_once('.').unwrap().1.to_owned())
        .collect();
    assert_eq!(numbers.concat(), "12341234", "one engine in each child");
}

#[tokio::test]
async fn child_with_three_sinks() {
    let Ok(url) = std::env::var(CHILD_URL) else {
        return; // Not the child.
    };
    let connect = || JetStreamEventSink::connect(&url, TEMPLATE);
    let (first, second) = tokio::join!(connect(), connect());
    let (first, second) = (first.unwrap(), second.unwrap());
    first.emit(&event("acme")).await.unwrap();
    second.emit(&event("acme")).await.unwrap();
    drop(first);
    let third = connect().await.unwrap();
    third.emit(&event("acme")).await.unwrap();
    second.emit(&event("acme")).await.unwrap();
    std::process::exit(0);
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_its_file_is_given() {
    let files = TlsFiles::generate(false).unwrap();
    let server = broker(NatsServer::builder().tls(&files)).await;
    assert!(
        JetStreamEventSink::connect(&server.url(), TEMPLATE)
            .await
            .is_err()
    );
    let root = Some(files.root.as_path());
    let sink = JetStreamEventSink::connect_with_root_ca(&server.url(), TEMPLATE, root)
        .await
        .unwrap();
    sink.emit(&event("acme")).await.unwrap();
    let missing = Some(std::path::Path::new("/no/such/ca.pem"));
    let error = JetStreamEventSink::connect_with_root_ca(&server.url(), TEMPLATE, missing).await;
    assert!(error.unwrap_err().to_string().contains("/no/such/ca.pem"));
}
