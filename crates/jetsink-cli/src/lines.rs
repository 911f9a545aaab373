//! Reads lines in blocks: a line is a slice of its block, not a copy.

use std::io::{ErrorKind, Read, Result};

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr;

/// The maximum length of a line, in bytes: brokers refuse larger messages (`max_payload` is 1 MiB by
/// default, at most 64 MiB).
pub(crate) const MAX_LINE: usize = 8 << 20;

/// The number of bytes per read.
pub(crate) const BLOCK: usize = 128 << 10;

pub(crate) struct Lines {
    source: Box<dyn Read + Send>,
    /// Bytes that were read and not returned yet.
    buffer: BytesMut,
    /// No line ends before this offset of the buffer.
    searched: usize,
    /// The first bytes of a line that is too long, and the number of its bytes that were read.
    too_long: Option<(Bytes, u64)>,
}

impl Lines {
    pub(crate) fn new(source: impl Read + Send + 'static) -> Self {
        Self {
            source: Box::new(source),
            buffer: BytesMut::new(),
            searched: 0,
            too_long: None,
        }
    }

    /// Whether the next line is buffered, so that [`next`](Self::next) does not block.
    pub(crate) fn has_next(&mut self) -> bool {
        self.find_end().is_some()
    }

    /// Returns the next line with its end, and its length; `None` at the end of the file. A line that
    /// is too long is read to its end, and only its first bytes are returned.
    pub(crate) fn next(&mut self) -> Result<Option<(Bytes, u64)>> {
        Ok(match self.next_whole()? {
            Some(line) => Some(line),
            None => self.rest(),
        })
    }

    /// As [`next`](Self::next), but bytes behind the last line end are no line: a later call returns them with the
    /// bytes that have been added to the file.
    pub(crate) fn next_whole(&mut self) -> Result<Option<(Bytes, u64)>> {
        loop {
            if let Some(end) = self.find_end() {
                return Ok(Some(self.take(end + 1)));
            }
            if self.too_long.is_some() || self.buffer.len() > MAX_LINE {
                self.skip();
            }
            if fill(&mut self.source, &mut self.buffer)? == 0 {
                return Ok(None);
            }
        }
    }

    /// The bytes behind the last line end, if they were read.
    pub(crate) fn unfinished(&self) -> &[u8] {
        &self.buffer
    }

    /// Returns the bytes behind the last line end, as a line.
    pub(crate) fn rest(&mut self) -> Option<(Bytes, u64)> {
        let rest = self.buffer.len();
        (rest > 0 || self.too_long.is_some()).then(|| self.take(rest))
    }

    fn find_end(&mut self) -> Option<usize> {
        let found = memchr(b'\n', &self.buffer[self.searched..]);
        self.searched = found.map_or(self.buffer.len(), |at| self.searched + at);
        found.map(|_| self.searched)
    }

    fn take(&mut self, length: usize) -> (Bytes, u64) {
        self.searched = 0;
        let taken = self.buffer.split_to(length).freeze();
        match self.too_long.take() {
            None => (taken, length as u64),
            Some((start, skipped)) => (start, skipped + length as u64),
        }
    }

    /// Drops the bytes of a line that is too long, except the first ones.
    fn skip(&mut self) {
        let length = self.buffer.len() as u64;
        match &mut self.too_long {
            Some((_, skipped)) => {
                *skipped += length;
                self.buffer.clear();
            }
            None => {
                let start = self.buffer.split_to(MAX_LINE + 1).freeze();
                self.buffer.clear();
                self.too_long = Some((start, length));
            }
        }
        self.searched = 0;
    }
}

/// Appends the bytes of one read to a buffer; returns 0 at the end of the source.
pub(crate) fn fill(source: &mut dyn Read, buffer: &mut BytesMut) -> Result<usize> {
    let filled = buffer.len();
    buffer.resize(filled + BLOCK, 0);
    let read = loop {
        match source.read(&mut buffer[filled..]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read,
        }
    };
    buffer.truncate(filled + read.as_ref().map_or(0, |read| *read));
    read
}

/// A line without its end (LF or CRLF) and, if it is the first one, without a byte order mark.
pub(crate) enum LineContent {
    Text(Bytes),
    Empty,
    TooLong,
}

/// The content of the line with this number, counted from 1.
pub(crate) fn content(mut raw: Bytes, number: u64) -> LineContent {
    if let Some(line) = raw.strip_suffix(b"\n") {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        raw.truncate(line.len());
    }
    if raw.len() > MAX_LINE {
        return LineContent::TooLong;
    }
    if number == 1 && raw.starts_with(b"\xEF\xBB\xBF") {
        raw.advance(3);
    }
    if raw.iter().all(u8::is_ascii_whitespace) {
        return LineContent::Empty;
    }
    LineContent::Text(raw)
}

#[cfg(test)]
#[path = "tests/lines.rs"]
mod tests;
