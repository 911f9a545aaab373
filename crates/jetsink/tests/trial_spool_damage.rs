//! Trials: a spool whose process was killed is damaged, and a sink opens it: each event is stored or counted as damaged,
//! and at most the damaged records are lost.
//!
//! `JETSINK_TRIAL_COUNT=10000 cargo test --release -p jetsink --test trial_spool_damage -- --nocapture` for more.
//!
//! The sink, its spool and the damage are real. The broker is a list in memory.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

#[path = "common/shelf.rs"]
mod shelf;

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use jetsink::{Delivery, Envelope, Sink, SinkSettings, SpoolLoss, SpoolSettings, Subject};
use shelf::{Shelf, copy, files, memory_folder};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use trial::Trial;

const PAGE: u64 = 4_096;

/// The files of a killed process, and the events in them.
#[derive(Debug)]
struct Killed {
    folder: TempDir,
    payload_bytes: usize,
    /// Stored before the kill: these may be stored again.
    stored: BTreeSet<u64>,
    events: u64,
}

/// The result of opening a damaged spool.
#[derive(Debug)]
struct Opened {
    missing: u64,
    damaged: u64,
    loss: Option<SpoolLoss>,
}

fn payload(number: u64, bytes: usize) -> Bytes {
    let fill = number.to_le_bytes()[0] ^ 0x5a;
    let mut payload = vec![fill; bytes];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload.into()
}

/// The number of an event, whose payload must be unaltered.
fn number_of(found: &Bytes, bytes: usize) -> u64 {
    let number = u64::from_le_bytes(found[..8].try_into().unwrap());
    assert!(
        *found == payload(number, bytes),
        "the payload of {number} was altered"
    );
    number
}

fn settings(folder: &Path, payload_bytes: usize) -> SpoolSettings {
    // Segments of 256 KiB, or of some 20 events.
    let limit = if payload_bytes > 10_000 {
        128 << 20
    } else {
        4 << 20
    };
    SpoolSettings::new(folder).limit_bytes(limit).unwrap()
}

