//! Events whose acknowledgements were lost, and whose stream is reached by another way than the account's own API: each
//! is stored once.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::{self, stream::Config};
use common::lossy::*;
use common::{client_as, event, jetstream_as};
use futures_util::StreamExt as _;
use jetsink::{
    Baseline, Baselines, ConnectSettings, GapReason, LookUpGap, NatsPublisher, PublishError,
    Publisher as _, StoredIds, WhenUnconfirmed,
};
use nats_local::{NatsServer, ReservedPort};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

async fn with_domain(domain: &str, more: &str) -> (NatsServer, TempDir) {
    let store = tempfile::tempdir().unwrap();
    let config = format!(
        "jetstream {{ store_dir: {:?}, domain: {domain}, max_file_store: 1TB }}\n{more}",
        store.path()
    );
    let builder = NatsServer::builder().without_jetstream().config(&config);
    (builder.start().await.unwrap(), store)
}

/// A hub and a leaf node, each with a JetStream domain.
struct Leaf {
    hub: NatsServer,
    leaf: NatsServer,
    _stores: [TempDir; 2],
}

async fn leaf_and_hub() -> Leaf {
    let port = ReservedPort::new().unwrap();
    let listen = format!("leafnodes {{ listen: \"127.0.0.1:{}\" }}", port.number());
    let (hub, of_hub) = with_domain("hub", &listen).await;
    let remotes = format!(
        "leafnodes {{ reconnect: 1, remotes: [ {{ url: \"nats-leaf://127.0.0.1:{}\" }} ] }}",
        port.number()
    );
    let (leaf, of_leaf) = with_domain("leaf", &remotes).await;
    Leaf {
        hub,
        leaf,
        _stores: [of_hub, of_leaf],
    }
}

/// Waits until the leaf node's clients reach the stream.
async fn reachable(leaf: &NatsServer, subject: &str) {
    let jetstream = leaf.jetstream().await.unwrap();
    let give_up = Instant::now() + PATIENCE;
    loop {
        let published = jetstream.publish(subject.to_owned(), "other".into()).await;
        if published.unwrap().await.is_ok() {
            return;
        }
        assert!(Instant::now() < give_up);
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_of_a_leaf_node_is_stored_once_in_the_hubs_domain_or_in_its_own() {
    for in_hub in [true, false] {
        let Leaf { hub, leaf, _stores } = leaf_and_hub().await;
        let owner = if in_hub { &hub } else { &leaf };
        let config = forgetful("EVENTS", "events.>");
        let jetstream = owner.jetstream().await.unwrap();
        jetstream.create_stream(config).await.unwrap();
        reachable(&leaf, "events.b").await;
        let world = World::over(leaf).await;
        world.lose_acknowledgements_and_drain().await;
        assert_eq!(payloads(&jetstream, "EVENTS").await, LOST, "{in_hub}");
        assert_eq!(world.spool().possible_duplicates, 0, "{in_hub}");
    }
}

/// Without the hub, nothing receives the subject: that does not mean that nothing is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_is_stored_once_if_the_way_to_its_stream_is_interrupted_during_the_look_up() {
    let Leaf {
        mut hub,
        leaf,
        _stores,
    } = leaf_and_hub().await;
    let config = forgetful("EVENTS", "events.>");
    let jetstream = hub.jetstream().await.unwrap();
    jetstream.create_stream(config).await.unwrap();
    reachable(&leaf, "events.b").await;
    let world = World::over(leaf).await;
    world.establish_a_baseline("events.a").await;
    world.lose_acknowledgements("events.a", &LOST).await;
    hub.stop().unwrap();
    world.proxy.heal();
    world.up().await;
    sleep(Duration::from_secs(2)).await;
    hub.restart().await.unwrap();
    world.drain().await;
    let jetstream = hub.jetstream().await.unwrap();
    assert_eq!(payloads(&jetstream, "EVENTS").await, LOST);
    assert_eq!(world.spool().possible_duplicates, 0);
}

async fn login(server: &NatsServer, name: &str) -> jetstream::Context {
    jetstream_as(server, name, name).await
}

fn direct() -> Config {
    Config {
        allow_direct: true,
        ..forgetful("EVENTS", "events.>")
    }
}

const MAY_GET_DIRECTLY: &str = r#"authorization { users = [
    { user: admin, password: admin },
    { user: app, password: app, permissions: {
        publish: ["events.>", "$JS.API.DIRECT.GET.>"], subscribe: ["_INBOX.>"] } } ] }"#;

