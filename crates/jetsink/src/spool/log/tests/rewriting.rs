//! Segments with few live records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use trial::Dice;

use super::model::ACCESS;
use crate::Subject;
use crate::spool::log::event::NewRecord;
use crate::spool::log::index::Segment;
use crate::spool::log::opening;
use crate::spool::log::reserve;
use crate::spool::log::tests::Removed;
use crate::spool::log::tests::events_of;
use crate::spool::log::writer::Log;
use crate::spool::tests::event;
use crate::spool::tests::simulated_disk::{Failing, Fault, SimulatedDisk};
use crate::sync::lock;

fn open(disk: &SimulatedDisk) -> Log {
    let (log, mut backlog) = opening::open(disk.open(), ACCESS).unwrap();
    backlog.scan();
    assert!(backlog.loss.is_none(), "{:?}", backlog.loss);
    log
}

fn is_blocked(segment: &Segment) -> bool {
    segment.unmarked.is_empty()
}

fn subject(text: &str) -> Subject {
    Subject::new(text).unwrap()
}

/// A segment with one event of `blocked`, number `at`, between others.
fn append_segment(log: &mut Log, at: usize) {
    let events: Vec<NewRecord> = (0..60)
        .map(|number| match number {
            30 => event("blocked", at),
            _ => event("a", number),
        })
        .collect();
    log.append_reserved(&events.iter().collect::<Vec<_>>())
        .unwrap();
    log.finish();
}

/// Lets all events of `a` leave. Returns whether they are marked.
fn deliver(log: &mut Log) -> bool {
    let chunk = events_of(&log.index, &subject("a"), 0, 1_000);
    let removed = chunk.entries.into_iter().map(|(index, bytes, _)| Removed {
        subject: Some(subject("a")),
        index,
        bytes,
    });
    let removed: Vec<Removed> = removed.collect();
    matches!(
        log.deliver(&removed),
        Ok(crate::spool::log::marks::Marked::OnDisk)
    )
}

/// The message ids of a subject's events.
fn ids(log: &Log, of: &str) -> Vec<String> {
    let (mut ids, mut next) = (Vec::new(), 0);
    loop {
        let chunk = events_of(&log.index, &subject(of), next, 100);
        for (_, _, record) in chunk.entries {
            let record = record.unwrap();
            ids.push(record.envelope.message_id().unwrap().as_str().to_owned());
        }
        if !chunk.more {
            return ids;
        }
        next = chunk.next;
    }
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("sink.{number}")).collect()
}

#[test]
fn a_thousand_segments_with_one_blocked_event_each_keep_few_files_open_and_little_room() {
    const SEGMENTS: usize = 1_000;
    let disk = SimulatedDisk::default();
    let mut log = open(&disk);
    for at in 0..SEGMENTS {
        append_segment(&mut log, at);
        assert!(deliver(&mut log));
        while log.rewrite(|_| true) {}
    }
    // The newest one is not rewritten.
    assert!(disk.used() < SEGMENTS as u64 * 6_000, "{}", disk.used());
    assert_eq!(ids(&log, "blocked"), numbered(0..SEGMENTS));
    assert!(disk.open_files() < 80, "{}", disk.open_files());
    disk.process_is_killed();
    drop(log);
    assert_eq!(disk.open_files(), 0);
    let mut log = open(&disk);
    assert_eq!(ids(&log, "blocked"), numbered(0..SEGMENTS));
    assert!(ids(&log, "a").is_empty());
    assert!(disk.open_files() < 80, "{}", disk.open_files());
    while log.rewrite(|_| true) {}
    assert_eq!(ids(&log, "blocked"), numbered(0..SEGMENTS));
}

/// Two segments with a blocked event each, and another that keeps them from being the newest.
fn sparse() -> (SimulatedDisk, Log) {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk);
    for at in 0..2 {
        append_segment(&mut log, at);
    }
    log.append_reserved(&[&event("keep", 2)]).unwrap();
    assert!(deliver(&mut log));
    (disk, log)
}

#[test]
fn segment_that_events_are_leaving_is_not_rewritten_ahead_of_their_marks() {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk);
    append_segment(&mut log, 0);
    log.append_reserved(&[&event("keep", 1)]).unwrap();
    let a = subject("a");
    for (index, bytes, _) in events_of(&log.index, &a, 0, 1_000).entries {
        lock(&log.index).leave(Some(&a), index, bytes);
    }
    assert!(!log.rewrite(is_blocked));
    log.mark_left().unwrap();
    assert!(log.rewrite(is_blocked), "no other event has left");
    assert_eq!(ids(&log, "blocked"), numbered(0..1));
}

