//! What a spool's keeper sees and does.

use super::*;
use crate::spool::record::Damage;
use crate::spool::tables::{DEAD, EVENTS};
use crate::spool::tests::{envelope, fill, numbers, open, soon, subject};
use crate::spool::{Baselines, Place};

/// Six events of `a` and three of `b`, of which the first of each is a dead letter.
async fn kept() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    fill(&spool, 9).await;
    let mut letters = Vec::new();
    for (text, code) in [("a", 10_077), ("b", 0)] {
        let chunk = spool.read(&subject(text), 0, 1).await.unwrap();
        let (index, bytes, record) = chunk.entries.into_iter().next().unwrap();
        let letter = DeadLetter {
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
    spool.bury(letters).await.unwrap();
    folder
}

/// Puts a record into each table that is none.
fn damage(folder: &Path) {
    let database = redb::Database::open(file_in(folder)).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut events = transaction.open_table(EVENTS).unwrap();
        events.insert((&b"a"[..], 1), &b"no record"[..]).unwrap();
        let mut dead = transaction.open_table(DEAD).unwrap();
        dead.insert(0, &b"no letter"[..]).unwrap();
    }
    transaction.commit().unwrap();
}

fn opened(folder: &Path) -> SpoolFile {
    SpoolFile::open(folder).unwrap()
}

fn events(file: &SpoolFile) -> (Vec<SpooledEvent>, u64) {
    let mut events = Vec::new();
    let damaged = file.events(|event| events.push(event)).unwrap();
    (events, damaged)
}

fn dead_letters(file: &SpoolFile) -> (Vec<BuriedEvent>, u64) {
    let mut letters = Vec::new();
    let damaged = file.dead_letters(|letter| letters.push(letter)).unwrap();
    (letters, damaged)
}

#[tokio::test]
async fn what_waits_and_what_died_is_there_to_be_seen() {
    let before = SystemTime::now();
    let folder = kept().await;
    let file = opened(folder.path());
    let status = file.status();
    let counts = (status.events, status.subjects, status.dead_letters);
    assert_eq!(counts, (7, 2, 2));
    let subjects = file.subjects();
    let of = |at: usize| (subjects[at].0.as_str(), subjects[at].1);
    assert_eq!((subjects.len(), of(0), of(1)), (2, ("a", 5), ("b", 2)));
    let waiting: u64 = subjects.iter().map(|(.., bytes)| bytes).sum();
    let (letters, 0) = dead_letters(&file) else {
        panic!("nothing is damaged")
    };
    let encoded = file.store.dead(0, 9).unwrap().into_iter();
    let dead: usize = encoded
        .map(|(_, letter)| letter.unwrap().encode().len())
        .sum();
    assert_eq!(status.used_bytes, waiting + dead as u64);

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
        [(None, "refused on b"), (Some(10_077), "refused on a")]
    );
    assert_eq!(letters[0].died_at, UNIX_EPOCH + Duration::from_secs(5));
    let oldest = file.oldest().unwrap().unwrap();
    // The file's clock has milliseconds.
    assert!(oldest + Duration::from_millis(1) > before && oldest <= SystemTime::now());
    assert_eq!((file.may_be_stored(), file.loss()), (false, None));
}

#[tokio::test]
async fn what_may_be_stored_is_told() {
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
async fn what_is_damaged_is_counted_and_the_rest_is_there() {
    let folder = kept().await;
    damage(folder.path());
    let file = opened(folder.path());
    let (events, damaged_events) = events(&file);
    let (letters, damaged_letters) = dead_letters(&file);
    assert_eq!((events.len(), damaged_events), (7, 1));
    assert_eq!((letters.len(), damaged_letters), (1, 1), "one was replaced");
    drop(file);
    let check = SpoolFile::verify(folder.path()).unwrap();
    let seen = (check.events, check.dead_letters, check.damaged);
    assert_eq!((seen, check.reason), ((7, 1, 2), None));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 2, "the file and its note: {left:?}");
    assert_eq!(DeadLetter::decode(b"no letter"), Err(Damage::Checksum));
}

#[tokio::test]
async fn what_was_lost_at_its_opening_counts_as_damaged() {
    let folder = kept().await;
    let mut file = opened(folder.path());
    file.loss = Some(SpoolLoss {
        reason: "torn".to_owned(),
        set_aside: None,
        salvaged: 0,
        lost: Some(3),
        dead_letters_salvaged: 0,
        dead_letters_lost: Some(4),
    });
    let check = file.check().unwrap();
    assert_eq!((check.damaged, check.reason.as_deref()), (7, Some("torn")));
    assert_eq!(file.loss().map(|loss| loss.lost), Some(Some(3)));
}

#[tokio::test]
async fn a_spool_in_use_is_left_alone_and_where_there_is_none_that_is_told() {
    let folder = kept().await;
    let spool = open(folder.path());
    for error in [
        SpoolFile::verify(folder.path()).unwrap_err(),
        SpoolFile::open(folder.path()).unwrap_err(),
    ] {
        assert!(matches!(error, SpoolError::InUse { .. }), "{error}");
    }
    drop(spool);
    let nowhere = folder.path().join("nowhere");
    let error = SpoolFile::open(&nowhere).unwrap_err();
    assert!(error.to_string().contains("there is no spool"), "{error}");
    assert!(SpoolFile::verify(&nowhere).is_err() && !nowhere.exists());
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
async fn what_is_deleted_is_gone_and_counted() {
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

#[test]
fn files_that_were_set_aside_are_found_in_order_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "spool.redb.damaged-2",
        "spool.redb.damaged-1",
        "spool.redb",
        "other",
    ] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let expected = [1, 2].map(|n| folder.path().join(format!("spool.redb.damaged-{n}")));
    assert_eq!(SpoolFile::set_aside(folder.path()), expected);
    assert!(SpoolFile::set_aside(&folder.path().join("nowhere")).is_empty());
}
