//! Invariant 4 while events leave: an event that may be stored is looked up from the sequence at which it was sent, as long
//! as it is in the file.

use futures_util::FutureExt as _;

use crate::outcome::SpoolError;
use crate::spool::tests::simulated_disk::{Failing, Fault, SimulatedDisk};
use crate::spool::tests::{envelope, places, soon, subject};
use crate::spool::{Baseline, Baselines, Spool};

fn open(disk: &SimulatedDisk) -> Spool {
    Spool::at_once(disk.open(), 1 << 30).unwrap()
}

async fn append_sent(
    spool: &Spool,
    number: usize,
    sent: Option<&Baselines>,
) -> Result<(), SpoolError> {
    spool
        .append_event(&envelope("a", number), sent, soon())
        .await
}

/// Lets each write fail, or none.
fn fail(disk: &SimulatedDisk, fault: Option<Fault>) {
    disk.fail(fault.map(|fault| Failing {
        from: 0,
        fault,
        for_good: true,
    }));
}

/// A sequence number of the only stream.
fn above(sequence: u64) -> Baselines {
    Baselines::from([("S".to_owned(), Baseline::new(sequence))])
}

/// A spool with one event, which was sent above sequence number 5.
async fn one_sent_above_5() -> (Spool, SimulatedDisk) {
    let disk = SimulatedDisk::default();
    let spool = open(&disk);
    append_sent(&spool, 0, Some(&above(5))).await.unwrap();
    (spool, disk)
}

/// The oldest event is looked up, and is stored.
async fn oldest_is_found(spool: &Spool) {
    let before = spool.unreconciled();
    spool.reconciled(&subject("a"), &before);
    let oldest = places(spool, "a", 1).await.remove(0);
    spool.delivered(&oldest);
}

/// From where this and the next process look.
async fn baselines(spool: Spool, disk: SimulatedDisk) -> [Baselines; 2] {
    let here = spool.baselines();
    drop(spool);
    [here, open(&disk).baselines()]
}

#[tokio::test]
async fn once_all_have_left_the_next_one_alone_counts() {
    let (spool, disk) = one_sent_above_5().await;
    oldest_is_found(&spool).await;
    spool.remove_delivered(&Baselines::new()).await.unwrap();
    append_sent(&spool, 1, Some(&above(9))).await.unwrap();
    assert_eq!(baselines(spool, disk).await, [above(9), above(9)]);
}

#[tokio::test]
async fn pending_events_count_as_sent_after_others_have_left() {
    let (spool, disk) = one_sent_above_5().await;
    append_sent(&spool, 1, None).await.unwrap();
    oldest_is_found(&spool).await;
    spool.remove_delivered(&Baselines::new()).await.unwrap();
    append_sent(&spool, 2, Some(&above(9))).await.unwrap();
    assert_eq!(baselines(spool, disk).await, [above(5), above(5)]);
}

#[tokio::test]
async fn event_whose_mark_failed_is_looked_up_from_where_it_was_sent() {
    for fault in [Fault::Device, Fault::Full] {
        let (spool, disk) = one_sent_above_5().await;
        oldest_is_found(&spool).await;
        fail(&disk, Some(fault));
        // The mark stays in memory.
        spool.remove_delivered(&above(6)).await.unwrap();
        fail(&disk, None);
        append_sent(&spool, 1, Some(&above(9))).await.unwrap();
        assert_eq!(baselines(spool, disk).await, [above(5), above(5)]);
    }
}

#[tokio::test]
async fn removal_makes_the_marks_of_another_that_failed() {
    let (spool, disk) = one_sent_above_5().await;
    oldest_is_found(&spool).await;
    fail(&disk, Some(Fault::Device));
    // Its caller does not wait.
    drop(spool.remove_delivered(&Baselines::new()));
    let _ = spool.written().await;
    fail(&disk, None);
    append_sent(&spool, 1, Some(&above(7))).await.unwrap();
    oldest_is_found(&spool).await;
    spool.remove_delivered(&Baselines::new()).await.unwrap();
    append_sent(&spool, 2, Some(&above(9))).await.unwrap();
    assert_eq!(baselines(spool, disk).await, [above(9), above(9)]);
}

