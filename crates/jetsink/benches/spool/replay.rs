//! Replay from the disk, and the same events from memory.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::{self, context::PublishAckFuture};
use bytes::Bytes;
use jetsink::{ConnectSettings, Delivery, NatsPublisher, Sink, SinkSettings, Subject, WindowSize};
use nats_local::NatsServer;

use crate::common::late::Late;
use crate::common::{Rounds, cpu_time, figure, shown};
use crate::{
    Bound, Bounds, MANY_SUBJECTS, PAYLOAD_BYTES, envelope_of, settings, subject_of, subjects,
};

const KINDS: [&str; 3] = ["replay", "pipeline, no spool", "raw async-nats"];

pub async fn one_subject(rounds: u64, events: u64, bounds: &mut Bounds) {
    for (window, bound) in [(512, 0.95), (4_096, 0.90)] {
        beside_raw(rounds, events, window, 1, bound, bounds).await;
    }
}

pub async fn many_subjects(rounds: u64, bounds: &mut Bounds) {
    for window in [512, 4_096] {
        beside_raw(
            rounds,
            2 * MANY_SUBJECTS,
            window,
            MANY_SUBJECTS,
            0.90,
            bounds,
        )
        .await;
    }
}

async fn beside_raw(
    rounds: u64,
    events: u64,
    window: usize,
    subject_count: u64,
    bound: f64,
    bounds: &mut Bounds,
) {
    let subjects = subjects(subject_count);
    let count = match subject_count {
        1 => "1 subject".to_owned(),
        many => format!("{} subjects", figure(many as f64)),
    };
    let title = format!("window {}, {count}", figure(window as f64));
    println!(
        "replay of {} events of {PAYLOAD_BYTES} bytes, {title}; medians of {rounds} rounds (spread)\n",
        figure(events as f64)
    );
    let mut rates = [(); 3].map(|()| Rounds::default());
    let mut work = [(); 3].map(|()| Work::default());
    for round in 0..rounds {
        let mut order = [0, 1, 2];
        if round % 2 == 1 {
            order.reverse();
        }
        for kind in order {
            let done = match kind {
                0 => replay(events, window, &subjects).await,
                1 => pipeline(events, window, &subjects).await,
                _ => raw_publish(events, window, &subjects).await,
            };
            rates[kind].push(events as f64 / done.wall.as_secs_f64());
            work[kind].add(&done);
        }
    }
    for (kind, name) in KINDS.iter().enumerate() {
        let each = |cpu: Duration| figure(cpu.as_secs_f64() * 1e6 / (rounds * events) as f64);
        let (client, server) = (each(work[kind].client), each(work[kind].server));
        println!(
            "  {name}, events/s: {}; CPU µs/event: {client} here, {server} in the server",
            shown(&rates[kind])
        );
    }
    println!(
        "  closing the sink: {:.2?} a round",
        work[0].closing / rounds as u32
    );
    let pipeline_ratio = rates[1].ratios(&rates[2]);
    println!("  pipeline / raw: {}", shown(&pipeline_ratio));
    let what = format!("replay, {title}, beside raw async-nats, events/s");
    bounds.compare(&what, &rates[0], &rates[2], Bound::AtLeast(bound));
}

/// The resources used by a run.
#[derive(Debug, Default)]
struct Work {
    /// After it has ended.
    closing: Duration,
    wall: Duration,
    client: Duration,
    server: Duration,
}

impl Work {
    fn add(&mut self, other: &Self) {
        self.closing += other.closing;
        self.wall += other.wall;
        self.client += other.client;
        self.server += other.server;
    }
}

struct Watch {
    started: Instant,
    server: u32,
    client_cpu: Duration,
    server_cpu: Duration,
}

impl Watch {
    fn start(server: &NatsServer) -> Self {
        let server = server.pid().unwrap();
        Self {
            started: Instant::now(),
            server,
            client_cpu: cpu_time("self"),
            server_cpu: cpu_time(&server.to_string()),
        }
    }

    fn stop(self) -> Work {
        Work {
            wall: self.started.elapsed(),
            client: cpu_time("self") - self.client_cpu,
            server: cpu_time(&self.server.to_string()) - self.server_cpu,
            ..Work::default()
        }
    }
}

async fn server() -> NatsServer {
    let server = NatsServer::start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    server
}

async fn assert_stored(server: &NatsServer, events: u64) {
    let jetstream = server.jetstream().await.unwrap();
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, events);
}

/// Measures the replay of events that were spooled in an outage, from the broker's return until the spool is empty.
async fn replay(events: u64, window: usize, subjects: &[Subject]) -> Work {
    let (folder, server) = (tempfile::tempdir().unwrap(), server().await);
    let settings = settings(folder.path()).window(WindowSize::new(window).unwrap());
    let publisher = NatsPublisher::connect(ConnectSettings::new(&server.url()).unwrap())
        .await
        .unwrap();
    let sink = Sink::with_spool(Late::new(publisher), SinkSettings::default(), settings)
        .await
        .unwrap();
    for start in (0..events).step_by(4_096) {
        let numbers = start..events.min(start + 4_096);
        let emits = numbers.map(|n| sink.emit(envelope_of(subject_of(subjects, n), n)));
        for result in futures_util::future::join_all(emits).await {
            assert_eq!(result.unwrap(), Delivery::Spooled);
        }
    }
    let watch = Watch::start(&server);
    sink.publisher().come();
    while sink.spool().unwrap().status().events > 0 || sink.status().delivered < events {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut work = watch.stop();
    let closing = Instant::now();
    let receipt = sink.close(Duration::from_secs(120)).await;
    work.closing = closing.elapsed();
    assert_eq!((receipt.delivered, receipt.spooled), (events, 0));
    assert_stored(&server, events).await;
    work
}

/// The same events from memory, through a sink without a spool.
async fn pipeline(events: u64, window: usize, subjects: &[Subject]) -> Work {
    let server = server().await;
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let sink = Sink::new(publisher, SinkSettings::default());
    let watch = Watch::start(&server);
    let mut pipeline = sink.pipeline(WindowSize::new(window).unwrap());
    let mut next = 0;
    loop {
        while next < events && pipeline.has_room() {
            pipeline
                .push(envelope_of(subject_of(subjects, next), next))
                .unwrap();
            next += 1;
        }
        match pipeline.next().await {
            Some(result) => assert!(matches!(result.unwrap(), Delivery::Stored(_))),
            None => break,
        }
    }
    let work = watch.stop();
    assert_stored(&server, events).await;
    work
}

/// The same events from memory, with plain async-nats.
async fn raw_publish(events: u64, window: usize, subjects: &[Subject]) -> Work {
    let server = server().await;
    let client = async_nats::connect(server.url()).await.unwrap();
    let jetstream = jetstream::new(client);
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    let watch = Watch::start(&server);
    let mut in_flight: VecDeque<PublishAckFuture> = VecDeque::with_capacity(window);
    for number in 0..events {
        if in_flight.len() >= window
            && let Some(oldest) = in_flight.pop_front()
        {
            oldest.await.unwrap();
        }
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("bench.{number}"));
        let subject = subject_of(subjects, number).as_str().to_owned();
        let ack = jetstream
            .publish_with_headers(subject, headers, payload.clone())
            .await
            .unwrap();
        in_flight.push_back(ack);
    }
    for ack in in_flight {
        ack.await.unwrap();
    }
    let work = watch.stop();
    assert_stored(&server, events).await;
    work
}
