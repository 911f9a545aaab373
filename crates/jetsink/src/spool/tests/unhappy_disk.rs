//! Full disks, missing files, failed marks and half-begun segments: replay goes on, and the spool opens.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use trial::Dice;

use super::simulated_disk::{Failing, Fault, SimulatedDisk};
use super::{envelope, event, places, soon, subject};
use crate::outcome::{SpoolError, SpoolLoss};
use crate::spool::log::event::NewRecord;
use crate::spool::log::format::{Head, Kind, NONE, Range, Start, State, encode_runs, put_record};
use crate::spool::log::marks::Marked;
use crate::spool::log::opening;
use crate::spool::log::tests::Removed;
use crate::spool::log::tests::events_of;
use crate::spool::log::writer::{Log, segment_name};
use crate::spool::log::{reader, reserve};
use crate::spool::queue::{Change, StateChange, Writer};
use crate::spool::{Baseline, Baselines, DeadRecord, Record, Spool};
use crate::sync::lock;
use crate::{Envelope, MessageId};

const SMALL: Option<u64> = Some(32 << 10);

fn at_once(disk: &SimulatedDisk) -> Spool {
    Spool::at_once(disk.open(), 1 << 30).unwrap()
}

fn fail(disk: &SimulatedDisk, fault: Option<Fault>) {
    disk.fail(fault.map(|fault| Failing {
        from: 0,
        fault,
        for_good: true,
    }));
}

/// A segment for each event.
fn with_small_segments(disk: &SimulatedDisk) -> Spool {
    let (log, backlog) = opening::open(disk.open(), Some(4_096)).unwrap();
    let spool = Spool::over(log, backlog, 1 << 30, Writer::at_once, |scan| {
        scan.run(|| ());
        Ok(())
    });
    spool.unwrap()
}

async fn append(spool: &Spool, to: &str, number: usize) -> Result<(), SpoolError> {
    spool
        .append_event(&envelope(to, number), None, soon())
        .await
}

/// Appends events until none fits any more, the last ones tiny; returns how many fitted.
async fn fill_up(spool: &Spool) -> u64 {
    let (mut fitted, mut refused) = (0, 0);
    for number in 0.. {
        let id = MessageId::new(format!("sink.{number}")).unwrap();
        let event = match refused {
            0..20 => envelope("a", number),
            20..40 => Envelope::new(subject("a"), "x".into()).with_message_id(id),
            _ => break,
        };
        match spool.append_event(&event, None, soon()).await {
            Ok(()) => fitted += 1,
            Err(_) => refused += 1,
        }
    }
    fitted
}

fn small_disk() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    disk.set_capacity(Some(600 << 10));
    disk
}

#[tokio::test]
async fn replay_begins_on_a_full_disk() {
    let spool = at_once(&small_disk());
    assert!(fill_up(&spool).await > 100);
    spool.replay_begins(&Baselines::new()).await.unwrap();
    assert!(spool.replay_began());
}

#[tokio::test]
async fn replay_begins_on_a_full_disk_beside_an_event_that_finds_no_room() {
    let spool = at_once(&small_disk());
    fill_up(&spool).await;
    let event = NewRecord::event(
        &Record {
            index: 0,
            spooled_at: 1,
            may_be_stored: false,
            envelope: envelope("a", 0),
        },
        None,
    );
    lock(&spool.index).reserve(&subject("a"), event.head.size());
    let (events, mut event_done) = oneshot::channel();
    let (begins, mut begins_done) = oneshot::channel();
    let group = vec![
        Change {
            records: vec![event],
            done: Some(events),
            ..Change::default()
        },
        Change {
            state: Some(StateChange::ReplayBegins(Baselines::new())),
            done: Some(begins),
            ..Change::default()
        },
    ];
    spool.step(group, std::time::Instant::now());
    assert!(event_done.try_recv().unwrap().0.is_err());
    begins_done.try_recv().unwrap().0.unwrap();
    assert!(spool.replay_began());
}

