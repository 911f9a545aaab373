//! A sink with a spool behind a proxy that loses acknowledgements.

#![allow(dead_code, missing_docs, unreachable_pub)]

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use jetsink::{
    ConnectSettings, Delivery, Envelope, NatsPublisher, Publisher as _, Sink, SinkSettings,
    SpoolSettings, SpoolStatus, StreamContent, WhenUnconfirmed, WindowSize,
};
use nats_local::{Impairment, NatsServer, TcpProxy, stored};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{NatsSink, event};

pub const PATIENCE: Duration = Duration::from_secs(30);
pub const DEADLINE: Duration = Duration::from_secs(1);

/// Only the first is sent while the acknowledgements are lost: the others wait behind it.
pub const LOST: [&str; 3] = ["a", "b", "c"];

/// A stream that forgets message ids at once.
pub fn forgetful(name: &str, subject: &str) -> Config {
    Config {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        duplicate_window: Duration::from_millis(100),
        ..Config::default()
    }
}

/// A sink with a spool, behind a proxy that can lose acknowledgements.
pub struct World {
    pub server: NatsServer,
    pub proxy: TcpProxy,
    pub sink: NatsSink,
    _folder: TempDir,
}

/// How a sink connects through the proxy.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    pub user: Option<(&'static str, &'static str)>,
    pub choice: WhenUnconfirmed,
    pub sink_id: Option<&'static str>,
    /// Other servers, before the proxy.
    pub others: Vec<u16>,
}

impl World {
    pub async fn over(server: NatsServer) -> Self {
        Self::of(server, Setup::default()).await
    }

    pub async fn of(server: NatsServer, setup: Setup) -> Self {
        // The spool is in memory if possible: on a busy disk, an fsync may take longer than the deadline.
        let memory = std::path::Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let spool = SpoolSettings::new(folder.path()).when_unconfirmed(setup.choice);
        let proxy = TcpProxy::to(server.port()).await.unwrap();
        let ports = setup.others.iter().copied().chain([proxy.port()]);
        let urls: Vec<String> = ports.map(|p| format!("nats://127.0.0.1:{p}")).collect();
        let mut connect = ConnectSettings::new(&urls.join(",")).unwrap();
        if let Some((user, password)) = setup.user {
            connect = connect.user_and_password(user, password);
        }
        let publisher = NatsPublisher::connect(connect).await.unwrap();
        let mut settings = SinkSettings::default().deadline(DEADLINE).unwrap();
        if let Some(id) = setup.sink_id {
            settings = settings.sink_id(id).unwrap();
        }
        let sink = Sink::with_spool(publisher, settings, spool).await.unwrap();
        Self {
            server,
            proxy,
            sink,
            _folder: folder,
        }
    }

    pub async fn with(config: Config) -> Self {
        let server = NatsServer::start().await.unwrap();
        server.create_stream_with(config).await.unwrap();
        Self::over(server).await
    }

    pub async fn establish_a_baseline(&self, subject: &str) {
        self.establish_a_baseline_on("events.b", subject).await;
    }

    /// Emits events until the acknowledged ones are a baseline. Begins again if a busy machine makes one miss its deadline.
    pub async fn establish_a_baseline_on(&self, first: &str, subject: &str) {
        let give_up = Instant::now() + 2 * PATIENCE;
        loop {
            self.connected(first).await;
            if self.are_all_stored(subject, 4 * DEADLINE).await {
                return;
            }
            assert!(Instant::now() < give_up, "{}", self.sink.status());
        }
    }

