//! A file that may grow or be truncated while it is read.

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::identity::{HEAD, read_at};
use crate::system;

/// The number of bytes before the offset that are compared: a file that was truncated and has grown since can begin as
/// it did before.
const TAIL: usize = 64;

/// The state of a file that is being read, as its reader sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct LiveState {
    is_truncated: Arc<AtomicBool>,
    /// The first bytes, as far as they are known.
    head: Arc<Mutex<Vec<u8>>>,
}

impl LiveState {
    pub(super) fn is_truncated(&self) -> bool {
        self.is_truncated.load(Ordering::Acquire)
    }

    pub(super) fn head(&self) -> Vec<u8> {
        let head = self.head.lock();
        head.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads at its own offset; 0 bytes at the present end, or if the file was truncated.
pub(super) struct LiveFile {
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
    /// The first bytes, as far as they are known.
    pub(super) head: Vec<u8>,
    /// The bytes before the offset.
    tail: Vec<u8>,
    state: LiveState,
}

impl LiveFile {
    /// Starts at an offset. The state is kept up to date.
    pub(super) fn new(
        file: Arc<File>,
        offset: u64,
        head: Vec<u8>,
        state: LiveState,
    ) -> io::Result<Self> {
        let shared = state.head.lock();
        shared
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&head);
        let length = usize::try_from(offset).map_or(TAIL, |offset| offset.min(TAIL));
        let tail = read_at(&file, offset - length as u64, length)?;
        Ok(Self {
            file,
            offset,
            head,
            tail,
            state,
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
        // A file that is read again from its start begins with bytes that are known.
        let known = (self.head.len() as u64).checked_sub(self.offset);
        let known = known.and_then(|known| usize::try_from(known).ok());
        if let Some(new) = known.and_then(|known| bytes.get(known..)) {
            let missing = HEAD.saturating_sub(self.head.len());
            self.head.extend_from_slice(&new[..missing.min(new.len())]);
            let shared = self.state.head.lock();
            shared
                .unwrap_or_else(PoisonError::into_inner)
                .clone_from(&self.head);
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
        if self.state.is_truncated() {
            return Ok(0);
        }
        let read = system::read_at(&self.file, buffer, self.offset)?;
        // Bytes behind a truncation belong to other lines.
        if self.was_truncated()? {
            self.state.is_truncated.store(true, Ordering::Release);
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
        let read = system::read_at(&self.file, buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
#[path = "tests/live.rs"]
mod tests;
