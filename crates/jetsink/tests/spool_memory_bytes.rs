//! Memory is bounded by bytes: large events that are spooled, that wait for a disk that hangs, or that are replayed.
//!
//! `JETSINK_REPLAYED_MEGABYTES=2000 JETSINK_APPENDED=1280 cargo test --release -p jetsink --test spool_memory_bytes --
//! --nocapture` for 2 GB at each window, and more appends.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;
#[path = "common/faulty_disk.rs"]
mod faulty_disk;
#[path = "common/shelf.rs"]
mod shelf;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use common::memory::{peak, reset_peak, run_in_a_child};
use common::{event, messages};
use faulty_disk::{hang, is_child_of};
use jetsink::{
    ConnectSettings, Delivery, EmitError, Known, NatsPublisher, Publisher, Sink, SinkSettings,
    SpoolSettings, WindowSize,
};
use nats_local::{NatsServer, ReservedPort, stored};
use shelf::Shelf;
use tokio::task::JoinSet;
use trial::variable;

const CHILD: &str = "JETSINK_MEMORY_CHILD";
const CALLERS: u64 = 64;
const MEGABYTE: usize = 1_000_000;

/// The memory beside the payloads that callers hold.
const APPEND_KIB: u64 = 32 * 1_024;
const REPLAY_KIB: u64 = 64 * 1_024;

async fn sink_over<P: Publisher + 'static>(
    publisher: P,
    folder: &Path,
    deadline: Duration,
) -> Sink<P> {
    let settings = SpoolSettings::new(folder).limit_bytes(4 << 30).unwrap();
    let sink = SinkSettings::default().deadline(deadline).unwrap();
    Sink::with_spool(publisher, sink, settings).await.unwrap()
}

/// The result of an emit, and the number in its payload.
type Emitted = (u64, Result<Delivery, EmitError>);

/// Lets 64 callers emit events of 1 MB, one after another, until `goes_on` ends it. Each payload is its caller's until
/// its emit ends.
async fn emit_by_callers<P: Publisher + 'static>(
    sink: &Arc<Sink<P>>,
    goes_on: impl Fn(u64) -> bool + Clone + Send + 'static,
) -> Vec<Emitted> {
    let next = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (sink, next, goes_on) = (Arc::clone(sink), Arc::clone(&next), goes_on.clone());
        callers.spawn(async move {
            let mut emitted = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if !goes_on(number) {
                    return emitted;
                }
                let mut payload = vec![b'x'; MEGABYTE];
                payload[..8].copy_from_slice(&number.to_le_bytes());
                let result = sink.emit(event("events.a", payload)).await;
                emitted.push((number, result));
            }
        });
    }
    callers.join_all().await.concat()
}

/// Compares the peak with the bound for appends.
fn assert_append_peak(idle: u64) {
    let held = CALLERS * MEGABYTE as u64 / 1_024;
    let more = peak().saturating_sub(idle + held);
    println!("{idle} KiB idle, {held} KiB of payloads, {more} KiB more at the peak");
    assert!(more <= APPEND_KIB, "{more} KiB");
}

#[test]
fn appends_of_large_events_need_little_beside_their_payloads() {
    run_in_a_child("the_child_appends_large_events", CHILD);
}

/// Does nothing unless the test above starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_appends_large_events() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let nowhere = ReservedPort::new().unwrap();
    let connect = ConnectSettings::new(&format!("nats://{}", nowhere.address())).unwrap();
    let publisher = NatsPublisher::connect(connect.start_disconnected(true)).await;
    let sink = sink_over(publisher.unwrap(), folder.path(), Duration::from_secs(60)).await;
    let sink = Arc::new(sink);
    sink.emit(event("events.a", vec![b'x'; 600])).await.unwrap();
    let idle = reset_peak();
    let appended = variable("JETSINK_APPENDED").unwrap_or(300);
    let emitted = emit_by_callers(&sink, move |number| number < appended).await;
    for (_, result) in &emitted {
        assert_eq!(*result, Ok(Delivery::Spooled));
    }
    assert_append_peak(idle);
}

