//! Events whose acknowledgements were lost, past the duplicate window: each is stored once, whatever the stream
//! does meanwhile.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use common::*;
use jetsink::{
    ConnectSettings, Delivery, NatsPublisher, Publisher as _, Sink, SinkSettings, SpoolSettings,
    StreamContent, WhenUnconfirmed,
};
use nats_local::{Impairment, NatsServer, TcpProxy, stored};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_millis(300);

/// A stream that forgets message ids at once.
fn forgetful(name: &str, subject: &str) -> Config {
    Config {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        duplicate_window: Duration::from_millis(100),
        ..Config::default()
    }
}

/// A sink with a spool, behind a proxy that can lose acknowledgements.
struct World {
    server: NatsServer,
    proxy: TcpProxy,
    sink: NatsSink,
    _folder: TempDir,
}

impl World {
    async fn over(server: NatsServer) -> Self {
        Self::of(server, None, WhenUnconfirmed::Deliver).await
    }

    async fn of(server: NatsServer, user: Option<(&str, &str)>, choice: WhenUnconfirmed) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spool = SpoolSettings::new(folder.path()).when_unconfirmed(choice);
        let proxy = TcpProxy::to(server.port()).await.unwrap();
        let url = format!("nats://127.0.0.1:{}", proxy.port());
        let mut connect = ConnectSettings::new(&url).unwrap();
        if let Some((user, password)) = user {
            connect = connect.user_and_password(user, password);
        }
        let publisher = NatsPublisher::connect(connect).await.unwrap();
        let settings = SinkSettings::default().deadline(DEADLINE).unwrap();
        let sink = Sink::with_spool(publisher, settings, spool).await.unwrap();
        Self {
            server,
            proxy,
            sink,
            _folder: folder,
        }
    }

    async fn with(config: Config) -> Self {
        let server = NatsServer::start().await.unwrap();
        server.create_stream_with(config).await.unwrap();
        Self::over(server).await
    }

    async fn establish_a_baseline(&self, subject: &str) {
        self.establish_a_baseline_on("events.b", subject).await;
    }

    /// Emits events until the acknowledged ones are a baseline.
    async fn establish_a_baseline_on(&self, first: &str, subject: &str) {
        self.connected(first).await;
        let end = Instant::now() + 6 * DEADLINE;
        for number in 0.. {
            let delivery = self.sink.emit(event(subject, format!("early {number}")));
            assert!(matches!(delivery.await.unwrap(), Delivery::Stored { .. }));
            if Instant::now() > end {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Emits events that are stored, and whose acknowledgements are lost.
    async fn lose_acknowledgements(&self, subject: &str, payloads: &[&str]) {
        self.proxy.impair(Impairment::SwallowFromServer);
        for payload in payloads {
            let delivery = self.sink.emit(event(subject, (*payload).to_owned())).await;
            assert_eq!(delivery.unwrap(), Delivery::Spooled);
        }
        // Past the duplicate window.
        sleep(Duration::from_millis(300)).await;
        self.proxy.impair(Impairment::Reset);
        sleep(Duration::from_millis(50)).await;
    }

    async fn connected(&self, subject: &str) {
        let give_up = Instant::now() + PATIENCE;
        while self.sink.emit(event(subject, "other")).await.unwrap() == Delivery::Spooled {
            assert!(Instant::now() < give_up, "{}", self.sink.status());
            sleep(Duration::from_millis(20)).await;
        }
        self.drain().await;
    }

    async fn drain(&self) {
        self.proxy.heal();
        let give_up = Instant::now() + PATIENCE;
        while self.sink.spool_status().unwrap().events > 0 {
            assert!(Instant::now() < give_up, "{}", self.sink.status());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The payloads of a stream, without those of `establish_a_baseline`.
    async fn payloads(&self, stream: &str) -> Vec<String> {
        let jetstream = self.server.jetstream().await.unwrap();
        let messages = stored(&jetstream, stream).await.unwrap().into_iter();
        let payloads = messages.map(|message| String::from_utf8(message.payload.to_vec()).unwrap());
        payloads
            .filter(|p| !p.starts_with("early") && !p.starts_with("other"))
            .collect()
    }

    /// As `payloads`, by an operator's reader, which needs no consumer.
    async fn read(&self, stream: &str) -> Vec<String> {
        let stream = stream.parse().unwrap();
        let admin = self.sink.publisher().admin();
        let mut reader = admin
            .read_stream(&stream, StreamContent::Full)
            .await
            .unwrap();
        let mut payloads = Vec::new();
        while let Some(event) = reader.next().await.unwrap() {
            payloads.push(String::from_utf8(event.payload.to_vec()).unwrap());
        }
        payloads.retain(|p| !p.starts_with("early") && !p.starts_with("other"));
        payloads
    }

    /// Messages of another publisher.
    async fn others(&self, subject: &str, count: usize) {
        let jetstream = self.server.jetstream().await.unwrap();
        for number in 0..count {
            let ack = jetstream.publish(subject.to_owned(), format!("other {number}").into());
            ack.await.unwrap().await.unwrap();
        }
    }
}

/// Only the first is sent while the acknowledgements are lost: the others wait behind it.
const LOST: [&str; 3] = ["a", "b", "c"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_whose_acknowledgement_was_lost_is_stored_once() {
    let world = World::with(forgetful("EVENTS", "events.>")).await;
    world.establish_a_baseline("events.a").await;
    world.lose_acknowledgements("events.a", &LOST).await;
    world.drain().await;
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
    let mut connection = world.sink.publisher().connection().unwrap();
    let up = connection.wait_for(|connection| connection.up);
    drop(tokio::time::timeout(PATIENCE, up).await.unwrap().unwrap());
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
    let status = world.sink.spool_status().unwrap();
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
    world.establish_a_baseline("events.a").await;
    world.lose_acknowledgements("events.a", &LOST).await;
    world.drain().await;
    assert_eq!(world.read("EVENTS").await, LOST);

    // What is consumed can't be found; what is not consumed can.
    let queue = Config {
        retention: RetentionPolicy::WorkQueue,
        ..forgetful("EVENTS", "events.>")
    };
    let world = World::with(queue).await;
    world.establish_a_baseline("events.a").await;
    world.lose_acknowledgements("events.a", &LOST).await;
    world.drain().await;
    assert_eq!(world.read("EVENTS").await, LOST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_of_an_account_that_may_not_be_read_is_delivered_to_or_held() {
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
        let owner =
            async_nats::ConnectOptions::with_user_and_password("owner".into(), "owner".into());
        let jetstream = async_nats::jetstream::new(owner.connect(server.url()).await.unwrap());
        let config = forgetful("EVENTS", "events.>");
        jetstream.create_stream(config).await.unwrap();
        let world = World::of(server, Some(("importer", "importer")), choice).await;
        world.establish_a_baseline("events.a").await;
        world.lose_acknowledgements("events.a", &LOST).await;
        world.proxy.heal();
        let messages = async || {
            let messages = stored(&jetstream, "EVENTS").await.unwrap().into_iter();
            let payloads = messages.map(|m| String::from_utf8(m.payload.to_vec()).unwrap());
            payloads
                .filter(|p| LOST.contains(&p.as_str()))
                .collect::<Vec<_>>()
        };
        match choice {
            WhenUnconfirmed::Deliver => {
                world.drain().await;
                assert_eq!(messages().await, ["a", "a", "b", "c"]);
                assert_eq!(world.sink.spool_status().unwrap().possible_duplicates, 1);
            }
            WhenUnconfirmed::Hold => {
                let give_up = Instant::now() + PATIENCE;
                while world.sink.spool_status().unwrap().held_subjects == 0 {
                    assert!(Instant::now() < give_up, "{}", world.sink.status());
                    sleep(Duration::from_millis(20)).await;
                }
                sleep(Duration::from_secs(1)).await;
                assert_eq!(messages().await, ["a"]);
                let other = world.sink.emit(event("events.b", "other")).await.unwrap();
                assert!(matches!(other, Delivery::Stored { .. }));
                let status = world.sink.status();
                assert!(status.to_string().contains("1 held subjects"), "{status}");
            }
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
    // All of them are in flight when their acknowledgements are lost.
    world.proxy.impair(Impairment::SwallowFromServer);
    let mut pipeline = world
        .sink
        .pipeline(std::num::NonZeroUsize::new(16).unwrap());
    for state in 0..10 {
        let envelope = event("events.a", format!("state {state}"));
        assert!(pipeline.push(envelope).is_ok());
    }
    while let Some(result) = pipeline.next().await {
        assert_eq!(result.unwrap(), Delivery::Spooled);
    }
    drop(pipeline);
    sleep(Duration::from_millis(300)).await;
    world.proxy.impair(Impairment::Reset);
    sleep(Duration::from_millis(50)).await;
    let before = last_sequence(&world).await;
    world.drain().await;
    assert_eq!(world.payloads("EVENTS").await, ["state 9"]);
    assert_eq!(
        last_sequence(&world).await,
        before,
        "an older state was stored"
    );
    assert_eq!(world.sink.spool_status().unwrap().possible_duplicates, 0);
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
    assert_eq!(world.sink.spool_status().unwrap().possible_duplicates, 1);
}
