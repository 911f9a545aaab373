//! Memory stays flat while events pile up in the spool, and while they are replayed.
//!
//! `JETSINK_SPOOLED=2000000 cargo test --release -p jetsink --test spool_memory -- --nocapture` for
//! more than the usual 100,000.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::memory::{resident, run_in_a_child};
use common::*;
use jetsink::{ConnectSettings, Delivery, NatsPublisher, Sink, SinkSettings, SpoolSettings};
use nats_local::NatsServer;
use tokio::task::JoinSet;
use trial::variable;

const CHILD: &str = "JETSINK_MEMORY_CHILD";
const CALLERS: u64 = 256;
/// More than is looked up at a time.
const WARM_UP: u64 = 40_000;
/// The memory that further events may need in addition to the warm-up.
const LIMIT_KIB: u64 = 4 * 1_024;

async fn spool(sink: &Arc<NatsSink>, events: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (sink, next) = (Arc::clone(sink), Arc::clone(&next));
        callers.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < events {
                let subject = format!("events.{}", caller % 16);
                let delivery = sink.emit(event(&subject, vec![b'x'; 500])).await.unwrap();
                assert_eq!(delivery, Delivery::Spooled);
            }
        });
    }
    callers.join_all().await;
}

/// Waits until the spool is empty, and returns the maximum memory in KiB.
async fn replayed(sink: &NatsSink) -> u64 {
    let started = Instant::now();
    let mut highest = 0;
    while sink.spool().unwrap().status().events > 0 {
        assert!(started.elapsed() < Duration::from_secs(500));
        tokio::time::sleep(Duration::from_millis(20)).await;
        highest = highest.max(resident());
    }
    highest
}

#[test]
fn memory_stays_flat_while_events_pile_up_and_are_replayed() {
    run_in_a_child("the_child_spools_and_replays", CHILD);
}

/// Does nothing unless the test above starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_spools_and_replays() {
    if std::env::var_os(CHILD).is_some() {
        spool_and_replay().await;
    }
}

async fn spool_and_replay() {
    let events = variable("JETSINK_SPOOLED").unwrap_or(100_000);
    let mut server = NatsServer::start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let connect = ConnectSettings::new(&server.url())
        .unwrap()
        .start_disconnected(true);
    let sink = Sink::with_spool(
        NatsPublisher::connect(connect).await.unwrap(),
        SinkSettings::default(),
        SpoolSettings::new(folder.path())
            .limit_bytes(4 << 30)
            .unwrap(),
    );
    let sink = Arc::new(sink.await.unwrap());
    // Warm-up: fills the caches and starts the threads.
    spool(&sink, WARM_UP).await;
    server.restart().await.unwrap();
    let before = replayed(&sink).await;
    server.kill().unwrap();

    let started = Instant::now();
    spool(&sink, events).await;
    let (piled_up, took) = (resident(), started.elapsed());
    println!("{events} events spooled in {took:.1?}: {before} KiB before, {piled_up} KiB after");
    assert!(
        piled_up < before + LIMIT_KIB,
        "{before} KiB, then {piled_up} KiB"
    );

    server.restart().await.unwrap();
    let started = Instant::now();
    let highest = replayed(&sink).await;
    let took = started.elapsed();
    println!("replayed in {took:.1?}: {highest} KiB at the most");
    assert!(
        highest < before + LIMIT_KIB,
        "{before} KiB, then {highest} KiB"
    );
    let receipt = sink.close(Duration::from_secs(10)).await;
    assert_eq!(receipt.delivered, events + WARM_UP);
}
