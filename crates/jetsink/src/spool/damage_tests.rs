//! A closed spool's file, cut at any byte, with bits flipped and sectors zeroed: no event is invented or
//! altered, what is missing is told, and the rest is there.

use std::path::Path;

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use trial::{Dice, Trial};

use super::file_in;
use super::tests::{envelope, fill, numbers, open, soon};

/// A log of more than 64 KiB.
const EVENTS: usize = 200;
const SECTOR: usize = 512;

/// In memory, where the system has that: this is no matter of syncs.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// A spool that was closed in good order: its file's bytes, and the folder.
fn written() -> (Vec<u8>, TempDir) {
    let folder = folder();
    runtime().block_on(async {
        let spool = open(folder.path());
        fill(&spool, EVENTS).await;
        assert!(spool.status().used_bytes > 64 << 10);
    });
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

/// Opens it: what is read must be what was written, in order, and what is missing must be told.
async fn check(folder: &Path) {
    let spool = open(folder);
    let mut found = 0;
    for name in ["a", "b"] {
        let numbers = numbers(&spool, name).await;
        assert!(numbers.is_sorted());
        found += numbers.len();
    }
    match spool.loss() {
        None => assert_eq!(found, EVENTS, "a loss that nobody told"),
        Some(loss) => {
            assert_eq!(loss.salvaged as usize, found);
            assert!(loss.set_aside.as_ref().is_none_or(|path| path.exists()));
            if let Some(lost) = loss.lost {
                assert_eq!(lost as usize + found, EVENTS);
            }
        }
    }
    // And it goes on.
    let more = envelope("c", 0);
    spool.append_event(&more, None, soon()).await.unwrap();
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
                let near = (at + dice.index(4_096)).min(bytes.len() - 1);
                bytes[near] ^= 1 << dice.below(8);
            }
        }
        _ => bytes[at] ^= 1 << dice.below(8),
    }
}

#[test]
fn a_file_with_flipped_bits_and_zeroed_sectors_invents_nothing_and_tells_its_loss() {
    let (bytes, original) = written();
    Trial::new("spool-flips", 400).run(|dice| {
        let mut damaged = bytes.clone();
        damage(dice, &mut damaged);
        let folder = with_bytes(original.path(), &damaged);
        runtime().block_on(check(folder.path()));
    });
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