    /// Emits events for this time; `false` once one is spooled.
    async fn are_all_stored(&self, subject: &str, time: Duration) -> bool {
        let end = Instant::now() + time;
        for number in 0.. {
            let delivery = self.sink.emit(event(subject, format!("early {number}")));
            if delivery.await.unwrap() == Delivery::Spooled {
                return false;
            }
            if Instant::now() > end {
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
        true
    }

    /// Loses the acknowledgements of `LOST` on `events.a`, behind a baseline, and delivers them from the spool.
    pub async fn lose_acknowledgements_and_drain(&self) {
        self.establish_a_baseline("events.a").await;
        self.lose_acknowledgements("events.a", &LOST).await;
        self.drain().await;
    }

    /// Emits events that are stored, and whose acknowledgements are lost.
    pub async fn lose_acknowledgements(&self, subject: &str, payloads: &[&str]) {
        let events = payloads.iter().map(|p| event(subject, (*p).to_owned()));
        self.lose_acknowledgements_of(events).await;
    }

    pub async fn lose_acknowledgements_of(&self, events: impl IntoIterator<Item = Envelope>) {
        self.proxy.impair(Impairment::SwallowFromServer);
        for event in events {
            assert_eq!(self.sink.emit(event).await.unwrap(), Delivery::Spooled);
        }
        self.forget_and_cut().await;
    }

    /// Emits an event of unknown outcome that never reaches the server.
    pub async fn lose_event(&self, event: Envelope) {
        self.proxy.impair(Impairment::OnlyToClients);
        assert_eq!(self.sink.emit(event).await.unwrap(), Delivery::Spooled);
        self.forget_and_cut().await;
    }

    /// Sends all events before the first of their acknowledgements is lost.
    pub async fn lose_acknowledgements_in_flight(&self, events: Vec<Envelope>) {
        self.proxy.impair(Impairment::SwallowFromServer);
        let window = WindowSize::new(events.len().max(1)).unwrap();
        let mut pipeline = self.sink.pipeline(window);
        for event in events {
            assert!(pipeline.push(event).is_ok());
        }
        while let Some(result) = pipeline.next().await {
            assert_eq!(result.unwrap(), Delivery::Spooled);
        }
        drop(pipeline);
        self.forget_and_cut().await;
    }

    /// Waits until the duplicate window has passed, and ends the connection.
    async fn forget_and_cut(&self) {
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

    /// Ends the impairment, and waits until the spool is empty.
    pub async fn drain(&self) {
        self.drain_to(0).await;
    }

    /// As `drain`, until this many events are left.
    pub async fn drain_to(&self, events: u64) {
        self.proxy.heal();
        self.until(|status| status.events <= events).await;
    }

    pub async fn until(&self, is_so: impl Fn(SpoolStatus) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !is_so(self.spool()) {
            assert!(Instant::now() < give_up, "{}", self.sink.status());
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn spool(&self) -> SpoolStatus {
        self.sink.spool().unwrap().status()
    }

    /// Waits for a connection.
    pub async fn up(&self) {
        let mut connection = self.sink.publisher().connection().unwrap();
        let up = connection.wait_for(|connection| connection.up);
        drop(tokio::time::timeout(PATIENCE, up).await.unwrap().unwrap());
    }

    /// The payloads of a stream, without those of `establish_a_baseline`.
    pub async fn payloads(&self, stream: &str) -> Vec<String> {
        payloads(&self.server.jetstream().await.unwrap(), stream).await
    }

    /// As `payloads`, by an operator's reader, which needs no consumer.
    pub async fn read(&self, stream: &str) -> Vec<String> {
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
        payloads.retain(|payload| is_of_the_test(payload));
        payloads
    }

    /// Messages of another publisher.
    pub async fn others(&self, subject: &str, count: usize) {
        let jetstream = self.server.jetstream().await.unwrap();
        for number in 0..count {
            let ack = jetstream.publish(subject.to_owned(), format!("other {number}").into());
            ack.await.unwrap().await.unwrap();
        }
    }
}

/// The payloads of a stream, without those of other publishers and of `establish_a_baseline`.
pub async fn payloads(jetstream: &async_nats::jetstream::Context, stream: &str) -> Vec<String> {
    let messages = stored(jetstream, stream).await.unwrap().into_iter();
    let payloads = messages.map(|message| String::from_utf8(message.payload.to_vec()).unwrap());
    payloads.filter(|payload| is_of_the_test(payload)).collect()
}

fn is_of_the_test(payload: &str) -> bool {
    !payload.starts_with("early") && !payload.starts_with("other")
}
