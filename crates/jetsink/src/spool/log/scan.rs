//! Reads a segment file from its start to its end, past any damage.

use std::io;

use super::disk::DiskFile;
use super::format::{HEAD, Head, PAGE};

/// The bytes read at a time.
const CHUNK: usize = 1 << 20;

/// The substitute for unreadable bytes. Not zero, so that an unreadable end is not taken for an unused one.
const UNREADABLE: u8 = 0xff;

/// The end of a segment as [`scan`] found it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Behind the last record.
    pub(crate) end: u64,
    /// Bytes behind it that are not zero.
    pub(crate) garbage: u64,
    /// Whether pages of the file could not be read.
    pub(crate) is_unreadable: bool,
}

/// Visits each record of `segment` with its offset, its head and, unless it is damaged, its body.
///
/// A record with a damaged head is not visited: it shows as a missing index. The reader finds the next
/// record by the segment id. An unreadable page counts as damaged.
///
/// # Errors
/// The disk's, if no page can be read.
pub(crate) fn scan(
    file: &dyn DiskFile,
    segment: u64,
    mut visit: impl FnMut(u64, &Head, Option<&[u8]>),
) -> io::Result<Tail> {
    let mut window = Window {
        file,
        start: 0,
        bytes: Vec::new(),
        has_read: false,
        error: None,
    };
    let mut tail = Tail::default();
    let mut offset = 0;
    loop {
        let bytes = window.at(offset, HEAD)?;
        if let Some(head) = Head::decode(bytes, segment) {
            let length = head.length as usize;
            let body = window.at(offset + HEAD as u64, length)?;
            let mut body = std::borrow::Cow::from(body);
            // Bytes behind a cut are zeros, before and after a write behind them.
            if body.len() < length {
                body.to_mut().resize(length, 0);
            }
            visit(offset, &head, head.has_body(&body).then_some(&*body));
            // Also behind the end of a file that was cut, so that no mark is written into this record.
            offset += head.size();
            (tail.end, tail.garbage) = (offset, 0);
            continue;
        }
        if bytes.is_empty() {
            break;
        }
        // Zeros that were written ahead.
        let pages = bytes_of_zeros(window.rest(offset));
        if pages > 0 {
            offset += pages;
            continue;
        }
        let id = segment.to_le_bytes();
        for (at, word) in window.rest(offset).chunks(8).enumerate() {
            if at > 0 && word == id {
                break;
            }
            tail.garbage += word.iter().filter(|byte| **byte != 0).count() as u64;
            offset += 8;
        }
    }
    tail.is_unreadable = window.error.is_some();
    match window.error {
        Some(error) if !window.has_read => Err(error),
        _ => Ok(tail),
    }
}

/// The bytes of the pages of zeros at the start.
fn bytes_of_zeros(bytes: &[u8]) -> u64 {
    let pages = bytes.chunks_exact(PAGE as usize);
    let zeros = pages.take_while(|page| **page == [0; PAGE as usize]);
    zeros.count() as u64 * PAGE
}

/// The part of the file that is in memory.
struct Window<'a> {
    file: &'a dyn DiskFile,
    start: u64,
    bytes: Vec<u8>,
    /// Whether the file can be read anywhere.
    has_read: bool,
    error: Option<io::Error>,
}

impl Window<'_> {
    /// `wanted` bytes from `offset` on, or as many as the file has.
    fn at(&mut self, offset: u64, wanted: usize) -> io::Result<&[u8]> {
        let held = self.rest(offset).len();
        if held < wanted {
            // A length beyond the end of a file that was cut must not cost memory.
            let left =
                usize::try_from(self.file.len()?.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.start = offset;
            self.bytes.resize(wanted.max(CHUNK).min(left), 0);
            match self.file.read_at(offset, &mut self.bytes) {
                Ok(read) => {
                    self.has_read |= read > 0;
                    self.bytes.truncate(read);
                }
                Err(_) => self.read_by_pages(),
            }
        }
        let rest = self.rest(offset);
        Ok(&rest[..wanted.min(rest.len())])
    }

    /// Reads page by page, and fills unreadable pages.
    fn read_by_pages(&mut self) {
        let mut offset = self.start;
        let mut rest = &mut self.bytes[..];
        while !rest.is_empty() {
            let to_boundary = (PAGE - offset % PAGE) as usize;
            let (page, behind) = rest.split_at_mut(to_boundary.min(rest.len()));
            match self.file.read_at(offset, page) {
                Ok(_) => self.has_read = true,
                Err(error) => {
                    page.fill(UNREADABLE);
                    self.error = Some(error);
                }
            }
            offset += page.len() as u64;
            rest = behind;
        }
    }

    fn rest(&self, offset: u64) -> &[u8] {
        let from = offset
            .checked_sub(self.start)
            .and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.bytes.get(from..)).unwrap_or(&[])
    }
}
