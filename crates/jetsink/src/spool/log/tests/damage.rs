//! Files that were cut, flipped or zeroed behind the spool's back.

use std::collections::BTreeMap;

use trial::{Dice, Trial};

use super::model::{Fate, Found, LARGE, Model, open, read};
use crate::spool::tests::simulated_disk::SimulatedDisk;

type Files = BTreeMap<String, Vec<u8>>;

/// The files of a process that was killed, with events that wait and some that have left.
fn killed(groups: &[usize], is_at_rest: bool) -> (Files, Model) {
    killed_with(groups, is_at_rest, 0)
}

/// As [`killed`], with events from this number on.
fn killed_with(groups: &[usize], is_at_rest: bool, next: u64) -> (Files, Model) {
    let mut dice = Dice::new(7);
    let (disk, mut model) = (SimulatedDisk::default(), Model::default());
    model.next = next;
    // Large events are few.
    let (leaving, last) = if next == LARGE { (1, 2) } else { (4, 9) };
    let (mut log, _) = open(&disk).unwrap();
    for group in groups {
        assert!(model.append(&mut log, &disk, *group, &mut dice));
    }
    for from in 0..3 {
        assert!(model.leave(&mut log, from, leaving));
    }
    if is_at_rest {
        log.seal().unwrap();
    } else {
        assert!(model.append(&mut log, &disk, last, &mut dice));
    }
    disk.process_is_killed();
    (disk.files(), model)
}

/// Opens damaged files, and compares them with the model: each event is delivered or counted.
/// Returns how many are missing.
fn check(files: &Files, model: &Model) -> (u64, bool) {
    let disk = SimulatedDisk::of(files);
    let (log, loss) = open(&disk).unwrap();
    let found = read(&log);
    let mut numbers: Vec<u64> = found.events.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), found.events.len(), "one twice");
    let missing = missing(model, &found);
    let unread = loss.torn_bytes > 0 || loss.unreadable_files > 0;
    assert!(
        missing <= loss.damaged || unread,
        "{missing} missing: {loss:?}"
    );
    // A restart keeps the result, and reports nothing twice.
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
    let groups = [
        (vec![1; 40], 0),
        (vec![16; 5], 0),
        (vec![256], 0),
        (vec![2; 3], LARGE),
    ];
    let spools = groups.iter().flat_map(|(groups, next)| {
        let killed = |is_at_rest| (is_at_rest, killed_with(groups, is_at_rest, *next));
        [true, false].map(killed)
    });
    let spools: Vec<_> = spools.collect();
    for (_, (files, model)) in &spools {
        assert_eq!(check(files, model), (0, true));
    }
    Trial::new("spool-flips", 200).run(|dice| {
        let (is_at_rest, (files, model)) = dice.one_of(&spools);
        let mut files = files.clone();
        let names: Vec<String> = files.keys().cloned().collect();
        let name = dice.one_of(&names);
        let bytes = files.get_mut(name).unwrap();
        let at = dice.index(bytes.len());
        bytes[at] ^= 1 << dice.below(8);
        let (missing, exact) = check(&files, model);
        assert!(missing <= 1, "{missing} at byte {at} of {name}");
        // Damage within the last 20 ms is reported as torn.
        assert!(missing == 0 || exact || !is_at_rest);
    });
}

#[test]
fn cut_at_any_byte_loses_and_counts_only_the_records_behind_it() {
    let (files, model) = killed(&[5; 20], true);
    let of_file = |(name, whole): (&String, &Vec<u8>)| {
        (0..whole.len())
            .map(|length| (name.clone(), length))
            .collect::<Vec<_>>()
    };
    let sites: Vec<(String, usize)> = files.iter().flat_map(of_file).collect();
    let records = model.events.len() as u64;
    Trial::new("spool-cuts", 300).run_over(&sites, |(name, length)| {
        let mut files = files.clone();
        let whole = files[name].len();
        files.get_mut(name).unwrap().truncate(*length);
        let (missing, _) = check(&files, &model);
        // No record has less than 80 bytes.
        assert!(missing <= ((whole - length) as u64 / 80 + 1).min(records));
    });
}

