//! Invariant 4 where events leave: what may be stored is looked up from where it was sent, as long as it
//! is in the file.

use std::io::ErrorKind;

use tempfile::TempDir;

use crate::spool::tests::disk::{Faults, append, append_sent, spool};
use crate::spool::tests::{open, places, subject};
use crate::spool::{Baselines, Spool};

/// A sequence number of the only stream.
fn above(sequence: u64) -> Baselines {
    Baselines::from([("S".to_owned(), sequence)])
}

/// A spool with one event, which was sent above sequence number 5.
async fn one_sent_above_5() -> (Spool, TempDir, Faults) {
    let (folder, faults) = (tempfile::tempdir().unwrap(), Faults::default());
    let spool = spool(folder.path(), &faults);
    append_sent(&spool, 0, Some(&above(5))).await.unwrap();
    (spool, folder, faults)
}

/// The oldest event is looked up, and is stored.
async fn oldest_is_found(spool: &Spool) {
    let (before, _) = spool.unsettled();
    spool.settled(&subject("a"), &before);
    let oldest = places(spool, "a", 1).await.remove(0);
    spool.left(oldest);
}

/// From where this and the next process look.
async fn baselines(spool: Spool, folder: TempDir) -> [Baselines; 2] {
    let here = spool.unsettled().1;
    drop(spool);
    [here, open(folder.path()).unsettled().1]
}

#[tokio::test]
async fn once_all_have_left_the_next_one_alone_counts() {
    let (spool, folder, _) = one_sent_above_5().await;
    oldest_is_found(&spool).await;
    spool.remove_left(&Baselines::new()).await.unwrap();
    append_sent(&spool, 1, Some(&above(9))).await.unwrap();
    assert_eq!(baselines(spool, folder).await, [above(9), above(9)]);
}

#[tokio::test]
async fn what_still_waits_counts_as_sent_though_others_have_left() {
    let (spool, folder, _) = one_sent_above_5().await;
    append(&spool, 1).await.unwrap();
    oldest_is_found(&spool).await;
    spool.remove_left(&Baselines::new()).await.unwrap();
    append_sent(&spool, 2, Some(&above(9))).await.unwrap();
    assert_eq!(baselines(spool, folder).await, [above(5), above(5)]);
}

#[tokio::test]
async fn what_left_and_could_not_be_removed_is_looked_up_from_where_it_was_sent() {
    let (spool, folder, faults) = one_sent_above_5().await;
    oldest_is_found(&spool).await;
    faults.set_writes(Some(ErrorKind::StorageFull));
    spool.remove_left(&above(6)).await.unwrap_err();
    faults.set_writes(None);
    append_sent(&spool, 1, Some(&above(9))).await.unwrap();
    assert_eq!(baselines(spool, folder).await, [above(5), above(5)]);
}

#[tokio::test]
async fn one_removal_says_nothing_of_another_that_failed() {
    let (spool, folder, faults) = one_sent_above_5().await;
    oldest_is_found(&spool).await;
    faults.set_writes(Some(ErrorKind::StorageFull));
    // Nobody waits for this one.
    drop(spool.remove_left(&Baselines::new()));
    let _ = spool.written().await;
    faults.set_writes(None);
    append_sent(&spool, 1, Some(&above(7))).await.unwrap();
    oldest_is_found(&spool).await;
    spool.remove_left(&Baselines::new()).await.unwrap();
    append_sent(&spool, 2, Some(&above(9))).await.unwrap();
    assert_eq!(baselines(spool, folder).await, [above(5), above(5)]);
}
