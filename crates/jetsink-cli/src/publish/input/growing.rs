//! A file that grows: a read at its end waits for more, until the file is rotated or truncated.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Batch;
use super::position::{FollowedFile, HEAD, head};
use super::rotation::successor;

/// The interval between two looks at the end of a file.
pub(super) const POLL: Duration = Duration::from_millis(100);

/// The time without growth after which a rotated file is complete: one of several writers may be slow
/// to open the new file.
const QUIET: Duration = Duration::from_secs(1);

pub(super) struct GrowingFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) followed: Arc<FollowedFile>,
    pub(super) offset: u64,
    pub(super) sender: mpsc::Sender<Batch>,
}

impl GrowingFile {
    /// Whether another file has replaced this one and was written to. While the new file is empty or
    /// missing, writers still use the old one.
    fn is_rotated(&self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(now) if self.followed.is(&now) => Ok(false),
            Ok(now) if now.len() > 0 => Ok(true),
            _ => Ok(successor(&self.path, &self.file.metadata()?)?.is_some()),
        }
    }

    /// Whether the file was truncated, even if it has grown again since.
    fn is_truncated(&self) -> io::Result<bool> {
        let known = self.followed.head();
        let is_shorter = self.file.metadata()?.len() < self.offset;
        Ok(is_shorter || head(&self.file, known.len())? != *known)
    }

    fn add_to_head(&self, bytes: &[u8]) {
        let mut known = self.followed.head();
        let missing = HEAD - known.len().min(HEAD);
        // Only if all bytes before these are known.
        if self.offset == known.len() as u64 {
            known.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        }
    }
}

impl Read for GrowingFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut quiet = Duration::ZERO;
        loop {
            let read = self.file.read(buffer)?;
            // Bytes behind a truncation belong to other lines.
            if self.is_truncated()? {
                self.followed.truncated.store(true, Ordering::Release);
                return Ok(0);
            }
            if read > 0 {
                self.add_to_head(&buffer[..read]);
                self.offset += read as u64;
                return Ok(read);
            }
            if quiet >= QUIET || self.sender.is_closed() {
                return Ok(0);
            }
            sleep(POLL);
            if self.is_rotated()? {
                quiet += POLL;
            }
        }
    }
}
