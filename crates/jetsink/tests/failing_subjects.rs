//! A failing subject stops no other: in an account with imports only, and among thousands of failing subjects.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::*;
use futures_util::StreamExt as _;
use jetsink::{
    ConnectSettings, EmitError, NatsPublisher, PublishError, Scope, Sink, SinkSettings,
    SpoolSettings, WindowSize,
};
use nats_local::{NatsCluster, NatsServer, stored};
use tokio::time::{Instant, sleep};

/// Only a stall takes longer.
const PATIENCE: Duration = Duration::from_secs(180);

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

/// As while a cluster elects the leader of its API: the stream may have lost its leader with the same server.
#[tokio::test]
async fn unanswered_question_for_the_stream_is_no_sign_that_it_is_missing() {
    let server = NatsServer::builder().config(IMPORTS).start().await.unwrap();
    let options = async_nats::ConnectOptions::with_user_and_password("app".into(), "p".into());
    let client = options.connect(server.url()).await.unwrap();
    let _silent = client.subscribe("$JS.hub.API.STREAM.NAMES").await.unwrap();
    client.flush().await.unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let settings = settings.jetstream_domain("hub").unwrap();
    let sink = sink_with(settings.user_and_password("app", "p")).await;
    let error = emit(&sink, "nowhere.a", "x".into()).await.result;
    let Err(EmitError::Failed(failed)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(failed.error, PublishError::NoLeader);
}

/// Counts the requests for the names of streams.
async fn requests_for_names(server: &NatsServer) -> Arc<AtomicU64> {
    let client = server.client().await.unwrap();
    let mut requests = client.subscribe("$JS.API.STREAM.NAMES").await.unwrap();
    client.flush().await.unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while requests.next().await.is_some() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    count
}

/// Each of them asked for the names of the streams.
#[tokio::test]
async fn window_in_flight_to_a_deleted_stream_asks_once_for_the_reason() {
    const EVENTS: usize = 1_000;
    let server = server_with_stream().await;
    let sink = sink_to(&server).await;
    let jetstream = server.jetstream().await.unwrap();
    jetstream.delete_stream("EVENTS").await.unwrap();
    let count = requests_for_names(&server).await;
    let mut pipeline = sink.pipeline(WindowSize::new(EVENTS).unwrap());
    for number in 0..EVENTS {
        let event = event("events.a", number.to_string());
        pipeline.push(event).unwrap();
    }
    for _ in 0..EVENTS {
        let error = pipeline.next().await.unwrap().unwrap_err();
        assert_eq!(error.scope(), Scope::Subject, "{error}");
    }
    let requests = count.load(Ordering::Relaxed);
    println!("{requests} requests for {EVENTS} events");
    // Once, and once more for each retry of some.
    assert!((1..=5).contains(&requests), "{requests}");
}

/// It opened the circuit of the broker.
#[tokio::test]
async fn stream_without_a_leader_stops_no_other_subject() {
    let mut cluster = NatsCluster::start().await.unwrap();
    let create = async |name: String| {
        let config = async_nats::jetstream::stream::Config {
            subjects: vec![format!("{name}.>")],
            name,
            ..Default::default()
        };
        cluster.create_stream_with(config).await.unwrap();
    };
    create("lost".to_owned()).await;
    let gone = cluster.leader("lost").await.unwrap();
    let mut kept = None;
    for number in 0..50 {
        let name = format!("kept{number}");
        create(name.clone()).await;
        if cluster.leader(&name).await.unwrap() != gone {
            kept = Some(format!("{name}.a"));
            break;
        }
    }
    let kept = kept.expect("a stream on another server");
    let alive = (gone + 1) % 3;
    let settings = ConnectSettings::new(&cluster.url(alive)).unwrap();
    let sink = sink_with(settings).await;
    cluster.server(gone).kill().unwrap();
    // The other two may elect a leader of the metadata.
    let give_up = Instant::now() + Duration::from_secs(60);
    let mut without_a_leader = 0;
    while without_a_leader < 5 {
        assert!(Instant::now() < give_up, "{}", sink.status());
        let lost = emit(&sink, "lost.a", "x".into()).await.result.unwrap_err();
        if let EmitError::Failed(failed) = &lost
            && failed.error == PublishError::NoLeader
        {
            without_a_leader += 1;
            emit(&sink, &kept, "x".into()).await.result.unwrap();
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_subjects_without_a_stream_back_off() {
    back_off(SinkSettings::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_subjects_without_a_stream_back_off_after_one_attempt() {
    back_off(SinkSettings::default().max_attempts(1).unwrap()).await;
}

async fn back_off(settings: SinkSettings) {
    const SUBJECTS: usize = 5_000;
    let server = server_with_stream().await;
    let count = requests_for_names(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let connection = ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(connection).await.unwrap();
    let spool = SpoolSettings::new(folder.path());
    // A busy disk takes longer than the default.
    let settings = settings.deadline(PATIENCE).unwrap();
    let sink = Sink::with_spool(publisher, settings, spool).await.unwrap();
    // Many at a time: by default an emit takes 500 ms for its three attempts.
    futures_util::stream::iter(0..SUBJECTS)
        .for_each_concurrent(500, |number| {
            let event = event(&format!("nowhere.{number}"), "x");
            async { drop(sink.emit(event).await.unwrap()) }
        })
        .await;
    let give_up = Instant::now() + PATIENCE;
    while sink.status().failing_subject_count < SUBJECTS {
        assert!(Instant::now() < give_up, "{}", sink.status());
        sleep(Duration::from_millis(50)).await;
    }
    // The waits double up to 3 minutes: sooner or later, most subjects wait for longer than one count takes.
    loop {
        let before = count.load(Ordering::Relaxed);
        sleep(Duration::from_secs(5)).await;
        let requests = count.load(Ordering::Relaxed) - before;
        println!("{requests} requests in 5 s for {SUBJECTS} subjects");
        if requests < 2_000 {
            break;
        }
        assert!(Instant::now() < give_up, "{requests}");
    }
    let good = emit(&sink, "events.a", "good".into()).await.result;
    good.unwrap();
}
