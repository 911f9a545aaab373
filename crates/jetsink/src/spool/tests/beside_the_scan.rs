//! Replay while the backlog of an earlier process is scanned, on a disk so slow that the scan stands still.

use std::io;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::outcome::Delivery;
use crate::sink::Sink;
use crate::spool::background_scan::Scan;
use crate::spool::log::event::NewRecord;
use crate::spool::log::format::State;
use crate::spool::log::marks::Marked;
use crate::spool::log::opening;
use crate::spool::log::tests::Removed;
use crate::spool::log::writer::Log;
use crate::spool::queue::Writer;
use crate::spool::tests::simulated_disk::{Failing, Fault, SimulatedDisk};
use crate::spool::tests::{envelope, subject};
use crate::spool::{DeadRecord, Record, Spool};
use crate::tests::simulated_broker::Simulated;
use crate::{SinkSettings, SpoolSettings, WindowSize};

/// A segment for each event.
const SMALL: Option<u64> = Some(4_096);

const EVENTS: usize = 40;

/// The events that are found before the scan gets to the segment that hangs.
const FOUND: usize = 16;

/// The pause of the scan before a segment that can't be read.
const PAUSE: Duration = Duration::from_millis(10);

fn subject_of(number: usize) -> &'static str {
    ["a", "b", "c"][number % 3]
}

fn record(number: usize) -> Record {
    Record {
        index: number as u64,
        spooled_at: 1,
        may_be_stored: false,
        envelope: envelope(subject_of(number), number),
    }
}

fn append(log: &mut Log, number: usize) {
    let event = NewRecord::event(&record(number), None);
    log.append_reserved(&[&event]).unwrap();
}

/// A log with events, and the indexes 0, 1, 2 and so on for them unless `state` takes one.
fn log_with_events(disk: &SimulatedDisk, state: Option<State>) -> Log {
    let (mut log, mut backlog) = opening::open(disk.open(), SMALL).unwrap();
    backlog.scan();
    for number in 0..EVENTS {
        append(&mut log, number);
        if let Some(state) = state.clone().filter(|_| number == 0) {
            log.set_state(state).unwrap();
        }
    }
    log
}

fn kill(disk: &SimulatedDisk, log: Log) {
    disk.process_is_killed();
    drop(log);
}

/// The segment behind the first ones.
fn segment_behind(disk: &SimulatedDisk, others: usize) -> Option<String> {
    let files = disk.files().into_keys();
    let mut segments = files.filter(|name| name.ends_with(".log"));
    segments.nth(others)
}

/// Hangs the scan behind the first segments.
fn hang_scan(disk: &SimulatedDisk) {
    disk.hang_opening_of(segment_behind(disk, FOUND).as_deref());
}

fn open(disk: &SimulatedDisk, broker: &Simulated) -> Sink<Simulated> {
    open_and_scan(disk, broker, |scan| {
        std::thread::spawn(move || scan.run(|| std::thread::sleep(PAUSE)));
        Ok(())
    })
}

fn open_and_scan(
    disk: &SimulatedDisk,
    broker: &Simulated,
    scan: impl FnOnce(Scan) -> io::Result<()>,
) -> Sink<Simulated> {
    let (log, backlog) = opening::open(disk.open(), SMALL).unwrap();
    let spool = Spool::over(log, backlog, 1 << 30, Writer::start, scan);
    let settings = SpoolSettings::new("in memory").window(WindowSize::new(4).unwrap());
    let sink_settings = SinkSettings::default();
    Sink::over(broker.clone(), sink_settings, spool.unwrap(), settings)
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waits = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), waits).await.expect(what);
}

fn stored(broker: &Simulated) -> usize {
    broker.with(|broker| broker.stream.len())
}

/// Lets the scan go on until the spool is empty, and checks the stream: `expected` events, each subject in its order.
async fn ends_with(
    disk: &SimulatedDisk,
    broker: &Simulated,
    sink: &Sink<Simulated>,
    expected: Vec<usize>,
) {
    disk.hang_opening_of(None);
    let is_empty = || sink.spool().unwrap().status().events == 0;
    until("the spool is empty", is_empty).await;
    let stream = broker.with(|broker| broker.stream.clone());
    for of in 0..3 {
        let ids = stream
            .iter()
            .filter(|(subject, ..)| subject == subject_of(of));
        let ids: Vec<String> = ids.map(|(_, id, _)| id.clone()).collect();
        let expected = expected
            .iter()
            .filter(|number| subject_of(**number) == subject_of(of));
        let expected: Vec<String> = expected.map(|number| format!("sink.{number}")).collect();
        assert_eq!(ids, expected);
    }
}

