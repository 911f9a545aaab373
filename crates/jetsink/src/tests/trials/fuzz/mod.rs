//! Whatever comes from outside: valid inputs broken at random, and some made up whole. None may panic,
//! nor allocate more than its length explains; what is taken must be what a plain reading of it says.
//!
//! By seeded mutation on the stable toolchain, not guided by coverage: cargo-fuzz needs a nightly one.

mod event_lines;
mod mutate;
mod server_urls;
mod settings;
mod subjects;

use alloc_tracker::{Operation, Session};

/// Whatever an input's length: error texts, tables, the first growth of each buffer.
const FREE_BYTES: u64 = 16 << 10;

/// Runs `work` on an input of so many bytes: all that it allocates, freed or not, must be within
/// `times` its length.
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

/// A folder in memory, where the system has one: what is written a million times is no matter of disks.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}
