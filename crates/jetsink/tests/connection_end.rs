//! Events for which the server ends the connection: each fails alone, and all others are stored once.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::Config;
use bytes::Bytes;
use common::ending_proxy::{EndingProxy, Ends};
use common::*;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jetsink::CircuitState as State;
use jetsink::{
    Acknowledgement, ConnectSettings, ConnectionEnd, EmitError, Envelope, NatsPublisher,
    PublishError, Publisher as _, Scope, Sink, SinkSettings, SpoolSettings, Window, WindowSize,
};
use nats_local::{JwtAccount, NatsServer, stored};
use tokio::time::{Instant, sleep, timeout};

/// "A few": the connections until an event is identified.
const FEW_CONNECTIONS: u64 = 10;

const PATIENCE: Duration = Duration::from_secs(30);

const ACCOUNT_LIMIT: &str = r#"accounts: {
    APP: { jetstream: enabled, limits: { max_payload: LIMIT }, users: [{ user: app, password: p }] } }"#;

fn account_limit(bytes: usize) -> String {
    ACCOUNT_LIMIT.replace("LIMIT", &bytes.to_string())
}

/// A server whose account accepts 4,096 bytes while the server itself accepts 1 MiB.
async fn server_with_account_limit() -> (NatsServer, ConnectSettings) {
    let builder = NatsServer::builder().config(&account_limit(4_096));
    let server = builder.start().await.unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let settings = settings.user_and_password("app", "p");
    create_stream(&jetstream_of(&server).await, LONG_WINDOW).await;
    (server, settings)
}

async fn jetstream_of(server: &NatsServer) -> jetstream::Context {
    jetstream_as(server, "app", "p").await
}

/// A duplicate window that ends before an event is sent again: only a look-up finds the stored event.
const SHORT_WINDOW: Duration = Duration::from_millis(100);

/// The server's default. Without a spool only the window recognises an event whose acknowledgement was lost.
const LONG_WINDOW: Duration = Duration::from_secs(120);

async fn create_stream(jetstream: &jetstream::Context, duplicate_window: Duration) {
    let config = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        duplicate_window,
        ..Config::default()
    };
    jetstream.create_stream(config).await.unwrap();
}

async fn spooling(settings: ConnectSettings, folder: &Path) -> NatsSink {
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let spool = SpoolSettings::new(folder);
    Sink::with_spool(publisher, SinkSettings::default(), spool)
        .await
        .unwrap()
}

fn connections(sink: &NatsSink) -> u64 {
    sink.publisher().connection().unwrap().borrow().number
}

