//! Events whose acknowledgements were lost, in streams that remove messages: an event that may be removed is a possible
//! duplicate, and no stream returns to an older state.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::future::IntoFuture as _;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{Config, RetentionPolicy, SubjectTransform};
use common::lossy::*;
use common::*;
use futures_util::StreamExt as _;
use jetsink::{
    Baselines, ConnectSettings, GapReason, MessageId, NatsPublisher, Publisher as _, StoredId,
    StoredIds,
};
use nats_local::NatsServer;
use tokio::time::{Instant, sleep};

async fn stream(world: &World) -> async_nats::jetstream::stream::Stream {
    let jetstream = world.server.jetstream().await.unwrap();
    jetstream.get_stream("EVENTS").await.unwrap()
}

async fn last_sequence(world: &World) -> u64 {
    let mut stream = stream(world).await;
    stream.info().await.unwrap().state.last_sequence
}

/// The possible duplicates after an event's acknowledgement was lost, and `removing` has run.
async fn possible_duplicates(config: Config, removing: impl AsyncFnOnce(&World)) -> u64 {
    let world = World::with(config).await;
    world.establish_a_baseline("events.a").await;
    world.lose_acknowledgements("events.a", &LOST).await;
    removing(&world).await;
    world.drain().await;
    world.spool().possible_duplicates
}

fn keyed(kept: i64) -> Config {
    Config {
        max_messages_per_subject: kept,
        ..forgetful("EVENTS", "events.>")
    }
}

