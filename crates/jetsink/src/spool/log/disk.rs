//! The few calls that the log makes of a disk, so that tests can put a simulated one in its place.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use crate::outcome::SpoolError;

/// A folder that this process alone has open.
pub(crate) trait Disk: Send + Sync + Debug {
    /// The names of its files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Creates a file that does not exist.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync(&self) -> io::Result<()>;
    /// Free space for this process, if the system tells.
    fn free_bytes(&self) -> Option<u64>;
    /// The bytes of its files.
    fn own_bytes(&self) -> io::Result<u64>;
    fn path(&self) -> &Path;
    /// Lets another process open the folder. Nothing is written from now on.
    fn release(&self);
}

impl dyn Disk + '_ {
    /// The error of a call that failed while the log was `doing` this.
    pub(crate) fn failed(
        &self,
        doing: &'static str,
    ) -> impl FnOnce(io::Error) -> SpoolError + use<> {
        let path = self.path().to_owned();
        move |error| SpoolError::io(&path, doing, &error)
    }

    pub(crate) fn remove_if_present(&self, name: &str) -> io::Result<()> {
        match self.remove(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

/// A file of a [`Disk`].
pub(crate) trait DiskFile: Send + Sync + Debug {
    fn len(&self) -> io::Result<u64>;
    /// Reads from `offset` until `bytes` is full or the file ends; returns the bytes read.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;
    /// Writes all `parts`, one behind the other.
    fn write_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()>;
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Makes the file's content and length durable.
    fn sync(&self) -> io::Result<()>;
}
