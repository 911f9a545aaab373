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
        let folder = tempfile::tempdir().unwrap();
        let spool = SpoolSettings::new(folder.path());
        let proxy = TcpProxy::to(server.port()).await.unwrap();
        let url = format!("nats://127.0.0.1:{}", proxy.port());
        let connect = ConnectSettings::new(&url).unwrap();
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

    /// Emits events until the acknowledged ones are a baseline.
    async fn establish_a_baseline(&self, subject: &str) {
        self.connected().await;
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

    async fn connected(&self) {
        let give_up = Instant::now() + PATIENCE;
        while self.sink.emit(event("events.b", "other")).await.unwrap() == Delivery::Spooled {
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
    world.server.start_again().await.unwrap();
    world.establish_a_baseline("events.a").await;
    world.server.stop().unwrap();
    std::fs::remove_dir_all(world.server.folder().join("store")).unwrap();
    copy(older.path(), &world.server.folder().join("store"));
    world.server.start_again().await.unwrap();
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
