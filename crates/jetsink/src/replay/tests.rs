//! The queues of replay over a spool on a simulated disk.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::candidates::Candidates;
use super::expiry::Expiry;
use super::queues::SubjectQueues;
use super::spool_side::SpoolSide;
use crate::observe::metrics::SpoolMeters;
use crate::spool::tests::places;
use crate::spool::tests::simulated_disk::SimulatedDisk;
use crate::spool::{Baselines, MAX_READ, Place, Spool};
use crate::{Envelope, MessageId, Subject};

fn subject(text: &str) -> Subject {
    Subject::new(text).unwrap()
}

fn spool(disk: &SimulatedDisk) -> Spool {
    Spool::at_once(disk.open(), 1 << 30).unwrap()
}

async fn append(spool: &Spool, to: &str, bytes: usize, sent: Option<&Baselines>) {
    let payload = vec![b'x'; bytes].into();
    let envelope = Envelope::new(subject(to), payload)
        .with_message_id(MessageId::new(format!("{to}.{bytes}")).unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    spool.append_event(&envelope, sent, deadline).await.unwrap();
}

/// The subjects of the next `count` events.
async fn next_subjects(queues: &mut SubjectQueues<'_>, count: usize) -> Vec<String> {
    let mut subjects = Vec::new();
    for _ in 0..count {
        let (_, place, _) = queues.next_event().await.unwrap().unwrap();
        subjects.push(place.subject.to_string());
    }
    subjects
}

#[tokio::test]
async fn subject_behind_a_backlog_of_large_events_is_read_with_the_second_reading() {
    let (disk, expiry) = (SimulatedDisk::default(), Expiry::new(None));
    let spool = spool(&disk);
    for _ in 0..MAX_READ {
        append(&spool, "a", 4_096, None).await;
    }
    append(&spool, "b", 4_096, None).await;
    let mut queues = SubjectQueues::new(&spool, &expiry, MAX_READ);
    queues.add_all_subjects();
    // A reading has up to 1 MiB.
    let subjects = next_subjects(&mut queues, 2 * 256).await;
    assert!(subjects.contains(&"b".to_owned()));
}

#[tokio::test]
async fn subjects_whose_events_exceed_a_reading_take_turns() {
    let (disk, expiry) = (SimulatedDisk::default(), Expiry::new(None));
    let spool = spool(&disk);
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        for _ in 0..6 {
            append(&spool, name, 600 << 10, None).await;
        }
    }
    let mut queues = SubjectQueues::new(&spool, &expiry, MAX_READ);
    queues.add_all_subjects();
    for _ in 0..3 {
        // Two events per reading.
        let mut subjects = next_subjects(&mut queues, 2 * names.len()).await;
        subjects.dedup();
        assert_eq!(subjects, names);
    }
}

/// Otherwise replay would wait for them with nothing in flight, and a crash would bring them back.
#[tokio::test]
async fn end_of_a_run_marks_the_delivered_events_of_all_segments() {
    const SEGMENTS: usize = 40;
    let spool = spool(&SimulatedDisk::default());
    // A segment has one of each: up to 64 KiB.
    for _ in 0..SEGMENTS {
        append(&spool, "a", 12 << 10, None).await;
        append(&spool, "b", 42 << 10, None).await;
    }
    let meters = SpoolMeters::new();
    let mut side = SpoolSide::new(&spool, &meters, None);
    for _ in 0..SEGMENTS {
        side.delivered(places(&spool, "a", 1).await.remove(0));
    }
    assert_eq!(spool.delivered_events(), SEGMENTS);
    side.remove_all().await.unwrap();
    assert_eq!(spool.delivered_events(), 0);
    assert_eq!(spool.status().events, SEGMENTS as u64);
}

/// The events of the tests of expiry, each of a subject of its own.
const EXPIRING: usize = 100;

async fn append_expiring(spool: &Spool, at: SystemTime) {
    for number in 0..EXPIRING {
        let envelope = Envelope::new(subject(&format!("s{number}")), "{}".into());
        let deadline = Instant::now() + Duration::from_secs(60);
        let envelope = envelope.with_expiry(at);
        spool.append_event(&envelope, None, deadline).await.unwrap();
    }
}

