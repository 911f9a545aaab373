//! Rounds of faults under load against one server, each checked against a ledger of its own. The
//! process that keeps the ledger is never killed, and neither are the two sinks in it.

#![allow(missing_docs, unreachable_pub)]

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use bytes::Bytes;
use jetsink::circuit::State;
use jetsink::{ConnectSettings, Delivery, NatsPublisher, Sink, SinkSettings, SpoolSettings};
use nats_fixture::{NatsServer, TcpProxy, Way, audit, stored_after};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::{Emitted, Ledger, NatsSink, STALLED, emit};

/// How long both sinks may take to deliver again once the fault is over. The promise is a second; on a
/// busy machine a server alone may take longer to come up. What is told is what was seen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two emits of one caller.
const PAUSE: Duration = Duration::from_millis(2);

/// A sequence of numbers that a seed repeats.
pub struct Dice(TestRng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64() % limit
    }

    fn between(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// What is done to the broker, and for how long.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Killed(Duration),
    Frozen(Duration),
    Way(Way, Duration),
    StreamDeleted(Duration),
    StreamFull(Duration),
}

impl Fault {
    /// Of each 13: 5 kills, 3 freezes, 3 partitions, a deleted and a full stream.
    pub fn of_round(round: u64, dice: &mut Dice) -> Self {
        match round % 13 {
            0 | 5 | 6 | 9 | 12 => Self::Killed(dice.between(100, 2_500)),
            1 | 7 | 10 => Self::Frozen(dice.between(100, 3_500)),
            3 => Self::StreamDeleted(dice.between(100, 1_500)),
            4 => Self::StreamFull(dice.between(100, 1_500)),
            _ => {
                let way = match dice.below(5) {
                    0 => Way::Reset,
                    1 => Way::BlackHole,
                    2 => Way::OnlyToServer,
                    3 => Way::OnlyToClients,
                    _ => Way::Slow(dice.between(10, 400)),
                };
                Self::Way(way, dice.between(100, 4_000))
            }
        }
    }
}

/// What a round saw.
#[derive(Debug, Default)]
pub struct Round {
    pub emitted: usize,
    pub ok: usize,
    pub unknown: usize,
    pub spooled: usize,
    pub longest: Duration,
    /// From the fault's end until both sinks delivered.
    pub recovered: Duration,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            emitted,
            ok,
            unknown,
            spooled,
            longest,
            recovered,
        } = self;
        write!(
            f,
            "{emitted} emitted, {ok} Ok, {spooled} of them spooled, {unknown} unknown, longest \
             {longest:?}, delivered again {recovered:?} after the end"
        )
    }
}

/// A stream, the sink that publishes to it, and how far the stream has been checked.
struct Lane {
    stream: &'static str,
    /// Of one caller at a time.
    ordered: &'static str,
    /// Of many callers at a time.
    parallel: &'static str,
    sink: Arc<NatsSink>,
    checked: u64,
}

/// A server, the way to it, and the two sinks.
pub struct Rounds {
    server: NatsServer,
    proxy: TcpProxy,
    lanes: [Lane; 2],
    _folder: TempDir,
}

/// The spool's stream remembers ids for as short a time as a server lets it.
fn stream(lane: &Lane) -> Config {
    let forgetful = lane.stream == "SPOOLED";
    Config {
        name: lane.stream.to_owned(),
        subjects: vec![lane.ordered.to_owned(), lane.parallel.to_owned()],
        discard: DiscardPolicy::New,
        duplicate_window: Duration::from_millis(if forgetful { 100 } else { 120_000 }),
        ..Config::default()
    }
}

