//! A failing subject stops no other: in an account with imports only, and among thousands of failing subjects.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::*;
use futures_util::StreamExt as _;
use jetsink::{
    ConnectSettings, EmitError, NatsPublisher, PublishError, Scope, Sink, SinkSettings,
    SpoolSettings,
};
use nats_local::{NatsServer, stored};
use tokio::time::{Instant, sleep};

const IMPORTS: &str = r#"accounts: {
    STREAMS: { jetstream: enabled, users: [{ user: admin, password: p }],
               exports: [{ service: "events.>" }] }
    APP: { users: [{ user: app, password: p }],
           imports: [{ service: { account: STREAMS, subject: "events.>" } }] } }"#;

#[tokio::test]
async fn subject_without_a_stream_stops_no_other_in_an_account_without_jetstream() {
    let server = NatsServer::builder().config(IMPORTS).start().await.unwrap();
    let jetstream = jetstream_as(&server, "admin", "p").await;
    let config = async_nats::jetstream::stream::Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        ..Default::default()
    };
    jetstream.create_stream(config).await.unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let sink = sink_with(settings.user_and_password("app", "p")).await;
    for number in 0..30 {
        let bad = emit(&sink, "nowhere.a", "bad".into()).await.result;
        let error = bad.unwrap_err();
        assert_eq!(error.scope(), Scope::Subject, "{error}");
        if number == 0 {
            let EmitError::Failed(failed) = error else {
                panic!("{error}");
            };
            assert_eq!(failed.error, PublishError::NotImported);
        }
        let good = emit(&sink, "events.a", "good".into()).await.result;
        good.unwrap_or_else(|error| panic!("{number}: {error}"));
    }
    assert_eq!(stored(&jetstream, "EVENTS").await.unwrap().len(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_subjects_without_a_stream_back_off() {
    const SUBJECTS: usize = 5_000;
    let server = server_with_stream().await;
    let client = server.client().await.unwrap();
    let mut requests = client.subscribe("$JS.API.STREAM.NAMES").await.unwrap();
    client.flush().await.unwrap();
    let count = std::sync::Arc::new(AtomicU64::new(0));
    let counted = std::sync::Arc::clone(&count);
    let _counting = tokio::spawn(async move {
        while requests.next().await.is_some() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let spool = SpoolSettings::new(folder.path());
    let settings = SinkSettings::default().max_attempts(1).unwrap();
    let sink = Sink::with_spool(publisher, settings, spool).await.unwrap();
    for number in 0..SUBJECTS {
        let subject = format!("nowhere.{number}");
        sink.emit(event(&subject, "x")).await.unwrap();
    }
    let give_up = Instant::now() + Duration::from_secs(60);
    while sink.status().failing_subject_count < SUBJECTS {
        assert!(Instant::now() < give_up, "{}", sink.status());
        sleep(Duration::from_millis(50)).await;
    }
    // Six probes of each have failed after 100 + 200 + … + 3,200 ms.
    sleep(Duration::from_secs(12)).await;
    let before = count.load(Ordering::Relaxed);
    sleep(Duration::from_secs(5)).await;
    let requests = count.load(Ordering::Relaxed) - before;
    println!("{requests} requests in 5 s for {SUBJECTS} subjects");
    assert!(requests < 5_000, "{requests}");
    let good = emit(&sink, "events.a", "good".into()).await.result;
    good.unwrap();
}
