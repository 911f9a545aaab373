//! A closed spool's file, cut at any byte, with bits flipped and sectors zeroed: no event is invented or
//! altered, what is missing is told, and the rest is there.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use trial::{Dice, Trial};

use crate::spool::damaged::VERSIONS;
use crate::spool::store::Store;
use crate::spool::tables::Batch;
use crate::spool::tests::{appending, envelope, letter, numbers, open, record, soon, subject};
use crate::spool::{file_in, salvage};

/// A log of more than 64 KiB.
const EVENTS: usize = 200;
const SECTOR: usize = 512;
/// Of the store.
const PAGE: usize = 4_096;

/// In memory, where the system has that: this is no matter of syncs.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// Every third one of another subject.
fn append(indexes: Range<u64>) -> Batch {
    appending(indexes.map(|index| record(if index % 3 == 0 { "b" } else { "a" }, index)))
}

/// A spool that was closed in good order, the same each time: its file's bytes, and the folder.
fn written() -> (Vec<u8>, TempDir) {
    let folder = folder();
    let (store, _) = Store::open(&file_in(folder.path())).unwrap();
    for first in (0..EVENTS as u64).step_by(8) {
        store.commit(&append(first..first + 8)).unwrap();
    }
    let lanes = store.contents().unwrap().lanes;
    assert!(lanes.values().map(|lane| lane.bytes).sum::<u64>() > 64 << 10);
    store.close().unwrap();
    (std::fs::read(file_in(folder.path())).unwrap(), folder)
}

