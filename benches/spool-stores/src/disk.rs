//! What a long life and a long outage leave on disk.

use std::time::Instant;

use crate::args::Bench;
use crate::child;
use crate::report::{Table, as_millis, count, mib, millis};
use crate::samples;
use crate::store::{Kind, Result, Store, size_on_disk};

const GROUP: u64 = 256;
const DEPTH: u64 = 10_240;
/// How many groups lie between two looks at the size.
const LOOK: u64 = 64;

/// N events through a queue that stays about 10,000 deep.
pub(crate) fn churn(bench: &Bench) -> Result<()> {
    let live = mib(DEPTH * samples::mean_bytes());
    let title = format!(
        "{} events in and out, {DEPTH} deep ({live} MiB of records)",
        count(bench.events as f64)
    );
    let head = &[
        "store",
        "events/s",
        "peak MiB",
        "at the end",
        "closed",
        "reclaimed",
        "reclaim ms",
    ];
    let mut table = Table::new(title, head);
    for kind in &bench.stores {
        let mut store = kind.create(&bench.dir)?;
        samples::fill(store.as_mut(), DEPTH)?;
        let mut peak = 0;
        let began = Instant::now();
        for turn in 0..bench.events / GROUP {
            let tail = DEPTH + turn * GROUP;
            store.append(tail, &samples::group(tail, GROUP))?;
            store.delete_before(tail + GROUP - DEPTH)?;
            if turn.is_multiple_of(LOOK) {
                peak = peak.max(size_on_disk(&bench.dir)?);
            }
        }
        let rate = bench.events as f64 / began.elapsed().as_secs_f64();
        let end = size_on_disk(&bench.dir)?;
        drop(store);
        let closed = size_on_disk(&bench.dir)?;
        let (reclaimed, time) = reclaim(*kind, bench)?;
        let sizes = [peak.max(end), end, closed, reclaimed].map(mib);
        table.row(
            [kind.name().to_owned(), count(rate)]
                .into_iter()
                .chain(sizes)
                .chain([time]),
        );
    }
    table.note("Appends and deletions are transactions of 256 events, each fsynced, in turn.");
    table.print(bench.markdown);
    Ok(())
}

/// An outage: many events pile up, the process is killed, comes back and drains.
pub(crate) fn outage(bench: &Bench) -> Result<()> {
    let held = mib(bench.deep * samples::mean_bytes());
    let title = format!(
        "{} events pile up ({held} MiB of records), then drain",
        count(bench.deep as f64)
    );
    let head = &[
        "store",
        "fill events/s",
        "memory MiB",
        "full MiB",
        "open ms",
        "open after kill ms",
        "own check ms",
        "drain events/s",
        "peak MiB",
        "drained MiB",
        "reclaimed MiB",
        "reclaim ms",
    ];
    let mut table = Table::new(title, head);
    for kind in &bench.stores {
        let began = Instant::now();
        let memory = child::fill_and_die(*kind, bench, bench.deep)?;
        let fill = bench.deep as f64 / began.elapsed().as_secs_f64();
        let full = size_on_disk(&bench.dir)?;
        let after_kill = open(*kind, bench)?;
        let clean = open(*kind, bench)?;
        let check = check(*kind, bench)?;

        let mut store = kind.open(&bench.dir)?;
        let began = Instant::now();
        let peak = drain(store.as_mut(), bench)?;
        let drain = bench.deep as f64 / began.elapsed().as_secs_f64();
        drop(store);
        let drained = size_on_disk(&bench.dir)?;
        let (reclaimed, time) = reclaim(*kind, bench)?;
        table.row([
            kind.name().to_owned(),
            count(fill),
            mib(memory << 10),
            mib(full),
            millis(clean),
            millis(after_kill),
            check,
            count(drain),
            mib(peak.max(full)),
            mib(drained),
            mib(reclaimed),
            time,
        ]);
    }
    table.note("Filled in groups of 256; drained by reading 256 and deleting them, each transaction fsynced.");
    table.note("Memory is the most that the filling process had resident.");
    table.note(
        "An open includes finding the first and the last key; the files are in the page cache.",
    );
    table.print(bench.markdown);
    Ok(())
}

fn open(kind: Kind, bench: &Bench) -> Result<f64> {
    let began = Instant::now();
    let keys = kind.open(&bench.dir)?.bounds()?;
    let took = as_millis(began.elapsed());
    if keys != Some(0..bench.deep) {
        return Err(format!("{} holds {keys:?} of {} records", kind.name(), bench.deep).into());
    }
    Ok(took)
}

/// How long the store's check of everything takes, where it has one.
fn check(kind: Kind, bench: &Bench) -> Result<String> {
    let mut store = kind.open(&bench.dir)?;
    let began = Instant::now();
    match store.verify()? {
        Some(true) => Ok(millis(as_millis(began.elapsed()))),
        Some(false) => Err(format!("{} finds damage where there is none", kind.name()).into()),
        None => Ok("-".to_owned()),
    }
}

/// Returns the largest size on the way.
fn drain(store: &mut dyn Store, bench: &Bench) -> Result<u64> {
    let mut peak = 0;
    for (turn, head) in (0..bench.deep).step_by(GROUP as usize).enumerate() {
        store.read(head, GROUP as usize, &mut |_, _| {})?;
        store.delete_before((head + GROUP).min(bench.deep))?;
        if (turn as u64).is_multiple_of(LOOK) {
            peak = peak.max(size_on_disk(&bench.dir)?);
        }
    }
    Ok(peak)
}

/// The size after the store gave back what it can, and how long that took.
fn reclaim(kind: Kind, bench: &Bench) -> Result<(u64, String)> {
    let mut store = kind.open(&bench.dir)?;
    let began = Instant::now();
    store.reclaim()?;
    let took = millis(as_millis(began.elapsed()));
    drop(store);
    Ok((size_on_disk(&bench.dir)?, took))
}
