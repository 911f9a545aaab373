//! A sink whose server is cut off from its cluster changes to another server.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::time::Duration;

use cellos_core::ports::EventSink;
use cellos_sink_jetstream::{ConnectSettings, JetStreamEventSink};
use common::event;
use nats_local::NatsCluster;
use tokio::time::{Instant, sleep};

/// The time for which the server is cut off.
const CUT_OFF: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_leaves_a_server_that_is_cut_off_from_its_cluster() {
    let cluster = NatsCluster::start().await.unwrap();
    cluster
        .create_stream("CELLOS_EVENTS", &["cellos.events.>"])
        .await
        .unwrap();
    let leader = cluster.leader("CELLOS_EVENTS").await.unwrap();
    let broker = ConnectSettings::new(&cluster.url(leader)).unwrap();
    let sink = JetStreamEventSink::builder(broker, "cellos.events.{tenantId}")
        .connect()
        .await
        .unwrap();
    sink.emit(&event("acme")).await.unwrap();

    cluster.partition(leader);
    let cut_off = Instant::now();
    let mut last_ok = cut_off;
    let mut without_ok = Duration::ZERO;
    while cut_off.elapsed() < CUT_OFF {
        if sink.emit(&event("acme")).await.is_ok() {
            without_ok = without_ok.max(last_ok.elapsed());
            last_ok = Instant::now();
        }
        sleep(Duration::from_millis(20)).await;
    }
    without_ok = without_ok.max(last_ok.elapsed());
    cluster.heal(leader);
    println!("without an Ok for {without_ok:?} of {CUT_OFF:?}");
    // An election and the change of server. A sink that stays waits for the whole time.
    assert!(without_ok < Duration::from_secs(20), "{without_ok:?}");
}
