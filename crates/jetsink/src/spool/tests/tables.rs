//! What a transaction does to the tables, and what is counted of them.

use redb::TableHandle as _;

use super::*;
use crate::spool::SpoolError;
use crate::spool::store::{OpenError, Store};
use crate::spool::tests::simulated_disk::SimulatedDisk;
use crate::spool::tests::{appending, letter, record, subject};

fn appends(places: &[(&str, u64)]) -> Batch {
    appending(places.iter().map(|(text, index)| record(text, *index)))
}

fn store() -> Store {
    SimulatedDisk::default().open().unwrap().0
}

fn indexes(store: &Store, text: &str) -> Vec<u64> {
    let chunk = store.lane(&subject(text), 0, 99).unwrap();
    let entries = chunk.entries.into_iter();
    entries
        .map(|(index, _, record)| record.map(|_| index).unwrap())
        .collect()
}

#[test]
fn a_batch_is_empty_only_without_any_change() {
    assert!(Batch::default().is_empty());
    for batch in [
        appends(&[("a", 0)]),
        Batch {
            remove: vec![(subject("a"), 0)],
            ..Batch::default()
        },
        Batch {
            bury: vec![letter("a", 0)],
            ..Batch::default()
        },
        Batch {
            unbury: vec![0],
            ..Batch::default()
        },
        Batch {
            baselines: Some(Vec::new()),
            ..Batch::default()
        },
        Batch {
            replay_began: Some(false),
            ..Batch::default()
        },
    ] {
        assert!(!batch.is_empty(), "{batch:?}");
    }
}

#[test]
fn of_two_batches_all_changes_are_made_and_the_later_marks_count() {
    let marks = |sequence| Some(vec![("S".to_owned(), sequence)]);
    let mut both = Batch {
        freed_bytes: 3,
        baselines: marks(1),
        replay_began: Some(true),
        remove: vec![(subject("a"), 7)],
        ..appends(&[("a", 0)])
    };
    both.merge(Batch {
        freed_bytes: 4,
        bury: vec![letter("a", 8)],
        unbury: vec![9],
        ..appends(&[("b", 1)])
    });
    assert_eq!((both.append.len(), both.remove.len()), (2, 1));
    assert_eq!(
        (both.bury.len(), both.unbury.len(), both.freed_bytes),
        (1, 1, 7)
    );
    assert_eq!(
        (both.baselines.clone(), both.replay_began),
        (marks(1), Some(true))
    );
    both.merge(Batch {
        baselines: marks(2),
        replay_began: Some(false),
        ..Batch::default()
    });
    assert_eq!((both.baselines, both.replay_began), (marks(2), Some(false)));
}

#[test]
fn what_is_removed_is_gone_and_its_neighbours_stay() {
    let store = store();
    let places = [("a", 0), ("a", 1), ("a", 2), ("a", 3), ("b", 4), ("b", 5)];
    store.commit(&appends(&places)).unwrap();
    store
        .commit(&Batch {
            remove: vec![(subject("a"), 2), (subject("a"), 0), (subject("b"), 5)],
            ..Batch::default()
        })
        .unwrap();
    assert_eq!(indexes(&store, "a"), [1, 3]);
    assert_eq!(indexes(&store, "b"), [4]);
    let contents = store.contents().unwrap();
    let lane = |text| contents.lanes[&subject(text)];
    let bytes = |text, index| record(text, index).encode().len() as u64;
    let of_a = Lane {
        events: 2,
        bytes: bytes("a", 1) + bytes("a", 3),
    };
    assert_eq!(lane("a"), of_a);
    assert_eq!((lane("b").events, lane("b").bytes), (1, bytes("b", 4)));
}

#[test]
fn a_burial_moves_an_event_and_an_index_is_never_given_again() {
    let store = store();
    store.commit(&appends(&[("a", 0), ("a", 1)])).unwrap();
    store
        .commit(&Batch {
            bury: vec![letter("a", 1)],
            ..Batch::default()
        })
        .unwrap();
    let contents = store.contents().unwrap();
    let letter_bytes = letter("a", 1).encode().len() as u64;
    assert_eq!(
        (contents.dead.events, contents.dead.bytes),
        (1, letter_bytes)
    );
    assert_eq!((indexes(&store, "a"), contents.next_index), (vec![0], 2));
    store
        .commit(&Batch {
            unbury: vec![1],
            remove: vec![(subject("a"), 0)],
            ..Batch::default()
        })
        .unwrap();
    let contents = store.contents().unwrap();
    assert_eq!((contents.dead.events, contents.lanes.len()), (0, 0));
    assert_eq!(contents.next_index, 2);
    // A letter that came from elsewhere counts, too.
    store
        .commit(&Batch {
            bury: vec![letter("a", 9)],
            ..Batch::default()
        })
        .unwrap();
    assert_eq!(store.contents().unwrap().next_index, 10);
}

#[test]
fn baselines_are_replaced_as_a_whole_and_the_mark_is_set_and_taken_back() {
    let store = store();
    for (names, began) in [(&["S", "T"][..], true), (&["U"], false)] {
        let baselines = names.iter().map(|name| ((*name).to_owned(), 4)).collect();
        store
            .commit(&Batch {
                baselines: Some(baselines),
                replay_began: Some(began),
                ..Batch::default()
            })
            .unwrap();
        let contents = store.contents().unwrap();
        let mut found: Vec<&str> = contents.baselines.keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!((found.as_slice(), contents.replay_began), (names, began));
        assert_eq!(contents.baselines[names[0]], 4);
    }
}

#[test]
fn a_record_under_anothers_key_is_damage() {
    let bytes = record("a", 3).encode();
    assert!(decode(b"a", 3, &bytes).is_ok());
    assert_eq!(decode(b"a", 4, &bytes), Err(Damage::Fields));
    assert_eq!(decode(b"b", 3, &bytes), Err(Damage::Fields));
    let buffer = Bytes::from(bytes);
    let shared = |text, index| decode_shared(&subject(text), index, &buffer, &buffer);
    assert_eq!(shared("a", 3), Ok(record("a", 3)));
    assert_eq!(shared("a", 4), Err(Damage::Fields));
    assert_eq!(shared("b", 3), Err(Damage::Fields));
}

#[test]
fn a_file_of_another_format_is_refused_whatever_its_tables_hold() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut meta = transaction.open_table(META).unwrap();
        meta.insert(META_FORMAT, FORMAT + 1).unwrap();
        let other = TableDefinition::<&str, &str>::new(EVENTS.name());
        transaction.open_table(other).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    match Store::open(&path).map(|_| ()).unwrap_err() {
        OpenError::Spool(SpoolError::Format { found, .. }) => assert_eq!(found, FORMAT + 1),
        other => panic!("{other}"),
    }
}