#[tokio::test]
async fn replay_sends_the_oldest_events_before_the_scan_has_ended() {
    let (disk, broker) = (SimulatedDisk::default(), Simulated::new());
    kill(&disk, log_with_events(&disk, None));
    hang_scan(&disk);
    let sink = open(&disk, &broker);
    until("what is found is sent", || stored(&broker) == FOUND).await;
    // Any subject may have older events in the segments that are not scanned.
    let late = sink.emit(envelope(subject_of(EVENTS), EVENTS)).await;
    assert_eq!(late.unwrap(), Delivery::Spooled);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(stored(&broker), FOUND);
    ends_with(&disk, &broker, &sink, (0..=EVENTS).collect()).await;
}

#[tokio::test]
async fn events_that_the_scan_finds_late_are_looked_up_too() {
    let (disk, broker) = (SimulatedDisk::default(), Simulated::new());
    kill(&disk, log_with_events(&disk, Some(State::unknown())));
    hang_scan(&disk);
    // All of subject "a" was sent.
    let sent = (0..EVENTS).step_by(3);
    broker.with(|broker| {
        let message = |number| ("a".to_owned(), format!("sink.{number}"), String::new());
        broker.stream.extend(sent.clone().map(message));
    });
    let sink = open(&disk, &broker);
    let before = sent.clone().count();
    let others = (0..FOUND).filter(|number| number % 3 > 0).count();
    until("what is found is sent", || {
        stored(&broker) >= before + others
    })
    .await;
    ends_with(&disk, &broker, &sink, (0..EVENTS).collect()).await;
}

fn dead_letter(number: usize) -> NewRecord {
    NewRecord::dead_letter(&DeadRecord {
        record: record(number),
        code: 1,
        died_at: 1,
        reason: "refused".to_owned(),
    })
}

#[tokio::test]
async fn event_with_a_dead_letter_is_not_sent_before_the_scan_finds_the_letter() {
    let (disk, broker) = (SimulatedDisk::default(), Simulated::new());
    let mut log = log_with_events(&disk, None);
    // The process ends before the event is marked.
    log.append_reserved(&[&dead_letter(0)]).unwrap();
    kill(&disk, log);
    hang_scan(&disk);
    let sink = open(&disk, &broker);
    until("what is found is sent", || stored(&broker) == FOUND - 1).await;
    ends_with(&disk, &broker, &sink, (1..EVENTS).collect()).await;
    assert_eq!(sink.spool().unwrap().status().dead_letters, 1);
}

#[tokio::test]
async fn event_with_a_dead_letter_is_not_sent_if_the_disk_took_no_mark() {
    let (disk, broker) = (SimulatedDisk::default(), Simulated::new());
    let mut log = log_with_events(&disk, None);
    log.append_reserved(&[&dead_letter(0)]).unwrap();
    let removed = Removed {
        subject: Some(subject("a")),
        index: 0,
        bytes: 1,
    };
    disk.fail(Some(Failing {
        from: 0,
        fault: Fault::Device,
        for_good: true,
    }));
    let marked = log.deliver(&[removed]);
    assert!(!matches!(marked, Ok(Marked::OnDisk)));
    disk.fail(None);
    // The letter is in an older segment than the newest.
    for number in EVENTS..EVENTS + 3 {
        append(&mut log, number);
    }
    kill(&disk, log);
    let sink = open(&disk, &broker);
    ends_with(&disk, &broker, &sink, (1..EVENTS + 3).collect()).await;
}

#[tokio::test]
async fn visit_passes_each_event_once_and_those_of_a_subject_in_their_order() {
    let (disk, broker) = (SimulatedDisk::default(), Simulated::new());
    kill(&disk, log_with_events(&disk, None));
    broker.disconnect();
    let sink = open(&disk, &broker);
    let mut visited = vec![Vec::new(); 3];
    let visit = |event: &crate::Envelope| {
        let of = (0..3).find(|of| event.subject().as_str() == subject_of(*of));
        visited[of.unwrap()].push(event.message_id().unwrap().to_string());
    };
    sink.spool().unwrap().visit(visit).await.unwrap();
    for (of, ids) in visited.into_iter().enumerate() {
        let numbers = (of..EVENTS).step_by(3);
        let expected: Vec<String> = numbers.map(|number| format!("sink.{number}")).collect();
        assert_eq!(ids, expected);
    }
}

