//! Cost of an emit through `CellOS`'s trait that an open circuit rejects:
//! `cargo bench -p cellos-sink-jetstream --bench rejected`.
//!
//! The trait demands a boxed future and, in its error, a `String`: two allocations. The subject takes two
//! more, because an event without a valid subject gets that error even while the circuit is open.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a benchmark fails

#[path = "common/scripts.rs"]
mod scripts;

use divan::{AllocProfiler, Bencher};
use scripts::{emit_rejected, event, open_sink};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(threads = [1, 2], sample_size = 100, sample_count = 10_000)]
fn emit_is_rejected(bencher: Bencher<'_, '_>) {
    let (sink, event) = (open_sink(), event());
    bencher.bench(|| emit_rejected(&sink, &event));
}
