//! The spool against a real broker: after any fault, the stream has the same events as without it.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy};
use bytes::Bytes;
use common::*;
use futures_util::StreamExt as _;
use jetsink::{
    Baselines, ConnectSettings, Delivery, EmitError, GapReason, NatsPublisher, Publisher as _,
    Sink, SinkSettings, SpoolError, SpoolSettings, StoredId, StoredIds,
};
use nats_local::{NatsServer, stored};
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(60);

async fn spooling(server: &NatsServer, folder: &Path) -> NatsSink {
    let connect = ConnectSettings::new(&server.url())
        .unwrap()
        .start_disconnected(true);
    let publisher = NatsPublisher::connect(connect).await.unwrap();
    let spool = SpoolSettings::new(folder);
    Sink::with_spool(publisher, SinkSettings::default(), spool)
        .await
        .unwrap()
}

async fn stream_with_window(server: &NatsServer, duplicate_window: Duration) {
    let config = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        duplicate_window,
        ..Config::default()
    };
    server.create_stream_with(config).await.unwrap();
}

/// Emits one event after another on one subject until `stop`; each must succeed.
async fn emit_until(sink: &NatsSink, stop: Instant, pause: Duration) -> (Vec<Bytes>, usize) {
    let mut emitted = Vec::new();
    let mut spooled = 0;
    while Instant::now() < stop {
        let payload = Bytes::from(emitted.len().to_string());
        let started = Instant::now();
        let delivery = sink.emit(event("events.a", payload.clone())).await.unwrap();
        assert!(
            started.elapsed() < STALLED,
            "an emit took {:?}",
            started.elapsed()
        );
        spooled += usize::from(delivery == Delivery::Spooled);
        emitted.push(payload);
        sleep(pause).await;
    }
    (emitted, spooled)
}

async fn drained(sink: &NatsSink) {
    let give_up = Instant::now() + PATIENCE;
    while sink.spool().unwrap().status().events > 0 {
        assert!(
            Instant::now() < give_up,
            "{:?} is left",
            sink.spool().map(|spool| spool.status())
        );
        sleep(Duration::from_millis(20)).await;
    }
}

