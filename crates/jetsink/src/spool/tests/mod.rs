//! The spool's file: what is synced stays, what is damaged is told.

mod damage;
mod disk;
mod driver;
mod failing_calls;
mod ledger;
mod marks;
mod power;
pub(crate) mod simulated_disk;
mod torn;

use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt as _;
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tokio::time::Instant;

use crate::spool::dead::DeadLetter;
use crate::spool::record::Record;
use crate::spool::store::Store;
use crate::spool::tables::Batch;
use crate::spool::{Baselines, Place, Spool, SpoolError, SpoolLoss, SpoolSettings, file_in};
use crate::{Envelope, MessageId, Subject};

pub(super) fn subject(text: &str) -> Subject {
    Subject::new(text).unwrap()
}

pub(super) fn envelope(subject_text: &str, number: usize) -> Envelope {
    let payload = format!(r#"{{"number":{number},"filler":"{}"}}"#, "x".repeat(300));
    Envelope::new(subject(subject_text), payload.into())
        .with_message_id(MessageId::new(format!("sink.{number}")).unwrap())
}

pub(super) fn record(subject_text: &str, index: u64) -> Record {
    Record {
        index,
        spooled_at: 0,
        may_be_stored: false,
        envelope: envelope(subject_text, index as usize),
    }
}

/// A batch that appends these.
pub(super) fn appending(records: impl IntoIterator<Item = Record>) -> Batch {
    let append = records.into_iter().map(|record| {
        let subject = record.envelope.subject().clone();
        (subject, record.index, record.encode())
    });
    Batch {
        append: append.collect(),
        ..Batch::default()
    }
}

pub(super) fn letter(subject_text: &str, index: u64) -> DeadLetter {
    DeadLetter {
        record: record(subject_text, index),
        code: 0,
        died_at: 0,
        reason: "refused".to_owned(),
    }
}

/// The places of the first so many events of a subject.
pub(super) async fn places(spool: &Spool, subject_text: &str, limit: usize) -> Vec<Place> {
    let subject = subject(subject_text);
    let chunk = spool.read(&subject, 0, limit).await.unwrap();
    let place = |(index, bytes, _)| Place {
        subject: subject.clone(),
        index,
        bytes,
    };
    chunk.entries.into_iter().map(place).collect()
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn settings(folder: &Path) -> SpoolSettings {
    SpoolSettings::new(folder)
}

pub(super) fn open(folder: &Path) -> Spool {
    Spool::open(&settings(folder)).unwrap()
}

/// Puts `count` events of two subjects in, one sync each group of 32.
pub(super) async fn fill(spool: &Spool, count: usize) {
    for start in (0..count).step_by(32) {
        let appends = (start..count.min(start + 32)).map(|number| async move {
            let subject = if number % 3 == 0 { "b" } else { "a" };
            spool
                .append_event(&envelope(subject, number), None, soon())
                .await
        });
        for result in futures_util::future::join_all(appends).await {
            result.unwrap();
        }
    }
}

/// The numbers of what can be read of a subject, in its order.
pub(super) async fn numbers(spool: &Spool, subject_text: &str) -> Vec<usize> {
    let mut entries = Vec::new();
    let mut next = 0;
    loop {
        let chunk = spool.read(&subject(subject_text), next, 100).await.unwrap();
        entries.extend(chunk.entries);
        next = chunk.next;
        if !chunk.more {
            break;
        }
    }
    let ids = entries.into_iter().map(|(_, _, record)| {
        let record = record.unwrap();
        let id = record.envelope.message_id().unwrap().as_str().to_owned();
        let number: usize = id.strip_prefix("sink.").unwrap().parse().unwrap();
        assert_eq!(record.envelope, envelope(subject_text, number));
        number
    });
    ids.collect()
}

#[tokio::test]
async fn what_was_appended_is_there_after_another_opening_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    fill(&spool, 100).await;
    drop(spool);
    let spool = open(folder.path());
    let a = numbers(&spool, "a").await;
    let b = numbers(&spool, "b").await;
    assert_eq!(a, (0..100).filter(|n| n % 3 != 0).collect::<Vec<_>>());
    assert_eq!(b, (0..100).step_by(3).collect::<Vec<_>>());
    let status = spool.status();
    assert_eq!((status.events, status.subjects), (100, 2));
    assert!(status.used_bytes > 30_000);
    assert!(spool.unsettled().0.is_empty());
}

#[tokio::test]
async fn a_second_owner_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let _spool = open(folder.path());
    let error = Spool::open(&settings(folder.path())).unwrap_err();
    assert!(matches!(error, SpoolError::InUse { .. }), "{error}");
}

