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

use common::*;
use jetsink::{ConnectSettings, Delivery, NatsPublisher, Sink, SinkSettings, SpoolSettings};
use nats_fixture::NatsServer;
use tokio::task::JoinSet;

const CALLERS: u64 = 256;
const LIMIT_KIB: u64 = 16 * 1_024;

/// Resident memory, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_while_events_pile_up_and_are_replayed() {
    let events: u64 = std::env::var("JETSINK_SPOOLED")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(100_000);
    let mut server = NatsServer::start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let connect = ConnectSettings::new(&server.url())
        .unwrap()
        .start_disconnected();
    let sink = Sink::with_spool(
        NatsPublisher::connect(connect).await.unwrap(),
        SinkSettings::default(),
        SpoolSettings::new(folder.path())
            .limit_bytes(4 << 30)
            .unwrap(),
    );
    let sink = Arc::new(sink.await.unwrap());
    // Warm: its caches are full and its threads are there.
    spool(&sink, 20_000).await;
    let before = resident();
    let started = Instant::now();
    spool(&sink, events).await;
    let (piled_up, took) = (resident(), started.elapsed());
    println!("{events} events spooled in {took:.1?}: {before} KiB before, {piled_up} KiB after");
    assert!(
        piled_up < before + LIMIT_KIB,
        "{before} KiB, then {piled_up} KiB"
    );

    server.start_again().await.unwrap();
    let started = Instant::now();
    let mut highest = 0;
    while sink.spool_status().unwrap().events > 0 {
        assert!(started.elapsed() < Duration::from_secs(500));
        tokio::time::sleep(Duration::from_millis(20)).await;
        highest = highest.max(resident());
    }
    let took = started.elapsed();
    println!("replayed in {took:.1?}: {highest} KiB at the most");
    assert!(
        highest < piled_up + LIMIT_KIB,
        "{piled_up} KiB, then {highest} KiB"
    );
    let receipt = sink.close(Duration::from_secs(10)).await;
    assert_eq!(receipt.delivered, events + 20_000);
}
