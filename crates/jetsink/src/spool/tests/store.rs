//! The store's reading, and what it makes of a file that does not open.

use std::io::ErrorKind;

use super::*;
use crate::spool::tables::Batch;
use crate::spool::tests::simulated_disk::SimulatedDisk;
use crate::spool::tests::{appending, letter, record, subject};
use crate::{Envelope, MessageId};

fn since(spooled_at: u64, record: Record) -> Record {
    Record {
        spooled_at,
        ..record
    }
}

fn store_of(records: impl IntoIterator<Item = Record>) -> Store {
    let (store, _) = SimulatedDisk::default().open().unwrap();
    store.commit(&appending(records)).unwrap();
    store
}

fn indexes(chunk: &Chunk) -> Vec<u64> {
    chunk.entries.iter().map(|(index, ..)| *index).collect()
}

#[test]
fn a_lane_is_read_in_pieces_of_so_many_events() {
    let store = store_of((0..5).map(|index| record("a", index)));
    let read = |from, limit| store.lane(&subject("a"), from, limit).unwrap();
    let first = read(0, 2);
    assert_eq!(
        (indexes(&first), first.next, first.more),
        (vec![0, 1], 2, true)
    );
    let rest = read(first.next, 9);
    assert_eq!(
        (indexes(&rest), rest.next, rest.more),
        (vec![2, 3, 4], 5, false)
    );
    let none = read(rest.next, 9);
    assert_eq!((indexes(&none), none.next, none.more), (vec![], 5, false));
}

#[test]
fn a_lane_is_read_in_pieces_of_so_many_bytes() {
    let large = |index| Record {
        envelope: Envelope::new(subject("a"), vec![b'x'; READ_BYTES / 2].into())
            .with_message_id(MessageId::new("id").unwrap()),
        ..record("a", index)
    };
    let store = store_of((0..4).map(large));
    let chunk = store.lane(&subject("a"), 0, 9).unwrap();
    assert_eq!((indexes(&chunk), chunk.more), (vec![0, 1], true));
}

#[test]
fn the_oldest_is_found_among_all_subjects() {
    let store = store_of([
        since(5, record("b", 0)),
        since(9, record("a", 1)),
        since(3, record("c", 2)),
    ]);
    assert_eq!(store.oldest(), Ok(Some(3)));
    assert_eq!(store_of([since(7, record("a", 0))]).oldest(), Ok(Some(7)));
    let none = store_of([]);
    assert_eq!(none.oldest(), Ok(None));
    assert!(format!("{none:?}").starts_with("Store { path: "));
}

#[test]
fn dead_letters_are_read_in_pieces() {
    let store = store_of([]);
    let batch = Batch {
        bury: [3, 5, 8].map(|index| letter("a", index)).to_vec(),
        ..Batch::default()
    };
    store.commit(&batch).unwrap();
    let read = |from, limit| {
        let letters = store.dead(from, limit).unwrap();
        letters.into_iter().map(|(index, letter)| {
            assert_eq!(letter.unwrap().record.index, index);
            index
        })
    };
    assert_eq!(read(0, 2).collect::<Vec<_>>(), [3, 5]);
    assert_eq!(read(5, 9).collect::<Vec<_>>(), [5, 8]);
    assert_eq!(read(9, 9).count(), 0);
}

#[test]
fn only_a_file_that_is_not_what_the_store_left_is_damaged() {
    for (kind, is_damaged) in [
        (ErrorKind::InvalidData, true),
        (ErrorKind::UnexpectedEof, true),
        (ErrorKind::PermissionDenied, false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let fails = move |_: &Builder, _| Err(StorageError::Io(kind.into()).into());
        let opened = Store::open_with(&folder.path().join("a"), Box::new(fails));
        match opened.map(|_| ()).unwrap_err() {
            OpenError::Damaged(_) => assert!(is_damaged, "{kind}"),
            OpenError::Spool(error) => {
                assert!(!is_damaged, "{kind}: {error}");
                assert!(error.to_string().contains("opening it"), "{error}");
            }
        }
    }
}