impl Rounds {
    pub async fn start() -> Self {
        let server = NatsServer::start().await.unwrap();
        let proxy = TcpProxy::to(server.port()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("nats://127.0.0.1:{}", proxy.port());
        let lanes = [
            Lane {
                stream: "DIRECT",
                ordered: "direct.ordered",
                parallel: "direct.parallel",
                sink: Arc::new(sink(&url, None).await),
                checked: 0,
            },
            Lane {
                stream: "SPOOLED",
                ordered: "spooled.ordered",
                parallel: "spooled.parallel",
                sink: Arc::new(sink(&url, Some(folder.path())).await),
                checked: 0,
            },
        ];
        for lane in &lanes {
            server.create_stream_with(stream(lane)).await.unwrap();
        }
        Self {
            server,
            proxy,
            lanes,
            _folder: folder,
        }
    }

    /// One fault under load, and what became of each event.
    ///
    /// # Panics
    /// Where a promise is broken.
    pub async fn run(&mut self, fault: Fault) -> Round {
        let loads: Vec<_> = self.lanes.iter().map(Load::start).collect();
        sleep(Duration::from_millis(200)).await;
        // Of what was emitted before a stream was deleted, nobody can say what is stored.
        let mut excused = None;
        self.inflict(fault, &mut excused).await;
        let over = Instant::now();
        for lane in &self.lanes {
            delivers_again(&lane.sink).await;
        }
        let mut round = Round {
            recovered: over.elapsed(),
            ..Round::default()
        };
        sleep(Duration::from_millis(100)).await;
        let jetstream = self.server.jetstream().await.unwrap();
        for (lane, load) in self.lanes.iter_mut().zip(loads) {
            let (ordered, parallel) = load.stop().await;
            drained(&lane.sink).await;
            lane.check(&jetstream, &ordered, &parallel, excused).await;
            for ledger in [&ordered, &parallel] {
                let taken = ledger.0.iter().filter(|e| e.result.is_ok());
                let spooled = taken.clone().filter(|e| e.result == Ok(Delivery::Spooled));
                round.emitted += ledger.0.len();
                round.ok += taken.count();
                round.spooled += spooled.count();
                round.unknown += ledger.unknown().len();
                round.longest = round.longest.max(ledger.longest());
            }
        }
        assert!(round.longest < STALLED, "an emit took {:?}", round.longest);
        round
    }

    async fn inflict(&mut self, fault: Fault, excused: &mut Option<Instant>) {
        match fault {
            Fault::Killed(time) => {
                self.server.kill().unwrap();
                sleep(time).await;
                self.server.start_again().await.unwrap();
            }
            Fault::Frozen(time) => {
                self.server.freeze().unwrap();
                sleep(time).await;
                self.server.thaw().unwrap();
            }
            Fault::Way(way, time) => {
                self.proxy.set(way);
                sleep(time).await;
                self.proxy.mend();
            }
            Fault::StreamDeleted(time) => {
                let jetstream = self.server.jetstream().await.unwrap();
                for lane in &mut self.lanes {
                    jetstream.delete_stream(lane.stream).await.unwrap();
                    lane.checked = 0;
                }
                *excused = Some(Instant::now());
                sleep(time).await;
                for lane in &self.lanes {
                    self.server.create_stream_with(stream(lane)).await.unwrap();
                }
            }
            Fault::StreamFull(time) => {
                let jetstream = self.server.jetstream().await.unwrap();
                for lane in &self.lanes {
                    let full = Config {
                        max_messages: 1,
                        ..stream(lane)
                    };
                    jetstream.update_stream(full).await.unwrap();
                }
                sleep(time).await;
                for lane in &self.lanes {
                    jetstream.update_stream(stream(lane)).await.unwrap();
                }
            }
        }
    }
}

impl Lane {
    /// What has come into the stream since the last check, against the ledgers.
    async fn check(
        &mut self,
        jetstream: &Context,
        ordered: &Ledger,
        parallel: &Ledger,
        excused: Option<Instant>,
    ) {
        let (stream, spools) = (self.stream, self.sink.spool_status().is_some());
        let there = stored_after(jetstream, stream, self.checked).await.unwrap();
        self.checked = there.last().map_or(self.checked, |m| m.sequence);
        for (subject, ledger) in [(self.ordered, ordered), (self.parallel, parallel)] {
            let failed = ledger.0.iter().find(|e| spools && e.result.is_err());
            assert!(failed.is_none(), "a spool takes everything: {failed:?}");
            let there: Vec<_> = there
                .iter()
                .filter(|m| m.subject == subject)
                .cloned()
                .collect();
            let is_excused = |e: &&Emitted| excused.is_some_and(|moment| e.started <= moment);
            let taken = ledger.0.iter().filter(|e| e.result.is_ok());
            let taken: Vec<_> = taken.filter(|e| !is_excused(e)).map(payload).collect();
            let mut open = ledger.unknown();
            open.extend(
                ledger
                    .0
                    .iter()
                    .filter(|e| e.result.is_ok())
                    .filter(is_excused)
                    .map(payload),
            );
            let mut found = audit(&taken, &open, &there);
            if subject == self.parallel {
                found.out_of_order.clear();
            }
            assert!(found.is_clean(), "{subject}: {found}: {found:?}");
        }
    }
}

fn payload(emitted: &Emitted) -> Bytes {
    emitted.payload.clone()
}

/// One caller that waits for each answer, and one event each 2 ms whoever waits.
struct Load {
    stop: watch::Sender<()>,
    ordered: JoinHandle<Ledger>,
    parallel: JoinHandle<Ledger>,
}

impl Load {
    fn start(lane: &Lane) -> Self {
        let (stop, stopped) = watch::channel(());
        let ordered = one_after_another(Arc::clone(&lane.sink), lane.ordered, stopped.clone());
        let parallel = at_a_steady_rate(Arc::clone(&lane.sink), lane.parallel, stopped);
        Self {
            stop,
            ordered: tokio::spawn(ordered),
            parallel: tokio::spawn(parallel),
        }
    }