#[tokio::test]
async fn room_that_is_not_used_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let envelope = envelope("a", 0);
    let room = spool.reserve(&envelope).unwrap();
    let status = spool.status();
    assert_eq!(status.events, 1, "it counts as soon as it has room");
    drop(room);
    assert_eq!((spool.status().events, spool.status().used_bytes), (0, 0));
}

#[tokio::test]
async fn an_event_of_just_the_limit_can_be_held_and_a_larger_one_never() {
    let folder = tempfile::tempdir().unwrap();
    let limited = settings(folder.path()).limit_bytes(1_000).unwrap();
    let spool = Spool::open(&limited).unwrap();
    let of = |bytes: usize| Envelope::new(subject("a"), vec![b'x'; bytes].into());
    let around = spool.reserve(&of(0)).unwrap();
    let around_bytes = spool.status().used_bytes as usize;
    drop(around);
    let (largest, larger) = (of(1_000 - around_bytes), of(1_001 - around_bytes));
    assert!(spool.can_hold(&largest) && !spool.can_hold(&larger));
    assert!(spool.reserve(&larger).is_err());
    let _room = spool.reserve(&largest).unwrap();
    assert!(spool.can_hold(&largest), "if it were empty");
}

#[tokio::test]
async fn a_full_spool_says_how_full_and_takes_more_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path()).limit_bytes(1_000).unwrap();
    let spool = Spool::open(&settings).unwrap();
    spool
        .append_event(&envelope("a", 0), None, soon())
        .await
        .unwrap();
    spool
        .append_event(&envelope("a", 1), None, soon())
        .await
        .unwrap();
    let used = spool.status().used_bytes;
    let error = spool
        .append_event(&envelope("a", 2), None, soon())
        .await
        .unwrap_err();
    let expected = SpoolError::Full {
        used_bytes: used,
        limit_bytes: 1_000,
    };
    assert_eq!(error, expected);
    spool.left(places(&spool, "a", 1).await.remove(0));
    spool.remove_left(&Baselines::new()).await.unwrap();
    spool
        .append_event(&envelope("a", 2), None, soon())
        .await
        .unwrap();
    assert_eq!(numbers(&spool, "a").await, [1, 2]);
}

#[tokio::test]
async fn what_waits_is_counted_by_subject_until_it_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    assert!(spool.is_empty());
    fill(&spool, 6).await;
    assert!(!spool.is_empty());
    let waiting = || ["a", "b"].map(|text| spool.waiting(&subject(text)));
    assert_eq!(waiting(), [4, 2]);
    let b = subject("b");
    assert!(!spool.drained(&b, Instant::now()).await);
    let leave = async {
        let places = places(&spool, "b", 9).await;
        places.into_iter().for_each(|place| spool.left(place));
    };
    let (drained, ()) = tokio::join!(spool.drained(&b, soon()), leave);
    assert!(drained);
    assert_eq!(waiting(), [4, 0]);
}

#[tokio::test]
async fn who_waits_for_an_event_is_woken_by_it_and_by_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let mut came_in = std::pin::pin!(spool.came_in());
    assert_eq!(came_in.as_mut().now_or_never(), None);
    fill(&spool, 1).await;
    tokio::time::timeout_at(soon(), came_in).await.unwrap();
}

#[tokio::test]
async fn the_oldest_event_becomes_older() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    assert_eq!(spool.oldest_age(), Ok(Duration::ZERO));
    fill(&spool, 1).await;
    let older = async {
        while spool.oldest_age().unwrap().is_zero() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout_at(soon(), older).await.unwrap();
}