/// Emits events to two subjects, `group` at a time, stores some of them, and copies the files once the spool is at rest.
async fn killed(group: u64, payload_bytes: usize, events: u64) -> Killed {
    let (living, folder) = (memory_folder(), memory_folder());
    let shelf = Shelf::away();
    let sink = Sink::with_spool(
        shelf.clone(),
        SinkSettings::default(),
        settings(living.path(), payload_bytes),
    );
    let sink = sink.await.unwrap();
    for start in (0..events).step_by(group as usize) {
        let numbers = start..events.min(start + group);
        let emits = numbers.map(|number| {
            let subject = Subject::new(format!("events.{}", number % 2)).unwrap();
            sink.emit(Envelope::new(subject, payload(number, payload_bytes)))
        });
        for result in futures_util::future::join_all(emits).await {
            assert_eq!(result.unwrap(), Delivery::Spooled);
        }
        if start == events / 2 / group * group {
            // Some leave while others come.
            shelf.take(events / 5);
        }
    }
    while shelf.payloads().len() < (events / 5) as usize {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Much longer than the 20 ms after which a spool is at rest.
    tokio::time::sleep(Duration::from_secs(1)).await;
    copy(living.path(), folder.path());
    let stored = shelf.payloads();
    let stored = stored.iter().map(|found| number_of(found, payload_bytes));
    Killed {
        folder,
        payload_bytes,
        stored: stored.collect(),
        events,
    }
}

impl Killed {
    /// Opens a copy that `damage` has damaged, twice if nothing is to be delivered at first.
    fn open(&self, runtime: &Runtime, damage: impl FnOnce(&Path)) -> Opened {
        let folder = memory_folder();
        copy(self.folder.path(), folder.path());
        damage(folder.path());
        runtime.block_on(async {
            let shelf = Shelf::open();
            let settings = settings(folder.path(), self.payload_bytes);
            let sink = Sink::with_spool(shelf.clone(), SinkSettings::default(), settings.clone());
            let sink = sink.await.unwrap();
            let receipt = sink.close(Duration::from_secs(30)).await;
            assert_eq!((receipt.spooled, receipt.dead_letters), (0, 0));
            let damaged = sink.spool().unwrap().status().damaged;
            let loss = sink.spool().unwrap().loss().cloned();
            drop(sink);
            let again = Sink::with_spool(Shelf::open(), SinkSettings::default(), settings);
            let again = again.await.unwrap();
            assert_eq!(again.spool().unwrap().status().events, 0, "one comes back");
            Opened {
                missing: self.missing(&shelf),
                damaged,
                loss,
            }
        })
    }

    /// The events that are not stored. The others are stored once, unaltered and in order.
    fn missing(&self, shelf: &Shelf) -> u64 {
        let mut found = BTreeSet::new();
        for payloads in shelf.stored().into_values() {
            let numbers = payloads.iter().map(|p| number_of(p, self.payload_bytes));
            let numbers: Vec<u64> = numbers.collect();
            assert!(
                numbers.is_sorted_by(|a, b| a < b),
                "out of order, or twice: {numbers:?}"
            );
            found.extend(numbers);
        }
        let is_missing = |number: &u64| !found.contains(number) && !self.stored.contains(number);
        (0..self.events).filter(is_missing).count() as u64
    }

    fn bytes(&self) -> u64 {
        let lengths = files(self.folder.path());
        let lengths = lengths.iter().map(|file| file.metadata().unwrap().len());
        lengths.sum()
    }
}

impl Opened {
    /// Each missing event is counted, or the end of the spool is reported as torn or unreadable: the records
    /// before a cut do not have the number of events after it.
    fn assert_reported(&self, at_most: u64) {
        let loss = self.loss.as_ref();
        let has_lost_its_end =
            loss.is_some_and(|loss| loss.torn_bytes > 0 || loss.unreadable_files > 0);
        if !has_lost_its_end {
            return self.assert_counted(at_most);
        }
        assert!(
            self.missing <= at_most,
            "{} events are missing, the cut covers at most {at_most}: {loss:?}",
            self.missing
        );
    }

    /// Each missing event is counted.
    fn assert_counted(&self, at_most: u64) {
        assert!(
            self.missing <= self.damaged,
            "{} events are missing, {} are counted as damaged: {:?}",
            self.missing,
            self.damaged,
            self.loss
        );
        assert!(
            self.missing <= at_most,
            "{} events are missing, the damage covers at most {at_most}: {:?}",
            self.missing,
            self.loss
        );
    }
}

/// A runtime for the sinks of all histories.
fn runtime() -> Runtime {
    Runtime::new().unwrap()
}

/// Finds the file and the offset of a byte, counted over all files.
fn locate(folder: &Path, mut at: u64) -> (std::path::PathBuf, u64) {
    for file in files(folder) {
        let length = file.metadata().unwrap().len();
        if at < length {
            return (file, at);
        }
        at -= length;
    }
    panic!("behind the last file");
}

fn flip(folder: &Path, at: u64, bit: u64) {
    let (file, offset) = locate(folder, at);
    let file = std::fs::File::options().read(true).write(true).open(file);
    let file = file.unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    byte[0] ^= 1 << bit;
    file.write_all_at(&byte, offset).unwrap();
}

#[test]
fn a_flipped_bit_costs_at_most_its_event_which_is_counted() {
    let runtime = runtime();
    let kinds = [
        (1, 600, 300),
        (16, 600, 1_000),
        (256, 600, 2_000),
        (1, 200_000, 30),
        (16, 200_000, 48),
        (256, 200_000, 280),
    ];
    let spools = kinds.map(|(group, bytes, events)| runtime.block_on(killed(group, bytes, events)));
    for spool in &spools {
        let opened = spool.open(&runtime, |_| {});
        assert!(opened.loss.is_none() && opened.missing == 0, "{opened:?}");
    }
    Trial::new("sink-flips", 120).run(|dice| {
        // Copies of large events take most of the time.
        let (small, large) = spools.split_at(3);
        let spools = if dice.once_in(4) { large } else { small };
        let spool = dice.one_of(spools);
        let (at, bit) = (dice.below(spool.bytes()), dice.below(8));
        let opened = spool.open(&runtime, |folder| flip(folder, at, bit));
        opened.assert_counted(1);
    });
}

#[test]
fn a_cut_at_any_byte_costs_only_the_events_behind_it_which_are_counted() {
    let runtime = runtime();
    let spool = runtime.block_on(killed(4, 600, 60));
    let mut sites = Vec::new();
    for file in files(spool.folder.path()) {
        let name = file.file_name().unwrap().to_owned();
        let bytes = std::fs::read(&file).unwrap();
        let length = bytes.len() as u64;
        // A file of zeros has room for later events, and nothing to lose.
        let step = if bytes.iter().all(|byte| *byte == 0) {
            PAGE as usize
        } else {
            1
        };
        sites.extend(
            (0..length)
                .step_by(step)
                .map(|at| (name.clone(), length, at)),
        );
    }
    Trial::new("sink-cuts", 200).run_over(&sites, |(name, length, at)| {
        let opened = spool.open(&runtime, |folder| {
            let file = std::fs::File::options().write(true).open(folder.join(name));
            file.unwrap().set_len(*at).unwrap();
        });
        opened.assert_reported((length - at).div_ceil(600).min(spool.events));
    });
}

#[test]
fn a_zeroed_page_costs_only_the_events_on_it_which_are_counted() {
    let runtime = runtime();
    let kinds = [(1, 600, 300), (16, 600, 2_000), (16, 200_000, 48)];
    let spools = kinds.map(|(group, bytes, events)| runtime.block_on(killed(group, bytes, events)));
    let mut sites = Vec::new();
    for (kind, spool) in spools.iter().enumerate() {
        for file in files(spool.folder.path()) {
            let name = file.file_name().unwrap().to_owned();
            let length = file.metadata().unwrap().len();
            sites.extend((0..length.div_ceil(PAGE)).map(|page| (kind, name.clone(), page)));
        }
    }
    Trial::new("sink-zeroed-pages", 100).run_over(&sites, |(kind, name, page)| {
        let spool = &spools[*kind];
        let opened = spool.open(&runtime, |folder| {
            let path = folder.join(name);
            let length = path.metadata().unwrap().len();
            let file = std::fs::File::options().write(true).open(path).unwrap();
            let zeros = vec![0; (length - page * PAGE).min(PAGE) as usize];
            file.write_all_at(&zeros, page * PAGE).unwrap();
        });
        let smallest = spool.payload_bytes as u64;
        opened.assert_counted(PAGE.div_ceil(smallest) + 1);
    });
}