#[test]
fn rewrite_that_ends_at_any_step_loses_and_doubles_nothing() {
    let steps = {
        let (disk, mut log) = sparse();
        let (calls, used) = (disk.calls(), disk.used());
        while log.rewrite(|_| true) {}
        assert!(disk.used() + 40_000 < used, "{} of {used}", disk.used());
        disk.calls() - calls
    };
    for step in 0..steps {
        for seed in 0..6 {
            let (disk, mut log) = sparse();
            disk.dies_in(step);
            while log.rewrite(|_| true) {}
            drop(log);
            if seed == 0 {
                // A kill loses no write.
                disk.process_is_killed();
            }
            let mut dice = Dice::new(seed);
            disk.power_returns(&mut dice);
            let log = open(&disk);
            assert_eq!(ids(&log, "blocked"), numbered(0..2), "step {step}");
            assert!(ids(&log, "a").is_empty(), "step {step}");
        }
        for fault in [Fault::Device, Fault::Full, Fault::Short] {
            let (disk, mut log) = sparse();
            disk.fail(Some(Failing {
                from: disk.calls() + step,
                fault,
                for_good: false,
            }));
            while log.rewrite(|_| true) {}
            disk.fail(None);
            assert_eq!(ids(&log, "blocked"), numbered(0..2), "step {step}");
            append_segment(&mut log, 2);
            assert!(deliver(&mut log));
            disk.dies_in(0);
            drop(log);
            disk.power_returns(&mut Dice::new(step));
            let log = open(&disk);
            assert_eq!(ids(&log, "blocked"), numbered(0..3), "step {step}");
            assert!(ids(&log, "a").is_empty(), "step {step}");
        }
    }
}

#[test]
fn rewrite_that_found_no_room_is_made_once_there_is_room() {
    let (disk, mut log) = sparse();
    reserve::release(&*log.disk);
    disk.set_capacity(Some(disk.used()));
    let used = disk.used();
    assert!(!log.rewrite(|_| true));
    disk.set_capacity(None);
    while log.rewrite(|_| true) {}
    assert!(
        disk.used() + 40_000 < used + (128 << 10),
        "{} of {used}",
        disk.used()
    );
    assert_eq!(ids(&log, "blocked"), numbered(0..2));
}

#[test]
fn damage_that_is_found_during_a_rewrite_is_counted_once() {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk);
    // The other one keeps the segment.
    let blocked = [event("blocked", 0), event("blocked", 1)];
    log.append_reserved(&blocked.each_ref()).unwrap();
    append_segment(&mut log, 2);
    log.append_reserved(&[&event("keep", 3)]).unwrap();
    assert!(deliver(&mut log));
    let place = {
        let index = log.index.lock().unwrap();
        let mut places = index.subjects[&subject("blocked")].places.from(0);
        places.next().unwrap()
    };
    let sparse = log.next_sparse(|_| true).unwrap();
    let name = log.index.lock().unwrap().segments[&0].name.clone();
    let file = log.disk.open(&name).unwrap();
    let zeros = vec![0; place.size as usize];
    let mut zeros = [std::io::IoSlice::new(&zeros)];
    file.write_at(place.offset, &mut zeros).unwrap();
    drop(file);
    // A reader finds it.
    let mut index = log.index.lock().unwrap();
    index.leave(Some(&subject("blocked")), place.index, place.size);
    drop(index);
    log.replace(&sparse, "0123456789abcdef.next").unwrap();
    log.mark_left().unwrap();
    disk.process_is_killed();
    drop(log);
    assert_eq!(ids(&open(&disk), "blocked"), numbered(1..3));
}

#[test]
fn blocked_events_do_not_keep_a_full_disk_full() {
    let disk = SimulatedDisk::default();
    disk.set_capacity(Some(2 << 20));
    let mut log = open(&disk);
    let (mut blocked, mut before) = (0, 50);
    for outage in 0..6 {
        let mut segments = 0;
        loop {
            let events: Vec<NewRecord> = (0..60).map(|number| event("a", number)).collect();
            let mut records: Vec<&NewRecord> = events.iter().collect();
            let first = event("blocked", blocked);
            records.push(&first);
            if log.append_reserved(&records).is_err() {
                break;
            }
            blocked += 1;
            segments += 1;
        }
        // Each blocked event keeps two pages.
        assert!(segments * 10 >= before * 7, "{segments} in outage {outage}");
        before = segments;
        while !ids(&log, "a").is_empty() {
            deliver(&mut log);
            while log.rewrite(|_| true) {}
        }
    }
    assert_eq!(ids(&log, "blocked"), numbered(0..blocked));
}

#[test]
fn events_are_read_while_their_segments_are_rewritten() {
    // More than stay open, so that a read opens files again.
    const SEGMENTS: usize = 80;
    let disk = SimulatedDisk::default();
    let mut log = open(&disk);
    for at in 0..SEGMENTS {
        append_segment(&mut log, at);
    }
    log.append_reserved(&[&event("keep", 0)]).unwrap();
    while !ids(&log, "a").is_empty() {
        assert!(deliver(&mut log));
    }
    disk.slow_renames(Duration::from_millis(3));
    let index = Arc::clone(&log.index);
    let is_over = Arc::<AtomicBool>::default();
    let ends = Arc::clone(&is_over);
    let reader = std::thread::spawn(move || {
        let mut reads = 0;
        while !ends.load(Ordering::Relaxed) {
            let chunk = events_of(&index, &subject("blocked"), 0, SEGMENTS);
            assert_eq!(chunk.entries.len(), SEGMENTS);
            let damaged = chunk.entries.iter().filter(|(.., record)| record.is_err());
            assert_eq!(damaged.count(), 0);
            reads += 1;
        }
        reads
    });
    while log.rewrite(|_| true) {}
    is_over.store(true, Ordering::Relaxed);
    assert!(reader.join().unwrap() > 0);
    assert_eq!(ids(&log, "blocked"), numbered(0..SEGMENTS));
}
