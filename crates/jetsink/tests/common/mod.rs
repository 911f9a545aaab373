//! Helpers for tests against a real broker.

#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod ending_proxy;
pub mod lossy;
pub mod memory;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use bytes::Bytes;
use delivery_audit::{Event, Findings, Outcome};
use jetsink::{
    ConnectSettings, Delivery, EmitError, Envelope, Known, NatsPublisher, Sink, SinkSettings,
    Subject,
};
use nats_local::{NatsServer, StoredMessage, stored};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

pub type NatsSink = Sink<NatsPublisher>;

pub const DEADLINE: Duration = Duration::from_secs(2);

/// No emit that keeps to its deadline takes this long, however busy the machine is.
pub const STALLED: Duration = Duration::from_millis(3_500);

pub async fn server_with_stream() -> NatsServer {
    let server = NatsServer::start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    server
}

pub async fn sink_to(server: &NatsServer) -> NatsSink {
    sink_with(ConnectSettings::new(&server.url()).unwrap()).await
}

pub async fn sink_with(settings: ConnectSettings) -> NatsSink {
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    Sink::new(publisher, SinkSettings::default())
}

pub fn event(subject: &str, payload: impl Into<Bytes>) -> Envelope {
    Envelope::new(Subject::new(subject).unwrap(), payload.into())
}

/// One emit and its result.
#[derive(Debug)]
pub struct Emitted {
    pub payload: Bytes,
    pub started: Instant,
    pub ended: Instant,
    pub result: Result<Delivery, EmitError>,
}

impl Emitted {
    /// The event as an audit takes it.
    pub fn recorded(&self) -> Event<'static, Bytes> {
        let outcome = match &self.result {
            Ok(_) => Outcome::Acknowledged,
            Err(error) if error.known() == Known::OutcomeUnknown => Outcome::Unknown,
            Err(_) => Outcome::NotStored,
        };
        Event::new(self.payload.clone(), outcome)
    }
}

/// A client that logs in as this user.
pub async fn client_as(server: &NatsServer, user: &str, password: &str) -> async_nats::Client {
    let login = async_nats::ConnectOptions::with_user_and_password(user.into(), password.into());
    login.connect(server.url()).await.unwrap()
}

pub async fn jetstream_as(
    server: &NatsServer,
    user: &str,
    password: &str,
) -> async_nats::jetstream::Context {
    async_nats::jetstream::new(client_as(server, user, password).await)
}

/// Messages as an audit takes them.
pub fn messages(stored: &[StoredMessage]) -> impl Iterator<Item = (&str, Bytes)> {
    stored
        .iter()
        .map(|m| (m.subject.as_str(), m.payload.clone()))
}

/// Compares payloads that were all acknowledged, in their order, with a stream.
pub fn assert_stored_once_in_order(acknowledged: &[Bytes], stored: &[StoredMessage]) {
    let events = acknowledged.iter().cloned().map(Event::acknowledged);
    let findings = Findings::of(events, messages(stored));
    assert!(findings.is_clean(), "{findings}");
}

pub async fn emit(sink: &NatsSink, subject: &str, payload: Bytes) -> Emitted {
    let started = Instant::now();
    let result = sink.emit(event(subject, payload.clone())).await;
    Emitted {
        payload,
        started,
        ended: Instant::now(),
        result,
    }
}

/// Everything a load emitted, in the order of the emits' starts.
#[derive(Debug, Default)]
pub struct Ledger(pub Vec<Emitted>);

impl Ledger {
    pub fn acknowledged(&self) -> Vec<Bytes> {
        let ok = self.0.iter().filter(|e| e.result.is_ok());
        ok.map(|e| e.payload.clone()).collect()
    }

    /// The number of events of unknown outcome.
    pub fn unknown(&self) -> usize {
        let is_unknown = |e: &&Emitted| matches!(&e.result, Err(error) if error.known() == Known::OutcomeUnknown);
        self.0.iter().filter(is_unknown).count()
    }

    pub fn longest(&self) -> Duration {
        self.0
            .iter()
            .map(|e| e.ended - e.started)
            .max()
            .unwrap_or_default()
    }

    /// Between the ends of two that follow each other.
    pub fn longest_without_ok(&self) -> Duration {
        let oks = self.0.iter().filter(|e| e.result.is_ok());
        let mut ends: Vec<Instant> = oks.map(|e| e.ended).collect();
        ends.sort_unstable();
        let gaps = ends.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }

    pub fn first_ok_after(&self, moment: Instant) -> Option<Duration> {
        let oks = self
            .0
            .iter()
            .filter(|e| e.result.is_ok() && e.ended >= moment);
        oks.map(|e| e.ended - moment).min()
    }

    pub async fn audit(&self, server: &NatsServer, stream: &str) -> Findings<Bytes> {
        self.audit_over(&server.jetstream().await.unwrap(), stream)
            .await
    }

    pub async fn audit_over(&self, jetstream: &Context, stream: &str) -> Findings<Bytes> {
        let stored = stored(jetstream, stream).await.unwrap();
        let events = self.0.iter().map(Emitted::recorded);
        Findings::of(events, messages(&stored))
    }

    /// Compares the stream with the promise. Concurrent emits have no order.
    pub async fn assert_promise_kept(&self, server: &NatsServer) {
        let jetstream = server.jetstream().await.unwrap();
        self.assert_promise_kept_over(&jetstream).await;
    }

    pub async fn assert_promise_kept_over(&self, jetstream: &Context) {
        let stored = stored(jetstream, "EVENTS").await.unwrap();
        let events = self
            .0
            .iter()
            .map(|emitted| emitted.recorded().ordered(false));
        let findings = Findings::of(events, messages(&stored));
        assert!(findings.is_clean(), "{findings}");
        assert!(
            self.longest() < STALLED,
            "an emit took {:?}",
            self.longest()
        );
    }
}

/// Emits one event each 2 ms, each in a task of its own, while `fault` runs and a second longer.
/// Returns the result of `fault`.
pub async fn steady_load<T>(sink: &Arc<NatsSink>, fault: impl Future<Output = T>) -> (Ledger, T) {
    steady_load_on(sink, "events.load", fault).await
}

/// As [`steady_load`], on a subject, which is also part of each payload.
pub async fn steady_load_on<T>(
    sink: &Arc<NatsSink>,
    subject: &'static str,
    fault: impl Future<Output = T>,
) -> (Ledger, T) {
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let load = async {
        let mut tasks = JoinSet::new();
        let mut tick = interval(Duration::from_millis(2));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0_u64.. {
            tokio::select! {
                _ = tick.tick() => {}
                _ = &mut stopped => break,
            }
            let sink = Arc::clone(sink);
            let payload = Bytes::from(format!("{subject} {number}"));
            tasks.spawn(async move { emit(&sink, subject, payload).await });
        }
        let mut all = tasks.join_all().await;
        all.sort_by_key(|e| e.started);
        Ledger(all)
    };
    let fault = async {
        sleep(Duration::from_secs(1)).await;
        let given = fault.await;
        sleep(Duration::from_secs(3)).await;
        let _ = stop.send(());
        given
    };
    tokio::join!(load, fault)
}