    async fn stop(self) -> (Ledger, Ledger) {
        drop(self.stop);
        (self.ordered.await.unwrap(), self.parallel.await.unwrap())
    }
}

/// Names that no other round has.
fn name(number: u64) -> Bytes {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NAMES: AtomicU64 = AtomicU64::new(0);
    let name = NAMES.fetch_add(1, Ordering::Relaxed);
    Bytes::from(format!("{number} {name}"))
}

async fn one_after_another(
    sink: Arc<NatsSink>,
    subject: &'static str,
    mut stopped: watch::Receiver<()>,
) -> Ledger {
    let mut ledger = Ledger::default();
    while timeout(PAUSE, stopped.changed()).await.is_err() {
        let payload = name(ledger.0.len() as u64);
        ledger.0.push(emit(&sink, subject, payload).await);
    }
    ledger
}

async fn at_a_steady_rate(
    sink: Arc<NatsSink>,
    subject: &'static str,
    mut stopped: watch::Receiver<()>,
) -> Ledger {
    let mut tasks = JoinSet::new();
    while timeout(PAUSE, stopped.changed()).await.is_err() {
        let (sink, payload) = (Arc::clone(&sink), name(tasks.len() as u64));
        tasks.spawn(async move { emit(&sink, subject, payload).await });
    }
    let mut all = tasks.join_all().await;
    all.sort_by_key(|e| e.started);
    Ledger(all)
}

async fn sink(url: &str, folder: Option<&Path>) -> NatsSink {
    let settings = ConnectSettings::new(url).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    match folder {
        None => Sink::new(publisher, SinkSettings::default()),
        Some(folder) => {
            let spool = SpoolSettings::new(folder);
            let sink = Sink::with_spool(publisher, SinkSettings::default(), spool).await;
            sink.unwrap()
        }
    }
}

async fn delivers_again(sink: &NatsSink) {
    let started = Instant::now();
    let before = sink.status().delivered;
    loop {
        let status = sink.status();
        let closed = status.broker == State::Connected && status.failing_subjects.is_empty();
        if closed && status.delivered > before {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{status}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn drained(sink: &NatsSink) {
    let started = Instant::now();
    while sink.spool_status().is_some_and(|spool| spool.events > 0) {
        assert!(started.elapsed() < PATIENCE, "{}", sink.status());
        sleep(Duration::from_millis(5)).await;
    }
}
