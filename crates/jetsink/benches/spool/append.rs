//! Appends, each caller one event after another.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use jetsink::{Delivery, Sink, SinkSettings, Subject};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::common::away::Away;
use crate::common::{Rounds, cpu_time, figure, from_environment, quantile, shown};
use crate::{
    Bound, Bounds, MANY_SUBJECTS, PAYLOAD_BYTES, envelope_of, settings, subject_of, subjects,
};

/// The number of turns of both sides in a round: slower and faster moments of the disk affect both.
const SLICES: u32 = 6;

const SLICE: Duration = Duration::from_millis(250);

/// Between two slices: the seal of an idle spool, and the zeros of its next segment, are not the other side's.
const PAUSE: Duration = Duration::from_millis(50);

/// The slices of one side in one round.
#[derive(Debug, Default)]
struct Slices {
    latencies: Vec<Duration>,
    cpu: Duration,
}

/// Rates, processor time per event and latencies, round by round.
#[derive(Debug, Default)]
struct Figures {
    rates: Rounds,
    cpu_micros: Rounds,
    latencies: Vec<Duration>,
}

impl Figures {
    fn add(&mut self, mut slices: Slices) {
        let events = slices.latencies.len() as f64;
        self.rates.push(events / (SLICE * SLICES).as_secs_f64());
        self.cpu_micros
            .push(slices.cpu.as_secs_f64() * 1e6 / events);
        self.latencies.append(&mut slices.latencies);
    }

    fn print(&mut self, name: &str) {
        self.latencies.sort_unstable();
        println!("  {name}, events/s: {}", shown(&self.rates));
        println!("  {name}, CPU µs/event: {}", shown(&self.cpu_micros));
        println!(
            "  {name}, latency: p50 {:.2?}, p99 {:.2?}, p99.9 {:.2?}",
            quantile(&self.latencies, 0.5),
            quantile(&self.latencies, 0.99),
            quantile(&self.latencies, 0.999),
        );
    }
}

/// The numbers of callers, or the one that `JETSINK_CALLERS` selects.
fn callers(usual: &[usize]) -> Vec<usize> {
    match from_environment("JETSINK_CALLERS", 0) {
        0 => usual.to_vec(),
        selected => vec![selected as usize],
    }
}

pub async fn beside_a_bare_log(rounds: u64, bounds: &mut Bounds) {
    println!("appends of {PAYLOAD_BYTES} bytes, medians of {rounds} rounds (spread)\n");
    let one = Arc::new(subjects(1));
    for callers in callers(&[1, 16, 64, 256]) {
        let (mut ours, mut bare) = (Figures::default(), Figures::default());
        for round in 0..rounds {
            let (spool, log) = (Spool::open(&one).await, BareLog::open());
            let (of_spool, of_log) = in_turn(round, callers, &spool, &log).await;
            ours.add(of_spool);
            bare.add(of_log);
        }
        println!("{callers} callers");
        ours.print("spool");
        bare.print("write+fdatasync");
        let plural = if callers == 1 { "" } else { "s" };
        let what =
            format!("append, {callers} caller{plural}, beside `write` + `fdatasync`, events/s");
        bounds.compare(&what, &ours.rates, &bare.rates, Bound::AtLeast(0.90));
    }
}

pub async fn many_subjects(rounds: u64, bounds: &mut Bounds) {
    println!(
        "appends of {PAYLOAD_BYTES} bytes with {MANY_SUBJECTS} subjects and with one, medians of {rounds} rounds \
         (spread)\n"
    );
    let (one, many) = (Arc::new(subjects(1)), Arc::new(subjects(MANY_SUBJECTS)));
    for callers in callers(&[64, 256]) {
        let (mut with_many, mut with_one) = (Figures::default(), Figures::default());
        for round in 0..rounds {
            let (of_many, of_one) = (Spool::open(&many).await, Spool::open(&one).await);
            let (latencies, of_one) = in_turn(round, callers, &of_many, &of_one).await;
            with_many.add(latencies);
            with_one.add(of_one);
        }
        println!("{callers} callers");
        with_many.print("many subjects");
        with_one.print("one subject");
        let what = format!(
            "append, {callers} callers, {} subjects beside one, events/s",
            figure(MANY_SUBJECTS as f64)
        );
        let (ours, theirs) = (&with_many.rates, &with_one.rates);
        bounds.compare(&what, ours, theirs, Bound::AtLeast(0.67));
    }
}

/// A place for durable appends.
trait Appends: Clone + Send + Sync + 'static {
    fn append(&self) -> impl Future<Output = ()> + Send;
}

/// Runs slices of both sides in turn, the one that begins by the round.
async fn in_turn<A: Appends, B: Appends>(
    round: u64,
    callers: usize,
    ours: &A,
    theirs: &B,
) -> (Slices, Slices) {
    let (mut of_ours, mut of_theirs) = (Slices::default(), Slices::default());
    for slice in 0..u64::from(2 * SLICES) {
        tokio::time::sleep(PAUSE).await;
        let before = cpu_time("self");
        let (side, mut latencies) = if (slice + round).is_multiple_of(2) {
            (&mut of_ours, slice_of(callers, ours).await)
        } else {
            (&mut of_theirs, slice_of(callers, theirs).await)
        };
        side.cpu += cpu_time("self") - before;
        side.latencies.append(&mut latencies);
    }
    (of_ours, of_theirs)
}

/// Lets `callers` append, one append after another.
async fn slice_of<A: Appends>(callers: usize, side: &A) -> Vec<Duration> {
    let until = Instant::now() + SLICE;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let side = side.clone();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let started = Instant::now();
                if started >= until {
                    return latencies;
                }
                side.append().await;
                latencies.push(started.elapsed());
            }
        });
    }
    tasks.join_all().await.concat()
}

/// A new spool whose broker is away.
#[derive(Debug, Clone)]
struct Spool(Arc<OpenSpool>);

#[derive(Debug)]
struct OpenSpool {
    sink: Sink<Away>,
    subjects: Arc<Vec<Subject>>,
    next: AtomicU64,
    _folder: TempDir,
}

impl Spool {
    async fn open(subjects: &Arc<Vec<Subject>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sink = Sink::with_spool(Away, SinkSettings::default(), settings(folder.path()));
        Self(Arc::new(OpenSpool {
            sink: sink.await.unwrap(),
            subjects: Arc::clone(subjects),
            next: AtomicU64::new(0),
            _folder: folder,
        }))
    }
}

impl Appends for Spool {
    async fn append(&self) {
        let Self(open) = self;
        let number = open.next.fetch_add(1, Ordering::Relaxed);
        let event = envelope_of(subject_of(&open.subjects, number), number);
        assert_eq!(open.sink.emit(event).await.unwrap(), Delivery::Spooled);
    }
}

/// The minimum of a durable append: one thread that writes the pending records, syncs, and answers the callers.
#[derive(Debug, Clone)]
struct BareLog {
    queue: mpsc::Sender<(Vec<u8>, oneshot::Sender<()>)>,
    _folder: Arc<TempDir>,
}

impl BareLog {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut file = File::create(folder.path().join("log")).unwrap();
        let (queue, receiver) = mpsc::channel::<(Vec<u8>, oneshot::Sender<()>)>();
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
        Self {
            queue,
            _folder: Arc::new(folder),
        }
    }
}

impl Appends for BareLog {
    async fn append(&self) {
        let (done, answer) = oneshot::channel();
        let record = vec![b'x'; PAYLOAD_BYTES + 80];
        self.queue.send((record, done)).unwrap();
        answer.await.unwrap();
    }
}