#[test]
fn a_zeroed_page_costs_only_the_records_on_it() {
    let (files, model) = killed(&[7; 30], true);
    for (name, whole) in &files {
        for page in 0..whole.len() / 4_096 {
            let mut files = files.clone();
            let bytes = files.get_mut(name).unwrap();
            bytes[page * 4_096..(page + 1) * 4_096].fill(0);
            let (missing, exact) = check(&files, &model);
            // The smallest record has some 100 bytes.
            assert!(missing <= 41, "{missing} on page {page} of {name}");
            assert!(missing == 0 || exact, "page {page} of {name}");
        }
    }
}

/// The events that are missing of those that are spooled.
fn missing(model: &Model, found: &Found) -> u64 {
    let mut numbers: Vec<u64> = found.events.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    let expected = model.events.iter();
    let expected = expected.filter(|(_, (_, fate))| *fate == Fate::Spooled);
    let missing = expected.filter(|(number, _)| numbers.binary_search(number).is_err());
    missing.count() as u64
}

/// No page has more records: the smallest one has some 100 bytes.
const MAX_PER_PAGE: u64 = 41;

#[test]
fn an_unreadable_page_costs_only_the_records_on_it_whenever_it_fails() {
    let (files, model) = killed(&[7; 30], true);
    for (name, whole) in &files {
        for page in 0..whole.len().div_ceil(4_096) as u64 {
            for fails_first in [true, false] {
                let disk = SimulatedDisk::of(&files);
                if fails_first {
                    disk.set_unreadable(name, page);
                }
                let (log, loss) = open(&disk).unwrap();
                disk.set_unreadable(name, page);
                let found = read(&log);
                let missing = missing(&model, &found);
                assert!(
                    missing <= MAX_PER_PAGE,
                    "{missing} on page {page} of {name}"
                );
                let counted = loss.damaged + found.damaged;
                assert!(
                    missing <= counted,
                    "{missing} on page {page} of {name}: {loss:?}"
                );
            }
        }
    }
}

#[test]
fn an_unreadable_page_is_read_once_the_disk_works_again() {
    let (files, model) = killed(&[7; 30], true);
    let name = files.keys().find(|name| name.ends_with(".log")).unwrap();
    let disk = SimulatedDisk::of(&files);
    disk.set_unreadable(name, 3);
    let (log, loss) = open(&disk).unwrap();
    assert!(loss.damaged > 0);
    log.close();
    disk.set_readable();
    let (log, loss) = open(&disk).unwrap();
    assert!(loss.is_none(), "{loss:?}");
    assert_eq!(missing(&model, &read(&log)), 0);
}

#[test]
fn newest_segment_that_lost_its_records_or_vanished_is_reported() {
    for groups in [&[3; 4][..], &[7; 30]] {
        let (files, model) = killed(groups, true);
        let newest = files.keys().rfind(|name| name.ends_with(".log")).unwrap();
        let lengths = [0, 1, 8, 55, 56, 100, 4_096, 4_200].map(Some);
        for length in lengths.into_iter().chain([None]) {
            let mut files = files.clone();
            match length {
                Some(length) => files.get_mut(newest).unwrap().truncate(length),
                None => drop(files.remove(newest)),
            }
            let disk = SimulatedDisk::of(&files);
            let (log, loss) = open(&disk).unwrap();
            let missing = missing(&model, &read(&log));
            assert!(
                missing > 0 && missing <= loss.damaged,
                "{missing} {length:?}: {loss:?}"
            );
            // Anything may be stored by now.
            let state = log.index.lock().unwrap().state.clone();
            assert!(state.replay_began && state.baselines.is_empty());
            log.close();
            let (log, loss) = open(&disk).unwrap();
            assert!(loss.is_none(), "{length:?}: {loss:?}");
            let holds_events = !read(&log).events.is_empty();
            let state = log.index.lock().unwrap().state.clone();
            assert!(state.replay_began || !holds_events);
        }
    }
}
