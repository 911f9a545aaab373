//! The cost of an emit that an open circuit rejects: `cargo bench -p jetsink --bench rejected`.
//!
//! The table's columns are times per emit, and below them its allocations. With two threads an emit should
//! take no longer than with one: they share only words that are read, and a counter.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a benchmark fails

#[path = "common/scripts.rs"]
mod scripts;

use divan::{AllocProfiler, Bencher};
use jetsink::Envelope;
use scripts::{emit_rejected, envelope, open_sink};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

thread_local! {
    // One a thread: the clones of one share counters, for which two threads would queue.
    static ENVELOPE: Envelope = envelope();
}

// So few at a time that the envelopes made for them are still in the cache, as a caller's is.
#[divan::bench(threads = [1, 2], sample_size = 100, sample_count = 10_000)]
fn emit_is_rejected(bencher: Bencher<'_, '_>) {
    let sink = open_sink();
    bencher
        .with_inputs(|| ENVELOPE.with(Envelope::clone))
        .bench_values(|envelope| emit_rejected(&sink, envelope));
}

#[divan::bench(sample_size = 1_000)]
fn the_text_of_the_error(bencher: Bencher<'_, '_>) {
    let sink = open_sink();
    bencher
        .with_inputs(|| emit_rejected(&sink, envelope()))
        .bench_refs(|error| error.to_string());
}
