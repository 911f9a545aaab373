//! What an emit costs that an open circuit rejects: `cargo bench -p jetsink --bench rejected`.
//!
//! The table's columns are times for one emit, and below them its allocations. With two threads an emit
//! should take no longer than with one: nothing is shared but words that are read, and a counter.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a benchmark fails
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]

mod common;

use bytes::Bytes;
use common::away::{emit_now, open_sink};
use divan::{AllocProfiler, Bencher};
use jetsink::{Envelope, Subject};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn envelope() -> Envelope {
    Envelope::new(
        Subject::new("cellos.events.acme").unwrap(),
        Bytes::from_static(include_bytes!("../../../samples/cellos-events.jsonl")),
    )
}

#[divan::bench(threads = [1, 2], sample_size = 10_000)]
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
