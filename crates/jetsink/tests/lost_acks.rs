//! Message ids, headers, failing subjects and returning servers, each while acknowledgements are lost past the duplicate
//! window: each event is stored once, and a bad one harms only itself.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use common::lossy::*;
use common::*;
use jetsink::{Delivery, Envelope, Headers, MessageId};
use nats_local::{Impairment, NatsServer, TcpProxy, stored};
use tokio::time::{Instant, sleep, timeout};

fn with_headers(payload: &str, headers: &[(&'static str, &str)]) -> Envelope {
    let mut extra = Headers::default();
    for (name, value) in headers {
        extra.push(*name, (*value).to_owned()).unwrap();
    }
    event("events.a", payload.to_owned()).with_headers(extra)
}

/// Stores another event under the ids that the sink mints next, as a process with a copy of its state does.
async fn take_next_ids(world: &World, count: u64) {
    let jetstream = world.server.jetstream().await.unwrap();
    let there = stored(&jetstream, "EVENTS").await.unwrap();
    let last = there.last().unwrap().message_id.clone().unwrap();
    let (prefix, number) = last.rsplit_once('.').unwrap();
    let number: u64 = number.parse().unwrap();
    for number in number + 1..=number + count {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{prefix}.{number}"));
        let publish = jetstream.publish_with_headers("events.copy", headers, "other copy".into());
        assert!(!publish.await.unwrap().await.unwrap().duplicate);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_whose_new_id_another_process_has_taken_is_stored_once() {
    // The stream still remembers the ids when the first event arrives, and stores nothing.
    let config = Config {
        duplicate_window: Duration::from_secs(2),
        ..forgetful("EVENTS", "events.>")
    };
    let world = World::with(config).await;
    world.establish_a_baseline("events.a").await;
    take_next_ids(&world, 3).await;
    world.lose_acknowledgements("events.a", &LOST).await;
    let stored_at_first = world.payloads("EVENTS").await;
    assert_eq!(stored_at_first, Vec::<String>::new());
    sleep(Duration::from_millis(2_500)).await;
    world.drain().await;
    assert_eq!(world.payloads("EVENTS").await, LOST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sink_id_that_is_used_again_loses_no_event() {
    let server = NatsServer::start().await.unwrap();
    let config = forgetful("EVENTS", "events.>");
    server.create_stream_with(config).await.unwrap();
    let mut server = Some(server);
    let mut expected = Vec::new();
    for run in 0..2 {
        let setup = Setup {
            sink_id: Some("host-7"),
            ..Setup::default()
        };
        let world = World::of(server.take().unwrap(), setup).await;
        world.establish_a_baseline("events.a").await;
        let payloads = LOST.map(|payload| format!("{run} {payload}"));
        world
            .lose_acknowledgements("events.a", &payloads.each_ref().map(String::as_str))
            .await;
        world.drain().await;
        expected.extend(payloads);
        assert_eq!(world.payloads("EVENTS").await, expected);
        world.sink.close(Duration::from_secs(1)).await;
        server = Some(world.server);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_id_of_the_caller_finds_its_event_again() {
    let world = World::with(forgetful("EVENTS", "events.>")).await;
    world.establish_a_baseline("events.a").await;
    // A header of that name is refused: the id would be different in different places.
    assert!(Headers::default().push("Nats-Msg-Id", "mine.1").is_err());
    let with_id = |payload: &'static str, id: &str| {
        event("events.a", payload).with_message_id(MessageId::new(id).unwrap())
    };
    let first = with_id("a", "mine.1");
    let events = vec![first, with_id("b", "mine.2"), event("events.a", "c")];
    world.lose_acknowledgements_in_flight(events).await;
    world.drain().await;
    assert_eq!(world.payloads("EVENTS").await, LOST);
}

/// Headers that a stream refuses for their event alone, and headers that it accepts once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_with_a_nats_header_is_stored_once_or_becomes_a_dead_letter() {
    let cases: &[(&'static str, &str, bool)] = &[
        ("Nats-Rollup", "sub", false),
        ("Nats-Expected-Stream", "OTHER", false),
        ("Nats-Expected-Stream", "EVENTS", true),
        ("Nats-Expected-Last-Sequence", "999999", false),
        ("Nats-Expected-Last-Subject-Sequence", "999999", false),
        ("Nats-Expected-Last-Msg-Id", "other", false),
    ];
    for (name, value, is_stored) in cases {
        let world = World::with(forgetful("EVENTS", "events.>")).await;
        world.establish_a_baseline("events.a").await;
        let special = with_headers("special", &[(*name, *value)]);
        let events = vec![event("events.a", "a"), special, event("events.a", "b")];
        world.lose_acknowledgements_in_flight(events).await;
        world.drain().await;
        let mut there = world.payloads("EVENTS").await;
        assert_eq!(world.spool().dead_letters, u64::from(!is_stored), "{name}");
        assert_eq!(there.contains(&"special".to_owned()), *is_stored, "{name}");
        there.retain(|payload| payload != "special");
        assert_eq!(there, ["a", "b"], "{name}: {value}");
    }
}

/// The stream replaces the payload by the total.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increment_of_a_counter_is_stored_once() {
    let config = Config {
        allow_message_counter: true,
        ..forgetful("COUNTERS", "counters.>")
    };
    let world = World::with(forgetful("EVENTS", "events.>")).await;
    let jetstream = world.server.jetstream().await.unwrap();
    let created = jetstream.create_stream(config).await.unwrap();
    if !created.cached_info().config.allow_message_counter {
        return println!("this server has no counters");
    }
    world.establish_a_baseline("events.a").await;
    let increment = |by: &str| {
        let mut headers = Headers::default();
        headers.push("Nats-Incr", by.to_owned()).unwrap();
        event("counters.a", "").with_headers(headers)
    };
    let increments = vec![increment("1"), increment("2")];
    world.lose_acknowledgements_in_flight(increments).await;
    world.drain().await;
    let totals = [r#"{"val":"1"}"#, r#"{"val":"3"}"#];
    assert_eq!(world.payloads("COUNTERS").await, totals);
    assert_eq!(world.spool().dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expected_last_sequence_that_was_right_once_does_not_lose_its_event() {
    let world = World::with(forgetful("EVENTS", "events.>")).await;
    world.establish_a_baseline("events.a").await;
    let jetstream = world.server.jetstream().await.unwrap();
    let mut stream = jetstream.get_stream("EVENTS").await.unwrap();
    let last = stream.info().await.unwrap().state.last_sequence.to_string();
    let conditional = with_headers("a", &[("Nats-Expected-Last-Sequence", &last)]);
    world.lose_acknowledgements_of([conditional]).await;
    world.drain().await;
    assert_eq!(world.payloads("EVENTS").await, ["a"]);
    assert_eq!(world.spool().dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subject_without_a_stream_stops_no_other_in_an_account_with_imports_only() {
    let imports = r#"accounts: {
        STREAMS: { jetstream: enabled, users: [{ user: admin, password: p }],
                   exports: [{ service: "events.>", response: stream }] }
        APP: { users: [{ user: app, password: p }],
               imports: [{ service: { account: STREAMS, subject: "events.>" } }] } }"#;
    let server = NatsServer::builder().config(imports).start().await.unwrap();
    let jetstream = jetstream_as(&server, "admin", "p").await;
    let config = forgetful("EVENTS", "events.>");
    jetstream.create_stream(config).await.unwrap();
    let setup = Setup {
        user: Some(("app", "p")),
        ..Setup::default()
    };
    let world = World::of(server, setup).await;
    world.establish_a_baseline("events.a").await;
    let nowhere = (0..5).map(|number| event(&format!("nowhere.{number}"), "x"));
    let good = LOST.map(|payload| event("events.a", payload));
    world
        .lose_acknowledgements_in_flight(nowhere.chain(good).collect())
        .await;
    world.drain_to(5).await;
    // Its stream can't be read, so each event that may be stored is sent again, and counted.
    let there = payloads(&jetstream, "EVENTS").await;
    for payload in LOST {
        assert!(there.iter().any(|there| there == payload), "{there:?}");
    }
    let twice = there.len() - LOST.len();
    assert!(twice as u64 <= world.spool().possible_duplicates);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_failing_subjects_stop_no_other() {
    const SUBJECTS: usize = 1_500;
    let world = World::with(forgetful("EVENTS", "events.>")).await;
    world.establish_a_baseline("events.a").await;
    let mut events: Vec<Envelope> = LOST.map(|payload| event("events.a", payload)).into();
    events.extend((0..SUBJECTS).map(|number| event(&format!("nowhere.{number}"), "x")));
    world.lose_acknowledgements_in_flight(events).await;
    world.drain_to(SUBJECTS as u64).await;
    assert_eq!(world.payloads("EVENTS").await, LOST);
    assert_eq!(world.spool().possible_duplicates, 0);
    let give_up = Instant::now() + PATIENCE;
    while world.sink.emit(event("events.b", "other")).await.unwrap() == Delivery::Spooled {
        assert!(Instant::now() < give_up, "{}", world.sink.status());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dark_servers_delay_no_look_up_after_a_restart() {
    let mut dark = Vec::new();
    for _ in 0..4 {
        let proxy = TcpProxy::to(1).await.unwrap();
        proxy.cut();
        dark.push(proxy);
    }
    let server = NatsServer::start().await.unwrap();
    let config = forgetful("EVENTS", "events.>");
    server.create_stream_with(config).await.unwrap();
    let setup = Setup {
        others: dark.iter().map(TcpProxy::port).collect(),
        ..Setup::default()
    };
    let mut world = World::of(server, setup).await;
    world.establish_a_baseline("events.a").await;
    world.lose_acknowledgements("events.a", &LOST).await;
    world.server.kill_for(Duration::from_secs(1)).await.unwrap();
    // One after another, the dark servers would take longer.
    let drained = timeout(Duration::from_secs(8), world.drain()).await;
    assert!(drained.is_ok(), "{}", world.sink.status());
    assert_eq!(world.payloads("EVENTS").await, LOST);
}

/// The connection succeeds and ends at once, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_end_at_once_store_no_event_twice_and_condemn_none() {
    let world = World::with(forgetful("EVENTS", "events.>")).await;
    world.establish_a_baseline("events.a").await;
    let events = (0..20).map(|number| event("events.a", number.to_string()));
    world
        .lose_acknowledgements_in_flight(events.collect())
        .await;
    for round in 0..12 {
        world.proxy.heal();
        sleep(Duration::from_millis(40 + 10 * round)).await;
        world.proxy.impair(Impairment::SwallowFromServer);
        sleep(Duration::from_millis(120)).await;
        world.proxy.impair(Impairment::Reset);
        sleep(Duration::from_millis(20)).await;
    }
    world.drain().await;
    let expected: Vec<String> = (0..20).map(|number: u32| number.to_string()).collect();
    assert_eq!(world.payloads("EVENTS").await, expected);
    assert_eq!(world.spool().dead_letters, 0);
}

/// One event is over the account's payload limit, which the connection's end shows; the reason is lost, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_for_which_the_server_ends_the_connection_becomes_the_only_dead_letter() {
    let limit = r#"accounts: { APP: { jetstream: enabled, limits: { max_payload: 4096 },
                                      users: [{ user: app, password: p }] } }"#;
    let server = NatsServer::builder().config(limit).start().await.unwrap();
    let jetstream = jetstream_as(&server, "app", "p").await;
    let config = forgetful("EVENTS", "events.>");
    jetstream.create_stream(config).await.unwrap();
    let setup = Setup {
        user: Some(("app", "p")),
        ..Setup::default()
    };
    let world = World::of(server, setup).await;
    world.establish_a_baseline("events.a").await;
    let mut events: Vec<Envelope> = (0..10)
        .map(|number| event("events.a", number.to_string()))
        .collect();
    events.insert(4, event("events.a", vec![b'x'; 5_000]));
    world.lose_acknowledgements_in_flight(events).await;
    world.drain().await;
    assert_eq!(world.spool().dead_letters, 1);
    let expected: Vec<String> = (0..10).map(|number: u32| number.to_string()).collect();
    assert_eq!(payloads(&jetstream, "EVENTS").await, expected);
}

/// The request for a consumer is larger than any event: messages are read one by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_is_stored_once_if_requests_are_over_the_accounts_payload_limit() {
    let limit = r#"accounts: { APP: { jetstream: enabled, limits: { max_payload: 250 },
                                      users: [{ user: app, password: p }] } }"#;
    let server = NatsServer::builder().config(limit).start().await.unwrap();
    let jetstream = jetstream_as(&server, "app", "p").await;
    // A short request.
    let create = r#"{"name":"EVENTS","subjects":["events.>"],"duplicate_window":100000000,"num_replicas":1,"storage":"memory","retention":"limits"}"#;
    let client = client_as(&server, "app", "p").await;
    let created = client.request("$JS.API.STREAM.CREATE.EVENTS", create.into());
    let created = created.await.unwrap();
    assert!(!String::from_utf8_lossy(&created.payload).contains("err_code"));
    let setup = Setup {
        user: Some(("app", "p")),
        ..Setup::default()
    };
    let world = World::of(server, setup).await;
    world.lose_acknowledgements_and_drain().await;
    assert_eq!(world.spool().possible_duplicates, 0);
    let mut last = 0;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let mut there = Vec::new();
    while let Ok(message) = stream.get_raw_message(last + 1).await {
        last = message.sequence;
        there.push(String::from_utf8(message.payload.to_vec()).unwrap());
    }
    there.retain(|payload| LOST.contains(&payload.as_str()));
    assert_eq!(there, LOST);
}

const MAY_NOT_ASK_FOR_NAMES: &str = r#"authorization { users = [
    { user: admin, password: p },
    { user: app, password: p, permissions: {
        publish: ["events.>", "$JS.API.STREAM.INFO.>", "$JS.API.CONSUMER.CREATE.>", "$JS.FC.>"],
        subscribe: ["_INBOX.>"] } } ] }"#;

/// The look-up asks for the subject's stream with an event that the stream refuses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_behind_one_that_is_too_large_are_stored_once_if_the_stream_must_be_probed() {
    let server = NatsServer::builder().config(MAY_NOT_ASK_FOR_NAMES);
    let server = server.start().await.unwrap();
    let jetstream = jetstream_as(&server, "admin", "p").await;
    let config = Config {
        max_message_size: 2_000,
        ..forgetful("EVENTS", "events.>")
    };
    jetstream.create_stream(config).await.unwrap();
    let setup = Setup {
        user: Some(("app", "p")),
        ..Setup::default()
    };
    let world = World::of(server, setup).await;
    world.establish_a_baseline("events.a").await;
    let large = event("events.a", vec![b'x'; 4_000]);
    let others = LOST.map(|payload| event("events.a", payload));
    let events = [large].into_iter().chain(others);
    world
        .lose_acknowledgements_in_flight(events.collect())
        .await;
    world.drain().await;
    assert_eq!(payloads(&jetstream, "EVENTS").await, LOST);
    assert_eq!(world.spool().dead_letters, 1);
    assert_eq!(world.spool().possible_duplicates, 0);
}
