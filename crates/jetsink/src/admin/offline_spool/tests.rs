//! The operator's access.

use super::*;
use crate::MessageId;
use crate::spool::tests::simulated_disk::{Failing, Fault, SimulatedDisk};
use crate::spool::tests::{envelope, fill, numbers, open, soon, subject};
use crate::spool::{Baselines, Place, Spool};
use std::time::{Duration, UNIX_EPOCH};

/// Six events of `a` and three of `b`. The first of each is a dead letter.
async fn kept() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    fill(&spool, 9).await;
    let mut letters = Vec::new();
    for (text, code) in [("a", 10_077), ("b", 0)] {
        let chunk = spool.read_from(&subject(text), 0, 1).await.unwrap();
        let (index, bytes, record) = chunk.entries.into_iter().next().unwrap();
        let letter = DeadRecord {
            record: record.unwrap(),
            code,
            died_at: 5_000,
            reason: format!("refused on {text}"),
        };
        let subject = subject(text);
        letters.push((
            letter,
            Place {
                subject,
                index,
                bytes,
            },
        ));
    }
    spool.move_to_dead_letters(letters).await.unwrap();
    folder
}

/// Flips a byte of an event and of a dead letter.
fn damage(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        for text in [&b"\"number\":4,"[..], b"refused on b"] {
            if let Some(at) = bytes.windows(text.len()).position(|part| part == text) {
                bytes[at] ^= 1;
            }
        }
        std::fs::write(&path, bytes).unwrap();
    }
}

fn opened(folder: &Path) -> OfflineSpool {
    OfflineSpool::open(folder).unwrap()
}

fn events(file: &OfflineSpool) -> (Vec<SpooledEvent>, u64) {
    let mut events = Vec::new();
    let damaged = file.events(|event| events.push(event)).unwrap();
    (events, damaged)
}

fn dead_letters(file: &OfflineSpool) -> (Vec<DeadLetter>, u64) {
    let mut letters = Vec::new();
    let damaged = file.dead_letters(|letter| letters.push(letter)).unwrap();
    (letters, damaged)
}

#[tokio::test]
async fn pending_events_and_dead_letters_are_listed() {
    let before = SystemTime::now();
    let folder = kept().await;
    let file = opened(folder.path());
    let status = file.status();
    let counts = (status.events, status.subjects, status.dead_letters);
    assert_eq!(counts, (7, 2, 2));
    let subjects = file.subjects();
    let of = |at: usize| (subjects[at].subject.as_str(), subjects[at].events);
    assert_eq!((subjects.len(), of(0), of(1)), (2, ("a", 5), ("b", 2)));
    let waiting: u64 = subjects.iter().map(|usage| usage.bytes).sum();
    let (letters, 0) = dead_letters(&file) else {
        panic!("nothing is damaged")
    };
    assert!(status.used_bytes > waiting + 600);

    let (events, damaged) = events(&file);
    assert_eq!(damaged, 0);
    let seen = events.iter().map(|event| event.envelope.clone());
    let expected = [
        ("a", 2),
        ("a", 4),
        ("a", 5),
        ("a", 7),
        ("a", 8),
        ("b", 3),
        ("b", 6),
    ];
    let expected = expected.map(|(subject, number)| envelope(subject, number));
    assert_eq!(seen.collect::<Vec<_>>(), expected);
    assert!(events.iter().all(|event| !event.may_be_stored));

    let told: Vec<_> = letters
        .iter()
        .map(|letter| (letter.code, letter.reason.as_str()))
        .collect();
    assert_eq!(
        told,
        [(Some(10_077), "refused on a"), (None, "refused on b")]
    );
    assert_eq!(letters[1].died_at, UNIX_EPOCH + Duration::from_secs(5));
    let oldest = file.oldest().unwrap().unwrap();
    // The file's clock has milliseconds.
    assert!(oldest + Duration::from_millis(1) > before && oldest <= SystemTime::now());
    assert_eq!((file.may_be_stored(), file.loss()), (false, None));
}

#[tokio::test]
async fn event_that_may_be_stored_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let sent = Baselines::new();
    let event = envelope("a", 0);
    let appended = spool.append_event(&event, Some(&sent), soon());
    appended.await.unwrap();
    drop(spool);
    let file = opened(folder.path());
    assert!(file.may_be_stored() && events(&file).0[0].may_be_stored);
}

