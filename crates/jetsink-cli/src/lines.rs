//! Reads lines in blocks: a line is a slice of its block, not a copy.

use std::io::{ErrorKind, Read, Result};

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr;

/// The maximum length of a line, in bytes: brokers refuse larger messages (`max_payload` is 1 MiB by
/// default, at most 64 MiB).
pub(crate) const MAX_LINE: usize = 8 << 20;

/// The number of bytes per read.
const BLOCK: usize = 128 << 10;

pub(crate) struct Lines {
    source: Box<dyn Read + Send>,
    /// Bytes that were read and not returned yet.
    buffer: BytesMut,
    /// No line ends before this offset of the buffer.
    searched: usize,
}

impl Lines {
    pub(crate) fn new(source: impl Read + Send + 'static) -> Self {
        Self {
            source: Box::new(source),
            buffer: BytesMut::new(),
            searched: 0,
        }
    }

    /// Whether the next line is buffered, so that [`next`](Self::next) does not block.
    pub(crate) fn has_next(&mut self) -> bool {
        self.find_end().is_some()
    }

    /// Returns the next line with its end, and its length; `None` at the end of the file. A line that
    /// is too long is read to its end, and only its first bytes are returned.
    pub(crate) fn next(&mut self) -> Result<Option<(Bytes, u64)>> {
        loop {
            if let Some(end) = self.find_end() {
                return Ok(Some(self.take(end + 1)));
            }
            if self.buffer.len() > MAX_LINE {
                return self.take_start().map(Some);
            }
            if self.fill()? == 0 {
                let rest = self.buffer.len();
                return Ok((rest > 0).then(|| self.take(rest)));
            }
        }
    }

    fn find_end(&mut self) -> Option<usize> {
        let found = memchr(b'\n', &self.buffer[self.searched..]);
        self.searched = found.map_or(self.buffer.len(), |at| self.searched + at);
        found.map(|_| self.searched)
    }

    fn take(&mut self, length: usize) -> (Bytes, u64) {
        self.searched = 0;
        (self.buffer.split_to(length).freeze(), length as u64)
    }

    /// Returns the first bytes of a line that is too long and skips the rest.
    fn take_start(&mut self) -> Result<(Bytes, u64)> {
        let (start, mut length) = self.take(MAX_LINE + 1);
        loop {
            let end = self.find_end();
            let skipped = end.map_or(self.buffer.len(), |end| end + 1);
            self.buffer.advance(skipped);
            self.searched = 0;
            length += skipped as u64;
            if end.is_some() || self.fill()? == 0 {
                return Ok((start, length));
            }
        }
    }

    /// Reads once; 0 at the end of the file.
    fn fill(&mut self) -> Result<usize> {
        let filled = self.buffer.len();
        self.buffer.resize(filled + BLOCK, 0);
        let read = loop {
            match self.source.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer
            .truncate(filled + read.as_ref().map_or(0, |read| *read));
        read
    }
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
