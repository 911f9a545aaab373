//! What stands between the store and its file: once a sync has failed, nothing more is written.
//!
//! After a failed sync the system may have thrown the unwritten pages away and call the next sync
//! a success. So the first failure is remembered, and every write and sync after it fails.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use redb::{BackendError, StorageBackend};

/// Set by the first sync that fails, with its reason.
pub(super) type SyncFailure = Arc<OnceLock<String>>;

/// A storage that remembers.
pub(super) struct Guarded<B> {
    inner: B,
    failure: SyncFailure,
}

impl<B: StorageBackend> Guarded<B> {
    pub(super) fn new(inner: B, failure: SyncFailure) -> Self {
        Self { inner, failure }
    }

    fn check(&self) -> io::Result<()> {
        match self.failure.get() {
            None => Ok(()),
            Some(reason) => Err(io::Error::other(format!("a sync failed before: {reason}"))),
        }
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
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.inner.sync_data().inspect_err(|error| {
            let _ = self.failure.set(error.to_string());
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
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
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}
