//! The ends of a sink with a spool: closing and dropping keep their bounds on a disk that hangs and with a large
//! backlog, and the spool can be opened again at once.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

#[path = "common/faulty_disk.rs"]
mod faulty_disk;
#[path = "common/shelf.rs"]
mod shelf;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use faulty_disk::{hang, is_child_of, run_in_a_child};
use jetsink::{Delivery, Envelope, Sink, SinkSettings, SpoolError, SpoolSettings, Subject};
use shelf::Shelf;

/// A bound and this much more for a machine with other work: a close that ignores its bound does not return at all.
const SLACK: Duration = Duration::from_secs(8);

async fn sink(shelf: &Shelf, folder: &Path) -> Result<Sink<Shelf>, SpoolError> {
    Sink::with_spool(
        shelf.clone(),
        SinkSettings::default(),
        SpoolSettings::new(folder),
    )
    .await
}

fn event(bytes: usize) -> Envelope {
    let subject = Subject::new("events.a").unwrap();
    Envelope::new(subject, Bytes::from(vec![b'x'; bytes]))
}

async fn fill(sink: &Sink<Shelf>, events: usize, bytes: usize) {
    let emits = (0..events).map(|_| sink.emit(event(bytes)));
    for emitted in futures_util::future::join_all(emits).await {
        assert_eq!(emitted.unwrap(), Delivery::Spooled);
    }
}

/// A sink with events in its spool, and callers that emit while the disk hangs.
async fn hanging(folder: &Path) -> Arc<Sink<Shelf>> {
    let sink = Arc::new(sink(&Shelf::away(), folder).await.unwrap());
    fill(&sink, 10, 600).await;
    hang(true);
    for _ in 0..64 {
        let sink = Arc::clone(&sink);
        tokio::spawn(async move { sink.emit(event(100_000)).await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    sink
}

#[test]
fn close_returns_by_its_bound_while_the_disk_hangs() {
    let test = "close_returns_by_its_bound_while_the_disk_hangs";
    if !is_child_of(test) {
        return run_in_a_child(test);
    }
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let sink = hanging(folder.path()).await;
        let started = Instant::now();
        sink.close(Duration::from_secs(1)).await;
        let took = started.elapsed();
        assert!(took < Duration::from_secs(1) + SLACK, "{took:?}");
        hang(false);
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
}

#[test]
fn drop_returns_while_the_disk_hangs_and_the_spool_is_free_once_it_works() {
    let test = "drop_returns_while_the_disk_hangs_and_the_spool_is_free_once_it_works";
    if !is_child_of(test) {
        return run_in_a_child(test);
    }
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let sink = hanging(folder.path()).await;
        // The callers' emits end by their deadline.
        while Arc::strong_count(&sink) > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let started = Instant::now();
        drop(sink);
        let took = started.elapsed();
        assert!(took < SLACK, "{took:?}");
        hang(false);
        let started = Instant::now();
        let again = loop {
            match self::sink(&Shelf::away(), folder.path()).await {
                Ok(sink) => break sink,
                Err(SpoolError::InUse { .. }) if started.elapsed() < SLACK => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        assert!(again.spool().unwrap().status().events >= 10);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spool_opens_again_right_after_a_drop() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..50 {
        // Replay runs in every second round, and ends with its sink.
        let shelf = Shelf::away();
        let sink = sink(&shelf, folder.path()).await;
        let sink = sink.unwrap_or_else(|error| panic!("opening {round}: {error}"));
        fill(&sink, 300, 600).await;
        if round % 2 == 0 {
            shelf.take(100);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(sink);
    }
    let last = sink(&Shelf::open(), folder.path()).await.unwrap();
    assert_eq!(last.close(Duration::MAX).await.spooled, 0);
}

/// The backlog is large enough to be scanned by a thread, and the sink ends during the scan.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spool_with_a_large_backlog_is_dropped_and_opened_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = sink(&Shelf::away(), folder.path()).await.unwrap();
    for _ in 0..40 {
        fill(&first, 64, 30_000).await;
    }
    drop(first);
    for round in 0..50 {
        let started = Instant::now();
        let sink = sink(&Shelf::away(), folder.path()).await;
        let sink = sink.unwrap_or_else(|error| panic!("opening {round}: {error}"));
        if round % 2 == 0 {
            drop(sink);
        } else {
            sink.close(Duration::ZERO).await;
        }
        let took = started.elapsed();
        assert!(took < SLACK, "{took:?}");
    }
    let last = sink(&Shelf::open(), folder.path()).await.unwrap();
    assert_eq!(last.close(Duration::MAX).await.spooled, 0);
}

#[test]
fn folder_on_a_file_system_without_locks_is_refused_with_its_path() {
    let test = "folder_on_a_file_system_without_locks_is_refused_with_its_path";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    if is_child_of(test) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let refused = runtime.block_on(sink(&Shelf::away(), &path)).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        assert!(matches!(refused, SpoolError::Io { .. }), "{text}");
        return;
    }
    faulty_disk::run_in_a_child_without_locks(test);
}
