//! Events whose acknowledgements were lost, past the duplicate window: each is stored once, although the stream
//! changes meanwhile.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use common::lossy::*;
use common::*;
use jetsink::{Delivery, WhenUnconfirmed};
use nats_local::{Impairment, NatsServer};
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_whose_acknowledgement_was_lost_is_stored_once() {
    let world = World::with(forgetful("EVENTS", "events.>")).await;
    world.lose_acknowledgements_and_drain().await;
    assert_eq!(world.payloads("EVENTS").await, LOST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_that_was_deleted_and_made_again_is_read_from_its_beginning() {
    // The new stream has fewer or more messages than the old one.
    for others in [0, 1_000] {
        let world = World::with(forgetful("EVENTS", "events.>")).await;
        world.establish_a_baseline("events.a").await;
        let jetstream = world.server.jetstream().await.unwrap();
        jetstream.delete_stream("EVENTS").await.unwrap();
        let again = forgetful("EVENTS", "events.>");
        world.server.create_stream_with(again).await.unwrap();
        world.lose_acknowledgements("events.a", &LOST).await;
        world.others("events.a", others).await;
        world.drain().await;
        assert_eq!(world.payloads("EVENTS").await, LOST, "{others}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_that_was_restored_from_an_older_store_is_read_from_its_beginning() {
    let mut world = World::with(forgetful("EVENTS", "events.>")).await;
    let older = tempfile::tempdir().unwrap();
    world.server.stop().unwrap();
    copy(&world.server.folder().join("store"), older.path());
    world.server.restart().await.unwrap();
    world.establish_a_baseline("events.a").await;
    world.server.stop().unwrap();
    std::fs::remove_dir_all(world.server.folder().join("store")).unwrap();
    copy(older.path(), &world.server.folder().join("store"));
    world.server.restart().await.unwrap();
    // It stores nothing that could show the new sequence numbers.
    world.up().await;
    world.lose_acknowledgements("events.a", &LOST).await;
    world.drain().await;
    assert_eq!(world.payloads("EVENTS").await, LOST);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The subject of events whose stream transforms or is reached by another way is not that of their messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_is_stored_under_another_subject_is_stored_once() {
    let transforming = Config {
        subject_transform: Some(async_nats::jetstream::stream::SubjectTransform {
            source: "events.>".to_owned(),
            destination: "stored.>".to_owned(),
        }),
        ..forgetful("EVENTS", "events.>")
    };
    let world = World::with(transforming).await;
    once(&world, "events.a").await;

    let server = NatsServer::builder()
        .config("mappings = { \"plain.>\": \"events.>\" }")
        .start()
        .await
        .unwrap();
    let config = forgetful("EVENTS", "events.>");
    server.create_stream_with(config).await.unwrap();
    let world = World::over(server).await;
    once(&world, "plain.a").await;
}

async fn once(world: &World, subject: &str) {
    world.establish_a_baseline_on("events.a", subject).await;
    world.lose_acknowledgements(subject, &LOST).await;
    world.drain().await;
    assert_eq!(world.read("EVENTS").await, LOST);
    let status = world.sink.spool().unwrap().status();
    assert_eq!(status.possible_duplicates, 0, "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_that_restricts_or_refuses_consumers_is_looked_up() {
    use async_nats::jetstream::stream::{ConsumerLimits, RetentionPolicy};
    let limits = ConsumerLimits {
        inactive_threshold: Duration::from_secs(3),
        max_ack_pending: 1_000,
    };
    let limited = Config {
        consumer_limits: Some(limits),
        ..forgetful("EVENTS", "events.>")
    };
    once(&World::with(limited).await, "events.a").await;

    let full = Config {
        max_consumers: 1,
        ..forgetful("EVENTS", "events.>")
    };
    let world = World::with(full).await;
    let jetstream = world.server.jetstream().await.unwrap();
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let consumer = async_nats::jetstream::consumer::pull::Config::default();
    stream.create_consumer(consumer).await.unwrap();
    world.lose_acknowledgements_and_drain().await;
    assert_eq!(world.read("EVENTS").await, LOST);

    // A look-up finds unconsumed events only.
    let queue = Config {
        retention: RetentionPolicy::WorkQueue,
        ..forgetful("EVENTS", "events.>")
    };
    let world = World::with(queue).await;
    world.lose_acknowledgements_and_drain().await;
    assert_eq!(world.read("EVENTS").await, LOST);
}

/// The answers to sixteen requests at once take longer than any of them may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_that_is_read_message_by_message_is_looked_up_over_a_slow_link() {
    use async_nats::jetstream::stream::RetentionPolicy;
    let queue = Config {
        retention: RetentionPolicy::WorkQueue,
        ..forgetful("EVENTS", "events.>")
    };
    let world = World::with(queue).await;
    world.establish_a_baseline("events.a").await;
    world.lose_acknowledgements("events.a", &LOST[..1]).await;
    let jetstream = world.server.jetstream().await.unwrap();
    for _ in 0..20 {
        let large = format!("other {}", "x".repeat(100_000));
        let ack = jetstream.publish("events.b", large.into()).await.unwrap();
        ack.await.unwrap();
    }
    world
        .proxy
        .impair(Impairment::Slow(Duration::from_millis(150)));
    world.until(|status| status.events == 0).await;
    world.proxy.heal();
    // If it was not found, it is stored twice.
    assert_eq!(world.read("EVENTS").await, LOST[..1]);
    assert_eq!(world.spool().possible_duplicates, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_stream_of_another_account_is_delivered_to_or_held() {
    for choice in [WhenUnconfirmed::Deliver, WhenUnconfirmed::Hold] {
        let accounts = r#"accounts = {
            owner: { jetstream: enabled, users: [ { user: owner, password: owner } ],
                     exports: [ { service: "events.>", response: stream } ] },
            importer: { users: [ { user: importer, password: importer } ],
                        imports: [ { service: { account: owner, subject: "events.>" } } ] } }"#;
        let server = NatsServer::builder()
            .config(accounts)
            .start()
            .await
            .unwrap();
        let jetstream = jetstream_as(&server, "owner", "owner").await;
        let config = forgetful("EVENTS", "events.>");
        jetstream.create_stream(config).await.unwrap();
        let setup = Setup {
            user: Some(("importer", "importer")),
            choice,
            ..Setup::default()
        };
        let world = World::of(server, setup).await;
        world.establish_a_baseline("events.a").await;
        world.lose_acknowledgements("events.a", &LOST).await;
        world.proxy.heal();
        let messages = async || payloads(&jetstream, "EVENTS").await;
        match choice {
            WhenUnconfirmed::Deliver => {
                world.drain().await;
                assert_eq!(messages().await, ["a", "a", "b", "c"]);
                assert_eq!(world.sink.spool().unwrap().status().possible_duplicates, 1);
            }
            WhenUnconfirmed::Hold => {
                world.until(|status| status.held_subjects > 0).await;
                sleep(Duration::from_secs(1)).await;
                assert_eq!(messages().await, ["a"]);
                let other = world.sink.emit(event("events.b", "other")).await.unwrap();
                assert!(matches!(other, Delivery::Stored(_)));
                let status = world.sink.status();
                assert_eq!(status.when_unconfirmed, Some(WhenUnconfirmed::Hold));
                let text = "1 held subjects, unconfirmed events are held";
                assert!(status.to_string().contains(text), "{status}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A keyed stream keeps the last state of each subject: an older one must not replace it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyed_stream_never_ends_at_an_older_state() {
    let keyed = Config {
        max_messages_per_subject: 1,
        ..forgetful("EVENTS", "events.>")
    };
    let world = World::with(keyed).await;
    world.establish_a_baseline("events.a").await;
    let states = (0..10).map(|state| event("events.a", format!("state {state}")));
    world
        .lose_acknowledgements_in_flight(states.collect())
        .await;
    let before = last_sequence(&world).await;
    world.drain().await;
    assert_eq!(world.payloads("EVENTS").await, ["state 9"]);
    assert_eq!(
        last_sequence(&world).await,
        before,
        "an older state was stored"
    );
    assert_eq!(world.sink.spool().unwrap().status().possible_duplicates, 0);
}

async fn last_sequence(world: &World) -> u64 {
    let jetstream = world.server.jetstream().await.unwrap();
    let mut stream = jetstream.get_stream("EVENTS").await.unwrap();
    stream.info().await.unwrap().state.last_sequence
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_a_stream_may_have_dropped_is_a_possible_duplicate() {
    let small = Config {
        max_messages: 5,
        ..forgetful("EVENTS", "events.>")
    };
    let world = World::with(small).await;
    world.establish_a_baseline("events.a").await;
    world.lose_acknowledgements("events.a", &LOST).await;
    world.others("events.b", 10).await;
    world.drain().await;
    assert_eq!(world.payloads("EVENTS").await, LOST);
    assert_eq!(world.sink.spool().unwrap().status().possible_duplicates, 1);
}
