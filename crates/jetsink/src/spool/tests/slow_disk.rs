//! A disk whose syncs take longer than the pause after which the log is sealed.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::sink::Sink;
use crate::spool::Spool;
use crate::spool::log::event::NewRecord;
use crate::spool::queue::{Change, IDLE, MAX_UNSEALED};
use crate::spool::tests::simulated_disk::SimulatedDisk;
use crate::spool::tests::{envelope, soon};
use crate::sync::lock;
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
        while sink.spool().unwrap().status().used_bytes > 0 {
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

#[test]
fn log_is_sealed_each_second_under_a_load_without_a_pause() {
    let disk = SimulatedDisk::default();
    let spool = Spool::at_once(disk.open(), 1 << 30).unwrap();
    let started = std::time::Instant::now();
    let step = |after: Duration| {
        let record = crate::spool::Record {
            index: 0,
            spooled_at: 1,
            may_be_stored: false,
            envelope: envelope("a", 0),
        };
        let event = NewRecord::event(&record, None);
        lock(&spool.index).reserve(record.envelope.subject(), event.head.size());
        let change = Change {
            records: vec![event],
            ..Change::default()
        };
        assert_eq!(spool.step(vec![change], started + after), IDLE);
        disk.files().get("sealed").cloned()
    };
    assert_eq!(step(Duration::ZERO), None);
    let first = step(MAX_UNSEALED * 2);
    assert!(first.is_some());
    assert_eq!(step(MAX_UNSEALED * 2 + MAX_UNSEALED / 2), first);
    assert_ne!(step(MAX_UNSEALED * 3), first);
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

#[tokio::test]
async fn segment_that_can_not_be_opened_delays_only_its_own_subjects() {
    let (disk, broker) = (SimulatedDisk::default(), Simulated::new());
    let spool = Spool::at_once(disk.open(), 1 << 30).unwrap();
    for number in 0..400 {
        let subject = if number < 3 { "early" } else { "late" };
        let event = envelope(subject, number);
        spool.append_event(&event, None, soon()).await.unwrap();
    }
    // An event behind the others of its subject, in a segment that can be read.
    let event = envelope("early", 400);
    spool.append_event(&event, None, soon()).await.unwrap();
    let files = disk.files();
    let mut segments = files.keys().filter(|name| name.ends_with(".log"));
    let first = segments.next().unwrap();
    assert!(segments.next().is_some());
    // All events of "late" in the first segment are delivered already.
    let end = lock(&spool.index).segments.values().next().unwrap().end;
    for place in crate::spool::tests::places(&spool, "late", 400).await {
        if place.index < end {
            spool.delivered(&place);
        }
    }
    let left = spool.status().events;
    disk.fail_opening_of(Some(first));
    let settings = SpoolSettings::new("in memory");
    let sink = Sink::over(broker.clone(), SinkSettings::default(), spool, settings);
    let status = || sink.spool().unwrap().status();
    let until_events = async |events| {
        while status().events > events {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), until_events(4))
        .await
        .unwrap();
    assert_eq!((status().events, status().unreadable_segments), (4, 1));
    disk.fail_opening_of(None);
    timeout(Duration::from_secs(60), until_events(0))
        .await
        .unwrap();
    assert_eq!((status().damaged, status().unreadable_segments), (0, 0));
    let stored = broker.with(|broker| broker.stream.clone());
    assert_eq!(stored.len() as u64, left);
    let ids = stored.into_iter().map(|(_, id, _)| id);
    let early: Vec<String> = ids.skip(left as usize - 4).collect();
    assert_eq!(early, ["sink.0", "sink.1", "sink.2", "sink.400"]);
}
