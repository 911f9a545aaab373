//! Lines out of blocks: a line is a slice of the block that it was read with, not a copy.

use std::io::{ErrorKind, Read, Result};

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr;

/// Longer lines are bad ones: no broker takes them (`max_payload` is 64 MiB at the most, 1 MiB by
/// default).
pub(crate) const LONGEST_LINE: usize = 8 << 20;

/// How much is asked for at a time.
const BLOCK: usize = 128 << 10;

pub(crate) struct Lines {
    source: Box<dyn Read + Send>,
    /// Read, and not given out yet.
    buffer: BytesMut,
    /// No line ends before this place of it.
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

    /// Whether the next line is here as a whole, so that asking for it does not block.
    pub(crate) fn has_next(&mut self) -> bool {
        self.find_end().is_some()
    }

    /// One line with its end, and its length; `None` at the end of the file. Of a line that is too long
    /// only its first bytes are kept, but all are read.
    pub(crate) fn next(&mut self) -> Result<Option<(Bytes, u64)>> {
        loop {
            if let Some(end) = self.find_end() {
                return Ok(Some(self.take(end + 1)));
            }
            if self.buffer.len() > LONGEST_LINE {
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

    /// The first bytes of a line that is too long, whose end is looked for.
    fn take_start(&mut self) -> Result<(Bytes, u64)> {
        let (start, mut length) = self.take(LONGEST_LINE + 1);
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

/// What a line is without its end, and a file's first one without a byte order mark.
pub(crate) enum Bare {
    Line(Bytes),
    Empty,
    TooLong,
}

/// The line with this number, counted from 1.
pub(crate) fn bare(mut raw: Bytes, number: u64) -> Bare {
    if let Some(line) = raw.strip_suffix(b"\n") {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        raw.truncate(line.len());
    }
    if raw.len() > LONGEST_LINE {
        return Bare::TooLong;
    }
    if number == 1 && raw.starts_with(b"\xEF\xBB\xBF") {
        raw.advance(3);
    }
    if raw.iter().all(u8::is_ascii_whitespace) {
        return Bare::Empty;
    }
    Bare::Line(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> Result<usize> {
            let most = into.len().min(self.1);
            self.0.read(&mut into[..most])
        }
    }

    fn lines(text: &'static [u8], at_a_time: usize) -> Vec<Bytes> {
        let mut lines = Lines::new(Slow(text, at_a_time));
        std::iter::from_fn(|| {
            let (line, length) = lines.next().unwrap()?;
            assert!(length >= line.len() as u64);
            Some(line)
        })
        .collect()
    }

    #[test]
    fn lines_are_read_to_their_ends_whatever_comes_at_a_time() {
        for at_a_time in [1, 3, 100] {
            assert_eq!(
                lines(b"a\nbb\r\n\nc", at_a_time),
                [&b"a\n"[..], b"bb\r\n", b"\n", b"c"]
            );
            assert!(lines(b"", at_a_time).is_empty());
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_bad_and_the_next_one_is_not() {
        for more in [0, 5, BLOCK, 3 * BLOCK + 1] {
            let mut text = vec![b'x'; LONGEST_LINE + 1 + more];
            text.extend_from_slice(b"\nnext\n");
            let read = lines(text.leak(), BLOCK);
            assert_eq!(read.len(), 2, "{more}");
            assert!(read[0].len() > LONGEST_LINE);
            assert_eq!(read[1], &b"next\n"[..]);
        }
    }

    #[test]
    fn what_is_here_is_told_without_reading() {
        let mut lines = Lines::new(Slow(b"a\nb\nc", 4));
        assert!(!lines.has_next());
        lines.next().unwrap();
        assert!(lines.has_next());
        lines.next().unwrap();
        assert!(!lines.has_next());
    }
}