async fn drained(sink: &NatsSink) {
    let give_up = Instant::now() + PATIENCE;
    while sink.spool().unwrap().status().events > 0 {
        let status = sink.spool().map(|spool| spool.status());
        assert!(Instant::now() < give_up, "{status:?} is left");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Sends all events by one pipeline. Returns the payloads of those that were stored, and the errors.
async fn publish(sink: &NatsSink, events: Vec<Envelope>) -> (Vec<Bytes>, Vec<EmitError>) {
    let window = WindowSize::new(256).unwrap();
    let mut pipeline = sink.pipeline(window).max_outage(PATIENCE);
    let mut payloads = Vec::new();
    for event in events {
        payloads.push(event.payload().clone());
        pipeline.push(event).unwrap();
    }
    let (mut stored, mut errors) = (Vec::new(), Vec::new());
    for payload in payloads {
        match pipeline.next().await.unwrap() {
            Ok(_) => stored.push(payload),
            Err(error) => errors.push(error),
        }
    }
    (stored, errors)
}

fn assert_ends_connection(errors: &[EmitError], expected: ConnectionEnd) {
    for error in errors {
        assert_eq!(error.scope(), Scope::Event, "{error}");
        match error {
            EmitError::Failed(failed) => match failed.error {
                PublishError::EndsConnection { reason, .. } => assert_eq!(reason, expected),
                ref other => panic!("{other}"),
            },
            other => panic!("{other}"),
        }
    }
}

/// Good events on several subjects, with one bad event in their middle.
fn events_around(bad: Envelope) -> Vec<Envelope> {
    let mut events: Vec<Envelope> = (0..20)
        .map(|number| event(&format!("events.{}", number % 4), number.to_string()))
        .collect();
    events.insert(7, bad);
    events
}

#[tokio::test]
async fn event_over_the_accounts_payload_limit_fails_alone_within_a_few_connections() {
    let (server, settings) = server_with_account_limit().await;
    let sink = sink_with(settings).await;
    let events = events_around(event("events.1", vec![b'x'; 5_000]));
    let (stored_payloads, errors) = publish(&sink, events).await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_ends_connection(&errors, ConnectionEnd::MaxPayload);
    assert!(connections(&sink) <= FEW_CONNECTIONS);
    let there = stored(&jetstream_of(&server).await, "EVENTS")
        .await
        .unwrap();
    assert_stored_once_in_order(&stored_payloads, &there);
    assert_eq!(stored_payloads.len(), 20);

    // The limit is learned: a larger event costs no connection.
    let before = connections(&sink);
    let again = emit(&sink, "events.2", vec![b'x'; 6_000].into()).await;
    assert_ends_connection(&[again.result.unwrap_err()], ConnectionEnd::MaxPayload);
    emit(&sink, "events.2", "good".into()).await.result.unwrap();
    assert_eq!(connections(&sink), before);
}

#[tokio::test]
async fn spooled_event_over_the_users_payload_limit_becomes_a_dead_letter() {
    let account = JwtAccount::generate();
    let config = account.server_config(&[]).unwrap();
    let mut server = NatsServer::builder().config(&config).start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes| {
        let path = folder.path().join(name);
        let user = account.user_with_max_payload(name, bytes).unwrap();
        std::fs::write(&path, user.credentials).unwrap();
        path
    };
    let (limited, admin) = (file("limited", 4_096), file("admin", -1));
    let options = async_nats::ConnectOptions::with_credentials_file(admin);
    let client = options.await.unwrap().connect(server.url()).await.unwrap();
    let jetstream = jetstream::new(client);
    create_stream(&jetstream, SHORT_WINDOW).await;
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let settings = settings.credentials_file(limited).start_disconnected(true);
    server.kill().unwrap();
    let spool = folder.path().join("spool");
    let sink = spooling(settings, &spool).await;
    let mut expected = Vec::new();
    for event in events_around(event("events.1", vec![b'x'; 5_000])) {
        if event.payload().len() < 5_000 {
            expected.push(event.payload().clone());
        }
        sink.emit(event).await.unwrap();
    }
    server.restart().await.unwrap();
    drained(&sink).await;
    assert_eq!(sink.spool().unwrap().status().dead_letters, 1);
    assert!(connections(&sink) <= FEW_CONNECTIONS);
    let there = stored(&jetstream, "EVENTS").await.unwrap();
    let mut payloads: Vec<Bytes> = there.iter().map(|m| m.payload.clone()).collect();
    payloads.sort_by_key(|payload| expected.iter().position(|e| e == payload));
    assert_eq!(payloads, expected);
}

#[tokio::test]
async fn event_with_a_subject_over_max_control_line_fails_alone() {
    let server = NatsServer::builder().config("max_control_line: 512");
    let server = server.start().await.unwrap();
    let jetstream = server.jetstream().await.unwrap();
    create_stream(&jetstream, LONG_WINDOW).await;
    let sink = sink_to(&server).await;
    let long = format!("events.1.{}", "x".repeat(600));
    let (stored_payloads, errors) = publish(&sink, events_around(event(&long, "bad"))).await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_ends_connection(&errors, ConnectionEnd::MaxControlLine);
    assert!(connections(&sink) <= FEW_CONNECTIONS);
    let there = stored(&jetstream, "EVENTS").await.unwrap();
    assert_stored_once_in_order(&stored_payloads, &there);
    assert_eq!(stored_payloads.len(), 20);
}

#[tokio::test]
async fn event_that_ends_each_connection_without_a_reason_becomes_a_dead_letter() {
    for (position, payload) in [("first", 0), ("in the middle", 7)] {
        let mut server = NatsServer::start().await.unwrap();
        let jetstream = server.jetstream().await.unwrap();
        create_stream(&jetstream, SHORT_WINDOW).await;
        let proxy = EndingProxy::to(server.port(), Ends::Before("poison")).await;
        let settings = ConnectSettings::new(&proxy.url()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        server.kill().unwrap();
        let sink = spooling(settings.start_disconnected(true), folder.path()).await;
        let mut expected = Vec::new();
        for number in 0..20 {
            if number == payload {
                sink.emit(event("events.a", "poison")).await.unwrap();
            }
            let payload = Bytes::from(number.to_string());
            expected.push(payload.clone());
            sink.emit(event("events.a", payload)).await.unwrap();
        }
        server.restart().await.unwrap();
        drained(&sink).await;
        assert_eq!(sink.spool().unwrap().status().dead_letters, 1, "{position}");
        println!("{position}: {} endings", proxy.endings());
        assert!(proxy.endings() as u64 <= FEW_CONNECTIONS, "{position}");
        let there = stored(&jetstream, "EVENTS").await.unwrap();
        assert_stored_once_in_order(&expected, &there);
    }
}

#[tokio::test]
async fn lost_acknowledgements_and_cut_connections_make_no_dead_letter() {
    let mut server = NatsServer::start().await.unwrap();
    let jetstream = server.jetstream().await.unwrap();
    create_stream(&jetstream, SHORT_WINDOW).await;
    let proxy = EndingProxy::to(server.port(), Ends::After("unlucky")).await;
    let settings = ConnectSettings::new(&proxy.url()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    server.kill().unwrap();
    let sink = spooling(settings.start_disconnected(true), folder.path()).await;
    let mut expected = Vec::new();
    for number in 0..40 {
        let luck = if number % 10 == 3 { "unlucky" } else { "lucky" };
        let payload = Bytes::from(format!("{luck} {number}"));
        expected.push(payload.clone());
        sink.emit(event("events.a", payload)).await.unwrap();
    }
    server.restart().await.unwrap();
    drained(&sink).await;
    assert!(proxy.endings() > 0);
    assert_eq!(sink.spool().unwrap().status().dead_letters, 0);
    let there = stored(&jetstream, "EVENTS").await.unwrap();
    assert_stored_once_in_order(&expected, &there);
}

#[tokio::test]
async fn broker_that_restarts_again_and_again_makes_no_dead_letter() {
    let mut server = NatsServer::start().await.unwrap();
    create_stream(&server.jetstream().await.unwrap(), SHORT_WINDOW).await;
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sink = spooling(settings, folder.path()).await;
    let mut expected = Vec::new();
    for round in 0..8 {
        for number in 0..3 {
            let payload = Bytes::from(format!("{round}.{number}"));
            expected.push(payload.clone());
            let emitted = sink.emit(event("events.a", payload));
            if number == 1 {
                // It is in flight when the server is killed.
                server.freeze().unwrap();
                let (emitted, ()) = tokio::join!(emitted, async {
                    sleep(Duration::from_millis(50)).await;
                    server.kill().unwrap();
                });
                emitted.unwrap();
            } else {
                emitted.await.unwrap();
            }
        }
        server.restart().await.unwrap();
    }
    drained(&sink).await;
    assert_eq!(sink.spool().unwrap().status().dead_letters, 0);
    let jetstream = server.jetstream().await.unwrap();
    assert_stored_once_in_order(&expected, &stored(&jetstream, "EVENTS").await.unwrap());
}

#[tokio::test]
async fn payload_limit_that_changes_on_a_running_server_is_learned() {
    let (mut server, settings) = server_with_account_limit().await;
    let sink = sink_with(settings).await;
    let large = || Bytes::from(vec![b'x'; 5_000]);
    let refused = emit(&sink, "events.a", large()).await.result.unwrap_err();
    assert_ends_connection(&[refused], ConnectionEnd::MaxPayload);
    reload(&mut server, 8_192);
    await_result(&sink, large(), true).await;
    reload(&mut server, 4_096);
    await_result(&sink, large(), false).await;
    await_result(&sink, "good".into(), true).await;
}

fn reload(server: &mut NatsServer, limit: usize) {
    server.reconfigure(&account_limit(limit)).unwrap();
    let pid = nix::unistd::Pid::from_raw(server.pid().unwrap() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
}

/// Emits an event again and again until it is stored, or refused.
async fn await_result(sink: &NatsSink, payload: Bytes, is_stored: bool) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let result = emit(sink, "events.a", payload.clone()).await.result;
        match &result {
            Ok(_) if is_stored => return,
            Err(error) if !is_stored && error.scope() == Scope::Event => return,
            _ => {}
        }
        assert!(Instant::now() < give_up, "{result:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// A subject whose messages nothing acknowledges.
const SILENT: &str = "silent.a";

/// A server with a stream and a plain subscriber to [`SILENT`], behind a proxy; and a sink with one task that emits an
/// event there again and again. The task returns the errors once the proxy has ended this many connections.
async fn silent_behind_proxy(connections: usize, until: usize) -> (Silent, NatsServer) {
    let server = NatsServer::start().await.unwrap();
    create_stream(&server.jetstream().await.unwrap(), LONG_WINDOW).await;
    let client = server.client().await.unwrap();
    let subscriber = client.subscribe(SILENT).await.unwrap();
    client.flush().await.unwrap();
    let proxy = EndingProxy::to(server.port(), Ends::AfterTime { connections }).await;
    let settings = ConnectSettings::new(&proxy.url()).unwrap();
    let sink = Arc::new(sink_with(settings).await);
    let emitting = Arc::clone(&sink);
    let proxy = Arc::new(proxy);
    let ending = Arc::clone(&proxy);
    let errors = tokio::spawn(async move {
        let _subscriber = subscriber;
        let mut errors = Vec::new();
        while ending.endings() < until {
            errors.extend(emitting.emit(event(SILENT, "x")).await.err());
            sleep(Duration::from_millis(2)).await;
        }
        errors
    });
    let silent = Silent {
        sink,
        proxy,
        errors,
    };
    (silent, server)
}

struct Silent {
    sink: Arc<NatsSink>,
    proxy: Arc<EndingProxy>,
    errors: tokio::task::JoinHandle<Vec<EmitError>>,
}

/// A load balancer that cut connections turned an event that was never acknowledged into one that ends connections.
#[tokio::test]
async fn network_that_cuts_connections_condemns_no_event_that_is_never_acknowledged() {
    let (silent, _server) = silent_behind_proxy(usize::MAX, 15).await;
    let mut stored = 0;
    while !silent.errors.is_finished() {
        let good = event("events.a", stored.to_string());
        stored += usize::from(silent.sink.emit(good).await.is_ok());
        sleep(Duration::from_millis(5)).await;
    }
    let errors = silent.errors.await.unwrap();
    assert!(stored > 0 && !errors.is_empty());
    for error in errors {
        assert_ne!(error.scope(), Scope::Event, "{error}");
    }
}

/// It was alone in flight until its deadline. Other events found no place, and the broker's circuit opened.
#[tokio::test]
async fn suspect_that_is_never_acknowledged_holds_back_no_other_event_for_long() {
    let (silent, _server) = silent_behind_proxy(3, usize::MAX).await;
    let give_up = Instant::now() + PATIENCE;
    while silent.proxy.endings() < 3 || silent.sink.state() != State::Connected {
        assert!(Instant::now() < give_up, "{}", silent.sink.status());
        let _ = silent.sink.emit(event("events.a", "x")).await;
        sleep(Duration::from_millis(5)).await;
    }
    let end = Instant::now() + Duration::from_secs(6);
    let mut number = 0;
    while Instant::now() < end {
        let started = Instant::now();
        let good = silent
            .sink
            .emit(event("events.a", number.to_string()))
            .await;
        good.unwrap_or_else(|error| panic!("{number} after {:?}: {error}", started.elapsed()));
        number += 1;
        sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(silent.sink.state(), State::Connected);
    silent.errors.abort();
}

/// Ends two connections with these events in flight: from then on each is sent alone.
async fn suspect(publisher: &NatsPublisher, events: &[Envelope]) {
    for round in 0..2 {
        let mut connection = publisher.connection().unwrap();
        let number = connection.borrow().number;
        let deadline = Instant::now() + PATIENCE;
        let mut in_flight: FuturesUnordered<_> = events
            .iter()
            .map(|event| publisher.publish(event, deadline))
            .collect();
        let poison = event("events.a", format!("poison {round}"));
        let ended = async {
            while publisher.in_flight() < events.len() {
                sleep(Duration::from_millis(1)).await;
            }
            publisher.publish(&poison, deadline).await
        };
        let (lost, ended) = tokio::join!(
            async {
                let mut lost = Vec::new();
                while let Some(result) = in_flight.next().await {
                    lost.push(result);
                }
                lost
            },
            ended
        );
        for result in lost.into_iter().chain([ended]) {
            assert_eq!(result.unwrap_err(), PublishError::ConnectionLost);
        }
        connection
            .wait_for(|connection| connection.up && connection.number > number)
            .await
            .unwrap();
    }
}

async fn next_result(window: &mut dyn Window) -> (u64, Result<Acknowledgement, PublishError>) {
    let result = poll_fn(|context| window.poll_result(context));
    timeout(PATIENCE, result).await.unwrap()
}

/// The failure of a publish that found no turn was not the failure of those behind it: they were stored before it.
#[tokio::test]
async fn publish_that_is_held_back_in_a_window_holds_back_those_behind_it() {
    let server = NatsServer::start().await.unwrap();
    create_stream(&server.jetstream().await.unwrap(), LONG_WINDOW).await;
    let client = server.client().await.unwrap();
    let _silent = client.subscribe(SILENT).await.unwrap();
    client.flush().await.unwrap();
    let proxy = EndingProxy::to(server.port(), Ends::Before("poison")).await;
    let settings = ConnectSettings::new(&proxy.url()).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let suspected = ["suspect 0", "suspect 1"].map(|text| event(SILENT, text));
    suspect(&publisher, &suspected).await;
    let [first, second] = suspected.map(Arc::new);
    let good = |text: &str| Arc::new(event("events.a", text.to_owned()));

    // A publish that must be alone finds no turn: the server has not processed the one before it.
    let mut window = publisher.window(None);
    server.freeze().unwrap();
    let (soon, later) = (Duration::from_millis(200), Duration::from_secs(20));
    window.send(0, &good("0"), Instant::now() + later);
    window.send(1, &first, Instant::now() + soon);
    window.send(2, &good("2"), Instant::now() + later);
    let held_back = Err(PublishError::HeldBack);
    let mut results = [
        next_result(&mut *window).await,
        next_result(&mut *window).await,
    ];
    results.sort_by_key(|(number, _)| *number);
    assert_eq!(results, [(1, held_back.clone()), (2, held_back.clone())]);
    server.thaw().unwrap();
    let (number, result) = next_result(&mut *window).await;
    assert!(number == 0 && result.is_ok(), "{result:?}");

    // A publish expires behind one that is alone. Those behind it are held back until all have their results.
    window.send(3, &second, Instant::now() + Duration::from_secs(1));
    window.send(4, &good("4"), Instant::now());
    window.send(5, &good("5"), Instant::now() + PATIENCE);
    assert_eq!(next_result(&mut *window).await, (4, held_back.clone()));
    window.send(6, &good("6"), Instant::now() + PATIENCE);
    assert_eq!(next_result(&mut *window).await, (5, held_back.clone()));
    assert_eq!(next_result(&mut *window).await, (6, held_back));
    let unanswered = PublishError::AckTimeout {
        broker_answers: true,
    };
    assert_eq!(next_result(&mut *window).await, (3, Err(unanswered)));

    window.send(7, &good("7"), Instant::now() + PATIENCE);
    let (number, result) = next_result(&mut *window).await;
    assert!(number == 7 && result.is_ok(), "{result:?}");
}

/// A server with a subscriber to all subjects `silent.*`, behind a proxy that ends a connection before `poison`.
async fn silent_subjects() -> (NatsServer, EndingProxy, NatsPublisher, async_nats::Client) {
    let server = NatsServer::start().await.unwrap();
    create_stream(&server.jetstream().await.unwrap(), LONG_WINDOW).await;
    let client = server.client().await.unwrap();
    let mut silent = client.subscribe("silent.*").await.unwrap();
    tokio::spawn(async move { while silent.next().await.is_some() {} });
    client.flush().await.unwrap();
    let proxy = EndingProxy::to(server.port(), Ends::Before("poison")).await;
    let settings = ConnectSettings::new(&proxy.url()).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    (server, proxy, publisher, client)
}

/// A pipeline kept every other publish away for as long as it was not polled.
#[tokio::test]
async fn suspect_in_a_window_that_is_not_polled_holds_back_no_other_event_for_long() {
    let (_server, _proxy, publisher, _client) = silent_subjects().await;
    let suspects = [0, 1].map(|number| event(SILENT, number.to_string()));
    suspect(&publisher, &suspects).await;
    let [first, second] = suspects.map(Arc::new);
    let good = event("events.a", "good");
    let deadline = || Instant::now() + PATIENCE;
    // Until the event is in flight with its check, and until it only waits for its turn.
    for in_flight in [2, 1] {
        let mut window = publisher.window(None);
        window.send(0, &first, deadline());
        let give_up = deadline();
        loop {
            let polled = poll_fn(|context| Poll::Ready(window.poll_result(context)));
            assert!(polled.await.is_pending());
            if publisher.in_flight() >= in_flight {
                break;
            }
            assert!(Instant::now() < give_up);
            sleep(Duration::from_micros(100)).await;
        }
        let soon = Instant::now() + PATIENCE / 3;
        publisher.publish(&good, soon).await.unwrap();
        // Another suspect gets its turn, too.
        let unanswered = PublishError::AckTimeout {
            broker_answers: true,
        };
        let later = Instant::now() + PATIENCE / 6;
        let another = publisher.publish(&second, later).await;
        assert_eq!(another.unwrap_err(), unanswered);
        publisher.publish(&good, deadline()).await.unwrap();
        drop(window);
        suspect(&publisher, &[event(SILENT, "0"), event(SILENT, "1")]).await;
    }
}

/// Each of those that waited asked the server again after each turn of another.
#[tokio::test]
async fn suspects_that_wait_for_their_turns_send_two_checks_each() {
    const SUSPECTS: usize = 50;
    let (_server, _proxy, publisher, client) = silent_subjects().await;
    let suspects: Vec<_> = (0..SUSPECTS)
        .map(|number| event(&format!("silent.{number}"), "x"))
        .collect();
    suspect(&publisher, &suspects).await;
    let mut checks = client.subscribe("$JS.API.INFO").await.unwrap();
    let mut received = client.subscribe("silent.*").await.unwrap();
    client.flush().await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut in_flight: FuturesUnordered<_> = suspects
        .iter()
        .map(|event| publisher.publish(event, deadline))
        .collect();
    let all_received = async {
        for _ in 0..SUSPECTS {
            received.next().await.unwrap();
        }
    };
    let others = async {
        for number in 0.. {
            let good = event("events.a", number.to_string());
            publisher.publish(&good, deadline).await.unwrap();
        }
    };
    tokio::select! {
        () = all_received => {}
        () = others => unreachable!(),
        result = in_flight.next() => panic!("it is never acknowledged: {result:?}"),
    }
    let mut count = 0;
    while let Ok(Some(_)) = timeout(Duration::from_millis(100), checks.next()).await {
        count += 1;
    }
    println!("{count} checks for {SUSPECTS} suspects");
    assert!(count <= 2 * SUSPECTS, "{count}");
}
