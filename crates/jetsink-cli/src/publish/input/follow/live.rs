//! A file that may grow or be truncated while it is read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::identity::{HEAD, read_at};

/// The number of bytes before the offset that are compared: a file that was truncated and has grown since can begin as
/// it did before.
const TAIL: usize = 64;

/// Reads at its own offset; 0 bytes at the present end, or if the file was truncated.
pub(super) struct LiveFile {
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
    /// The first bytes, as far as they are known.
    pub(super) head: Vec<u8>,
    /// The bytes before the offset.
    tail: Vec<u8>,
    is_truncated: Arc<AtomicBool>,
}

impl LiveFile {
    /// Starts at an offset. The flag is set once the file was truncated.
    pub(super) fn new(
        file: Arc<File>,
        offset: u64,
        head: Vec<u8>,
        is_truncated: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let length = usize::try_from(offset).map_or(TAIL, |offset| offset.min(TAIL));
        let tail = read_at(&file, offset - length as u64, length)?;
        Ok(Self {
            file,
            offset,
            head,
            tail,
            is_truncated,
        })
    }

    /// Whether the file was truncated, even if it has grown again since.
    fn was_truncated(&self) -> io::Result<bool> {
        let tail_at = self.offset - self.tail.len() as u64;
        Ok(self.file.metadata()?.len() < self.offset
            || read_at(&self.file, 0, self.head.len())? != self.head
            || read_at(&self.file, tail_at, self.tail.len())? != self.tail)
    }

    fn remember(&mut self, bytes: &[u8]) {
        if self.offset == self.head.len() as u64 {
            let missing = HEAD.saturating_sub(self.head.len());
            self.head
                .extend_from_slice(&bytes[..missing.min(bytes.len())]);
        }
        if bytes.len() >= TAIL {
            self.tail.clear();
        } else {
            let kept = TAIL - bytes.len();
            let surplus = self.tail.len().saturating_sub(kept);
            self.tail.drain(..surplus);
        }
        let last = bytes.len().saturating_sub(TAIL);
        self.tail.extend_from_slice(&bytes[last..]);
    }
}

impl Read for LiveFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_truncated.load(Ordering::Acquire) {
            return Ok(0);
        }
        let read = self.file.read_at(buffer, self.offset)?;
        // Bytes behind a truncation belong to other lines.
        if self.was_truncated()? {
            self.is_truncated.store(true, Ordering::Release);
            return Ok(0);
        }
        self.remember(&buffer[..read]);
        self.offset += read as u64;
        Ok(read)
    }
}

/// Reads a file that does not change, at its own offset.
pub(super) struct FixedFile {
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
}

impl Read for FixedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
#[path = "tests/live.rs"]
mod tests;