#[tokio::test]
async fn of_a_file_that_lost_something_all_may_be_stored_also_at_the_next_opening() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    fill(&spool, 1).await;
    drop(spool);
    let (store, contents) = Store::open(&file_in(folder.path())).unwrap();
    let loss = SpoolLoss {
        reason: "damaged".to_owned(),
        set_aside: None,
        salvaged: 1,
        lost: None,
        dead_letters_salvaged: 0,
        dead_letters_lost: None,
    };
    let spool = Spool::over(store, contents, Some(loss), u64::MAX).unwrap();
    assert!(spool.is_unsettled(&subject("b")));
    drop(spool);
    assert!(open(folder.path()).is_unsettled(&subject("b")));
}

#[tokio::test]
async fn once_replay_begins_all_that_waits_may_be_stored_also_after_a_crash() {
    let [folder, crashed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let spool = open(folder.path());
    fill(&spool, 1).await;
    assert!(!spool.replay_began());
    let above = Baselines::from([("S".to_owned(), 7)]);
    spool.replay_begins(&above).await.unwrap();
    assert!(spool.replay_began());
    spool.copy_unclosed(crashed.path()).await;
    let spool = open(crashed.path());
    assert!(spool.replay_began() && spool.is_unsettled(&subject("b")));
    assert_eq!(spool.unsettled().1, above);
}

#[tokio::test]
async fn no_baseline_is_made_while_something_may_be_stored_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let (event, nothing_known) = (envelope("a", 0), Baselines::new());
    let appended = spool.append_event(&event, Some(&nothing_known), soon());
    appended.await.unwrap();
    spool.mark_is_missing();
    let acknowledged = Baselines::from([("S".to_owned(), 9)]);
    spool.replay_begins(&acknowledged).await.unwrap();
    assert_eq!(spool.unsettled().1, nothing_known);
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_unsettled_until_it_is_looked_up() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let a = subject("a");
    spool.unsettle([a.clone()]);
    assert!(spool.is_unsettled(&a) && !spool.is_unsettled(&subject("b")));
    let (before, _) = spool.unsettled();
    spool.unsettle([a.clone()]);
    spool.settled(&a, &before);
    assert!(spool.is_unsettled(&a), "more was sent since");
    let (before, _) = spool.unsettled();
    spool.settled(&a, &before);
    assert!(!spool.is_unsettled(&a));
}

#[tokio::test]
async fn what_leaves_raises_the_baselines_and_what_is_damaged_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    fill(&spool, 4).await;
    let mut places = places(&spool, "b", 9).await;
    spool.left(places.remove(0));
    spool.damaged(places.remove(0));
    assert_eq!((spool.leaving_events(), spool.status().damaged), (2, 1));
    let acknowledged = Baselines::from([("S".to_owned(), 9)]);
    spool.remove_left(&acknowledged).await.unwrap();
    assert_eq!((spool.leaving_events(), spool.status().events), (0, 2));
    assert_eq!(spool.unsettled().1, acknowledged);
    drop(spool);
    assert_eq!(open(folder.path()).unsettled().1, acknowledged);
}

#[tokio::test]
async fn what_may_be_stored_is_remembered_over_a_restart_with_its_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let sent_above = Baselines::from([("S".to_owned(), 41)]);
    spool
        .append_event(&envelope("a", 0), Some(&sent_above), soon())
        .await
        .unwrap();
    spool
        .append_event(&envelope("b", 1), None, soon())
        .await
        .unwrap();
    assert!(spool.unsettled().0.contains(&subject("a")));
    assert!(!spool.unsettled().0.contains(&subject("b")));
    drop(spool);
    let spool = open(folder.path());
    let (unsettled, baselines) = spool.unsettled();
    // The file does not say which of its subjects it was.
    assert!(unsettled.contains(&subject("a")));
    assert!(unsettled.contains(&subject("b")));
    assert!(!unsettled.contains(&subject("c")));
    assert_eq!(baselines, sent_above);
}

