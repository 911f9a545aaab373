//! What an emit costs that an open circuit rejects: `cargo bench -p jetsink --bench rejected`.
//!
//! The table's columns are times for one emit, and below them its allocations. With two threads an emit
//! should take no longer than with one: nothing is shared but words that are read, and a counter.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a benchmark fails

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use divan::{AllocProfiler, Bencher};
use jetsink::{
    Acknowledgement, EmitError, Envelope, PublishError, Publisher, Sink, SinkSettings, Subject,
};
use tokio::time::Instant;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// A broker that is away.
struct Away;

impl Publisher for Away {
    async fn publish(&self, _: &Envelope, _: Instant) -> Result<Acknowledgement, PublishError> {
        Err(PublishError::NotConnected)
    }

    fn keeps_deadline(&self) -> bool {
        true
    }
}

fn main() {
    divan::main();
}

fn envelope() -> Envelope {
    Envelope::new(
        Subject::new("cellos.events.acme").unwrap(),
        Bytes::from_static(include_bytes!("../../../samples/cellos-events.jsonl")),
    )
}

/// An emit that does not have to wait.
fn emit_now(sink: &Sink<Away>, envelope: Envelope) -> EmitError {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(sink.emit(envelope)).poll(&mut context) {
        Poll::Ready(result) => result.unwrap_err(),
        Poll::Pending => panic!("it waits"),
    }
}

/// A sink whose circuit is open for longer than a measurement takes, but for a probe now and then.
fn open_sink() -> Sink<Away> {
    let sink = Sink::new(Away, SinkSettings::default());
    loop {
        let error = emit_now(&sink, envelope());
        match error {
            EmitError::CircuitOpen(open) if open.attempt >= 4 => return sink,
            EmitError::CircuitOpen(open) => std::thread::sleep(open.retry_after),
            _ => {}
        }
    }
}

// So few at a time that the envelopes made for them are still in the cache, as a caller's is.
#[divan::bench(threads = [1, 2], sample_size = 100, sample_count = 10_000)]
fn emit_is_rejected(bencher: Bencher<'_, '_>) {
    let (sink, envelope) = (open_sink(), envelope());
    bencher
        .with_inputs(|| envelope.clone())
        .bench_values(|envelope| emit_now(&sink, envelope));
}

#[divan::bench(sample_size = 1_000)]
fn the_text_of_the_error(bencher: Bencher<'_, '_>) {
    let sink = open_sink();
    bencher
        .with_inputs(|| emit_now(&sink, envelope()))
        .bench_refs(|error| error.to_string());
}
