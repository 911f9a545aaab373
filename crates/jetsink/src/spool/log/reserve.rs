//! A file whose room is given up when the disk is full.
//!
//! Replay writes its marker, dead letters and marks before it can free anything. On a full disk it
//! would have no room for them, and the disk would stay full.

use std::io::{self, IoSlice};

use super::disk::Disk;

const NAME: &str = "reserve";

pub(crate) const BYTES: usize = 128 << 10;

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Makes the file if it is missing and there is ample room. Without it the log works as well,
/// until the disk is full.
pub(super) fn make(disk: &dyn Disk) {
    if disk
        .free_bytes()
        .is_some_and(|free| free < 2 * BYTES as u64)
    {
        return;
    }
    // Fails if the file exists.
    let Ok(file) = disk.create(NAME) else { return };
    let written = file.write_at(0, &mut [IoSlice::new(&vec![0; BYTES])]);
    if written.and_then(|()| file.sync()).is_err() {
        release(disk);
    }
}

/// Removes the file. Returns whether there is more room than before.
pub(super) fn release(disk: &dyn Disk) -> bool {
    let removed = disk.remove(NAME);
    removed.and_then(|()| disk.sync()).is_ok()
}
