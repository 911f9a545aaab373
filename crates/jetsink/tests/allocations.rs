//! How often an emit allocates: counted, not estimated.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

#[path = "../benches/common/scripts.rs"]
mod scripts;

use std::alloc::System;

use alloc_tracker::{Allocator, Session};
use jetsink::{ConnectSettings, Envelope, NatsPublisher, Publisher, Sink, SinkSettings};
use nats_local::NatsServer;
use scripts::{AtOnce, emit_rejected, envelopes, open_sink};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: Allocator<System> = Allocator::system();

/// Nothing: an outage brings rejections by the million.
const REJECTED: u64 = 0;

/// The text of the minted message id.
const EMIT: u64 = 1;

/// Ours, 12: the message id (1), the headers in the client's form (5), the subject (2) and the reply subject
/// (2), which the client converts to shared ones, the entry of the pending answer (1), the stream's name in the
/// answer (1). The client's, 7: the headers as bytes (6), the answer's subject (1). `docs/evidence/performance.md`
/// describes how to find an allocation's source.
const NATS_EMIT: u64 = 19;

const EVENTS: usize = 1_000;

// One test: the allocator is the process's. One thread, so that nothing else allocates meanwhile.
#[test]
fn allocations_of_an_emit_are_within_their_limit() {
    let sink = open_sink();
    let events = envelopes(EVENTS);
    let rejections = counted("rejected", || {
        for event in events {
            drop(emit_rejected(&sink, event));
        }
    });
    assert_eq!(rejections, REJECTED * EVENTS as u64);

    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let sink = Sink::new(AtOnce, SinkSettings::default());
    assert_eq!(steady(&runtime, "emit", &sink), EMIT * EVENTS as u64);

    let (_server, sink) = runtime.block_on(nats());
    // The client's read buffer is made anew once in a while, so this one is rounded.
    let total = steady(&runtime, "nats-emit", &sink);
    assert_eq!((total as f64 / EVENTS as f64).round() as u64, NATS_EMIT);
}

async fn nats() -> (NatsServer, Sink<NatsPublisher>) {
    let server = NatsServer::start().await.unwrap();
    let stream = server.create_stream("CELLOS_EVENTS", &["cellos.events.>"]);
    stream.await.unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    (server, Sink::new(publisher, SinkSettings::default()))
}

/// Emits by one caller, once all tables and buffers have their size.
fn steady<P: Publisher>(runtime: &Runtime, name: &str, sink: &Sink<P>) -> u64 {
    let (warm_up, events) = (envelopes(EVENTS), envelopes(EVENTS));
    // Pinned before the count: an unoptimized `block_on` moves a large future to the heap, once.
    let emit = |events: Vec<Envelope>| {
        Box::pin(async move {
            for event in events {
                sink.emit(event).await.unwrap();
            }
        })
    };
    runtime.block_on(emit(warm_up));
    let emits = emit(events);
    counted(name, || runtime.block_on(emits))
}

/// The whole process's allocations, growths included.
fn counted(name: &str, work: impl FnOnce()) -> u64 {
    let session = Session::new();
    let operation = session.operation(name);
    let span = operation.measure_process();
    work();
    drop(span);
    let report = session.to_report();
    let total = report
        .operations()
        .map(|(_, o)| o.total_allocations_count());
    let total = total.sum();
    println!("{name}: {total} allocations for {EVENTS} events");
    total
}