#[tokio::test]
async fn visit_that_waits_for_the_scan_ends_when_the_sink_is_closed() {
    let (disk, broker) = (SimulatedDisk::default(), Simulated::new());
    kill(&disk, log_with_events(&disk, None));
    hang_scan(&disk);
    let sink = open(&disk, &broker);
    let both = async {
        tokio::join!(
            sink.spool().unwrap().visit(|_| ()),
            sink.close(Duration::ZERO)
        )
    };
    let (visited, _) = timeout(Duration::from_secs(60), both).await.unwrap();
    assert_eq!(visited, Err(crate::SpoolError::Closed));
    disk.hang_opening_of(None);
}

fn unreadable_segments(sink: &Sink<Simulated>) -> u64 {
    sink.spool().unwrap().status().unreadable_segments
}

#[tokio::test]
async fn events_of_each_subject_wait_behind_a_segment_that_the_scan_cant_read() {
    let (disk, broker) = (SimulatedDisk::default(), Simulated::new());
    kill(&disk, log_with_events(&disk, None));
    disk.fail_opening_of(segment_behind(&disk, FOUND).as_deref());
    let sink = open(&disk, &broker);
    until("the segment is counted", || unreadable_segments(&sink) == 1).await;
    until("what is found is sent", || stored(&broker) == FOUND).await;
    let late = sink.emit(envelope(subject_of(EVENTS), EVENTS)).await;
    assert_eq!(late.unwrap(), Delivery::Spooled);
    sleep(10 * PAUSE).await;
    assert_eq!((stored(&broker), unreadable_segments(&sink)), (FOUND, 1));
    disk.fail_opening_of(None);
    ends_with(&disk, &broker, &sink, (0..=EVENTS).collect()).await;
    assert_eq!(unreadable_segments(&sink), 0);
}

#[tokio::test]
async fn spool_opens_at_once_beside_a_segment_that_it_reads_a_second_later() {
    let (disk, broker) = (SimulatedDisk::default(), Simulated::new());
    let (mut log, _) = opening::open(disk.open(), SMALL).unwrap();
    (0..2).for_each(|number| append(&mut log, number));
    kill(&disk, log);
    disk.fail_opening_of(segment_behind(&disk, 0).as_deref());
    let sink = open_and_scan(&disk, &broker, Scan::start);
    assert_eq!((stored(&broker), unreadable_segments(&sink)), (0, 1));
    disk.fail_opening_of(None);
    ends_with(&disk, &broker, &sink, vec![0, 1]).await;
}

#[tokio::test]
async fn scan_that_waits_for_a_segment_ends_with_the_sink() {
    let (disk, broker) = (SimulatedDisk::default(), Simulated::new());
    kill(&disk, log_with_events(&disk, None));
    disk.fail_opening_of(segment_behind(&disk, FOUND).as_deref());
    let (ended, has_ended) = tokio::sync::oneshot::channel();
    let sink = open_and_scan(&disk, &broker, |scan| {
        std::thread::spawn(move || {
            scan.run(|| std::thread::sleep(PAUSE));
            ended.send(())
        });
        Ok(())
    });
    until("the segment is counted", || unreadable_segments(&sink) == 1).await;
    sink.close(Duration::ZERO).await;
    let has_ended = timeout(Duration::from_secs(60), has_ended).await;
    has_ended.expect("the scan goes on").unwrap();
}

#[tokio::test]
async fn segment_that_is_removed_before_the_scan_reads_it_is_counted_as_lost() {
    let (disk, broker) = (SimulatedDisk::default(), Simulated::new());
    kill(&disk, log_with_events(&disk, None));
    let lost = segment_behind(&disk, FOUND).unwrap();
    disk.fail_opening_of(Some(&lost));
    let sink = open(&disk, &broker);
    until("the segment is counted", || unreadable_segments(&sink) == 1).await;
    disk.remove(&lost);
    disk.fail_opening_of(None);
    let others = (0..EVENTS).filter(|number| *number != FOUND).collect();
    ends_with(&disk, &broker, &sink, others).await;
    let status = sink.spool().unwrap().status();
    assert_eq!((status.damaged, status.unreadable_segments), (1, 0));
}
