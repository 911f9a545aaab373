//! Rounds of faults under load, each checked against a ledger of its own. The process that keeps the
//! ledger is never killed, and neither are the two sinks in it.

#![allow(missing_docs, unreachable_pub)]

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use bytes::Bytes;
use delivery_audit::{Event, Findings};
use jetsink::CircuitState as State;
use jetsink::{
    ConnectSettings, Delivery, EmitError, Known, NatsPublisher, Sink, SinkSettings, SpoolError,
    SpoolSettings,
};
use nats_local::{StoredMessage, stored_after};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use trial::Dice;

use super::{Emitted, Ledger, NatsSink, STALLED, emit, messages};

/// The time in which both sinks must deliver again once the fault is over. The promise is a second; on a
/// busy machine a server alone may take longer to come up. A round reports the time that it took.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two emits of one caller.
const PAUSE: Duration = Duration::from_millis(2);

/// A time from `from` to `to` milliseconds.
pub fn between(dice: &mut Dice, from: u64, to: u64) -> Duration {
    Duration::from_millis(from + dice.below(to - from))
}

/// The counts and times of a round.
#[derive(Debug, Default)]
pub struct Round {
    pub emitted: usize,
    pub ok: usize,
    pub unknown: usize,
    pub spooled: usize,
    /// The disk was slower than the deadline: these may be spooled.
    pub too_slow: usize,
    pub longest: Duration,
    /// From the fault's end until both sinks delivered.
    pub recovered: Duration,
}

impl Round {
    /// Another round's.
    pub fn merge(&mut self, other: &Self) {
        self.emitted += other.emitted;
        self.ok += other.ok;
        self.unknown += other.unknown;
        self.spooled += other.spooled;
        self.too_slow += other.too_slow;
        self.longest = self.longest.max(other.longest);
        self.recovered = self.recovered.max(other.recovered);
    }

    fn add(&mut self, ledger: &Ledger) {
        let taken = ledger.0.iter().filter(|e| e.result.is_ok());
        let spooled = taken.clone().filter(|e| e.result == Ok(Delivery::Spooled));
        self.emitted += ledger.0.len();
        self.ok += taken.count();
        self.spooled += spooled.count();
        self.unknown += ledger.unknown();
        self.too_slow += ledger.0.iter().filter(|e| met_a_slow_disk(e)).count();
        self.longest = self.longest.max(ledger.longest());
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            emitted,
            ok,
            unknown,
            spooled,
            too_slow,
            longest,
            recovered,
        } = self;
        write!(
            f,
            "{emitted} emitted, {ok} Ok, {spooled} of them spooled, {unknown} unknown, \
             {too_slow} of them for a slow disk, longest {longest:?}, delivered again {recovered:?} after the end"
        )
    }
}

/// A stream, the sink that publishes to it, and how far the stream has been checked.
struct Lane {
    stream: &'static str,
    /// Has one caller, which waits for each result.
    ordered: &'static str,
    /// Has concurrent callers.
    parallel: &'static str,
    sink: Arc<NatsSink>,
    checked: u64,
}

/// The lanes' streams. The stream of the spool has the shortest duplicate window that a server allows, so
/// that it cannot help. If the network may deliver late, a client needs the window (decision 7): then it
/// is 2 minutes, the server's default.
pub fn streams(network_holds_back: bool) -> [Config; 2] {
    let short = if network_holds_back { 120_000 } else { 100 };
    [
        ("DIRECT", "direct.*", 120_000),
        ("SPOOLED", "spooled.*", short),
    ]
    .map(|(name, subject, duplicate_window)| Config {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        discard: DiscardPolicy::New,
        duplicate_window: Duration::from_millis(duplicate_window),
        ..Config::default()
    })
}

/// The times of a fault.
#[derive(Debug, Clone, Copy)]
pub struct Inflicted {
    /// When the broker was whole again.
    pub over: Instant,
    /// The moment until which events went to streams that were deleted since: they may be stored or not.
    pub gone_until: Option<Instant>,
}

impl Inflicted {
    /// The broker is whole from now on.
    pub fn until_now() -> Self {
        Self {
            over: Instant::now(),
            gone_until: None,
        }
    }
}

/// Two sinks, each with a stream of its own: one without and one with a spool.
pub struct Lanes {
    lanes: [Lane; 2],
    _folder: TempDir,
}

