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
