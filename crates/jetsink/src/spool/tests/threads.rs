//! The spool's threads: a panic is an error of each later call, and none of them holds up an end.

use std::sync::Arc;
use std::time::Duration;

use crate::outcome::SpoolError;
use crate::spool::log::event::NewRecord;
use crate::spool::log::opening;
use crate::spool::queue::Writer;
use crate::spool::tests::simulated_disk::{Failing, Fault, SimulatedDisk};
use crate::spool::tests::{envelope, soon};
use crate::spool::{Record, Spool};

async fn append(spool: &Spool, number: usize) -> Result<(), SpoolError> {
    let event = envelope("a", number);
    spool.append_event(&event, None, soon()).await
}

fn panics(disk: &SimulatedDisk) {
    disk.fail(Some(Failing {
        from: 0,
        fault: Fault::Panic,
        for_good: true,
    }));
}

#[tokio::test]
async fn panic_of_the_writer_is_an_error_of_the_waiting_and_of_each_later_event() {
    let disk = SimulatedDisk::default();
    let spool = Spool::threaded(disk.open(), 1 << 30).unwrap();
    append(&spool, 0).await.unwrap();
    panics(&disk);
    let error = append(&spool, 1).await.unwrap_err();
    assert!(error == SpoolError::Failed && error.may_be_spooled());
    disk.fail(None);
    assert_eq!(append(&spool, 2).await, Err(SpoolError::Failed));
    assert_eq!(spool.written().await, Err(SpoolError::Failed));
    assert!(spool.close(Duration::from_secs(60)));
    drop(spool);
    let spool = Spool::at_once(disk.open(), 1 << 30).unwrap();
    assert_eq!(spool.status().events, 1);
}

#[tokio::test]
async fn panic_of_the_scan_is_an_error_of_each_later_event() {
    let disk = SimulatedDisk::default();
    let small = Some(4_096);
    let (mut log, _) = opening::open(disk.open(), small).unwrap();
    for number in 0..40 {
        let record = Record {
            index: 0,
            spooled_at: 1,
            may_be_stored: false,
            envelope: envelope("a", number),
        };
        log.append_reserved(&[&NewRecord::event(&record, None)])
            .unwrap();
    }
    log.close();
    let (log, backlog) = opening::open(disk.open(), small).unwrap();
    let spool = Spool::over(log, backlog, 1 << 30, Writer::start, |scan| {
        panics(&disk);
        scan.start()
    });
    let spool = spool.unwrap();
    while !spool.shared.has_failed() {
        std::thread::yield_now();
    }
    disk.fail(None);
    assert_eq!(append(&spool, 41).await, Err(SpoolError::Failed));
}

/// Counts the bytes that a queue keeps: the payload is the caller's.
#[tokio::test]
async fn queued_event_shares_its_payload_with_the_caller() {
    let payload = bytes::Bytes::from(vec![b'x'; 1 << 20]);
    let event = crate::Envelope::new(crate::spool::tests::subject("a"), payload.clone());
    let record = Record {
        index: 0,
        spooled_at: 1,
        may_be_stored: false,
        envelope: event,
    };
    let new = Arc::new(NewRecord::event(&record, None));
    assert_eq!(new.payload.as_ptr(), payload.as_ptr());
    assert!(new.fields.capacity() < 100, "{}", new.fields.capacity());
}