/// Takes the next event, if any, in fewer calls of the disk than there are events.
async fn next_in_few_calls(disk: &SimulatedDisk, queues: &mut SubjectQueues<'_>) -> Option<Place> {
    let before = disk.calls();
    let next = queues.next_event().await.unwrap();
    let calls = disk.calls() - before;
    assert!(calls < EXPIRING as u64 / 2, "{calls}");
    next.map(|(_, place, _)| place)
}

#[tokio::test]
async fn events_that_expired_before_a_reading_share_a_sync() {
    let (disk, expiry) = (SimulatedDisk::default(), Expiry::new(None));
    let spool = spool(&disk);
    append_expiring(&spool, SystemTime::now()).await;
    let mut queues = SubjectQueues::new(&spool, &expiry, MAX_READ);
    queues.add_all_subjects();
    assert_eq!(next_in_few_calls(&disk, &mut queues).await, None);
    assert_eq!(spool.status().dead_letters, EXPIRING as u64);
}

#[tokio::test]
async fn events_that_expired_since_they_were_read_share_a_sync() {
    let (disk, expiry) = (SimulatedDisk::default(), Expiry::new(None));
    let spool = spool(&disk);
    let at = SystemTime::now() + Duration::from_secs(2);
    append_expiring(&spool, at).await;
    let mut queues = SubjectQueues::new(&spool, &expiry, MAX_READ);
    queues.add_all_subjects();
    assert!(next_in_few_calls(&disk, &mut queues).await.is_some());
    while spool.now() < at {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(next_in_few_calls(&disk, &mut queues).await, None);
    assert_eq!(spool.status().dead_letters, EXPIRING as u64 - 1);
}

#[tokio::test]
async fn idle_subject_is_looked_up_if_a_new_event_may_be_stored() {
    let disk = SimulatedDisk::default();
    let expiry = Expiry::new(None);
    let spool = spool(&disk);
    let sent = Baselines::new();
    append(&spool, "a", 1, Some(&sent)).await;
    let mut queues = SubjectQueues::new(&spool, &expiry, MAX_READ);
    queues.add_all_subjects();
    assert!(queues.next_event().await.unwrap().is_none());
    assert!(queues.take_must_reconcile());
    // The event is found stored. The subject has no other.
    let chunk = spool.read_from(&subject("a"), 0, 1).await.unwrap();
    let (index, bytes, _) = chunk.entries[0];
    let subject = subject("a");
    let place = Place {
        subject: subject.clone(),
        index,
        bytes,
    };
    spool.delivered(&place);
    spool.reconciled(&subject, &spool.unreconciled());
    append(&spool, "a", 2, Some(&sent)).await;
    queues.add_entered(|_| false);
    assert!(queues.next_event().await.unwrap().is_none());
    assert!(queues.take_must_reconcile());
}

/// The oldest events of these subjects.
async fn oldest(spool: &Spool, subjects: &[Subject]) -> Vec<Envelope> {
    let unreconciled = spool.unreconciled();
    let candidates = Candidates::read(spool, subjects, &unreconciled).await;
    candidates.unwrap().oldest
}

#[tokio::test]
async fn oldest_events_of_a_look_up_keep_at_most_16_mib_of_payloads() {
    let disk = SimulatedDisk::default();
    let spool = spool(&disk);
    let names: Vec<String> = (0..24).map(|number| format!("s{number}")).collect();
    for name in &names {
        append(&spool, name, 1 << 20, None).await;
    }
    let subjects: Vec<Subject> = names.iter().map(|name| subject(name)).collect();
    let payloads = oldest(&spool, &subjects).await;
    let payloads: Vec<usize> = payloads.iter().map(|event| event.payload().len()).collect();
    assert_eq!(payloads.len(), names.len());
    assert_eq!(payloads.iter().sum::<usize>(), 16 << 20);
}

#[tokio::test]
async fn oldest_event_of_a_look_up_does_not_keep_the_events_that_were_read_with_it() {
    let disk = SimulatedDisk::default();
    let spool = spool(&disk);
    for _ in 0..10 {
        append(&spool, "a", 4_096, None).await;
    }
    let oldest = oldest(&spool, &[subject("a")]).await.remove(0);
    let payload = oldest.payload().clone();
    drop(oldest);
    assert_eq!(payload.try_into_mut().unwrap().capacity(), 4_096);
}