#[tokio::test]
async fn marker_goes_with_the_last_event_though_a_dead_letter_marked_it() {
    let (spool, _disk) = one_sent_above_5().await;
    append_sent(&spool, 1, None).await.unwrap();
    oldest_is_found(&spool).await;
    let chunk = spool.read_from(&subject("a"), 0, 1).await.unwrap();
    let (_, _, record) = chunk.entries.into_iter().next().unwrap();
    let letter = crate::spool::DeadRecord {
        record: record.unwrap(),
        code: 1,
        died_at: 1,
        reason: "refused".to_owned(),
    };
    let place = places(&spool, "a", 1).await.remove(0);
    spool
        .move_to_dead_letters(vec![(letter, place)])
        .await
        .unwrap();
    assert_eq!(spool.delivered_events(), 0);
    assert!(spool.replay_began());
    spool.remove_delivered(&above(9)).await.unwrap();
    assert!(!spool.replay_began());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marker_of_an_append_that_is_cancelled_counts_once_it_is_written_and_not_if_that_fails() {
    for fails in [false, true] {
        let disk = SimulatedDisk::default();
        // Too little room for zeros ahead of the records.
        disk.set_capacity(Some(1 << 20));
        let spool = Spool::threaded(disk.open(), 1 << 30).unwrap();
        append_sent(&spool, 0, None).await.unwrap();
        disk.hang_syncs(true);
        let [first, sent] = [envelope("b", 1), envelope("a", 2)];
        let above = above(5);
        let mut writing = Box::pin(spool.append_event(&first, None, soon()));
        assert!(writing.as_mut().now_or_never().is_none());
        let mut cancelled = Box::pin(spool.append_event(&sent, Some(&above), soon()));
        assert!(cancelled.as_mut().now_or_never().is_none());
        drop((writing, cancelled));
        assert!(!spool.replay_began(), "it is queued");
        disk.set_capacity(fails.then(|| disk.used()));
        disk.hang_syncs(false);
        let _ = spool.written().await;
        assert_eq!(spool.replay_began(), !fails);
        assert!(spool.is_unreconciled(&subject("a")));
        disk.set_capacity(None);
        spool.replay_begins(&Baselines::new()).await.unwrap();
        disk.process_is_killed();
        drop(spool);
        let next = open(&disk);
        assert!(next.replay_began());
        assert_eq!(next.baselines(), above);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marker_of_an_append_that_timed_out_counts_once_it_is_written_and_not_if_that_fails() {
    for fails in [false, true] {
        let disk = SimulatedDisk::default();
        // Too little room for zeros ahead of the records.
        disk.set_capacity(Some(1 << 20));
        let spool = Spool::threaded(disk.open(), 1 << 30).unwrap();
        append_sent(&spool, 0, None).await.unwrap();
        disk.hang_syncs(true);
        let within = || tokio::time::Instant::now() + std::time::Duration::from_millis(100);
        let [first, sent] = [envelope("b", 1), envelope("a", 2)];
        let hung = spool.append_event(&first, None, within()).await;
        assert!(matches!(hung, Err(SpoolError::TooSlow { .. })));
        let hung = spool.append_event(&sent, Some(&above(5)), within()).await;
        assert!(matches!(hung, Err(SpoolError::TooSlow { .. })));
        assert!(!spool.replay_began(), "it is queued");
        disk.set_capacity(fails.then(|| disk.used()));
        disk.hang_syncs(false);
        let _ = spool.written().await;
        assert_eq!(spool.replay_began(), !fails);
        disk.set_capacity(None);
        spool.replay_begins(&Baselines::new()).await.unwrap();
        assert!(spool.replay_began());
        disk.process_is_killed();
        drop(spool);
        assert!(open(&disk).replay_began());
    }
}
