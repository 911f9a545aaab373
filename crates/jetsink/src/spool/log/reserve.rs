//! A file whose room is given up when the disk is full.
//!
//! Replay writes its marker, dead letters and marks before it can free anything. On a full disk it
//! would have no room for them, and the disk would stay full.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::disk::Disk;

pub(crate) const NAME: &str = "reserve";

pub(crate) const BYTES: usize = 128 << 10;

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[derive(Debug)]
pub(crate) struct Reserve {
    disk: Arc<dyn Disk>,
    exists: bool,
}

impl Reserve {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            exists: false,
        }
    }

    /// The folder has the file from an earlier process.
    pub(crate) fn found(&mut self) {
        self.exists = true;
    }

    /// Makes the file if it is missing and there is ample room. Without it the log works as well,
    /// until the disk is full.
    pub(crate) fn make(&mut self) {
        let ample = 2 * BYTES as u64;
        if self.exists || self.disk.free_bytes().is_some_and(|free| free < ample) {
            return;
        }
        let zeros = vec![0; BYTES];
        let made = self.disk.create(NAME).and_then(|file| {
            file.write_at(0, &mut [IoSlice::new(&zeros)])?;
            file.sync()
        });
        self.exists = true;
        if made.is_err() {
            self.release();
        }
    }

    /// Returns whether there is more room than before.
    pub(crate) fn release(&mut self) -> bool {
        if !self.exists {
            return false;
        }
        self.exists = false;
        let removed = self.disk.remove(NAME);
        removed.and_then(|()| self.disk.sync()).is_ok()
    }
}
