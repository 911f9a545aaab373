//! Reading at the head, and deleting a prefix in one transaction.

use std::hint::black_box;
use std::time::Instant;

use crate::args::Bench;
use crate::report::{Table, as_millis, count, median, millis, ratio, spread};
use crate::samples;
use crate::store::{Kind, Result};

const DEPTH: u64 = 20_000;
const PART: u64 = 10_000;
const READS: u32 = 5;

/// The figures of one store, one entry a round.
#[derive(Default)]
struct Figures {
    first_read: Vec<f64>,
    read: Vec<f64>,
    delete: Vec<f64>,
}

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let stores = bench.with_yardstick();
    let mut all: Vec<Figures> = stores.iter().map(|_| Figures::default()).collect();
    for _ in 0..bench.rounds {
        for (kind, figures) in stores.iter().zip(&mut all) {
            round(*kind, bench, figures)?;
        }
    }
    let of = |name| {
        stores
            .iter()
            .position(|kind| kind.name() == name)
            .map(|place| &all[place])
    };
    let column = |name, pick: fn(&Figures) -> &[f64]| of(name).map_or(&[][..], pick);

    let title = format!("Read {PART} records from the head of {DEPTH}");
    let head = &[
        "store",
        "first after open, events/s",
        "again, events/s",
        "spread",
        "x file",
        "x redb",
    ];
    let mut reads = Table::new(title, head);
    let title = format!("Delete a prefix of {PART} of {DEPTH} records, one durable transaction");
    let mut deletes = Table::new(title, &["store", "ms", "spread", "time x redb"]);
    for (kind, figures) in stores.iter().zip(&all) {
        reads.row([
            kind.name().to_owned(),
            count(median(&figures.first_read)),
            count(median(&figures.read)),
            spread(&figures.read, count),
            ratio(&figures.read, column("file", |figures| &figures.read)),
            ratio(&figures.read, column("redb", |figures| &figures.read)),
        ]);
        deletes.row([
            kind.name().to_owned(),
            millis(median(&figures.delete)),
            spread(&figures.delete, millis),
            ratio(&figures.delete, column("redb", |figures| &figures.delete)),
        ]);
    }
    reads.note("The file was just written: the operating system has it in memory.");
    deletes.note("The yardstick moves a cursor and gives nothing back.");
    reads.print(bench.markdown);
    deletes.print(bench.markdown);
    Ok(())
}

fn round(kind: Kind, bench: &Bench, figures: &mut Figures) -> Result<()> {
    samples::fill(kind.create(&bench.dir)?.as_mut(), DEPTH)?;
    let mut store = kind.open(&bench.dir)?;
    for turn in 0..=READS {
        let (mut seen, mut bytes) = (0, 0);
        let began = Instant::now();
        store.read(0, PART as usize, &mut |key, record| {
            seen += u64::from(key == seen);
            bytes += black_box(record).len();
        })?;
        let rate = PART as f64 / began.elapsed().as_secs_f64();
        if seen != PART || bytes == 0 {
            return Err(format!("{} showed {seen} of {PART} records", kind.name()).into());
        }
        if turn == 0 {
            figures.first_read.push(rate)
        } else {
            figures.read.push(rate)
        }
    }
    // One figure a round, so that rounds stay paired.
    let again = figures.read.split_off(figures.read.len() - READS as usize);
    figures.read.push(median(&again));

    let began = Instant::now();
    store.delete_before(PART)?;
    figures.delete.push(as_millis(began.elapsed()));
    match store.bounds()? {
        Some(keys) if keys == (PART..DEPTH) => Ok(()),
        other => Err(format!("{} holds {other:?} after the deletion", kind.name()).into()),
    }
}
