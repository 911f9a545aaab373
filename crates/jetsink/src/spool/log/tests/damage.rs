//! Files that were cut, flipped or zeroed behind the spool's back.

use std::collections::BTreeMap;

use trial::Dice;

use super::model::{Model, open, read};
use super::simulated_disk::SimulatedDisk;

/// Flips per file: some of its bits, or with optimization many.
const FLIPS: usize = if cfg!(debug_assertions) { 60 } else { 3_000 };

type Files = BTreeMap<String, Vec<u8>>;

/// The files of a process that was killed at rest, with events that wait and some that have left.
fn killed_at_rest(groups: &[usize], leaves: bool) -> (Files, Model) {
    let mut dice = Dice::new(7);
    let (disk, mut model) = (SimulatedDisk::default(), Model::default());
    let (mut log, _) = open(&disk).unwrap();
    for group in groups {
        assert!(model.append(&mut log, &disk, *group, &mut dice));
    }
    if leaves {
        for from in 0..3 {
            assert!(model.leave(&mut log, from, 4));
        }
    }
    log.seal().unwrap();
    disk.process_is_killed();
    (disk.files(), model)
}

/// Opens damaged files, and compares them with what was there: each event is delivered or counted.
/// Returns how many are missing.
fn check(files: &Files, model: &Model) -> (u64, bool) {
    let disk = SimulatedDisk::of(files);
    let (log, loss) = open(&disk).unwrap();
    let found = read(&log);
    let mut numbers: Vec<u64> = found.events.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), found.events.len(), "one twice");
    let expected = model.events.iter();
    let expected = expected.filter(|(_, (_, fate))| *fate == super::model::Fate::Spooled);
    let missing = expected.filter(|(number, _)| numbers.binary_search(number).is_err());
    let missing = missing.count() as u64;
    let unread = loss.torn_bytes > 0 || loss.unreadable_files > 0;
    assert!(
        missing <= loss.damaged || unread,
        "{missing} missing: {loss:?}"
    );
    // A restart changes nothing of that, and tells nothing twice.
    let before = found.events.len();
    log.close();
    let (log, again) = open(&disk).unwrap();
    assert_eq!(read(&log).events.len(), before);
    assert!(
        again.torn_bytes == 0 && again.unreadable_files == 0,
        "{again:?}"
    );
    (missing, missing == loss.damaged)
}

#[test]
fn a_flipped_bit_costs_at_most_its_record_and_is_counted() {
    for groups in [vec![1; 40], vec![16; 5], vec![200]] {
        let (files, model) = killed_at_rest(&groups, true);
        assert_eq!(check(&files, &model), (0, true));
        let mut dice = Dice::new(3);
        for name in files.keys() {
            for _ in 0..FLIPS {
                let mut files = files.clone();
                let bytes = files.get_mut(name).unwrap();
                let at = dice.index(bytes.len());
                bytes[at] ^= 1 << dice.below(8);
                let (missing, exact) = check(&files, &model);
                assert!(missing <= 1, "{missing} at byte {at} of {name}");
                assert!(missing == 0 || exact);
            }
        }
    }
}

#[test]
fn a_cut_at_any_byte_loses_only_what_is_cut_off_and_counts_it() {
    let (files, model) = killed_at_rest(&[5; 20], true);
    for (name, whole) in &files {
        let mut last = u64::MAX;
        let step = if cfg!(debug_assertions) { 397 } else { 1 };
        for length in (0..whole.len()).step_by(step) {
            let mut files = files.clone();
            files.get_mut(name).unwrap().truncate(length);
            let (missing, _) = check(&files, &model);
            assert!(missing <= last, "a longer file has more");
            last = missing;
        }
    }
}

#[test]
fn a_zeroed_page_costs_only_the_records_on_it() {
    let (files, model) = killed_at_rest(&[7; 30], true);
    for (name, whole) in &files {
        for page in 0..whole.len() / 4_096 {
            let mut files = files.clone();
            let bytes = files.get_mut(name).unwrap();
            bytes[page * 4_096..(page + 1) * 4_096].fill(0);
            let (missing, exact) = check(&files, &model);
            // The smallest record has some 100 bytes.
            assert!(missing <= 40, "{missing} on page {page} of {name}");
            assert!(missing == 0 || exact, "page {page} of {name}");
        }
    }
}
