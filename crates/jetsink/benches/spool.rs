//! The spool compared with its parts: appends with a bare write and `fdatasync` of the same groups, replay
//! with raw async-nats, the same window and ids.
//!
//! `cargo bench -p jetsink --bench spool`, with `append` or `replay` behind `--` for one of the two.
//! `JETSINK_ROUNDS` (5) and `JETSINK_EVENTS` (100,000 replayed) set the length.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a benchmark fails
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]

mod common;

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::{self, context::PublishAckFuture};
use bytes::Bytes;
use common::away::Away;
use common::{Rounds, cpu_time, figure, from_environment, quantile, shown};
use jetsink::{
    ConnectSettings, Delivery, Envelope, MessageId, NatsPublisher, Sink, SinkSettings,
    SpoolSettings, Subject,
};
use nats_local::NatsServer;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// The size of a usual lifecycle event.
const PAYLOAD_BYTES: usize = 574;

/// How long each measurement of appends takes.
const APPENDING: Duration = Duration::from_secs(3);

fn main() {
    // `cargo bench` adds `--bench`.
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let runs = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    let rounds = from_environment("JETSINK_ROUNDS", 5).max(1);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if runs("append") {
        runtime.block_on(appends(rounds));
    }
    if runs("replay") {
        runtime.block_on(replays(rounds, from_environment("JETSINK_EVENTS", 100_000)));
    }
}

fn envelope(number: u64) -> Envelope {
    let id = MessageId::new(format!("bench.{number}")).unwrap();
    Envelope::new(
        Subject::new("events.acme").unwrap(),
        Bytes::from(vec![b'x'; PAYLOAD_BYTES]),
    )
    .with_message_id(id)
}

async fn appends(rounds: u64) {
    println!(
        "appends, {PAYLOAD_BYTES} bytes each, medians of {rounds} rounds side by side (spread)\n"
    );
    for callers in [1, 16, 64, 256] {
        let (mut ours, mut bare) = (Rounds::default(), Rounds::default());
        let (mut our_latencies, mut bare_latencies) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let folder = tempfile::tempdir().unwrap();
            let sink = Sink::with_spool(
                Away,
                SinkSettings::default(),
                SpoolSettings::new(folder.path())
                    .limit_bytes(8 << 30)
                    .unwrap(),
            );
            let sink = Arc::new(sink.await.unwrap());
            let next = Arc::new(AtomicU64::new(0));
            let mut latencies = callers_for(callers, || {
                let (sink, next) = (Arc::clone(&sink), Arc::clone(&next));
                move || {
                    let (sink, next) = (Arc::clone(&sink), Arc::clone(&next));
                    async move {
                        let event = envelope(next.fetch_add(1, Ordering::Relaxed));
                        assert_eq!(sink.emit(event).await.unwrap(), Delivery::Spooled);
                    }
                }
            })
            .await;
            ours.push(latencies.len() as f64 / APPENDING.as_secs_f64());
            our_latencies.append(&mut latencies);

            let folder = tempfile::tempdir().unwrap();
            let log = Arc::new(BareLog::start(
                File::create(folder.path().join("log")).unwrap(),
            ));
            let mut latencies = callers_for(callers, || {
                let log = Arc::clone(&log);
                move || {
                    let log = Arc::clone(&log);
                    async move { log.append(vec![b'x'; PAYLOAD_BYTES + 80]).await }
                }
            })
            .await;
            bare.push(latencies.len() as f64 / APPENDING.as_secs_f64());
            bare_latencies.append(&mut latencies);
        }
        println!("{callers} callers");
        println!("  spool, events/s           {}", shown(&ours));
        println!("  write+fdatasync, events/s {}", shown(&bare));
        println!("  ratio                     {}", shown(&ours.ratios(&bare)));
        report_latency("spool", our_latencies);
        report_latency("write+fdatasync", bare_latencies);
        println!();
    }
}

fn report_latency(of: &str, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    println!(
        "  {:<25} p50 {:.2?}, p99 {:.2?}, p99.9 {:.2?}",
        format!("{of}, latency"),
        quantile(&latencies, 0.5),
        quantile(&latencies, 0.99),
        quantile(&latencies, 0.999),
    );
}

/// Runs `callers` that each repeat an operation; returns the duration of each.
async fn callers_for<F, Fut>(callers: usize, make: impl Fn() -> F) -> Vec<Duration>
where
    F: Fn() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let until = Instant::now() + APPENDING;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let once = make();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let started = Instant::now();
                if started >= until {
                    return latencies;
                }
                once().await;
                latencies.push(started.elapsed());
            }
        });
    }
    tasks.join_all().await.concat()
}

/// The minimum of a durable append: one thread that writes the pending records, syncs, and answers the callers.
struct BareLog(mpsc::Sender<(Vec<u8>, oneshot::Sender<()>)>);