#[test]
fn events_on_a_disk_that_hangs_are_bounded_in_bytes_and_reported_truly() {
    let test = "events_on_a_disk_that_hangs_are_bounded_in_bytes_and_reported_truly";
    if !is_child_of(test) {
        return faulty_disk::run_in_a_child(test);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::away();
        let sink = sink_over(shelf.clone(), folder.path(), Duration::from_millis(500)).await;
        let sink = Arc::new(sink);
        sink.emit(event("events.a", vec![b'x'; 600])).await.unwrap();
        let idle = reset_peak();
        hang(true);
        let emitted = emit_by_callers(&sink, |number| number < 5 * CALLERS).await;
        assert_append_peak(idle);
        hang(false);
        shelf.take(u64::MAX);
        let receipt = sink.close(Duration::from_secs(60)).await;
        assert_eq!(receipt.spooled, 0);
        let stored = shelf.payloads();
        let numbers = stored.iter().filter(|payload| payload.len() == MEGABYTE);
        let numbers: Vec<u64> = numbers
            .map(|payload| u64::from_le_bytes(payload[..8].try_into().unwrap()))
            .collect();
        let (mut not_spooled, mut unknown) = (0, 0);
        for (number, result) in &emitted {
            let times = numbers.iter().filter(|found| *found == number).count();
            match result {
                Ok(_) => assert_eq!(times, 1, "{number} returned Ok"),
                Err(error) if error.known() == Known::OutcomeUnknown => {
                    unknown += 1;
                    assert!(times <= 1, "{number}: {error}");
                }
                Err(error) => {
                    not_spooled += 1;
                    assert_eq!(times, 0, "{number}: {error}");
                }
            }
        }
        println!("{not_spooled} not spooled, {unknown} of unknown outcome");
        assert!(not_spooled > 0 && unknown > 0);
    });
}

#[test]
fn replay_of_large_events_is_bounded_in_bytes() {
    run_in_a_child("the_child_replays_large_events", CHILD);
}

/// Does nothing unless the test above starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_replays_large_events() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let megabytes = variable("JETSINK_REPLAYED_MEGABYTES").unwrap_or(200);
    for (window, bytes) in [
        (512, MEGABYTE),
        (4_096, MEGABYTE),
        (4_096, 20_000),
        (16_384, 20_000),
    ] {
        let events = megabytes * MEGABYTE as u64 / bytes as u64;
        let folder = tempfile::tempdir().unwrap();
        let filling = sink_over(Shelf::away(), folder.path(), Duration::from_secs(60)).await;
        for start in (0..events).step_by(16) {
            let emits = (start..events.min(start + 16))
                .map(|_| filling.emit(event("events.a", vec![b'x'; bytes])));
            for emitted in futures_util::future::join_all(emits).await {
                assert_eq!(emitted.unwrap(), Delivery::Spooled);
            }
        }
        filling.close(Duration::ZERO).await;
        drop(filling);
        let server = NatsServer::start().await.unwrap();
        // The server keeps the last ones only.
        let config = Config {
            name: "EVENTS".to_owned(),
            subjects: vec!["events.>".to_owned()],
            max_bytes: 64 << 20,
            discard: DiscardPolicy::Old,
            ..Config::default()
        };
        server.create_stream_with(config).await.unwrap();
        let connect = ConnectSettings::new(&server.url()).unwrap();
        let publisher = NatsPublisher::connect(connect).await.unwrap();
        let idle = reset_peak();
        let settings = SpoolSettings::new(folder.path()).limit_bytes(4 << 30);
        let settings = settings.unwrap().window(WindowSize::new(window).unwrap());
        let sink = Sink::with_spool(publisher, SinkSettings::default(), settings);
        let sink = sink.await.unwrap();
        let receipt = sink.close(Duration::from_secs(300)).await;
        let more = peak().saturating_sub(idle);
        println!(
            "{events} events of {bytes} bytes, window {window}: {idle} KiB idle, {more} KiB more at the peak"
        );
        // An acknowledgement may come too late: then a look-up finds the event.
        let left = receipt.delivered + receipt.found_stored;
        assert_eq!((left, receipt.spooled), (events, 0), "{receipt:?}");
        let stored = stored(&server.jetstream().await.unwrap(), "EVENTS")
            .await
            .unwrap();
        assert!(messages(&stored).all(|(_, payload)| payload.len() == bytes));
        assert!(more <= REPLAY_KIB, "{more} KiB");
    }
}