const IMPORTS_DIRECT_GET: &str = r#"accounts = {
    owner: { jetstream: enabled, users: [ { user: admin, password: admin } ],
             exports: [ { service: "events.>", response: stream },
                        { service: "$JS.API.DIRECT.GET.EVENTS", response: stream } ] },
    importer: { users: [ { user: app, password: app } ],
                imports: [ { service: { account: owner, subject: "events.>" } },
                           { service: { account: owner, subject: "$JS.API.DIRECT.GET.EVENTS" } } ] } }"#;

const IMPORTS_INFO_AND_DIRECT_GET: &str = r#"accounts = {
    owner: { jetstream: enabled, users: [ { user: admin, password: admin } ],
             exports: [ { service: "events.>", response: stream },
                        { service: "$JS.API.STREAM.INFO.EVENTS", response: stream },
                        { service: "$JS.API.DIRECT.GET.EVENTS", response: stream } ] },
    importer: { users: [ { user: app, password: app } ],
                imports: [ { service: { account: owner, subject: "events.>" } },
                           { service: { account: owner, subject: "$JS.API.STREAM.INFO.EVENTS" } },
                           { service: { account: owner, subject: "$JS.API.DIRECT.GET.EVENTS" } } ] } }"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_or_account_that_may_only_get_messages_directly_looks_events_up() {
    for config in [
        MAY_GET_DIRECTLY,
        IMPORTS_DIRECT_GET,
        IMPORTS_INFO_AND_DIRECT_GET,
    ] {
        let server = NatsServer::builder().config(config).start().await.unwrap();
        let admin = login(&server, "admin").await;
        admin.create_stream(direct()).await.unwrap();
        let setup = Setup {
            user: Some(("app", "app")),
            choice: WhenUnconfirmed::Hold,
            ..Setup::default()
        };
        let world = World::of(server, setup).await;
        world.lose_acknowledgements_and_drain().await;
        assert_eq!(payloads(&admin, "EVENTS").await, LOST, "{config}");
        assert_eq!(world.spool().possible_duplicates, 0, "{config}");
        assert_eq!(world.read("EVENTS").await, LOST, "{config}");
    }
}

/// A direct get can't distinguish a removed last message from one that a replica has not received.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_last_message_makes_a_possible_duplicate_for_a_user_of_direct_gets() {
    let server = NatsServer::builder().config(MAY_GET_DIRECTLY);
    let server = server.start().await.unwrap();
    let admin = login(&server, "admin").await;
    let mut stream = admin.create_stream(direct()).await.unwrap();
    let setup = Setup {
        user: Some(("app", "app")),
        ..Setup::default()
    };
    let world = World::of(server, setup).await;
    world.establish_a_baseline("events.a").await;
    world.lose_acknowledgements("events.a", &LOST).await;
    let last = stream.info().await.unwrap().state.last_sequence;
    assert!(stream.delete_message(last).await.unwrap());
    world.drain().await;
    assert_eq!(payloads(&admin, "EVENTS").await, LOST);
    assert_eq!(world.spool().possible_duplicates, 1);
}

/// Only the last state is found, under the other subject: the stream has replaced the others by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyed_stream_never_ends_at_an_older_state_if_a_mapping_moves_its_events() {
    let mapping = "mappings = { \"events.a\": \"events.moved\" }";
    let server = NatsServer::builder().config(mapping).start().await.unwrap();
    let config = Config {
        max_messages_per_subject: 1,
        ..forgetful("EVENTS", "events.>")
    };
    server.create_stream_with(config).await.unwrap();
    let world = World::over(server).await;
    world.establish_a_baseline("events.a").await;
    let states = (0..10).map(|state| event("events.a", format!("state {state}")));
    world
        .lose_acknowledgements_in_flight(states.collect())
        .await;
    world.drain().await;
    assert_eq!(world.payloads("EVENTS").await, ["state 9"]);
    assert_eq!(world.spool().possible_duplicates, 0);
}

/// A server with a stream, and one without JetStream from which publishes and a part of the API are forwarded.
async fn a_part_of_the_api() -> (NatsServer, NatsServer) {
    let owner = NatsServer::start().await.unwrap();
    let jetstream = owner.jetstream().await.unwrap();
    jetstream.create_stream(direct()).await.unwrap();
    let front = NatsServer::builder().without_jetstream();
    let front = front.start().await.unwrap();
    let from = async_nats::connect(front.url()).await.unwrap();
    let to = async_nats::connect(owner.url()).await.unwrap();
    let api = ["STREAM.INFO", "STREAM.MSG.GET"].map(|part| format!("$JS.API.{part}.EVENTS"));
    for subject in api.iter().map(String::as_str).chain(["events.>"]) {
        forward(&from, &to, subject, Duration::ZERO).await;
    }
    (owner, front)
}