impl BareLog {
    fn start(mut file: File) -> Self {
        let (sender, receiver) = mpsc::channel::<(Vec<u8>, oneshot::Sender<()>)>();
        std::thread::spawn(move || {
            while let Ok(first) = receiver.recv() {
                let mut group = Vec::new();
                let mut waiting = Vec::new();
                let mut next = Some(first);
                while let Some((bytes, done)) = next {
                    group.extend(bytes);
                    waiting.push(done);
                    next = receiver.try_recv().ok();
                }
                file.write_all(&group).unwrap();
                file.sync_data().unwrap();
                for done in waiting {
                    let _ = done.send(());
                }
            }
        });
        Self(sender)
    }

    async fn append(&self, bytes: Vec<u8>) {
        let (done, answer) = oneshot::channel();
        self.0.send((bytes, done)).unwrap();
        answer.await.unwrap();
    }
}

async fn replays(rounds: u64, events: u64) {
    println!(
        "replay of {} events of {PAYLOAD_BYTES} bytes beside raw async-nats with the same window and \
         ids, events/s, medians of {rounds} rounds (spread)\n",
        figure(events as f64)
    );
    for window in [512, 4_096] {
        let mut rates = [(); 3].map(|()| Rounds::default());
        let mut work = [(); 3].map(|()| Work::default());
        for _ in 0..rounds {
            let round = [
                replay(events, window).await,
                pipeline(events, window).await,
                raw_publish(events, window).await,
            ];
            for (kind, done) in round.into_iter().enumerate() {
                rates[kind].push(events as f64 / done.wall.as_secs_f64());
                work[kind] = done;
            }
        }
        println!("window {window}");
        for (kind, name) in ["replay", "pipeline, no spool", "raw async-nats"]
            .iter()
            .enumerate()
        {
            let each = |cpu: Duration| figure(cpu.as_secs_f64() * 1e6 / events as f64);
            let (client, server) = (each(work[kind].client), each(work[kind].server));
            println!(
                "  {name:<19} {}, CPU µs/event: {client} here, {server} in the server",
                shown(&rates[kind])
            );
        }
        let (opening, closing) = (work[0].opening, work[0].closing);
        println!("  the spool's opening {opening:.2?}, its closing {closing:.2?}");
        println!(
            "  replay / raw        {}",
            shown(&rates[0].ratios(&rates[2]))
        );
        println!(
            "  pipeline / raw      {}\n",
            shown(&rates[1].ratios(&rates[2]))
        );
    }
}

/// The resources used by a run.
#[derive(Default)]
struct Work {
    /// Before it begins.
    opening: Duration,
    /// After it has ended.
    closing: Duration,
    wall: Duration,
    client: Duration,
    server: Duration,
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
            opening: Duration::ZERO,
            closing: Duration::ZERO,
            wall: self.started.elapsed(),
            client: cpu_time("self") - self.client_cpu,
            server: cpu_time(&self.server.to_string()) - self.server_cpu,
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

/// Measures the replay of a sink that is opened with `events` spooled events.
async fn replay(events: u64, window: usize) -> Work {
    let folder = tempfile::tempdir().unwrap();
    let settings = SpoolSettings::new(folder.path())
        .limit_bytes(8 << 30)
        .unwrap()
        .window(window)
        .unwrap();
    let filling = Sink::with_spool(Away, SinkSettings::default(), settings.clone())
        .await
        .unwrap();
    for start in (0..events).step_by(4_096) {
        let emits = (start..events.min(start + 4_096)).map(|number| filling.emit(envelope(number)));
        for result in futures_util::future::join_all(emits).await {
            assert_eq!(result.unwrap(), Delivery::Spooled);
        }
    }
    filling.close(Duration::ZERO).await;
    drop(filling);

    let server = server().await;
    let publisher = NatsPublisher::connect(ConnectSettings::new(&server.url()).unwrap())
        .await
        .unwrap();
    let opening = Instant::now();
    let sink = Sink::with_spool(publisher, SinkSettings::default(), settings)
        .await
        .unwrap();
    let opened = opening.elapsed();
    let watch = Watch::start(&server);
    while sink.spool_status().unwrap().events > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut work = watch.stop();
    work.opening = opened;
    let closing = Instant::now();
    let receipt = sink.close(Duration::from_secs(120)).await;
    work.closing = closing.elapsed();
    assert_eq!((receipt.delivered, receipt.spooled), (events, 0));
    assert_stored(&server, events).await;
    work
}

/// The same events from memory, through a sink without a spool.
async fn pipeline(events: u64, window: usize) -> Work {
    let server = server().await;
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let sink = Sink::new(publisher, SinkSettings::default());
    let watch = Watch::start(&server);
    let mut pipeline = sink.pipeline(NonZeroUsize::new(window).unwrap());
    let mut next = 0;
    loop {
        while next < events && pipeline.has_room() {
            pipeline.push(envelope(next)).unwrap();
            next += 1;
        }
        match pipeline.next().await {
            Some(result) => assert!(matches!(result.unwrap(), Delivery::Stored { .. })),
            None => break,
        }
    }
    let work = watch.stop();
    assert_stored(&server, events).await;
    work
}

/// The same events from memory, with plain async-nats.
async fn raw_publish(events: u64, window: usize) -> Work {
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
        let ack = jetstream
            .publish_with_headers("events.acme", headers, payload.clone())
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