#[tokio::test]
async fn replay_begins_on_a_full_disk_before_larger_records_in_doubt_are_written() {
    let disk = SimulatedDisk::default();
    let spool = at_once(&disk);
    append(&spool, "a", 0).await.unwrap();
    // From the write into a new segment on.
    disk.fail(Some(Failing {
        from: disk.calls() + 2,
        fault: Fault::Device,
        for_good: true,
    }));
    let above = Baselines::from([("S".to_owned(), Baseline::new(5))]);
    let larger = Envelope::new(subject("a"), vec![b'x'; 2 * reserve::BYTES].into());
    let appended = spool.append_event(&larger, Some(&above), soon()).await;
    assert!(appended.unwrap_err().may_be_spooled());
    fail(&disk, None);
    disk.set_capacity(Some(disk.used()));
    spool.replay_begins(&Baselines::new()).await.unwrap();
    assert!(append(&spool, "a", 1).await.is_err());
    spool.forget_baselines(&["S".to_owned()]);
    disk.set_capacity(None);
    spool.written().await.unwrap();
    assert_eq!(places(&spool, "a", 9).await.len(), 2);
    disk.process_is_killed();
    drop(spool);
    let spool = at_once(&disk);
    assert_eq!((spool.loss(), spool.status().events), (None, 2));
    assert_eq!(
        (spool.replay_began(), spool.baselines()),
        (true, Baselines::new())
    );
}

#[tokio::test]
async fn event_that_left_is_counted_until_its_removal_succeeds() {
    let disk = SimulatedDisk::default();
    let spool = with_small_segments(&disk);
    for number in 0..2 {
        append(&spool, "a", number).await.unwrap();
    }
    spool.delivered(&places(&spool, "a", 1).await[0]);
    fail(&disk, Some(Fault::Device));
    assert!(spool.remove_delivered(&Baselines::new()).await.is_err());
    assert_eq!(spool.delivered_events(), 1);
    fail(&disk, None);
    spool.remove_delivered(&Baselines::new()).await.unwrap();
    assert_eq!(spool.delivered_events(), 0);
}

#[tokio::test]
async fn spool_opens_on_a_full_disk_after_a_kill_and_after_a_close() {
    for is_killed in [true, false] {
        let disk = small_disk();
        let spool = at_once(&disk);
        let fitted = fill_up(&spool).await;
        if is_killed {
            disk.process_is_killed();
        }
        drop(spool);
        let spool = at_once(&disk);
        assert_eq!(spool.status().events, fitted);
        assert_eq!(spool.loss(), None);
    }
}

#[tokio::test]
async fn segment_that_is_gone_does_not_stop_replay() {
    let disk = SimulatedDisk::default();
    let opened = disk.open();
    let spool = Spool::at_once(Arc::clone(&opened), 1 << 30).unwrap();
    for number in 0..400 {
        append(&spool, "a", number).await.unwrap();
    }
    let files = disk.files();
    let first = files.keys().find(|name| name.ends_with(".log"));
    opened.remove(first.unwrap()).unwrap();
    for place in places(&spool, "a", 400).await {
        spool.delivered(&place);
    }
    spool.remove_delivered(&Baselines::new()).await.unwrap();
    assert_eq!(spool.delivered_events(), 0);
}

#[tokio::test]
async fn kill_before_the_first_write_of_a_segment_is_no_loss() {
    let disk = SimulatedDisk::default();
    let spool = at_once(&disk);
    for number in 0..3 {
        append(&spool, "a", number).await.unwrap();
    }
    drop(spool);
    for zeros in [0, 256 << 10] {
        let mut files = disk.files();
        files.insert(segment_name(2, 0x1234), vec![0; zeros]);
        let spool = at_once(&SimulatedDisk::of(&files));
        assert_eq!(spool.loss(), None);
        assert!(!spool.replay_began());
        assert_eq!(spool.status().events, 3);
    }
}

fn open(disk: &SimulatedDisk) -> (Log, SpoolLoss, u64) {
    let (log, mut backlog) = opening::open(disk.open(), SMALL).unwrap();
    backlog.scan();
    let letters = log.index.lock().unwrap().dead_letters;
    (log, backlog.loss, letters)
}

fn removed(from: Option<&str>, index: u64) -> Removed {
    let subject = from.map(subject);
    let bytes = 0;
    Removed {
        subject,
        index,
        bytes,
    }
}

fn is_marked(log: &mut Log, removed: &[Removed]) -> bool {
    matches!(log.deliver(removed), Ok(Marked::OnDisk))
}

fn pending(log: &Log, to: &str) -> usize {
    let chunk = events_of(&log.index, &subject(to), 0, 1_000);
    chunk.entries.len()
}

