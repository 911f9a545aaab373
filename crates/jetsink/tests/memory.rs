//! A million emits against a broker that is gone, or frozen, leave nothing behind.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use tokio::task::JoinSet;

const EMITS: usize = 1_000_000;
const CALLERS: usize = 8;
const ALLOWED: u64 = 16 << 20;

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim()
        .strip_suffix(" kB")
        .unwrap()
        .trim()
        .parse::<u64>()
        .unwrap()
        * 1_024
}

async fn emit_a_million(sink: &Arc<NatsSink>) {
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let sink = Arc::clone(sink);
        callers.spawn(async move {
            for number in 0..EMITS / CALLERS {
                sink.emit(event("events.a", &b"0123456789"[..]))
                    .await
                    .unwrap_err();
                if number % 1_000 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    callers.join_all().await;
}

/// Emits that are given up long before their deadline, as callers with a timeout of their own do.
async fn give_up_ten_thousand(sink: &Arc<NatsSink>) {
    for _ in 0..10_000 {
        let emit = sink.emit(event("events.a", &b"0123456789"[..]));
        let _ = tokio::time::timeout(Duration::from_micros(10), emit).await;
    }
}

// One test: resident memory is the process's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_emits_in_an_outage_do_not_grow_memory() {
    let mut server = server_with_stream().await;
    let sink = Arc::new(sink_to(&server).await);
    for _ in 0..1_000 {
        emit(&sink, "events.a", "warm".into()).await.result.unwrap();
    }

    server.freeze().unwrap();
    let before = resident_bytes();
    give_up_ten_thousand(&sink).await;
    emit_a_million(&sink).await;
    let after = resident_bytes();
    println!("frozen: {before} bytes before, {after} after");
    assert!(after < before + ALLOWED, "frozen: from {before} to {after}");
    assert_eq!(sink.publisher().in_flight(), 0);

    server.kill().unwrap();
    let before = resident_bytes();
    emit_a_million(&sink).await;
    let after = resident_bytes();
    println!("killed: {before} bytes before, {after} after");
    assert!(after < before + ALLOWED, "killed: from {before} to {after}");
    assert_eq!(sink.publisher().in_flight(), 0);
}