#[tokio::test]
async fn more_than_is_read_at_a_time_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let events_of_a = CHUNK + CHUNK / 2;
    fill(&spool, events_of_a / 2 * 3).await;
    drop(spool);
    let (events, damaged) = events(&opened(folder.path()));
    assert_eq!((events.len(), damaged), (events_of_a / 2 * 3, 0));
    let mut indexes: Vec<u64> = events.iter().map(|event| event.index).collect();
    indexes.sort_unstable();
    indexes.dedup();
    assert_eq!(indexes.len(), events.len());
}

#[tokio::test]
async fn damage_is_counted_and_the_other_events_are_kept() {
    let folder = kept().await;
    damage(folder.path());
    let files = || {
        let files = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    };
    let before = files();
    // A user's finding: a look at the damage repaired it, and the next one reported none.
    for _ in 0..2 {
        let check = OfflineSpool::verify(folder.path()).unwrap();
        let seen = (check.events, check.dead_letters, check.damaged);
        assert_eq!(seen, (6, 1, 2));
        assert!(check.reason.unwrap().contains("records lost: 2"));
        let mut file = opened(folder.path());
        let ((events, 0), (letters, 0)) = (events(&file), dead_letters(&file)) else {
            panic!("what is damaged is not there to be read")
        };
        assert_eq!((events.len(), letters.len()), (6, 1));
        assert_eq!(file.loss().map(|loss| loss.damaged), Some(2));
        assert_eq!(file.discard(|_| false), Ok(0));
        drop(file);
        assert_eq!(files(), before, "reading changes nothing");
    }
    let mut file = opened(folder.path());
    let mut unwanted = true;
    assert_eq!(file.discard(|_| std::mem::take(&mut unwanted)), Ok(1));
    assert_eq!(file.loss().map(|loss| loss.damaged), Some(2));
    drop(file);
    let file = opened(folder.path());
    assert_eq!((events(&file).0.len(), file.loss()), (5, None));
}

#[tokio::test]
async fn each_event_may_be_stored_after_an_interrupted_replay_and_none_in_an_empty_spool() {
    let folder = kept().await;
    let spool = open(folder.path());
    spool.replay_begins(&Baselines::new()).await.unwrap();
    drop(spool);
    let mut file = opened(folder.path());
    let (pending, _) = events(&file);
    assert_eq!(pending.len(), 7);
    assert!(file.may_be_stored() && pending.iter().all(|event| event.may_be_stored));
    assert_eq!(file.discard(|_| true), Ok(7));
    assert!(!file.may_be_stored());
}

#[tokio::test]
async fn spool_in_use_and_missing_spool_are_errors() {
    let folder = kept().await;
    let spool = open(folder.path());
    for error in [
        OfflineSpool::verify(folder.path()).unwrap_err(),
        OfflineSpool::open(folder.path()).unwrap_err(),
    ] {
        assert!(matches!(error, SpoolError::InUse { .. }), "{error}");
    }
    drop(spool);
    let nowhere = folder.path().join("nowhere");
    let error = OfflineSpool::open(&nowhere).unwrap_err();
    assert_eq!(
        error,
        SpoolError::Missing {
            path: nowhere.clone()
        }
    );
    assert!(OfflineSpool::verify(&nowhere).is_err() && !nowhere.exists());
}

#[tokio::test]
async fn dead_letters_come_back_behind_the_others_as_if_spooled_now() {
    let folder = kept().await;
    let before = SystemTime::now() - Duration::from_millis(1);
    let mut file = opened(folder.path());
    let first: Vec<u64> = events(&file).0.iter().map(|event| event.index).collect();
    assert_eq!(file.revive_dead_letters(), Ok(2));
    let (events, _) = events(&file);
    let revived: Vec<_> = events
        .iter()
        .filter(|event| !first.contains(&event.index))
        .collect();
    assert_eq!((events.len(), revived.len()), (9, 2));
    assert_ne!(revived[0].index, revived[1].index);
    assert!(
        revived
            .iter()
            .all(|event| event.index > *first.iter().max().unwrap())
    );
    assert!(revived.iter().all(|event| event.spooled_at >= before));
    assert_eq!((file.status().events, file.status().dead_letters), (9, 0));
    drop(file);
    let spool = open(folder.path());
    assert_eq!(numbers(&spool, "a").await, [2, 4, 5, 7, 8, 1]);
    // And nothing new takes their places.
    let event = envelope("b", 9);
    let appended = spool.append_event(&event, None, soon());
    appended.await.unwrap();
    assert_eq!(numbers(&spool, "b").await, [3, 6, 0, 9]);
}

