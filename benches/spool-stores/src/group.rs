//! Durable appends by group commit: callers wait on one writer, who takes all that wait into one commit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::Bench;
use crate::report::{Table, as_millis, count, median, millis, quantile, ratio, spread};
use crate::samples;
use crate::store::{Kind, Result, Store};

const CALLERS: [usize; 3] = [1, 16, 256];
const LARGEST_GROUP: usize = 256;

struct Job {
    record: &'static [u8],
    stored: SyncSender<()>,
}

/// What one run did.
#[derive(Default)]
struct Run {
    events: u64,
    elapsed: Duration,
    /// How long each commit took, in milliseconds.
    commits: Vec<f64>,
}

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let stores = bench.with_yardstick();
    for callers in CALLERS {
        let mut runs: Vec<Vec<Run>> = stores.iter().map(|_| Vec::new()).collect();
        for _ in 0..bench.rounds {
            for (kind, runs) in stores.iter().zip(&mut runs) {
                runs.push(run(*kind, bench, callers)?);
            }
        }
        table(&stores, &runs, callers).print(bench.markdown);
    }
    Ok(())
}

fn table(stores: &[Kind], runs: &[Vec<Run>], callers: usize) -> Table {
    let title = format!("Durable append, group commit, {callers} waiting callers");
    let head = &[
        "store",
        "events/s",
        "spread",
        "x file",
        "x redb",
        "per commit",
        "commit p50 ms",
        "p99.9 ms",
        "max ms",
    ];
    let mut table = Table::new(title, head);
    let rates: Vec<Vec<f64>> = runs
        .iter()
        .map(|runs| {
            runs.iter()
                .map(|run| run.events as f64 / run.elapsed.as_secs_f64())
                .collect()
        })
        .collect();
    let of = |name| {
        stores
            .iter()
            .position(|kind| kind.name() == name)
            .map_or(&[][..], |place| &rates[place])
    };
    for ((kind, runs), rates) in stores.iter().zip(runs).zip(&rates) {
        let commits: Vec<f64> = runs
            .iter()
            .flat_map(|run| run.commits.iter().copied())
            .collect();
        let events: u64 = runs.iter().map(|run| run.events).sum();
        table.row([
            kind.name().to_owned(),
            count(median(rates)),
            spread(rates, count),
            ratio(rates, of("file")),
            ratio(rates, of("redb")),
            format!("{:.0}", events as f64 / commits.len().max(1) as f64),
            millis(quantile(&commits, 0.5)),
            millis(quantile(&commits, 0.999)),
            millis(quantile(&commits, 1.0)),
        ]);
    }
    table
}

fn run(kind: Kind, bench: &Bench, callers: usize) -> Result<Run> {
    let mut store = kind.create(&bench.dir)?;
    let (jobs, queue) = channel();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for caller in 0..callers {
            let (jobs, stop) = (jobs.clone(), &stop);
            scope.spawn(move || call(&jobs, stop, samples::record(caller as u64)));
        }
        drop(jobs);
        let written = write(store.as_mut(), &queue, bench.append_time());
        stop.store(true, Ordering::Relaxed);
        // Each caller looks at `stop` after its answer.
        for job in queue {
            answer(&job);
        }
        written
    })
}

fn call(jobs: &Sender<Job>, stop: &AtomicBool, record: &'static [u8]) {
    let (stored, wait) = sync_channel(1);
    while !stop.load(Ordering::Relaxed) {
        let job = Job {
            record,
            stored: stored.clone(),
        };
        if jobs.send(job).is_err() || wait.recv().is_err() {
            return;
        }
    }
}

fn write(store: &mut dyn Store, queue: &Receiver<Job>, time: Duration) -> Result<Run> {
    let mut run = Run::default();
    let (mut waiting, mut group) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while run.elapsed < time {
        waiting.extend(queue.recv());
        waiting.extend(queue.try_iter().take(LARGEST_GROUP - 1));
        group.extend(waiting.iter().map(|job: &Job| job.record));
        let before = Instant::now();
        let appended = store.append(run.events, &group);
        run.commits.push(as_millis(before.elapsed()));
        run.events += group.len() as u64;
        group.clear();
        for job in waiting.drain(..) {
            answer(&job);
        }
        appended?;
        run.elapsed = began.elapsed();
    }
    Ok(run)
}

/// A caller waits for every answer, so the place in its channel is free and it is there to take it.
fn answer(job: &Job) {
    let _ = job.stored.try_send(());
}
