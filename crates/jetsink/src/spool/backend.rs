//! What stands between the store and its file: once a sync has failed, nothing more is written.
//!
//! After a failed sync the system may have thrown the unwritten pages away and call the next sync
//! a success. So the first failure is remembered, and every write and sync after it fails.
//!
//! Other failures pass, a full disk's for one. After them it matters whether the commit has come to the
//! file's header: before that it is not there for sure, after it may be.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use redb::{BackendError, StorageBackend};

/// Where redb's header lies, with the roots of the newest commits.
const HEADER: u64 = 0;

/// What a store's backends and the store know of its writes.
#[derive(Debug, Default)]
pub(super) struct Writes {
    final_failure: OnceLock<String>,
    header_touched: AtomicBool,
}

pub(super) type SharedWrites = Arc<Writes>;

impl Writes {
    /// Why nothing more may be written, if that is so.
    pub(super) fn final_failure(&self) -> Option<&str> {
        self.final_failure.get().map(String::as_str)
    }

    /// From now on nothing more is written.
    pub(super) fn fail_for_good(&self, reason: &str) {
        let _ = self.final_failure.set(reason.to_owned());
    }

    /// A commit begins.
    pub(super) fn begin(&self) {
        self.header_touched.store(false, Ordering::Relaxed);
    }

    /// Whether the commit that failed may be in the file all the same.
    pub(super) fn may_be_made(&self) -> bool {
        self.header_touched.load(Ordering::Relaxed)
    }

    fn touch_header(&self) {
        self.header_touched.store(true, Ordering::Relaxed);
    }
}

/// A storage that remembers.
pub(super) struct Guarded<B> {
    inner: B,
    writes: SharedWrites,
    /// As it was last written.
    header: Mutex<Vec<u8>>,
}

impl<B: StorageBackend> Guarded<B> {
    pub(super) fn new(inner: B, writes: SharedWrites) -> Self {
        let header = Mutex::default();
        Self {
            inner,
            writes,
            header,
        }
    }

    fn check(&self) -> io::Result<()> {
        match self.writes.final_failure() {
            None => Ok(()),
            Some(reason) => Err(io::Error::other(format!("a sync failed before: {reason}"))),
        }
    }

    fn write_header(&self, data: &[u8]) -> io::Result<()> {
        let mut header = self.header();
        if header.is_empty() {
            header.resize(data.len(), 0);
            if self.inner.read(HEADER, &mut header).is_err() {
                // A new file's.
                header.clear();
            }
        }
        let result = self.inner.write(HEADER, data);
        if result.is_ok() {
            header.clear();
            header.extend_from_slice(data);
        }
        if result.is_ok() || !self.is_still(&header) {
            self.writes.touch_header();
        }
        result
    }

    /// Whether the file's header is what it was: a disk that takes no writes leaves it alone.
    fn is_still(&self, header: &[u8]) -> bool {
        let mut now = vec![0; header.len()];
        !header.is_empty() && self.inner.read(HEADER, &mut now).is_ok() && now == header
    }