#[tokio::test]
async fn deleted_events_are_gone_and_counted() {
    let folder = kept().await;
    let mut file = opened(folder.path());
    assert_eq!(file.delete_dead_letters(), Ok(2));
    assert_eq!(file.delete_dead_letters(), Ok(0));
    assert_eq!(
        file.discard(|event| event.envelope.subject().as_str() == "a"),
        Ok(5)
    );
    assert_eq!(file.discard(|_| false), Ok(0));
    drop(file);
    let status = opened(folder.path()).status();
    assert_eq!(
        (status.events, status.subjects, status.dead_letters),
        (2, 1, 0)
    );
}

// A reviewer's finding: a gateway knew deleted events from the file, and answered their repeats as duplicates.
#[tokio::test]
async fn companions_are_removed_once_something_is_deleted() {
    let folder = kept().await;
    let name = |stem: &str| format!("{stem}.{}", OfflineSpool::COMPANION_EXTENSION);
    let companions = ["identities", "notes"].map(|stem| folder.path().join(name(stem)));
    let other = folder.path().join("companion");
    std::fs::write(&other, "no extension").unwrap();
    let mut spool = opened(folder.path());
    let is_kept_after = |spool: &mut OfflineSpool, delete: fn(&mut OfflineSpool) -> u64| {
        for path in &companions {
            std::fs::write(path, "notes").unwrap();
        }
        let deleted = delete(spool);
        let kept = companions.iter().filter(|path| path.exists()).count();
        (deleted, kept)
    };
    let none = is_kept_after(&mut spool, |spool| spool.discard(|_| false).unwrap());
    assert_eq!(none, (0, 2));
    let letters = is_kept_after(&mut spool, |spool| spool.delete_dead_letters().unwrap());
    assert_eq!(letters, (2, 0));
    let none = is_kept_after(&mut spool, |spool| spool.delete_dead_letters().unwrap());
    assert_eq!(none, (0, 2));
    let events = is_kept_after(&mut spool, |spool| spool.discard(|_| true).unwrap());
    assert_eq!(events, (7, 0));
    assert!(other.exists());
}

#[tokio::test]
async fn dead_letters_are_revived_in_writes_of_bounded_size() {
    const LETTERS: usize = 20;
    let disk = SimulatedDisk::default();
    let (mut log, mut backlog) = opening::open(disk.open(), Some(16 << 20)).unwrap();
    backlog.scan();
    for number in 0..LETTERS {
        let payload = vec![b'x'; 500_000];
        let id = MessageId::new(format!("sink.{number}")).unwrap();
        let letter = DeadRecord {
            record: Record {
                index: 1_000,
                spooled_at: 1,
                may_be_stored: false,
                envelope: Envelope::new(subject("a"), payload.into()).with_message_id(id),
            },
            code: 1,
            died_at: 1,
            reason: "refused".to_owned(),
        };
        log.append_reserved(&[&NewRecord::dead_letter(&letter)])
            .unwrap();
    }
    log.close();
    let mut spool = OfflineSpool::over(disk.open()).unwrap();
    assert_eq!(spool.revive_dead_letters(), Ok(LETTERS as u64));
    let (status, mut ids) = (spool.status(), Vec::new());
    assert_eq!((status.events, status.dead_letters), (20, 0));
    let id = |event: SpooledEvent| event.envelope.message_id().unwrap().to_string();
    spool.events(|event| ids.push(id(event))).unwrap();
    let expected: Vec<String> = (0..LETTERS)
        .map(|number| format!("sink.{number}"))
        .collect();
    assert_eq!(ids, expected);
    assert!(disk.longest_write() < 3 << 20, "{}", disk.longest_write());
}

#[tokio::test]
async fn change_that_fails_names_the_reason() {
    let disk = SimulatedDisk::default();
    let spool = Spool::at_once(disk.open(), 1 << 30).unwrap();
    for number in 0..4 {
        let event = envelope("a", number);
        spool.append_event(&event, None, soon()).await.unwrap();
    }
    drop(spool);
    let discard_one = |spool: &mut OfflineSpool| {
        let mut unwanted = true;
        spool.discard(|_| std::mem::take(&mut unwanted))
    };
    for (fault, reason) in [
        (Fault::Device, "input/output error"),
        (Fault::Full, "no storage space"),
    ] {
        let mut spool = OfflineSpool::over(disk.open()).unwrap();
        assert_eq!(discard_one(&mut spool), Ok(1));
        disk.fail(Some(Failing {
            from: 0,
            fault,
            for_good: true,
        }));
        let error = discard_one(&mut spool).unwrap_err();
        disk.fail(None);
        assert!(error.to_string().contains(reason), "{error}");
    }
}