async fn assert_as_if_nothing_had_happened(server: &NatsServer, emitted: &[Bytes]) {
    let there = stored(&server.jetstream().await.unwrap(), "EVENTS")
        .await
        .unwrap();
    assert_stored_once_in_order(emitted, &there);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outage_longer_than_the_duplicate_window_causes_no_loss_no_duplicate_and_no_reordering() {
    for fault in ["kill", "freeze", "freeze for long"] {
        let mut server = NatsServer::start().await.unwrap();
        stream_with_window(&server, Duration::from_millis(100)).await;
        let folder = tempfile::tempdir().unwrap();
        let sink = Arc::new(spooling(&server, folder.path()).await);
        let load = {
            let sink = Arc::clone(&sink);
            let stop = Instant::now()
                + Duration::from_secs(if fault == "freeze for long" { 14 } else { 8 });
            tokio::spawn(async move { emit_until(&sink, stop, Duration::from_millis(1)).await })
        };
        sleep(Duration::from_secs(1)).await;
        match fault {
            "kill" => {
                server.kill_for(Duration::from_secs(3)).await.unwrap();
            }
            "freeze" => {
                server.freeze_for(Duration::from_secs(3)).await.unwrap();
            }
            _ => {
                server.freeze_for(Duration::from_secs(9)).await.unwrap();
            }
        }
        let (emitted, spooled) = load.await.unwrap();
        drained(&sink).await;
        assert!(spooled > 0, "{fault}: nothing was spooled");
        println!(
            "{fault}: {} emitted, {spooled} of them spooled",
            emitted.len()
        );
        assert_as_if_nothing_had_happened(&server, &emitted).await;
        let last = sink.emit(event("events.a", "last")).await.unwrap();
        assert!(matches!(last, Delivery::Stored(_)), "{last:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn next_process_delivers_events_spooled_without_a_broker() {
    let mut server = NatsServer::start().await.unwrap();
    stream_with_window(&server, Duration::from_millis(100)).await;
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sink = spooling(&server, folder.path()).await;
    let mut emitted = Vec::new();
    for number in 0..50 {
        let payload = Bytes::from(number.to_string());
        let delivery = sink.emit(event("events.a", payload.clone())).await.unwrap();
        assert_eq!(delivery, Delivery::Spooled);
        emitted.push(payload);
    }
    let receipt = sink.close(Duration::from_millis(100)).await;
    assert_eq!(
        (receipt.delivered, receipt.spooled, receipt.unknown),
        (0, 50, 0)
    );
    let error = sink.emit(event("events.a", "late")).await.unwrap_err();
    assert_eq!(error, EmitError::Closed);
    drop(sink);

    let sink = spooling(&server, folder.path()).await;
    assert_eq!(sink.spool().unwrap().status().events, 50);
    server.restart().await.unwrap();
    let receipt = sink.close(PATIENCE).await;
    assert_eq!((receipt.delivered, receipt.spooled), (50, 0));
    assert_as_if_nothing_had_happened(&server, &emitted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_subject_delays_no_other_and_refused_event_becomes_a_dead_letter() {
    let server = NatsServer::start().await.unwrap();
    stream_with_window(&server, Duration::from_secs(120)).await;
    let full = Config {
        name: "FULL".to_owned(),
        subjects: vec!["full.>".to_owned()],
        max_messages: 1,
        discard: DiscardPolicy::New,
        max_message_size: 1_000,
        ..Config::default()
    };
    server.create_stream_with(full).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sink = spooling(&server, folder.path()).await;
    while sink.emit(event("events.a", "connected?")).await.unwrap() == Delivery::Spooled {
        sleep(Duration::from_millis(10)).await;
    }
    // The first is stored, the others wait.
    let mut emitted = Vec::new();
    for number in 0..5 {
        let payload = Bytes::from(number.to_string());
        sink.emit(event("full.a", payload.clone())).await.unwrap();
        emitted.push(payload);
    }
    sink.emit(event("full.a", vec![b'x'; 2_000])).await.unwrap();
    let others = sink.emit(event("events.a", "other")).await.unwrap();
    assert!(matches!(others, Delivery::Stored(_)), "{others:?}");
    assert_eq!(sink.spool().unwrap().status().events, 5);

    let jetstream = server.jetstream().await.unwrap();
    let mut config = jetstream
        .get_stream("FULL")
        .await
        .unwrap()
        .get_info()
        .await
        .unwrap()
        .config;
    config.max_messages = 100;
    jetstream.update_stream(config).await.unwrap();
    drained(&sink).await;
    assert_eq!(sink.spool().unwrap().status().dead_letters, 1);
    let there = stored(&jetstream, "FULL").await.unwrap();
    assert_stored_once_in_order(&emitted, &there);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_spool_returns_an_error_with_its_usage() {
    let mut server = NatsServer::start().await.unwrap();
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let connect = ConnectSettings::new(&server.url())
        .unwrap()
        .start_disconnected(true);
    let publisher = NatsPublisher::connect(connect).await.unwrap();
    let spool = SpoolSettings::new(folder.path()).limit_bytes(500).unwrap();
    let sink = Sink::with_spool(publisher, SinkSettings::default(), spool)
        .await
        .unwrap();
    let mut taken = 0;
    let error = loop {
        match sink.emit(event("events.a", vec![b'x'; 100])).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!((2..5).contains(&taken), "{taken}");
    assert_eq!(error.known(), jetsink::Known::NotSent);
    let EmitError::Spool(failed) = error else {
        panic!("{error}");
    };
    assert!(
        matches!(failed.error, SpoolError::Full { .. }),
        "{failed:?}"
    );
    let second = Sink::with_spool(
        NatsPublisher::connect(
            ConnectSettings::new(&server.url())
                .unwrap()
                .start_disconnected(true),
        )
        .await
        .unwrap(),
        SinkSettings::default(),
        SpoolSettings::new(folder.path()),
    )
    .await;
    assert!(matches!(second, Err(SpoolError::InUse { .. })));
}

/// A work-queue stream allows no second reader: its messages are looked up one by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_queue_stream_is_looked_up_without_a_consumer() {
    let server = NatsServer::start().await.unwrap();
    let config = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        retention: RetentionPolicy::WorkQueue,
        ..Config::default()
    };
    server.create_stream_with(config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sink = spooling(&server, folder.path()).await;
    sink.emit(event("events.a", "before")).await.unwrap();
    drained(&sink).await;
    // One whose outcome is not known, which is looked up before it is sent again.
    server.freeze().unwrap();
    let unknown = sink.emit(event("events.a", "unknown")).await.unwrap();
    assert_eq!(unknown, Delivery::Spooled);
    server.thaw().unwrap();
    drained(&sink).await;
    let jetstream = server.jetstream().await.unwrap();
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 2);
}

/// Regression: such a stream was taken for one that can't be read at the moment, and waited for, for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spool_is_drained_without_the_permission_for_flow_control() {
    let may = |flow_control: &str| {
        format!(
            r#"permissions: {{ subscribe: ["_INBOX.>"], publish: ["events.>", "$JS.API.STREAM.NAMES",
               "$JS.API.CONSUMER.CREATE.>"{flow_control}] }}"#
        )
    };
    let (denied, granted) = (may(""), may(r#", "$JS.FC.>""#));
    let server = NatsServer::builder()
        .config(&format!(
            "authorization {{ users = [ {{ user: admin, password: admin }}, \
             {{ user: denied, password: denied, {denied} }}, \
             {{ user: granted, password: granted, {granted} }} ] }}"
        ))
        .start()
        .await
        .unwrap();
    let jetstream = jetstream_as(&server, "admin", "admin").await;
    let config = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        ..Config::default()
    };
    let mut stream = jetstream.create_stream(config).await.unwrap();
    // More than a consumer sends before it wants to hear that it arrived, headers alone.
    let large = "x".repeat(60_000);
    for number in 0..60 {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", number.to_string());
        headers.insert("large", large.as_str());
        let sent = jetstream.publish_with_headers("events.a", headers, "x".into());
        sent.await.unwrap().await.unwrap();
    }
    let publisher_of = async |user: &str| {
        let connect = ConnectSettings::new(&server.url())
            .unwrap()
            .user_and_password(user, user);
        NatsPublisher::connect(connect).await.unwrap()
    };
    // Otherwise this shows nothing: with the permission all of it is read.
    let events = [event("events.a", "")];
    for (user, all) in [("granted", true), ("denied", false)] {
        let mut read = 0;
        let mut visit = |_: StoredId<'_>| read += 1;
        let publisher = publisher_of(user).await;
        let nothing = Baselines::new();
        let looked_up = publisher.stored_ids(&events, &nothing, &mut visit);
        let looked_up = looked_up.await.unwrap();
        assert_eq!(
            looked_up == StoredIds::Visited,
            all,
            "{user}: {looked_up:?}"
        );
        assert_eq!(read == 60, all, "{user} read {read}");
    }

    let folder = tempfile::tempdir().unwrap();
    let spool = SpoolSettings::new(folder.path());
    let denied = publisher_of("denied").await;
    let sink = Sink::with_spool(denied, SinkSettings::default(), spool)
        .await
        .unwrap();
    // One whose outcome is not known, which is looked up before it is sent again.
    server.freeze().unwrap();
    let unknown = sink.emit(event("events.a", "unknown")).await.unwrap();
    assert_eq!(unknown, Delivery::Spooled);
    server.thaw().unwrap();
    drained(&sink).await;
    assert_eq!(stream.info().await.unwrap().state.messages, 61);
}

/// Messages that were pending when the reading began may be removed before they are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_up_ends_if_the_stream_is_purged_meanwhile() {
    let server = NatsServer::start().await.unwrap();
    stream_with_window(&server, Duration::from_millis(100)).await;
    let jetstream = server.jetstream().await.unwrap();
    for _ in 0..150 {
        let mut acks = Vec::new();
        for _ in 0..1_000 {
            acks.push(jetstream.publish("events.a", "x".into()).await.unwrap());
        }
        for ack in acks {
            ack.await.unwrap();
        }
    }
    let connect = ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(connect).await.unwrap();
    let events = [event("events.a", "")];
    let mut read = 0;
    let after = Baselines::new();
    // The messages have no id, so the number of visits does not matter.
    let mut visit = |_: StoredId<'_>| read += 1;
    let started = Instant::now();
    let looking = publisher.stored_ids(&events, &after, &mut visit);
    let purging = async {
        sleep(Duration::from_millis(20)).await;
        let stream = jetstream.get_stream("EVENTS").await.unwrap();
        stream.purge().await.unwrap();
    };
    let looked = tokio::time::timeout(PATIENCE, async { tokio::join!(looking, purging).0 });
    let looked = looked.await.expect("it ends");
    let Ok(StoredIds::VisitedExcept(gaps)) = &looked else {
        panic!("{looked:?}");
    };
    assert_eq!(gaps[0].reason, GapReason::Removed);
    println!("{:?}", started.elapsed());
}

/// The look-up probes a stream with a message that it does not store. A plain subscriber receives an event that
/// it may have received before, and an empty message only if the event would not fit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_up_stores_no_message() {
    const LIMIT: usize = 1_024;
    let server = NatsServer::builder().max_payload(LIMIT);
    let server = server.start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let connect = ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(connect).await.unwrap();
    let client = server.client().await.unwrap();
    let mut seen = client.subscribe("events.a").await.unwrap();
    client.flush().await.unwrap();
    let (short, long) = ("short".to_owned(), "x".repeat(LIMIT - 20));
    for (payload, expected) in [(&short, "short"), (&long, "")] {
        let events = [event("events.a", payload.clone())];
        let mut visit = |_: StoredId<'_>| panic!("there is nothing");
        let nothing = Baselines::new();
        let looked_up = publisher.stored_ids(&events, &nothing, &mut visit).await;
        assert_eq!(looked_up, Ok(StoredIds::Visited));
        let message = tokio::time::timeout(PATIENCE, seen.next()).await;
        assert_eq!(message.unwrap().unwrap().payload, expected);
    }
    let jetstream = server.jetstream().await.unwrap();
    let there = stored(&jetstream, "EVENTS").await.unwrap();
    assert!(there.is_empty(), "{there:?}");
}
