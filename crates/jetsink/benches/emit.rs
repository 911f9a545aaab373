//! `emit` and the pipeline beside raw async-nats that does the same work: the same bytes, a message id
//! each, each acknowledgement awaited. `cargo bench -p jetsink --bench emit`.
//!
//! Both sides publish to one server in turn, in blocks so short that a drift of the machine affects both.
//! `-- latency`, `-- callers` and `-- bulk` run a part. `JETSINK_ROUNDS` (5), `JETSINK_EVENTS` (200,000 per
//! round in bulk) and `JETSINK_CALLER_EVENTS` (20,000 per block) set the length.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a benchmark fails
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]

mod common;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream;
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture};
use bytes::Bytes;
use common::{Rounds, cpu_time, figure, from_environment, quantile, shown};
use jetsink::{
    ConnectSettings, Delivery, Envelope, MessageId, NatsPublisher, Sink, SinkSettings, Subject,
    WindowSize,
};
use nats_local::NatsServer;
use tokio::task::JoinSet;

/// The size of a usual lifecycle event.
const PAYLOAD_BYTES: usize = 574;
const SUBJECT: &str = "events.acme";

/// Emits of one side before it is the other's turn.
const LATENCY_BLOCK: usize = 100;
const LATENCY_BLOCKS: usize = 50;
const CALLER_BLOCKS: u64 = 5;
const BULK_BLOCKS: u64 = 4;
const MAX_ADAPTIVE: WindowSize = WindowSize::new(4_096).unwrap();
/// The window of the raw client in the comparison with an adaptive window.
const USUAL_WINDOW: usize = 1_024;
const WINDOWS: [usize; 6] = [64, 256, 512, 1_024, 4_096, 16_384];

fn main() {
    // `cargo bench` adds `--bench`.
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let runs = move |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    let rounds = from_environment("JETSINK_ROUNDS", 5).max(1);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // In a task, as services have it: a thread of its own would be woken for each answer.
    let all = runtime.spawn(async move {
        let sides = Arc::new(Sides::start().await);
        println!("events of {PAYLOAD_BYTES} bytes; medians of {rounds} rounds (spread)\n");
        if runs("latency") {
            latency(&sides, rounds).await;
        }
        if runs("callers") {
            for callers in [64, 1_024] {
                throughput(&sides, rounds, callers).await;
            }
        }
        if runs("bulk") {
            bulk(&sides, rounds).await;
        }
        sides.assert_all_stored().await;
    });
    runtime.block_on(all).unwrap();
}

/// A server, and both ways to it.
struct Sides {
    server: NatsServer,
    sink: Arc<Sink<NatsPublisher>>,
    raw: jetstream::Context,
    payload: Bytes,
    next: AtomicU64,
}

impl Sides {
    async fn start() -> Self {
        let server = NatsServer::start().await.unwrap();
        server.create_stream("EVENTS", &["events.>"]).await.unwrap();
        let settings = ConnectSettings::new(&server.url()).unwrap();
        let publisher = NatsPublisher::connect(settings).await.unwrap();
        let client = async_nats::connect(server.url()).await.unwrap();
        let raw = ContextBuilder::new()
            .max_ack_inflight(WINDOWS[WINDOWS.len() - 1])
            .build(client);
        Self {
            sink: Arc::new(Sink::new(publisher, SinkSettings::default())),
            raw,
            payload: Bytes::from(vec![b'x'; PAYLOAD_BYTES]),
            next: AtomicU64::new(0),
            server,
        }
    }

    fn id(&self) -> String {
        format!("bench.{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn envelope(&self, subject: &Subject) -> Envelope {
        Envelope::new(subject.clone(), self.payload.clone())
            .with_message_id(MessageId::new(self.id()).unwrap())
    }

    async fn emit(&self, subject: &Subject) {
        let delivery = self.sink.emit(self.envelope(subject)).await.unwrap();
        assert!(matches!(delivery, Delivery::Stored(_)));
    }

    async fn publish(&self) -> PublishAckFuture {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, self.id());
        let publish = self
            .raw
            .publish_with_headers(SUBJECT, headers, self.payload.clone());
        publish.await.unwrap()
    }

    /// Through a pipeline of the sink.
    async fn pipeline(&self, window: Option<usize>, events: u64) {
        let subject = Subject::new(SUBJECT).unwrap();
        let mut pipeline = match window {
            Some(window) => self.sink.pipeline(WindowSize::new(window).unwrap()),
            None => self.sink.pipeline(MAX_ADAPTIVE).adaptive(),
        };
        let mut left = events;
        loop {
            while left > 0 && pipeline.has_room() {
                pipeline.push(self.envelope(&subject)).unwrap();
                left -= 1;
            }
            match pipeline.next().await {
                Some(result) => assert!(matches!(result.unwrap(), Delivery::Stored(_))),
                None => break,
            }
        }
    }

    /// As its users write it: the oldest acknowledgement is awaited where the window is full.
    async fn publish_window(&self, window: usize, events: u64) {
        let mut in_flight: VecDeque<PublishAckFuture> = VecDeque::with_capacity(window);
        for _ in 0..events {
            if in_flight.len() >= window
                && let Some(oldest) = in_flight.pop_front()
            {
                oldest.await.unwrap();
            }
            in_flight.push_back(self.publish().await);
        }
        for ack in in_flight {
            ack.await.unwrap();
        }
    }

    async fn assert_all_stored(&self) {
        let mut stream = self.raw.get_stream("EVENTS").await.unwrap();
        let stored = stream.info().await.unwrap().state.messages;
        assert_eq!(stored, self.next.load(Ordering::Relaxed));
    }
}