    fn header(&self) -> MutexGuard<'_, Vec<u8>> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: StorageBackend> StorageBackend for Guarded<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.inner.set_len(len).inspect_err(|_| {
            // A file is made smaller once the commit is there.
            if self.inner.len().is_ok_and(|now| len < now) {
                self.writes.touch_header();
            }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.inner.sync_data().inspect_err(|error| {
            self.writes.fail_for_good(&error.to_string());
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        if offset == HEADER {
            return self.write_header(data);
        }
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

impl<B> fmt::Debug for Guarded<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in memory that writes down what it is asked, and fails and answers as it is told.
    #[derive(Debug, Default)]
    struct Inner {
        bytes: Mutex<Vec<u8>>,
        asked: Mutex<Vec<&'static str>>,
        fails: AtomicBool,
        /// A write that fails has changed the file all the same.
        changes_at_failure: AtomicBool,
        answer: AtomicBool,
    }

    impl Inner {
        fn asked(&self, what: &'static str) {
            self.asked.lock().unwrap().push(what);
        }

        fn result(&self) -> io::Result<()> {
            match self.fails.load(Ordering::Relaxed) {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            }
        }

        fn answer(&self) -> Result<bool, BackendError> {
            Ok(self.answer.load(Ordering::Relaxed))
        }
    }

    #[derive(Debug)]
    struct Shared(Arc<Inner>);

    impl StorageBackend for Shared {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.bytes.lock().unwrap().len() as u64)
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let bytes = self.0.bytes.lock().unwrap();
            let from = offset as usize;
            let there = bytes.get(from..from + out.len());
            out.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.asked("set_len");
            self.0.result()?;
            self.0.bytes.lock().unwrap().resize(len as usize, 0);
            Ok(())
        }
        fn sync_data(&self) -> io::Result<()> {
            self.0.asked("sync");
            self.0.result()
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.0.asked("write");
            let result = self.0.result();
            if result.is_ok() || self.0.changes_at_failure.load(Ordering::Relaxed) {
                let from = offset as usize;
                self.0.bytes.lock().unwrap()[from..from + data.len()].copy_from_slice(data);
            }
            result
        }
        fn close(&self) -> io::Result<()> {
            self.0.asked("close");
            self.0.result()
        }
        fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
            self.0.answer()
        }
        fn try_lock_shared_range(
            &self,
            _: Bound<u64>,
            _: Bound<u64>,
        ) -> Result<bool, BackendError> {
            self.0.answer()
        }
        fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
            self.0.asked("unlock");
            Ok(())
        }
        fn query_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
            self.0.answer()
        }
    }

    fn guarded() -> (Arc<Inner>, SharedWrites, Guarded<Shared>) {
        let (inner, writes) = (Arc::new(Inner::default()), SharedWrites::default());
        inner.bytes.lock().unwrap().resize(8, 0);
        let guarded = Guarded::new(Shared(Arc::clone(&inner)), Arc::clone(&writes));
        (inner, writes, guarded)
    }

    #[test]
    fn after_a_failed_sync_the_file_is_asked_nothing_more() {
        let (inner, writes, guarded) = guarded();
        guarded.sync_data().unwrap();
        inner.fails.store(true, Ordering::Relaxed);
        assert!(guarded.sync_data().is_err());
        assert!(writes.final_failure().is_some());
        inner.fails.store(false, Ordering::Relaxed);
        for refused in [
            guarded.write(HEADER, b"a"),
            guarded.write(4, b"a"),
            guarded.set_len(4),
            guarded.sync_data(),
        ] {
            let error = refused.unwrap_err();
            assert!(
                error.to_string().contains("a sync failed before"),
                "{error}"
            );
        }
        assert_eq!(*inner.asked.lock().unwrap(), ["sync", "sync"]);
        assert!(format!("{guarded:?}").starts_with("Guarded"));
    }

    #[test]
    fn a_commit_may_be_made_once_its_header_may_be_there() {
        let (inner, writes, guarded) = guarded();
        guarded.write(HEADER, b"one").unwrap();
        assert!(writes.may_be_made());
        inner.fails.store(true, Ordering::Relaxed);
        for (changes, may_be_made) in [(false, false), (true, true)] {
            writes.begin();
            inner.changes_at_failure.store(changes, Ordering::Relaxed);
            assert!(guarded.write(HEADER, b"two").is_err());
            assert_eq!(writes.may_be_made(), may_be_made);
        }
        writes.begin();
        assert!(guarded.write(4, b"data").is_err());
        assert!(!writes.may_be_made(), "that was no header");
    }

    #[test]
    fn a_header_that_was_never_written_by_this_process_is_known_from_the_file() {
        let (inner, writes, guarded) = guarded();
        inner.fails.store(true, Ordering::Relaxed);
        assert!(guarded.write(HEADER, b"one").is_err());
        assert!(!writes.may_be_made());
        inner.bytes.lock().unwrap().clear();
        let new = Guarded::new(Shared(Arc::clone(&inner)), Arc::clone(&writes));
        assert!(new.write(HEADER, b"one").is_err());
        assert!(writes.may_be_made(), "of a new file nobody can say");
    }

    #[test]
    fn only_making_the_file_smaller_comes_after_the_commit() {
        let (inner, writes, guarded) = guarded();
        inner.fails.store(true, Ordering::Relaxed);
        for (length, may_be_made) in [(9, false), (8, false), (7, true)] {
            writes.begin();
            assert!(guarded.set_len(length).is_err());
            assert_eq!(writes.may_be_made(), may_be_made, "{length}");
        }
    }

    #[test]
    fn locks_and_the_end_are_the_files_own() {
        let (inner, _, guarded) = guarded();
        let (start, end) = (Bound::Included(0), Bound::Unbounded);
        for answer in [true, false] {
            inner.answer.store(answer, Ordering::Relaxed);
            assert_eq!(guarded.try_lock_range(start, end).unwrap(), answer);
            assert_eq!(guarded.try_lock_shared_range(start, end).unwrap(), answer);
            assert_eq!(guarded.query_lock_range(start, end).unwrap(), answer);
        }
        guarded.unlock_range(start, end).unwrap();
        guarded.close().unwrap();
        assert_eq!(*inner.asked.lock().unwrap(), ["unlock", "close"]);
    }
}