/// The folder again, with other bytes in its file.
fn with_bytes(original: &Path, bytes: &[u8]) -> TempDir {
    let folder = folder();
    for entry in std::fs::read_dir(original).unwrap() {
        let entry = entry.unwrap();
        let to = folder.path().join(entry.file_name());
        if to == file_in(folder.path()) {
            std::fs::write(to, bytes).unwrap();
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
    folder
}

/// Opens it: what is read must be what was written, in order, and what is missing must be told. Gives how many
/// were kept, where the file was damaged.
async fn check(folder: &Path) -> Option<usize> {
    let spool = open(folder);
    let mut found = 0;
    for name in ["a", "b"] {
        let numbers = numbers(&spool, name).await;
        assert!(numbers.is_sorted());
        found += numbers.len();
    }
    let kept = match spool.loss() {
        None => {
            assert_eq!(found, EVENTS, "a loss that nobody told");
            None
        }
        Some(loss) => {
            assert_eq!(loss.salvaged as usize, found);
            assert!(loss.set_aside.as_ref().is_none_or(|path| path.exists()));
            if let Some(lost) = loss.lost {
                assert_eq!(lost as usize + found, EVENTS);
            }
            Some(found)
        }
    };
    // And it goes on.
    let more = envelope("c", 0);
    spool.append_event(&more, None, soon()).await.unwrap();
    kept
}

/// A bit, some bits of one page, or a sector or page of zeros.
fn damage(dice: &mut Dice, bytes: &mut [u8]) {
    let at = dice.index(bytes.len());
    match dice.below(8) {
        0 => {
            let from = at / SECTOR * SECTOR;
            let count = *dice.one_of(&[1, 1, 8]) * SECTOR;
            let end = (from + count).min(bytes.len());
            bytes[from..end].fill(0);
        }
        1 => {
            for _ in 0..8 {
                let near = (at + dice.index(PAGE)).min(bytes.len() - 1);
                bytes[near] ^= 1 << dice.below(8);
            }
        }
        _ => bytes[at] ^= 1 << dice.below(8),
    }
}

#[test]
fn a_seed_damages_the_same_byte_of_the_same_file() {
    let [(one, _first), (other, _second)] = [(); 2].map(|()| written());
    assert!(one == other);
}

#[test]
fn a_file_with_flipped_bits_and_zeroed_sectors_invents_nothing_and_tells_its_loss() {
    let (bytes, original) = written();
    // Of damaged files, and of those that nine tenths of the events were kept of.
    let (damaged_files, mostly_kept) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Trial::new("spool-flips", 400).run(|dice| {
        let mut damaged = bytes.clone();
        damage(dice, &mut damaged);
        let folder = with_bytes(original.path(), &damaged);
        if let Some(kept) = runtime().block_on(check(folder.path())) {
            damaged_files.fetch_add(1, Ordering::Relaxed);
            let mostly = usize::from(kept * 10 >= EVENTS * 9);
            mostly_kept.fetch_add(mostly, Ordering::Relaxed);
        }
    });
    let (damaged_files, mostly_kept) = (damaged_files.into_inner(), mostly_kept.into_inner());
    println!("nine tenths were kept of {mostly_kept} of {damaged_files} damaged files");
    // A few say nothing: one that leads to others may be hit.
    assert!(damaged_files < 100 || mostly_kept * 10 >= damaged_files * 9);
}

/// Found by the trial, one file of 100,000: it was taken for one of another version, and refused.
#[test]
fn a_bit_of_the_stores_version_costs_nothing() {
    let (bytes, original) = written();
    for at in VERSIONS {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at as usize] ^= 1 << bit;
            let folder = with_bytes(original.path(), &damaged);
            let kept = runtime().block_on(check(folder.path()));
            assert_eq!(kept, Some(EVENTS), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_file_cut_at_any_byte_invents_nothing_and_tells_its_loss() {
    let (bytes, original) = written();
    let lengths: Vec<usize> = (0..bytes.len()).collect();
    Trial::new("spool-cuts", 250).run_over(&lengths, |length| {
        let folder = with_bytes(original.path(), &bytes[..*length]);
        runtime().block_on(check(folder.path()));
    });
}

/// Events and dead letters of these indexes in a file as a crash leaves it, without each page that names
/// one of the message ids.
fn without_pages_of(message_ids: &[&str], events: Range<u64>, letters: Range<u64>) -> TempDir {
    let folder = folder();
    let (store, _) = Store::open(&file_in(folder.path())).unwrap();
    let batch = Batch {
        bury: letters.map(|index| letter("c", index)).collect(),
        ..append(events)
    };
    store.commit(&batch).unwrap();
    // By one commit the store goes back.
    let mark = Batch {
        replay_began: Some(true),
        ..Batch::default()
    };
    store.commit(&mark).unwrap();
    let mut bytes = std::fs::read(file_in(folder.path())).unwrap();
    for page in bytes.chunks_mut(PAGE) {
        let names = |id: &&str| page.windows(id.len()).any(|part| part == id.as_bytes());
        if message_ids.iter().any(names) {
            page.fill(0);
        }
    }
    with_bytes(folder.path(), &bytes)
}

/// How many are missing of `all`: those of one page, among them the one in the middle.
fn missing(all: Range<u64>, kept: &[u64]) -> u64 {
    let middle = (all.start + all.end) / 2;
    assert!(!kept.contains(&middle), "{kept:?}");
    let missing = all.filter(|index| !kept.contains(index)).count();
    // Each is longer than 300 bytes.
    assert!(missing <= PAGE / 300, "{kept:?}");
    missing as u64
}

fn dead_indexes(store: &Store) -> Vec<u64> {
    let letters = store.dead(0, EVENTS).unwrap();
    letters.iter().map(|(index, _)| *index).collect()
}

#[test]
fn what_stands_before_and_behind_a_damaged_page_is_kept() {
    let (events, letters) = (0..200, 200..400);
    let damaged = without_pages_of(&["sink.100", "sink.300"], events.clone(), letters.clone());
    let (store, _, loss) = salvage::open(damaged.path()).unwrap();
    let loss = loss.unwrap();
    let kept = ["a", "b"].map(|name| store.lane(&subject(name), 0, EVENTS).unwrap().entries);
    let mut kept: Vec<u64> = kept.iter().flatten().map(|(index, ..)| *index).collect();
    kept.sort_unstable();
    assert_eq!(loss.salvaged, kept.len() as u64);
    assert_eq!(loss.lost, Some(missing(events, &kept)));
    let kept = dead_indexes(&store);
    assert_eq!(loss.dead_letters_salvaged, kept.len() as u64);
    assert_eq!(loss.dead_letters_lost, Some(missing(letters, &kept)));
}

#[test]
fn dead_letters_alone_are_kept_like_events() {
    let damaged = without_pages_of(&["sink.100"], 0..0, 0..200);
    let (store, _, loss) = salvage::open(damaged.path()).unwrap();
    let lost = loss.unwrap().dead_letters_lost;
    assert_eq!(lost, Some(missing(0..200, &dead_indexes(&store))));
}