fn transforming(config: Config) -> Config {
    Config {
        subject_transform: Some(SubjectTransform {
            source: "events.>".to_owned(),
            destination: "stored.>".to_owned(),
        }),
        ..config
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_limit_of_a_keyed_stream_makes_a_possible_duplicate() {
    let small = Config {
        max_messages: 10,
        ..keyed(5)
    };
    for config in [transforming(small.clone()), small] {
        let others = async |world: &World| {
            for number in 0..20 {
                world.others(&format!("events.x{number}"), 1).await;
            }
        };
        assert_eq!(possible_duplicates(config, others).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_its_stream_may_have_aged_out_is_a_possible_duplicate() {
    for kept in [-1, 5] {
        let short = Config {
            max_age: Duration::from_secs(1),
            ..keyed(kept)
        };
        let aged = async |world: &World| {
            let give_up = Instant::now() + PATIENCE;
            while stream(world).await.cached_info().state.messages > 0 {
                assert!(Instant::now() < give_up);
                sleep(Duration::from_millis(50)).await;
            }
        };
        assert_eq!(possible_duplicates(short, aged).await, 1, "{kept}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_in_a_stream_with_a_maximum_age_is_stored_once() {
    let config = Config {
        max_age: Duration::from_secs(3_600),
        max_messages: 1_000_000,
        ..forgetful("EVENTS", "events.>")
    };
    let world = World::with(config).await;
    world.lose_acknowledgements_and_drain().await;
    assert_eq!(world.payloads("EVENTS").await, LOST);
    assert_eq!(world.spool().possible_duplicates, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_without_an_id_may_have_replaced_an_event() {
    for config in [keyed(1), transforming(keyed(1))] {
        let others = async |world: &World| world.others("events.a", 1).await;
        assert_eq!(possible_duplicates(config, others).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyed_stream_with_more_limits_or_a_transform_never_ends_at_an_older_state() {
    let limited = Config {
        max_age: Duration::from_secs(3_600),
        max_messages: 100,
        ..keyed(1)
    };
    let queue = Config {
        retention: RetentionPolicy::WorkQueue,
        ..keyed(1)
    };
    for config in [limited, queue, transforming(keyed(1))] {
        let world = World::with(config.clone()).await;
        world.establish_a_baseline("events.a").await;
        let states = (0..10).map(|state| event("events.a", format!("state {state}")));
        world
            .lose_acknowledgements_in_flight(states.collect())
            .await;
        let before = last_sequence(&world).await;
        world.drain().await;
        assert_eq!(world.read("EVENTS").await, ["state 9"], "{config:?}");
        assert_eq!(last_sequence(&world).await, before, "{config:?}");
        assert_eq!(world.spool().possible_duplicates, 0, "{config:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_that_was_deleted_or_purged_is_a_possible_duplicate() {
    let deleted = async |world: &World| {
        let last = last_sequence(world).await;
        assert!(stream(world).await.delete_message(last).await.unwrap());
        world.others("events.b", 1).await;
    };
    let config = || forgetful("EVENTS", "events.>");
    assert_eq!(possible_duplicates(config(), deleted).await, 1);
    let purged = async |world: &World| {
        stream(world)
            .await
            .purge()
            .filter("events.a")
            .await
            .unwrap();
        world.others("events.b", 1).await;
    };
    assert_eq!(possible_duplicates(config(), purged).await, 1);
    assert_eq!(
        possible_duplicates(transforming(config()), deleted).await,
        1
    );
}

/// In a keyed stream sequence numbers are missing anyway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_that_was_removed_from_a_keyed_stream_is_a_possible_duplicate() {
    let deleted = async |world: &World| {
        let last = last_sequence(world).await;
        assert!(stream(world).await.delete_message(last).await.unwrap());
        world.others("events.b", 1).await;
    };
    let purged = async |world: &World| {
        let purge = stream(world).await;
        purge.purge().filter("events.a").await.unwrap();
        world.others("events.b", 3).await;
    };
    let rolled_up = async |world: &World| {
        let jetstream = world.server.jetstream().await.unwrap();
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Rollup", "sub");
        let publish = jetstream.publish_with_headers("events.a", headers, "other".into());
        publish.await.unwrap().await.unwrap();
    };
    for kept in [1, 5] {
        assert_eq!(possible_duplicates(keyed(kept), deleted).await, 1, "{kept}");
        assert_eq!(possible_duplicates(keyed(kept), purged).await, 1, "{kept}");
        let with_rollup = Config {
            allow_rollup: true,
            ..keyed(kept)
        };
        assert_eq!(
            possible_duplicates(with_rollup, rolled_up).await,
            1,
            "{kept}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_whose_time_to_live_has_passed_in_a_keyed_stream_is_a_possible_duplicate() {
    let config = Config {
        allow_message_ttl: true,
        ..keyed(1)
    };
    let world = World::with(config).await;
    if !stream(&world).await.cached_info().config.allow_message_ttl {
        return println!("this server has no time to live per message");
    }
    world.establish_a_baseline("events.a").await;
    let mut headers = jetsink::Headers::default();
    headers.push("Nats-TTL", "1s").unwrap();
    let short = event("events.a", "a").with_headers(headers);
    world.lose_acknowledgements_of([short]).await;
    let give_up = Instant::now() + PATIENCE;
    // The other message is that of another subject.
    while stream(&world).await.cached_info().state.messages > 1 {
        assert!(Instant::now() < give_up);
        sleep(Duration::from_millis(100)).await;
    }
    world.drain().await;
    assert_eq!(world.spool().possible_duplicates, 1);
}

/// The state before it is still stored, which a later one would have replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_never_reached_a_keyed_stream_is_stored_once_without_a_doubt() {
    for kept in [1, 3] {
        let world = World::with(keyed(kept)).await;
        world.establish_a_baseline("events.a").await;
        // The baseline passes the states of events.a.
        world.establish_a_baseline("events.z").await;
        world.lose_event(event("events.a", "a")).await;
        world.others("events.b", 20).await;
        world.drain().await;
        assert_eq!(world.payloads("EVENTS").await, ["a"], "{kept}");
        assert_eq!(world.spool().possible_duplicates, 0, "{kept}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_state_of_a_subject_is_doubtful_only_if_the_stream_allows_removals() {
    for (denied, expected) in [(true, 0), (false, 1)] {
        let config = Config {
            deny_delete: denied,
            deny_purge: denied,
            ..keyed(1)
        };
        let world = World::with(config).await;
        world.establish_a_baseline("events.z").await;
        world.lose_event(event("events.a", "a")).await;
        world.others("events.b", 20).await;
        world.drain().await;
        assert_eq!(world.payloads("EVENTS").await, ["a"], "{denied}");
        assert_eq!(world.spool().possible_duplicates, expected, "{denied}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_a_work_queue_has_handed_out_is_a_possible_duplicate() {
    let queue = Config {
        retention: RetentionPolicy::WorkQueue,
        ..forgetful("EVENTS", "events.>")
    };
    let consumed = async |world: &World| {
        let consumer = stream(world)
            .await
            .create_consumer(pull::Config {
                durable_name: Some("all".to_owned()),
                ..pull::Config::default()
            })
            .await
            .unwrap();
        while stream(world).await.cached_info().state.messages > 0 {
            let mut messages = consumer
                .fetch()
                .max_messages(1_000)
                .messages()
                .await
                .unwrap();
            while let Some(message) = messages.next().await {
                message.unwrap().double_ack().await.unwrap();
            }
        }
    };
    assert_eq!(possible_duplicates(queue, consumed).await, 1);
}

/// The look-up has seen the message, so it does not matter that the stream's first sequence number is higher now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_that_is_removed_after_it_was_visited_is_no_gap() {
    let server = NatsServer::start().await.unwrap();
    let config = forgetful("EVENTS", "events.>");
    let jetstream = server.jetstream().await.unwrap();
    let stream = jetstream.create_stream(config).await.unwrap();
    let publisher = NatsPublisher::connect(ConnectSettings::new(&server.url()).unwrap());
    let publisher = publisher.await.unwrap();
    let stored = event("events.a", "a").with_message_id(MessageId::new("a.1").unwrap());
    let deadline = Instant::now() + PATIENCE;
    publisher.publish(&stored, deadline).await.unwrap();
    let mut visited = Vec::new();
    let mut visit = |stored: StoredId<'_>| {
        visited.push(stored.id.to_owned());
        let runtime = tokio::runtime::Handle::current();
        let purged = tokio::task::block_in_place(|| runtime.block_on(stream.purge().into_future()));
        assert!(purged.unwrap().success);
    };
    let events = [stored];
    let baselines = Baselines::new();
    let found = publisher.stored_ids(&events, &baselines, &mut visit).await;
    assert_eq!(found.unwrap(), StoredIds::Visited);
    assert_eq!(visited, ["a.1"]);
}

const MAY_NOT_READ_THE_STATE: &str = r#"authorization { users = [
    { user: admin, password: p },
    { user: app, password: p, permissions: {
        publish: ["events.>", "$JS.API.STREAM.NAMES", "$JS.API.CONSUMER.CREATE.>", "$JS.FC.>"],
        subscribe: ["_INBOX.>"] } } ] }"#;

/// Nothing but the sequence numbers of all messages shows that one is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_that_was_deleted_from_a_long_stream_is_a_gap_for_a_user_without_its_state() {
    let server = NatsServer::builder().config(MAY_NOT_READ_THE_STATE);
    let server = server.start().await.unwrap();
    let client = client_as(&server, "admin", "p").await;
    let jetstream = async_nats::jetstream::new(client.clone());
    let config = forgetful("EVENTS", "events.>");
    let stream = jetstream.create_stream(config).await.unwrap();
    let all = 17_000;
    for _ in 1..all {
        client.publish("events.b", "other".into()).await.unwrap();
    }
    client.flush().await.unwrap();
    let last = jetstream.publish("events.b", "other".into()).await.unwrap();
    assert_eq!(last.await.unwrap().sequence, all);
    assert!(stream.delete_message(100).await.unwrap());
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(settings.user_and_password("app", "p"));
    let publisher = publisher.await.unwrap();
    let events = [event("events.a", "a")];
    let baselines = Baselines::new();
    let found = publisher.stored_ids(&events, &baselines, &mut |_| {}).await;
    let StoredIds::VisitedExcept(gaps) = found.unwrap() else {
        panic!("the deleted message may have been the event");
    };
    assert!(gaps.iter().all(|gap| gap.reason == GapReason::Removed));
}