/// Passes the requests of one server's clients on to another server, except for those in the first part of the time.
async fn forward(from: &Client, to: &Client, subject: &str, silence: Duration) {
    let (from, to) = (from.clone(), to.clone());
    let mut requests = from.subscribe(subject.to_owned()).await.unwrap();
    from.flush().await.unwrap();
    tokio::spawn(async move {
        let mut first = None;
        while let Some(request) = requests.next().await {
            if first.get_or_insert_with(Instant::now).elapsed() < silence {
                continue;
            }
            let headers = request.headers.unwrap_or_default();
            let forwarded = to.request_with_headers(request.subject, headers, request.payload);
            let Ok(answer) = forwarded.await else {
                continue;
            };
            let (reply, headers) = (request.reply.unwrap(), answer.headers.unwrap_or_default());
            let answered = from.publish_with_headers(reply, headers, answer.payload);
            answered.await.unwrap();
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_is_looked_up_by_the_part_of_the_api_that_answers() {
    let (owner, front) = a_part_of_the_api().await;
    let setup = Setup {
        choice: WhenUnconfirmed::Hold,
        ..Setup::default()
    };
    let world = World::of(front, setup).await;
    world.lose_acknowledgements_and_drain().await;
    let jetstream = owner.jetstream().await.unwrap();
    assert_eq!(payloads(&jetstream, "EVENTS").await, LOST);
    assert_eq!(world.spool().possible_duplicates, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subject_without_a_stream_waits_alone_if_no_stream_can_be_named() {
    let (_owner, front) = a_part_of_the_api().await;
    let denied = NatsServer::builder().config(NO_API).start().await.unwrap();
    // The stream may have no leader: nothing receives its subjects then, either.
    for (server, subject) in [(&front, "nowhere.a"), (&denied, "silent.a")] {
        let settings = ConnectSettings::new(&server.url()).unwrap();
        let publisher = NatsPublisher::connect(settings.user_and_password("app", "app"));
        let publisher = publisher.await.unwrap();
        let events = [event(subject, "x")];
        let baselines = Baselines::new();
        let found = publisher.stored_ids(&events, &baselines, &mut |_| {}).await;
        let subjects = vec![events[0].subject().clone()];
        let gap = LookUpGap::new(subjects, GapReason::Unreachable(PublishError::NoStream));
        assert_eq!(
            found.unwrap(),
            StoredIds::VisitedExcept(vec![gap]),
            "{subject}"
        );
    }
}

/// A busy server, or one that is cut off from its leader, answers later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn direct_gets_that_are_not_answered_for_a_while_are_no_reason_to_send_twice() {
    let owner = NatsServer::start().await.unwrap();
    let jetstream = owner.jetstream().await.unwrap();
    jetstream.create_stream(direct()).await.unwrap();
    let front = NatsServer::builder()
        .without_jetstream()
        .config(MAY_GET_DIRECTLY);
    let front = front.start().await.unwrap();
    let from = client_as(&front, "admin", "admin").await;
    let to = async_nats::connect(owner.url()).await.unwrap();
    forward(&from, &to, "events.>", Duration::ZERO).await;
    let silence = Duration::from_secs(15);
    forward(&from, &to, "$JS.API.DIRECT.GET.EVENTS", silence).await;
    let setup = Setup {
        user: Some(("app", "app")),
        ..Setup::default()
    };
    let world = World::of(front, setup).await;
    world.lose_acknowledgements_and_drain().await;
    let version = world.sink.publisher().server_version().unwrap();
    if version.starts_with("2.10.") {
        return println!("this server does not answer if a stream allows no direct gets");
    }
    assert_eq!(payloads(&jetstream, "EVENTS").await, LOST);
    assert_eq!(world.spool().possible_duplicates, 0);
}

const MAY_GET_DIRECTLY_AND_KNOW_THE_STATE: &str = r#"authorization { users = [
    { user: admin, password: admin },
    { user: app, password: app, permissions: {
        publish: ["events.>", "$JS.API.DIRECT.GET.>", "$JS.API.STREAM.INFO.>"],
        subscribe: ["_INBOX.>"] } } ] }"#;

/// Without `allow_direct`, nothing answers a direct get. Without the stream's state, a server before 2.11 leaves that open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_without_direct_gets_is_read_by_no_other_way() {
    let server = NatsServer::builder().config(MAY_GET_DIRECTLY_AND_KNOW_THE_STATE);
    let server = server.start().await.unwrap();
    let admin = login(&server, "admin").await;
    admin
        .create_stream(forgetful("EVENTS", "events.>"))
        .await
        .unwrap();
    let setup = Setup {
        user: Some(("app", "app")),
        ..Setup::default()
    };
    let world = World::of(server, setup).await;
    world.lose_acknowledgements_and_drain().await;
    assert_eq!(payloads(&admin, "EVENTS").await, ["a", "a", "b", "c"]);
    assert_eq!(world.spool().possible_duplicates, 1);
}

/// The stream captures both subjects, so nothing shows that the event is stored under the other one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_a_mapping_moves_within_its_stream_is_stored_once() {
    let mapping = "mappings = { \"events.a\": \"events.moved\" }";
    let server = NatsServer::builder().config(mapping).start().await.unwrap();
    let config = forgetful("EVENTS", "events.>");
    server.create_stream_with(config).await.unwrap();
    let world = World::over(server).await;
    world.lose_acknowledgements_and_drain().await;
    assert_eq!(world.payloads("EVENTS").await, LOST);
    assert_eq!(world.spool().possible_duplicates, 0);
}

/// No stream of the look-up is a known one, but the known one answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subject_without_a_stream_does_not_wait_for_a_known_stream_that_answers() {
    let server = NatsServer::start().await.unwrap();
    let jetstream = server.jetstream().await.unwrap();
    let config = forgetful("EVENTS", "events.>");
    jetstream.create_stream(config).await.unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let events = [event("nowhere.a", "x")];
    let baselines = Baselines::from([("EVENTS".to_owned(), Baseline::new(0))]);
    let found = publisher.stored_ids(&events, &baselines, &mut |_| {}).await;
    assert_eq!(found.unwrap(), StoredIds::Visited);
    jetstream.delete_stream("EVENTS").await.unwrap();
    let found = publisher.stored_ids(&events, &baselines, &mut |_| {}).await;
    let subjects = vec![events[0].subject().clone()];
    let gap = LookUpGap::new(subjects, GapReason::Unreachable(PublishError::NoStream));
    assert_eq!(found.unwrap(), StoredIds::VisitedExcept(vec![gap]));
}

