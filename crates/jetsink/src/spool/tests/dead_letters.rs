//! Dead letters whose write is in doubt.

use std::time::Instant;

use crate::spool::log::event::NewRecord;
use crate::spool::queue::Change;
use crate::spool::tests::simulated_disk::{Failing, Fault, SimulatedDisk};
use crate::spool::tests::{envelope, numbers, soon, subject};
use crate::spool::{Baselines, DeadRecord, Place, Spool};

/// The dead letter of the first event of `a`, and its place.
async fn letter_of_first(spool: &Spool) -> (DeadRecord, Place) {
    let chunk = spool.read_from(&subject("a"), 0, 1).await.unwrap();
    let (index, bytes, record) = chunk.entries.into_iter().next().unwrap();
    let place = Place {
        subject: subject("a"),
        index,
        bytes,
    };
    let letter = DeadRecord {
        record: record.unwrap(),
        code: 1,
        died_at: 1,
        reason: "refused".to_owned(),
    };
    (letter, place)
}

/// A spool with two events, and the dead letter of the first one in doubt.
async fn in_doubt() -> (SimulatedDisk, Spool, DeadRecord, Place) {
    let disk = SimulatedDisk::default();
    let spool = Spool::at_once(disk.open(), 1 << 30).unwrap();
    for number in 0..2 {
        let event = envelope("a", number);
        spool.append_event(&event, None, soon()).await.unwrap();
    }
    let (letter, place) = letter_of_first(&spool).await;
    disk.fail(Some(Failing {
        from: 0,
        fault: Fault::Device,
        for_good: true,
    }));
    for _ in 0..2 {
        let buried = spool
            .move_to_dead_letters(vec![(letter.clone(), place.clone())])
            .await;
        assert!(buried.unwrap_err().may_be_spooled());
        assert_eq!(spool.waiting(&subject("a")), 2);
    }
    (disk, spool, letter, place)
}

#[tokio::test]
async fn dead_letter_in_doubt_is_counted_and_written_once() {
    let (disk, spool, letter, place) = in_doubt().await;
    disk.fail(None);
    spool
        .move_to_dead_letters(vec![(letter, place)])
        .await
        .unwrap();
    assert_eq!(spool.letters().len(), 1);
    assert_eq!(spool.status().dead_letters, 1);
    assert_eq!(spool.waiting(&subject("a")), 1);
    assert_eq!(numbers(&spool, "a").await, [1]);
}

#[tokio::test]
async fn event_that_is_found_stored_while_its_dead_letter_is_in_doubt_is_counted_out_once() {
    for removed_first in [false, true] {
        let (disk, spool, _, place) = in_doubt().await;
        if removed_first {
            spool.delivered(&place);
            let _ = spool.remove_delivered(&Baselines::new()).await;
        }
        disk.fail(None);
        spool.written().await.unwrap();
        spool.delivered(&place);
        spool.remove_delivered(&Baselines::new()).await.unwrap();
        assert_eq!(spool.waiting(&subject("a")), 1);
        assert_eq!(numbers(&spool, "a").await, [1]);
    }
}

/// The caller of the first one has given up, and a later run refuses the event again.
#[tokio::test]
async fn dead_letter_that_two_calls_write_is_written_once() {
    let spool = Spool::at_once(SimulatedDisk::default().open(), 1 << 30).unwrap();
    let event = envelope("a", 0);
    spool.append_event(&event, None, soon()).await.unwrap();
    let (letter, place) = letter_of_first(&spool).await;
    let change = || Change {
        records: vec![NewRecord {
            dead: Some(place.clone()),
            ..NewRecord::dead_letter(&letter)
        }],
        marks: true,
        ..Change::default()
    };
    // Before the first one is written, and behind it.
    spool.step(vec![change(), change()], Instant::now());
    spool.step(vec![change()], Instant::now());
    assert_eq!(spool.letters().len(), 1);
    assert_eq!(spool.status().dead_letters, 1);
    assert!(spool.is_empty());
}

/// A state without the marker, once in doubt, was written later. The spool reported a marker, and replay sent events that the
/// disk did not mark.
#[tokio::test]
async fn marker_that_the_disk_does_not_have_is_never_relied_on() {
    let mut doubts = 0;
    for calls in 0..12 {
        let disk = SimulatedDisk::default();
        let spool = Spool::at_once(disk.open(), 1 << 30).unwrap();
        for number in 0..2 {
            let event = envelope("a", number);
            spool.append_event(&event, None, soon()).await.unwrap();
        }
        spool.replay_begins(&Baselines::new()).await.unwrap();
        let letter = letter_of_first(&spool).await;
        spool.move_to_dead_letters(vec![letter]).await.unwrap();
        let (_, last) = letter_of_first(&spool).await;
        spool.delivered(&last);
        disk.fail(Some(Failing {
            from: disk.calls() + calls,
            fault: Fault::Device,
            for_good: true,
        }));
        let _ = spool.remove_delivered(&Baselines::new()).await;
        disk.fail(None);
        doubts += spool.in_doubt();
        spool.step(Vec::new(), Instant::now());
        let reopened = SimulatedDisk::of(&disk.files());
        let reopened = Spool::at_once(reopened.open(), 1 << 30).unwrap();
        assert!(
            reopened.replay_began() || !spool.replay_began(),
            "the disk failed after {calls} calls"
        );
    }
    assert!(doubts > 0);
}
