//! The order of events on their way into the spool.

use futures_util::FutureExt as _;

use crate::spool::Spool;
use crate::spool::tests::simulated_disk::SimulatedDisk;
use crate::spool::tests::{envelope, soon, subject};
use crate::{Envelope, MessageId};

/// An event that needs all the room in the queue.
fn large(number: usize) -> Envelope {
    Envelope::new(subject("a"), vec![b'x'; 16 << 20].into())
        .with_message_id(MessageId::new(format!("sink.{number}")).unwrap())
}

async fn ids(spool: &Spool) -> Vec<String> {
    spool.written().await.unwrap();
    let (mut ids, mut next) = (Vec::new(), 0);
    loop {
        let chunk = spool.read_from(&subject("a"), next, 10).await.unwrap();
        for (_, _, record) in chunk.entries {
            let envelope = record.unwrap().envelope;
            ids.push(envelope.message_id().unwrap().as_str().to_owned());
        }
        next = chunk.next;
        if !chunk.more {
            return ids;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_event_does_not_overtake_one_that_got_its_place_and_is_not_polled_yet() {
    let disk = SimulatedDisk::default();
    let spool = Spool::threaded(disk.open(), 1 << 30).unwrap();
    disk.hang_syncs(true);
    let [first, second, third] = [large(0), envelope("a", 1), envelope("a", 2)];
    let mut first = Box::pin(spool.append_event(&first, None, soon()));
    let mut second = Box::pin(spool.append_event(&second, None, soon()));
    let mut third = Box::pin(spool.append_event(&third, None, soon()));
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    disk.hang_syncs(false);
    first.await.unwrap();
    while spool.queue.available_permits() == 0 {
        tokio::task::yield_now().await;
    }
    let early = third.as_mut().now_or_never();
    second.await.unwrap();
    if early.is_none() {
        third.await.unwrap();
    }
    assert_eq!(ids(&spool).await, ["sink.0", "sink.1", "sink.2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_whose_wait_for_a_place_is_given_up_holds_up_none_behind_it() {
    let disk = SimulatedDisk::default();
    let spool = Spool::threaded(disk.open(), 1 << 30).unwrap();
    disk.hang_syncs(true);
    let [first, second, third] = [large(0), envelope("a", 1), envelope("a", 2)];
    let mut first = Box::pin(spool.append_event(&first, None, soon()));
    let mut second = Box::pin(spool.append_event(&second, None, soon()));
    let mut third = Box::pin(spool.append_event(&third, None, soon()));
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    assert!(third.as_mut().now_or_never().is_none());
    drop(second);
    disk.hang_syncs(false);
    first.await.unwrap();
    third.await.unwrap();
    assert_eq!(ids(&spool).await, ["sink.0", "sink.2"]);
    assert_eq!(spool.status().events, 2);
}