/// The mark of an event is missing when the segment with its dead letter goes.
fn refused_event_after_its_letter_was_deleted(marks_fail: bool, calls: u64) -> usize {
    let disk = SimulatedDisk::default();
    let (mut log, ..) = open(&disk);
    log.append_reserved(&[&event("keep", 1), &event("dead", 2)])
        .unwrap();
    log.finish();
    let chunk = events_of(&log.index, &subject("dead"), 0, 1);
    let record = chunk.entries.into_iter().next().unwrap().2.unwrap();
    let index = record.index;
    let letter = DeadRecord {
        record,
        code: 1,
        died_at: 1,
        reason: "r".into(),
    };
    log.append_reserved(&[&NewRecord::dead_letter(&letter)])
        .unwrap();
    fail(&disk, Some(Fault::Full));
    let dead = removed(Some("dead"), index);
    assert!(!is_marked(&mut log, &[dead]), "the mark has no room");
    fail(&disk, None);
    log.finish();
    log.append_reserved(&[&event("keep", 3)]).unwrap();
    let letters = reader::letters(&log.index, 0, 10).entries;
    if marks_fail {
        fail(&disk, Some(Fault::Full));
    } else {
        disk.dies_in(calls);
    }
    is_marked(&mut log, &[removed(None, letters[0].0)]);
    disk.process_is_killed();
    drop(log);
    disk.fail(None);
    disk.power_returns(&mut Dice::new(1));
    pending(&open(&disk).0, "dead")
}

#[test]
fn refused_event_does_not_come_back_when_its_letter_is_deleted() {
    assert_eq!(refused_event_after_its_letter_was_deleted(true, 0), 0);
    for calls in 0..12 {
        let pending = refused_event_after_its_letter_was_deleted(false, calls);
        assert_eq!(pending, 0, "killed after {calls} calls");
    }
}

#[test]
fn shorter_mark_over_a_failed_longer_one_is_not_torn() {
    let disk = SimulatedDisk::default();
    let (mut log, ..) = open(&disk);
    let many: Vec<NewRecord> = (0..40).map(|number| event("a", number)).collect();
    log.append_reserved(&many.iter().collect::<Vec<_>>())
        .unwrap();
    log.seal().unwrap();
    log.finish();
    disk.fail(Some(Failing {
        from: disk.calls() + 1,
        fault: Fault::Device,
        for_good: false,
    }));
    let places = |odd| {
        let indexes = (0..40).filter(move |index| index % 2 == odd && *index != 0);
        indexes
            .map(|index| removed(Some("a"), index))
            .collect::<Vec<_>>()
    };
    assert!(!is_marked(&mut log, &places(1)), "it stays in memory");
    assert!(is_marked(&mut log, &places(0)));
    disk.process_is_killed();
    drop(log);
    let (log, loss, _) = open(&disk);
    assert!(loss.is_none(), "{loss:?}");
    assert_eq!(pending(&log, "a"), 1);
}

/// The seal names the segment until it is removed, before the segment.
#[test]
fn drained_log_is_not_reported_as_lost_whichever_call_of_its_removal_failed() {
    for call in 0..12 {
        let disk = SimulatedDisk::default();
        let (mut log, ..) = open(&disk);
        log.append_reserved(&[&event("a", 0)]).unwrap();
        log.seal().unwrap();
        log.finish();
        disk.fail(Some(Failing {
            from: disk.calls() + call,
            fault: Fault::Device,
            for_good: false,
        }));
        let _ = log.deliver(&[removed(Some("a"), 0)]);
        disk.fail(None);
        log.mark_left().unwrap();
        disk.process_is_killed();
        drop(log);
        let (log, loss, _) = open(&disk);
        assert!(loss.is_none(), "call {call}: {loss:?}");
        assert_eq!(pending(&log, "a"), 0, "call {call}");
    }
}

