//! A process that ends right after its last Ok has lost nothing.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use common::*;
use nats_local::stored;

const URL: &str = "JETSINK_TEST_CHILD_URL";
const EVENTS: usize = 1_000;

/// The child process: this test binary with the broker's address. Without an address it does nothing.
#[tokio::test]
async fn the_child_exits_right_after_its_last_ok() {
    let Ok(url) = std::env::var(URL) else { return };
    let sink = sink_with(jetsink::ConnectSettings::new(&url).unwrap()).await;
    for number in 0..EVENTS {
        sink.emit(event("events.a", number.to_string()))
            .await
            .unwrap();
    }
    std::process::exit(0);
}

#[tokio::test]
async fn events_with_ok_are_stored_if_the_process_exits_at_once() {
    let server = server_with_stream().await;
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_exits_right_after_its_last_ok"])
        .env(URL, server.url())
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stderr)
    );
    let there = stored(&server.jetstream().await.unwrap(), "EVENTS")
        .await
        .unwrap();
    assert_eq!(there.len(), EVENTS);
}