async fn latency(sides: &Sides, rounds: u64) {
    let subject = Subject::new(SUBJECT).unwrap();
    let mut figures = [(); 2].map(|()| [(); 2].map(|()| Rounds::default()));
    for _ in 0..rounds {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..LATENCY_BLOCKS {
            for (side, times) in times.iter_mut().enumerate() {
                for _ in 0..LATENCY_BLOCK {
                    let started = Instant::now();
                    if side == 0 {
                        sides.emit(&subject).await;
                    } else {
                        sides.publish().await.await.unwrap();
                    }
                    times.push(started.elapsed());
                }
            }
        }
        for (times, figures) in times.iter_mut().zip(&mut figures) {
            times.sort_unstable();
            for (share, figure) in [0.5, 0.99].into_iter().zip(figures) {
                figure.push(quantile(times, share).as_secs_f64() * 1e6);
            }
        }
    }
    let each = LATENCY_BLOCK * LATENCY_BLOCKS;
    println!("one caller, {each} emits a round, µs");
    for (place, name) in ["p50", "p99"].iter().enumerate() {
        let [ours, raw] = [&figures[0][place], &figures[1][place]];
        println!("  {name}: emit {}, raw {}", shown(ours), shown(raw));
        println!("  {name}: emit / raw {}", shown(&ours.ratios(raw)));
    }
    println!();
}

/// Measures events per second of `callers` that each emit one event at a time.
async fn throughput(sides: &Arc<Sides>, rounds: u64, callers: u64) {
    let each = (from_environment("JETSINK_CALLER_EVENTS", 20_000) / callers).max(1);
    let mut rates = [(); 2].map(|()| Rounds::default());
    for _ in 0..rounds {
        let mut times = [Duration::ZERO; 2];
        for _ in 0..CALLER_BLOCKS {
            for (side, time) in times.iter_mut().enumerate() {
                let started = Instant::now();
                let mut tasks = JoinSet::new();
                for _ in 0..callers {
                    let sides = Arc::clone(sides);
                    tasks.spawn(async move {
                        let subject = Subject::new(SUBJECT).unwrap();
                        for _ in 0..each {
                            if side == 0 {
                                sides.emit(&subject).await;
                            } else {
                                sides.publish().await.await.unwrap();
                            }
                        }
                    });
                }
                tasks.join_all().await;
                *time += started.elapsed();
            }
        }
        for (rates, time) in rates.iter_mut().zip(times) {
            let events = callers * each * CALLER_BLOCKS;
            rates.push(events as f64 / time.as_secs_f64());
        }
    }
    let [ours, raw] = &rates;
    println!("{callers} callers, events/s");
    println!("  emit {}, raw {}", shown(ours), shown(raw));
    println!("  emit / raw {}\n", shown(&ours.ratios(raw)));
}

/// Measures events per second and CPU time of one sender, by its window.
async fn bulk(sides: &Sides, rounds: u64) {
    let events = from_environment("JETSINK_EVENTS", 200_000);
    println!("bulk, {} events a round", figure(events as f64));
    let mut best: Option<[(usize, Rounds); 2]> = None;
    for ours in WINDOWS.map(Some).into_iter().chain([None]) {
        let window = ours.unwrap_or(USUAL_WINDOW);
        let mut rates = [(); 2].map(|()| Rounds::default());
        let mut costs = [Cost::default(); 2];
        for _ in 0..rounds {
            let mut times = [Duration::ZERO; 2];
            for _ in 0..BULK_BLOCKS {
                for (side, time) in times.iter_mut().enumerate() {
                    let before = Cost::so_far(&sides.server);
                    let started = Instant::now();
                    if side == 0 {
                        sides.pipeline(ours, events / BULK_BLOCKS).await;
                    } else {
                        sides.publish_window(window, events / BULK_BLOCKS).await;
                    }
                    *time += started.elapsed();
                    costs[side].add(&before, &Cost::so_far(&sides.server));
                }
            }
            for (rates, time) in rates.iter_mut().zip(times) {
                rates.push(events as f64 / time.as_secs_f64());
            }
        }
        match ours {
            Some(_) => println!("window {window}"),
            None => println!("adaptive window, raw with {window}"),
        }
        for ((name, rates), cost) in ["pipeline", "raw"].iter().zip(&rates).zip(&costs) {
            println!(
                "  {name:<8} {}, {}",
                shown(rates),
                cost.shown(events * rounds)
            );
        }
        println!("  pipeline / raw {}", shown(&rates[0].ratios(&rates[1])));
        if ours.is_none() {
            continue;
        }
        let best = best.get_or_insert_with(|| rates.clone().map(|rates| (window, rates)));
        for (best, rates) in best.iter_mut().zip(rates) {
            if rates.median() > best.1.median() {
                *best = (window, rates);
            }
        }
    }
    if let Some([(our_window, ours), (raw_window, raw)]) = best {
        println!("each at its best window: pipeline at {our_window}, raw at {raw_window}");
        println!("  pipeline / raw {}\n", shown(&ours.ratios(&raw)));
    }
}

/// Processor time.
#[derive(Clone, Copy, Default)]
struct Cost {
    client: Duration,
    server: Duration,
}

impl Cost {
    fn so_far(server: &NatsServer) -> Self {
        Self {
            client: cpu_time("self"),
            server: cpu_time(&server.pid().unwrap().to_string()),
        }
    }

    fn add(&mut self, before: &Self, after: &Self) {
        self.client += after.client - before.client;
        self.server += after.server - before.server;
    }

    fn shown(&self, events: u64) -> String {
        let each = |cost: Duration| figure(cost.as_secs_f64() * 1e6 / events as f64);
        let share = self.server.as_secs_f64() / (self.client + self.server).as_secs_f64();
        format!(
            "CPU µs/event: {} here, {} in the server ({:.0} %)",
            each(self.client),
            each(self.server),
            share * 100.0
        )
    }
}