/// A segment of these records: kind, index, durable below, body.
fn segment(id: u64, start: &Start, first: u64, records: &[(Kind, u64, u64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let body = start.encode();
    let head = Head::of(Kind::Start, first, first, &body);
    put_record(&head, id, &body, &mut bytes);
    bytes.resize(8_192, 0);
    put_record(&head, id, &body, &mut bytes);
    for (kind, index, durable, body) in records {
        let head = Head {
            replaces: NONE,
            ..Head::of(*kind, *index, *durable, body)
        };
        put_record(&head, id, body, &mut bytes);
    }
    bytes
}

/// Records that no writer of ours makes, with checksums that match.
#[test]
fn impossible_records_cause_no_panic() {
    let body = |number| {
        let event = event("a", number);
        [&event.fields[..], &event.payload[..]].concat()
    };
    let none = Start {
        state: State::default(),
        older: [].into(),
        left: Vec::new(),
    };
    let mut run = encode_runs(&[u64::MAX]);
    run[8] = 9;
    let event_0 = (Kind::Event, 0, 0, body(0));
    for records in [
        vec![event_0.clone(), (Kind::Delivered, 0, 1, run)],
        vec![(Kind::Event, u64::MAX, 0, body(0))],
    ] {
        let file = (segment_name(1, 0x55), segment(0x55, &none, 0, &records));
        open(&SimulatedDisk::of(&[file].into()));
    }
    // Two segments with overlapping indexes.
    let newer = Start {
        state: State::default(),
        older: [(
            0x55,
            Range {
                first: 0,
                end: 40,
                bytes: 0,
            },
        )]
        .into(),
        left: Vec::new(),
    };
    let older = segment(0x55, &none, 0, &[event_0, (Kind::Event, 30, 0, body(1))]);
    let newer = segment(0x66, &newer, 5, &[(Kind::Event, 5, 40, body(2))]);
    let files = [
        (segment_name(1, 0x55), older),
        (segment_name(2, 0x66), newer),
    ];
    open(&SimulatedDisk::of(&files.into()));
}

#[tokio::test]
async fn segment_that_takes_no_marks_does_not_stop_replay() {
    let disk = SimulatedDisk::default();
    let spool = at_once(&disk);
    append(&spool, "blocked", 0).await.unwrap();
    for number in 1..50 {
        append(&spool, "a", number).await.unwrap();
    }
    for fault in [Fault::Device, Fault::Full] {
        let delivered = places(&spool, "a", 20).await;
        fail(&disk, Some(fault));
        for place in delivered {
            spool.delivered(&place);
        }
        spool.remove_delivered(&Baselines::new()).await.unwrap();
        fail(&disk, None);
    }
    spool.remove_delivered(&Baselines::new()).await.unwrap();
    assert_eq!(spool.delivered_events(), 0);
}

#[tokio::test]
async fn state_in_an_empty_newest_segment_survives_restarts() {
    for flip in [0, 40] {
        let disk = SimulatedDisk::default();
        let spool = Spool::threaded(disk.open(), 1 << 30).unwrap();
        for n in 0..3 {
            append(&spool, "a", n).await.unwrap();
        }
        // So that the writer seals them.
        tokio::time::sleep(Duration::from_millis(200)).await;
        spool
            .replay_begins(&Baselines::from([("S".to_owned(), Baseline::new(7))]))
            .await
            .unwrap();
        disk.process_is_killed();
        drop(spool);
        let mut files = disk.files();
        let bytes = files.values_mut().next().unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        // Damages the state record.
        bytes[end - flip] ^= 1;
        let disk = SimulatedDisk::of(&files);
        let spool = at_once(&disk);
        assert!(spool.replay_began());
        // The first event that replay sends is acknowledged before the kill.
        let first = places(&spool, "a", 1).await.remove(0);
        spool.delivered(&first);
        spool.remove_delivered(&Baselines::new()).await.unwrap();
        disk.process_is_killed();
        drop(spool);
        for restart in 0..3 {
            let spool = at_once(&disk);
            assert!(spool.replay_began(), "restart {restart}, flip {flip}");
            disk.process_is_killed();
            drop(spool);
        }
    }
}

#[tokio::test]
async fn segment_that_the_scan_cant_read_keeps_the_marker_and_the_baselines() {
    let above = |sequence| Baselines::from([("S".to_owned(), Baseline::new(sequence))]);
    let disk = SimulatedDisk::default();
    let spool = with_small_segments(&disk);
    for number in 0..3 {
        let event = envelope("a", number);
        let sent = above(5);
        let appended = spool.append_event(&event, Some(&sent), soon()).await;
        appended.unwrap();
    }
    drop(spool);
    let files = disk.files();
    let oldest = files.keys().find(|name| name.ends_with(".log"));
    disk.fail_opening_of(oldest.map(String::as_str));
    let spool = with_small_segments(&disk);
    assert_eq!(spool.status().unreadable_segments, 1);
    spool.reconciled(&subject("a"), &spool.unreconciled());
    for place in places(&spool, "a", 3).await {
        spool.delivered(&place);
    }
    spool.remove_delivered(&above(9)).await.unwrap();
    assert!(spool.is_empty() && spool.replay_began());
    disk.fail_opening_of(None);
    drop(spool);
    let spool = with_small_segments(&disk);
    assert_eq!(spool.status().events, 1);
    assert!(spool.replay_began());
    assert_eq!(spool.baselines(), above(5));
}
