//! Reads a segment file from its start to its end, past any damage.

use std::io;

use super::disk::DiskFile;
use super::format::{HEAD, Head};

/// The bytes read at a time.
const CHUNK: usize = 1 << 20;

/// The end of a segment as [`scan`] found it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Behind the last record.
    pub(crate) end: u64,
    /// Bytes behind it that are not zero.
    pub(crate) garbage: u64,
}

/// Visits each record of `segment` with its offset, its head and, unless it is damaged, its body.
///
/// A record with a damaged head is not visited: it shows as a missing index. The reader finds the next
/// record by the segment id.
pub(crate) fn scan(
    file: &dyn DiskFile,
    segment: u64,
    mut visit: impl FnMut(u64, &Head, Option<&[u8]>),
) -> io::Result<Tail> {
    let mut window = Window {
        file,
        start: 0,
        bytes: Vec::new(),
    };
    let mut tail = Tail::default();
    let mut offset = 0;
    loop {
        let bytes = window.at(offset, HEAD)?;
        if let Some(head) = Head::decode(bytes, segment) {
            let body = window.at(offset + HEAD as u64, head.length as usize)?;
            visit(offset, &head, head.has_body(body).then_some(body));
            // Also behind the end of a file that was cut, so that no mark is written into this record.
            offset += head.size();
            tail = Tail {
                end: offset,
                garbage: 0,
            };
            continue;
        }
        if bytes.is_empty() {
            return Ok(tail);
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
}

/// The part of the file that is in memory.
struct Window<'a> {
    file: &'a dyn DiskFile,
    start: u64,
    bytes: Vec<u8>,
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
            let read = self.file.read_at(offset, &mut self.bytes)?;
            self.bytes.truncate(read);
        }
        let rest = self.rest(offset);
        Ok(&rest[..wanted.min(rest.len())])
    }

    fn rest(&self, offset: u64) -> &[u8] {
        let from = offset
            .checked_sub(self.start)
            .and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.bytes.get(from..)).unwrap_or(&[])
    }
}
