//! Fuzzing of every external input: valid inputs with random mutations, and random inputs. No input may cause a
//! panic or an allocation out of proportion to its length. An accepted input must agree with a plain parser.
//!
//! Seeded mutation on the stable toolchain, not guided by coverage: cargo-fuzz needs a nightly toolchain.

mod event_lines;
mod mutate;
mod server_urls;
mod settings;
mod subjects;

use alloc_tracker::{Operation, Session};

/// Allocations independent of an input's length: error texts, tables, the first growth of each buffer.
const FREE_BYTES: u64 = 16 << 10;

/// Runs `work` on an input of `length` bytes and checks that it allocates, freed or not, at most `times` as
/// many.
fn bounded<T>(length: usize, times: u64, work: impl FnOnce() -> T) -> T {
    thread_local! {
        static COUNTED: (Session, Operation) = {
            let session = Session::new();
            let operation = session.operation("one input");
            (session, operation)
        };
    }
    COUNTED.with(|(_, operation)| {
        let before = operation.total_bytes_allocated();
        let span = operation.measure_thread();
        let result = work();
        drop(span);
        let allocated = operation.total_bytes_allocated() - before;
        let limit = FREE_BYTES + times * length as u64;
        assert!(
            allocated <= limit,
            "{allocated} bytes allocated for an input of {length}"
        );
        result
    })
}

/// Returns a folder in memory if the system has one: a million writes need no disk.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}