const NO_API: &str = r#"authorization { users = [
    { user: admin, password: admin },
    { user: app, password: app, permissions: { publish: ["silent.>"], subscribe: ["_INBOX.>"] } } ] }"#;

/// Only if JetStream answers something, its silence about a subject is one of the subject's stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_counts_as_silent_only_while_jetstream_answers_other_requests() {
    for (config, user, is_away) in [(NO_API, "app", true), (NO_API, "admin", false)] {
        let server = NatsServer::builder().config(config).start().await.unwrap();
        let admin = client_as(&server, "admin", "admin").await;
        let _silent = admin.subscribe("silent.>").await.unwrap();
        admin.flush().await.unwrap();
        let settings = ConnectSettings::new(&server.url()).unwrap();
        let publisher = NatsPublisher::connect(settings.user_and_password(user, user));
        let publisher = publisher.await.unwrap();
        let events = [event("silent.a", "x")];
        let baselines = Baselines::new();
        let found = publisher.stored_ids(&events, &baselines, &mut |_| {}).await;
        let StoredIds::VisitedExcept(gaps) = found.unwrap() else {
            panic!("nothing can be found");
        };
        let reason = &gaps[0].reason;
        let is_as_expected = match is_away {
            true => matches!(reason, GapReason::Unreachable(_)),
            false => matches!(reason, GapReason::Unanswered(_)),
        };
        assert!(is_as_expected, "{user}: {reason:?}");
    }
}

/// A subscriber receives the probes and answers none. One after another, sixty-four at a time, they would take 32 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_subjects_whose_streams_do_not_answer_are_left_for_later_look_ups() {
    let server = NatsServer::builder().config(NO_API).start().await.unwrap();
    let admin = client_as(&server, "admin", "admin").await;
    let _silent = admin.subscribe("silent.>").await.unwrap();
    admin.flush().await.unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let settings = settings.user_and_password("app", "app");
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let events: Vec<_> = (0..1_000)
        .map(|number| event(&format!("silent.{number}"), "x"))
        .collect();
    let started = Instant::now();
    let found = publisher
        .stored_ids(&events, &Baselines::new(), &mut |_| {})
        .await;
    assert!(started.elapsed() < Duration::from_secs(16));
    let StoredIds::VisitedExcept(gaps) = found.unwrap() else {
        panic!("nothing can be found");
    };
    let of = |is: fn(&GapReason) -> bool| -> usize {
        let gaps = gaps.iter().filter(|gap| is(&gap.reason));
        gaps.map(|gap| gap.subjects.len()).sum()
    };
    let unanswered = of(|reason| matches!(reason, GapReason::Unreachable(_)));
    let unfinished = of(|reason| matches!(reason, GapReason::Unfinished));
    assert!(
        unanswered > 0 && unfinished > 0,
        "{unanswered}, {unfinished}"
    );
    assert_eq!(unanswered + unfinished, events.len());
}
