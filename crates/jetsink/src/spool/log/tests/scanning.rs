//! Appends and marks while the segments of an earlier process are scanned.

use crate::Subject;
use crate::spool::log::backlog::Backlog;
use crate::spool::log::event::NewRecord;
use crate::spool::log::marks::Marked;
use crate::spool::log::opening;
use crate::spool::log::reader;
use crate::spool::log::tests::Removed;
use crate::spool::log::tests::events_of;
use crate::spool::log::writer::Log;
use crate::spool::tests::envelope;
use crate::spool::tests::simulated_disk::{Failing, Fault, SimulatedDisk};
use crate::spool::{DeadRecord, Record};

/// Segments of about 25 events.
const ACCESS: Option<u64> = Some(16 << 10);

const EVENTS: usize = 60;

fn subject() -> Subject {
    Subject::new("a").unwrap()
}

fn record(index: u64) -> Record {
    Record {
        index,
        spooled_at: 1,
        may_be_stored: false,
        envelope: envelope("a", index as usize),
    }
}

fn append(log: &mut Log, number: usize) {
    let event = NewRecord::event(&record(number as u64), None);
    log.append_reserved(&[&event]).unwrap();
}

/// Opens a disk that a killed process left with events in several segments.
fn open_with_events(disk: &SimulatedDisk) -> (Log, Backlog) {
    let (mut log, mut backlog) = opening::open(disk.open(), ACCESS).unwrap();
    backlog.scan();
    for number in 0..EVENTS {
        append(&mut log, number);
    }
    disk.process_is_killed();
    drop(log);
    let (log, backlog) = opening::open(disk.open(), ACCESS).unwrap();
    assert!(backlog.unscanned.len() > 2);
    (log, backlog)
}

/// The indexes, bytes and message ids of all events.
fn events(log: &Log) -> Vec<(u64, u64, String)> {
    let chunk = events_of(&log.index, &subject(), 0, usize::MAX);
    assert!(!chunk.more);
    let entries = chunk.entries.into_iter();
    let event = |(index, bytes, record): reader::Entry<Record>| {
        let id = record.unwrap().envelope.message_id().unwrap().to_string();
        (index, bytes, id)
    };
    entries.map(event).collect()
}

fn deliver(log: &mut Log, event: &(u64, u64, String)) {
    let removed = Removed {
        subject: Some(subject()),
        index: event.0,
        bytes: event.1,
    };
    let marked = log.deliver(&[removed]);
    assert!(matches!(marked, Ok(Marked::OnDisk)));
}

/// Checks that the delivery of an event of the segment that was the newest at the opening removes no other.
fn check_delivery_of_resumed_segment(disk: &SimulatedDisk, mut log: Log, first: u64, end: usize) {
    let all = events(&log);
    assert_eq!(all.len(), end);
    let delivered = all.iter().find(|(index, ..)| *index == first).unwrap();
    deliver(&mut log, delivered);
    disk.process_is_killed();
    drop(log);
    let (log, mut backlog) = opening::open(disk.open(), ACCESS).unwrap();
    backlog.scan();
    assert!(backlog.loss.is_none(), "{:?}", backlog.loss);
    let expected: Vec<_> = all.iter().filter(|event| *event != delivered).collect();
    assert_eq!(events(&log).iter().collect::<Vec<_>>(), expected);
}

#[test]
fn events_survive_the_marks_of_a_segment_that_filled_up_during_the_scan() {
    let disk = SimulatedDisk::default();
    let (mut log, mut backlog) = open_with_events(&disk);
    let resumed = log.index.lock().unwrap().newest().unwrap();
    let _ = backlog.scan_part(|| true);
    let mut number = EVENTS;
    while log.index.lock().unwrap().newest() == Some(resumed) {
        append(&mut log, number);
        number += 1;
    }
    assert!(number > EVENTS + 2, "the segment was not written to");
    backlog.scan();
    check_delivery_of_resumed_segment(&disk, log, resumed, number);
}

#[test]
fn events_survive_the_marks_of_a_segment_whose_write_failed_during_the_scan() {
    let disk = SimulatedDisk::default();
    let (mut log, mut backlog) = open_with_events(&disk);
    let resumed = log.index.lock().unwrap().newest().unwrap();
    append(&mut log, EVENTS);
    disk.fail(Some(Failing {
        from: disk.calls(),
        fault: Fault::Device,
        for_good: false,
    }));
    append(&mut log, EVENTS + 1);
    assert_ne!(log.index.lock().unwrap().newest(), Some(resumed));
    backlog.scan();
    check_delivery_of_resumed_segment(&disk, log, resumed, EVENTS + 2);
}

#[test]
fn event_with_a_dead_letter_stays_away_after_two_kills_before_its_segment_is_scanned() {
    let disk = SimulatedDisk::default();
    let (mut log, mut backlog) = open_with_events(&disk);
    backlog.scan();
    let mut expected = events(&log);
    let dead = expected.remove(0);
    // The process ends before the event is marked.
    let letter = NewRecord::dead_letter(&DeadRecord {
        record: record(dead.0),
        code: 1,
        died_at: 1,
        reason: "refused".to_owned(),
    });
    log.append_reserved(&[&letter]).unwrap();
    disk.process_is_killed();
    drop(log);
    let (mut log, _) = opening::open(disk.open(), ACCESS).unwrap();
    let resumed = log.index.lock().unwrap().newest();
    let mut number = EVENTS;
    while log.index.lock().unwrap().newest() == resumed {
        append(&mut log, number);
        number += 1;
    }
    disk.process_is_killed();
    drop(log);
    let (log, mut backlog) = opening::open(disk.open(), ACCESS).unwrap();
    backlog.scan();
    let found = events(&log);
    assert_eq!(found[..expected.len()], expected);
    assert_eq!(found.len(), number - 1);
}

#[test]
fn segment_is_marked_once_it_is_scanned() {
    let disk = SimulatedDisk::default();
    let (mut log, mut backlog) = open_with_events(&disk);
    let index = std::sync::Arc::clone(&log.index);
    let resumed = index.lock().unwrap().newest().unwrap();
    let unmarked = || index.lock().unwrap().segments[&resumed].unmarked.clone();
    // As a hole that the opening found.
    let mut index_of_log = index.lock().unwrap();
    let segment = index_of_log.segments.get_mut(&resumed).unwrap();
    segment.unmarked.push(resumed);
    drop(index_of_log);
    let _ = log.deliver(&[]);
    assert_eq!(unmarked(), [resumed]);
    backlog.scan();
    let _ = log.deliver(&[]);
    assert!(unmarked().is_empty());
}