#[tokio::test]
async fn a_closing_note_that_can_not_be_read_stops_the_opening() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("spool.closed")).unwrap();
    let error = Spool::open(&settings(folder.path())).unwrap_err();
    assert!(error.to_string().contains("closing note"), "{error}");
}

#[tokio::test]
async fn a_format_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = redb::Database::create(file_in(folder.path())).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&[u8], u64>::new("meta");
    transaction
        .open_table(meta)
        .unwrap()
        .insert(&b"format"[..], 99)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Spool::open(&settings(folder.path())).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has format 99, and this version reads 1"),
        "{error}"
    );
}

/// After a crash there is no closing note, so a damaged header looks like a last commit that was
/// torn: that one group may be gone without a word. Nothing else may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_bytes_flipped_after_a_crash_each_loss_is_told_and_most_is_kept() {
    const EVENTS: usize = 300;
    const LAST_GROUP: usize = 32;
    let original = tempfile::tempdir().unwrap();
    let spool = open(original.path());
    fill(&spool, EVENTS).await;
    // As a crash leaves it.
    let bytes = std::fs::read(file_in(original.path())).unwrap();
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let (mut told, mut kept) = (0, 0);
    for _ in 0..200 {
        let position = random.next_u64() as usize % bytes.len();
        let mut flipped = bytes.clone();
        flipped[position] ^= 1 << (random.next_u32() % 8);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(file_in(folder.path()), &flipped).unwrap();
        println!("byte {position}");
        let spool = open(folder.path());
        let found = numbers(&spool, "a").await.len() + numbers(&spool, "b").await.len();
        match spool.loss() {
            None => assert!(found >= EVENTS - LAST_GROUP, "{found}"),
            Some(loss) => {
                told += 1;
                kept += usize::from(found >= EVENTS - LAST_GROUP);
                assert_eq!(loss.salvaged as usize, found);
                let lost = loss.lost.map(|lost| lost as usize);
                assert!(lost.is_none_or(|lost| lost + found == EVENTS), "{loss:?}");
            }
        }
    }
    println!("{told} of 200 flips were damage; {kept} of these cost at most {LAST_GROUP} events");
    assert!(told > 0 && kept * 10 >= told * 9, "{kept} of {told}");
}

#[tokio::test]
async fn an_emptied_file_gives_its_room_back() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let payload = vec![b'x'; 1 << 20];
    for number in 0..40 {
        let large = Envelope::new(subject("a"), payload.clone().into())
            .with_message_id(MessageId::new(format!("sink.{number}")).unwrap());
        spool.append_event(&large, None, soon()).await.unwrap();
    }
    let length = || std::fs::metadata(file_in(folder.path())).unwrap().len();
    assert!(length() > 40 << 20);
    let mut next = 0;
    while let Some((index, bytes, _)) = {
        let chunk = spool.read(&subject("a"), next, 1).await.unwrap();
        chunk.entries.into_iter().next()
    } {
        next = index + 1;
        spool.left(crate::spool::Place {
            subject: subject("a"),
            index,
            bytes,
        });
    }
    spool.remove_left(&Baselines::new()).await.unwrap();
    // Behind the answer; the next change waits for it.
    spool
        .append_event(&envelope("a", 99), None, soon())
        .await
        .unwrap();
    assert!(length() < 8 << 20, "{} bytes", length());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_left_is_removed_once_though_nobody_waited_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    fill(&spool, 40).await;
    let chunk = spool.read(&subject("a"), 0, 100).await.unwrap();
    for (index, bytes, _) in chunk.entries {
        spool.left(Place {
            subject: subject("a"),
            index,
            bytes,
        });
    }
    assert!(numbers(&spool, "a").await.is_empty(), "it is sent once");
    // As where replay is aborted in the middle of it, and `close` does it again.
    drop(spool.remove_left(&Baselines::new()));
    spool.remove_left(&Baselines::new()).await.unwrap();
    spool.written().await.unwrap();
    let status = spool.status();
    assert_eq!(status.events, 14);
    drop(spool);
    assert_eq!(open(folder.path()).status().used_bytes, status.used_bytes);
}
