//! The marks of many segments: after a restart, when the last mark of each is written again, and when events leave all of them.

use std::time::Instant;

use super::simulated_disk::SimulatedDisk;
use super::{event, places, subject};
use crate::spool::log::marks::MAX_MARKED;
use crate::spool::log::opening;
use crate::spool::log::tests::Removed;
use crate::spool::queue::Writer;
use crate::spool::{Baseline, Baselines, Spool};
use crate::sync::lock;

const SEGMENTS: usize = 2 * MAX_MARKED + 8;

/// A disk that a killed process left, with a pending event and a mark in each segment.
fn disk_with_marks() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let (mut log, mut backlog) = opening::open(disk.open(), Some(64 << 10)).unwrap();
    backlog.scan();
    let mut removed = Vec::new();
    for number in 0..SEGMENTS {
        removed.push(Removed {
            subject: Some(subject("delivered")),
            index: log.next_index,
            bytes: 0,
        });
        log.append_reserved(&[&event("delivered", number), &event("pending", number)])
            .unwrap();
        log.finish();
    }
    log.deliver(&removed).unwrap();
    disk.process_is_killed();
    drop(log);
    disk
}

fn open(disk: &SimulatedDisk) -> Spool {
    let (log, backlog) = opening::open(disk.open(), Some(64 << 10)).unwrap();
    let spool = Spool::over(log, backlog, 1 << 30, Writer::at_once, |scan| {
        scan.run(|| ());
        Ok(())
    });
    spool.unwrap()
}

fn unmarked(spool: &Spool) -> usize {
    let index = lock(&spool.index);
    let segments = index.segments.values();
    let unmarked = segments.filter(|segment| !segment.unmarked.is_empty());
    unmarked.count()
}

fn above(sequence: u64) -> Baselines {
    Baselines::from([("S".to_owned(), Baseline::new(sequence))])
}

/// Delivers the oldest event, and removes it.
async fn remove_oldest(spool: &Spool, acknowledged: u64) {
    spool.delivered(&places(spool, "pending", 1).await[0]);
    let removed = spool.remove_delivered(&above(acknowledged)).await;
    removed.unwrap();
}

/// The thread of the writer has nothing else to do.
fn rest(spool: &Spool) {
    spool.step(Vec::new(), Instant::now());
}

#[tokio::test]
async fn removal_marks_a_few_segments_and_the_baseline_waits_for_the_others() {
    let disk = disk_with_marks();
    let spool = open(&disk);
    assert_eq!(unmarked(&spool), SEGMENTS);
    spool.replay_begins(&above(1)).await.unwrap();
    // The oldest segment drains, and needs no mark.
    remove_oldest(&spool, 5).await;
    assert_eq!(unmarked(&spool), SEGMENTS - 1 - MAX_MARKED);
    // The others have marks of events that were delivered before.
    assert_eq!(spool.delivered_events(), 0);
    assert_eq!(spool.baselines(), above(1));
    rest(&spool);
    assert_eq!(unmarked(&spool), SEGMENTS - 1 - 2 * MAX_MARKED);
    rest(&spool);
    assert_eq!(unmarked(&spool), 0);
    remove_oldest(&spool, 7).await;
    assert_eq!(spool.baselines(), above(7));
}

/// A disk with a segment for each subject, with this many pending events.
fn disk_with_pending(events: usize) -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let (mut log, mut backlog) = opening::open(disk.open(), Some(64 << 10)).unwrap();
    backlog.scan();
    for segment in 0..SEGMENTS {
        for number in 0..events {
            let event = event(&format!("s{segment}"), number);
            log.append_reserved(&[&event]).unwrap();
        }
        log.finish();
    }
    log.close();
    disk
}

/// Delivers the oldest event of each segment of [`disk_with_pending`].
async fn deliver_one_of_each(spool: &Spool) {
    for segment in 0..SEGMENTS {
        let oldest = places(spool, &format!("s{segment}"), 1).await;
        spool.delivered(&oldest[0]);
    }
}

fn unmarked_events(spool: &Spool) -> usize {
    let index = lock(&spool.index);
    let segments = index.segments.values();
    segments.map(|segment| segment.unmarked.len()).sum()
}

/// Replay stops at a number of delivered events: a look-up after a crash covers no more.
#[tokio::test]
async fn events_stay_counted_until_their_segment_is_marked() {
    const ROUNDS: usize = 5;
    let spool = open(&disk_with_pending(ROUNDS + 1));
    for round in 1..=ROUNDS {
        deliver_one_of_each(&spool).await;
        spool.remove_delivered(&Baselines::new()).await.unwrap();
        // New events keep the writer from its rest, and the oldest segments are marked again each time.
        let left = round * (SEGMENTS - MAX_MARKED);
        assert_eq!(unmarked_events(&spool), left, "round {round}");
        assert_eq!(spool.delivered_events(), left, "round {round}");
    }
    let mut removals = 0;
    while spool.delivered_events() > 0 {
        spool.remove_delivered(&Baselines::new()).await.unwrap();
        removals += 1;
    }
    assert_eq!(unmarked_events(&spool), 0);
    assert_eq!(removals, (SEGMENTS - MAX_MARKED).div_ceil(MAX_MARKED));
}

/// A drained segment behind an unmarked one stays on the disk.
#[tokio::test]
async fn events_of_a_drained_segment_stay_counted_until_it_is_removed() {
    let spool = open(&disk_with_pending(2));
    deliver_one_of_each(&spool).await;
    let last = format!("s{}", SEGMENTS - 2);
    spool.delivered(&places(&spool, &last, 1).await[0]);
    spool.remove_delivered(&Baselines::new()).await.unwrap();
    assert_eq!(spool.delivered_events(), SEGMENTS - MAX_MARKED + 1);
    while spool.delivered_events() > 0 {
        spool.remove_delivered(&Baselines::new()).await.unwrap();
    }
    assert_eq!(lock(&spool.index).segments.len(), SEGMENTS - 1);
}

#[tokio::test]
async fn close_marks_all_segments() {
    let disk = disk_with_marks();
    let spool = open(&disk);
    let index = std::sync::Arc::clone(&spool.index);
    drop(spool);
    let index = lock(&index);
    assert_eq!(index.segments.len(), SEGMENTS);
    assert!(index.segments.values().all(|s| s.unmarked.is_empty()));
}
