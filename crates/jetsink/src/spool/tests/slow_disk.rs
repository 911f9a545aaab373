//! A disk whose syncs take longer than the pause after which the log is sealed.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{sleep, timeout};

use crate::sink::Sink;
use crate::spool::Spool;
use crate::spool::tests::simulated_disk::SimulatedDisk;
use crate::spool::tests::{envelope, soon};
use crate::tests::simulated_broker::Simulated;
use crate::{SinkSettings, SpoolSettings};

/// More than one removal from the disk has.
const EVENTS: usize = 5_000;

async fn append(spool: &Spool, numbers: std::ops::Range<usize>) {
    let events: Vec<_> = numbers.map(|number| envelope("a", number)).collect();
    let appends = events
        .iter()
        .map(|event| spool.append_event(event, None, soon()));
    for result in futures_util::future::join_all(appends).await {
        result.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_removes_everything_once_though_each_sync_is_slow() {
    let (disk, broker) = (SimulatedDisk::default(), Simulated::new());
    let spool = Spool::threaded(disk.open(), 4 << 20).unwrap();
    append(&spool, 0..EVENTS).await;
    disk.slow_syncs(Duration::from_millis(30));
    let settings = SpoolSettings::new("in memory");
    let sink = Sink::over(broker.clone(), SinkSettings::default(), spool, settings);
    let drained = async {
        while sink.spool_status().unwrap().used_bytes > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), drained).await.unwrap();
    let ids = broker.with(|broker| broker.stream.clone());
    let ids: Vec<String> = ids.into_iter().map(|(_, id, _)| id).collect();
    let expected: Vec<String> = (0..EVENTS).map(|number| format!("sink.{number}")).collect();
    assert_eq!(ids, expected);
    sink.close(Duration::from_secs(60)).await;
    drop(sink);
    let next = Spool::at_once(disk.open(), 1 << 30).unwrap();
    assert!(next.is_empty() && next.loss().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_is_sealed_under_a_load_without_a_pause() {
    let disk = SimulatedDisk::default();
    let spool = Spool::threaded(disk.open(), 1 << 30).unwrap();
    // Each group waits for the sync of the one before: the queue is never empty.
    disk.slow_syncs(Duration::from_millis(5));
    let started = std::time::Instant::now();
    let mut number = 0;
    let mut waiting = std::collections::VecDeque::new();
    while !disk.files().contains_key("sealed") {
        assert!(started.elapsed() < Duration::from_secs(60), "no seal");
        for _ in waiting.len()..4 {
            let event = envelope("a", number);
            number += 1;
            let spool = &spool;
            let mut append =
                Box::pin(async move { spool.append_event(&event, None, soon()).await });
            match append.as_mut().now_or_never() {
                // The thread of the test was not run for longer than a sync.
                Some(appended) => appended.unwrap(),
                None => waiting.push_back(append),
            }
        }
        let oldest: Option<std::pin::Pin<Box<_>>> = waiting.pop_front();
        if let Some(oldest) = oldest {
            oldest.await.unwrap();
        }
    }
    assert!(started.elapsed() > Duration::from_millis(20), "it was idle");
}

#[tokio::test]
async fn one_reading_covers_the_next_events_of_many_subjects() {
    const SUBJECTS: usize = 100;
    let disk = SimulatedDisk::default();
    let spool = Spool::at_once(disk.open(), 1 << 30).unwrap();
    let subjects: Vec<String> = (0..SUBJECTS).map(|number| format!("s{number}")).collect();
    for number in 0..2 * SUBJECTS {
        let event = envelope(&subjects[number % SUBJECTS], number);
        spool.append_event(&event, None, soon()).await.unwrap();
    }
    let wanted = subjects.iter().map(|text| crate::spool::Wanted {
        subject: crate::spool::tests::subject(text),
        from: 0,
        limit: 1,
    });
    let before = disk.calls();
    let reading = spool.begin_reading(wanted.collect());
    let chunks = spool.finish_reading(reading).await.unwrap();
    // Two segments at most.
    assert!(disk.calls() - before <= 4, "{}", disk.calls() - before);
    for (number, chunk) in chunks.into_iter().enumerate() {
        assert!(chunk.more);
        let (.., record) = &chunk.entries[0];
        let envelope = &record.as_ref().unwrap().envelope;
        let id = envelope.message_id().unwrap().as_str();
        assert_eq!(
            (chunk.entries.len(), id),
            (1, format!("sink.{number}").as_str())
        );
    }
}