impl Lanes {
    /// Connects to a broker that is whole. The streams are still to be made.
    pub async fn start(urls: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lanes = [
            Lane {
                stream: "DIRECT",
                ordered: "direct.ordered",
                parallel: "direct.parallel",
                sink: Arc::new(sink(urls, None).await),
                checked: 0,
            },
            Lane {
                stream: "SPOOLED",
                ordered: "spooled.ordered",
                parallel: "spooled.parallel",
                sink: Arc::new(sink(urls, Some(folder.path())).await),
                checked: 0,
            },
        ];
        Self {
            lanes,
            _folder: folder,
        }
    }

    /// Runs one fault under load, then checks each event.
    ///
    /// # Panics
    /// If a promise is broken.
    pub async fn run(
        &mut self,
        fault: impl Future<Output = Inflicted>,
        connect: impl AsyncFnOnce() -> Context,
    ) -> Round {
        let loads: Vec<_> = self.lanes.iter().map(Load::start).collect();
        let inflicted = fault.await;
        for lane in &self.lanes {
            delivers_again(&lane.sink).await;
        }
        let mut round = Round {
            recovered: inflicted.over.elapsed(),
            ..Round::default()
        };
        sleep(Duration::from_millis(100)).await;
        let jetstream = connect().await;
        for (lane, load) in self.lanes.iter_mut().zip(loads) {
            let (ordered, parallel) = load.stop().await;
            drained(&lane.sink).await;
            if inflicted.gone_until.is_some() {
                lane.checked = 0;
            }
            let excused = inflicted.gone_until;
            lane.check(&jetstream, &ordered, &parallel, excused).await;
            round.add(&ordered);
            round.add(&parallel);
        }
        assert!(round.longest < STALLED, "an emit took {:?}", round.longest);
        round
    }
}

impl Lane {
    /// Compares the messages that the stream stored since the last check with the ledgers.
    async fn check(
        &mut self,
        jetstream: &Context,
        ordered: &Ledger,
        parallel: &Ledger,
        excused: Option<Instant>,
    ) {
        let (stream, spools) = (self.stream, self.sink.spool().is_some());
        let stored = read(jetstream, stream, self.checked).await;
        self.checked = stored.last().map_or(self.checked, |m| m.sequence);
        let failed = |e: &&Emitted| spools && e.result.is_err() && !met_a_slow_disk(e);
        let failed = ordered.0.iter().chain(&parallel.0).find(failed);
        assert!(failed.is_none(), "a spool takes everything: {failed:?}");
        let is_excused = |e: &Emitted| excused.is_some_and(|moment| e.started <= moment);
        let recorded = |e: &Emitted| match e.result.is_ok() && is_excused(e) {
            true => Event::unknown(e.payload.clone()),
            false => e.recorded(),
        };
        let in_order = ordered.0.iter().map(|e| recorded(e).on(self.ordered));
        let concurrent = parallel.0.iter();
        let concurrent = concurrent.map(|e| recorded(e).on(self.parallel).ordered(false));
        let found = Findings::of(in_order.chain(concurrent), messages(&stored));
        assert!(found.is_clean(), "{stream}: {found}: {found:?}");
    }
}

/// Whether one fsync took longer than the deadline of the emit: the one error that a spool may return
/// here. The outcome of such an event is unknown.
fn met_a_slow_disk(emitted: &Emitted) -> bool {
    matches!(&emitted.result, Err(error @ EmitError::Spool(failed))
        if error.known() == Known::OutcomeUnknown
            && matches!(failed.error, SpoolError::TooSlow { .. }))
}

/// One caller that waits for each result, and one that emits each 2 ms without waiting.
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
    let (mut tasks, mut all) = (JoinSet::new(), Vec::new());
    let mut emitted = 0;
    while timeout(PAUSE, stopped.changed()).await.is_err() {
        let (sink, payload) = (Arc::clone(&sink), name(emitted));
        tasks.spawn(async move { emit(&sink, subject, payload).await });
        emitted += 1;
        // A task that has ended is in memory until it is joined.
        while let Some(ended) = tasks.try_join_next() {
            all.push(ended.unwrap());
        }
    }
    all.extend(tasks.join_all().await);
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

/// A cluster that stores again need not answer questions yet.
async fn read(jetstream: &Context, stream: &str, after: u64) -> Vec<StoredMessage> {
    let started = Instant::now();
    loop {
        match stored_after(jetstream, stream, after).await {
            Ok(there) => return there,
            Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
        }
        sleep(Duration::from_millis(100)).await;
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
    while sink.spool().is_some_and(|spool| spool.status().events > 0) {
        assert!(started.elapsed() < PATIENCE, "{}", sink.status());
        sleep(Duration::from_millis(5)).await;
    }
}
