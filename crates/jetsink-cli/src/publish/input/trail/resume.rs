//! Continues a trail behind the rows that were read before.

use std::io::{self, Read};

use blake3::Hash;
use bytes::Bytes;

use super::Trail;
use super::chain::{Broken, ChainProgress};
use crate::lines::{LineContent, Lines, content};
use crate::publish::arguments::OnBrokenChain;
use crate::publish::input::{Line, LineLocation};

/// The position up to which a file was read, and the rows before it.
#[derive(Debug, Clone, Copy)]
pub(in crate::publish::input) struct ReadBefore {
    pub(in crate::publish::input) offset: u64,
    pub(in crate::publish::input) line: u64,
    /// `None` if the rows were not verified: `--start-at end`, or a position of an earlier version.
    pub(in crate::publish::input) chain: Option<ChainProgress>,
    /// The rows of the log's content before this one.
    pub(in crate::publish::input) previous: Option<ChainProgress>,
}

/// The place at which a trail continues.
#[derive(Debug)]
pub(in crate::publish::input) struct Resumed {
    /// The end of the lines that are verified, in bytes.
    pub(in crate::publish::input) offset: u64,
    /// The number of these lines.
    pub(in crate::publish::input) line: u64,
    /// The rows that end before or at this offset were published.
    pub(in crate::publish::input) wanted_from: u64,
    /// The rows before the position as an earlier run has verified them, or if they are intact.
    pub(in crate::publish::input) chain: Option<ChainProgress>,
    /// The rows before the position, if their breaks are still to be reported.
    pub(in crate::publish::input) unreported: Option<ChainProgress>,
    /// The report that the last row that was published is missing.
    pub(in crate::publish::input) lost: Option<Line>,
}

impl Trail {
    /// Verifies the rows before a position. If they are unchanged, the trail continues behind them. Otherwise it begins
    /// with the first row, so that each break is reported, and the rows behind the last published one are published.
    ///
    /// # Errors
    /// The content can't be read.
    pub(in crate::publish::input) fn resume(
        &mut self,
        before: ReadBefore,
        location: &LineLocation,
        content: impl Fn() -> Box<dyn Read + Send>,
    ) -> io::Result<Resumed> {
        let begin = Resumed {
            offset: 0,
            line: 0,
            wanted_from: before.offset,
            chain: before.chain,
            unreported: None,
            lost: None,
        };
        let Some(known) = before.chain else {
            return match before.offset {
                0 => self.begin(before, begin, location, content),
                _ => self.begin_behind(before, begin, content),
            };
        };
        let (line, is_whole) = self.verify(content(), before.offset)?;
        let found = self.chain.progress();
        let is_unchanged = is_whole && (found.last, found.breaks) == (known.last, known.breaks);
        let is_intact = found.breaks.is_none();
        if is_unchanged && (is_intact || self.on_broken == OnBrokenChain::Continue) {
            return Ok(Resumed {
                offset: before.offset,
                line,
                chain: Some(found),
                ..begin
            });
        }
        self.restart();
        if is_whole && found.last == known.last {
            return Ok(Resumed {
                unreported: Some(found),
                ..begin
            });
        }
        // Offsets mean nothing if the file was changed since.
        let Some(last) = known.last else {
            return Ok(Resumed {
                wanted_from: 0,
                ..begin
            });
        };
        Ok(match find_row(content(), &last)?.end {
            Some(wanted_from) => Resumed {
                wanted_from,
                ..begin
            },
            None => self.lose(last, before, begin, location),
        })
    }

    /// Begins with a content that was not read before.
    fn begin(
        &mut self,
        before: ReadBefore,
        begin: Resumed,
        location: &LineLocation,
        content: impl Fn() -> Box<dyn Read + Send>,
    ) -> io::Result<Resumed> {
        let Some((previous, last)) = before.previous.and_then(|p| Some((p, p.last?))) else {
            return Ok(begin);
        };
        let found = find_row(content(), &last)?;
        Ok(match found.end {
            // The file was truncated behind its first rows, or replaced by a copy: no new chain.
            Some(wanted_from) => Resumed {
                wanted_from,
                ..begin
            },
            None if found.first.is_some() && found.first == previous.first => {
                self.lose(last, before, begin, location)
            }
            None => begin,
        })
    }

    /// Begins behind rows that no run has verified: each of their breaks is reported.
    fn begin_behind(
        &mut self,
        before: ReadBefore,
        begin: Resumed,
        content: impl Fn() -> Box<dyn Read + Send>,
    ) -> io::Result<Resumed> {
        let (line, is_whole) = self.verify(content(), before.offset)?;
        let found = self.chain.progress();
        if is_whole && found.breaks.is_none() {
            return Ok(Resumed {
                offset: before.offset,
                line,
                chain: Some(found),
                ..begin
            });
        }
        self.restart();
        Ok(Resumed {
            unreported: is_whole.then_some(found),
            ..begin
        })
    }

    fn lose(
        &mut self,
        last: Hash,
        before: ReadBefore,
        begin: Resumed,
        location: &LineLocation,
    ) -> Resumed {
        let location = LineLocation {
            line: before.line.max(1),
            ..location.clone()
        };
        Resumed {
            wanted_from: 0,
            lost: Some(self.broken(&Broken::Lost(last), Bytes::new(), &location)),
            ..begin
        }
    }

    /// Verifies the lines before an offset. Returns their number, and whether the content has as many bytes.
    fn verify(&mut self, content: impl Read + Send + 'static, end: u64) -> io::Result<(u64, bool)> {
        let mut lines = Lines::new(content.take(end));
        let (mut offset, mut number) = (0, 0);
        while let Some((raw, length)) = lines.next()? {
            offset += length;
            number += 1;
            self.chain.line(&raw, number);
        }
        Ok((number, offset == end))
    }
}

/// The result of a search for a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The hash of the first row.
    pub(super) first: Option<Hash>,
    /// The end of the first line that has the hash, in bytes.
    pub(super) end: Option<u64>,
}

/// Searches a trail for the first row with this hash.
pub(super) fn find_row(source: impl Read + Send + 'static, hash: &Hash) -> io::Result<Found> {
    let hex = hash.to_hex();
    let finder = memchr::memmem::Finder::new(hex.as_bytes());
    let mut lines = Lines::new(source);
    let (mut offset, mut number, mut first) = (0, 0, None);
    while let Some((line, length)) = lines.next()? {
        offset += length;
        number += 1;
        // The next row has the hash, too, and an event may.
        let may_be = finder.find(&line).is_some();
        if (may_be || first.is_none())
            && let LineContent::Text(line) = content(line, number)
            && let Some(found) = row_hash(&line)
        {
            first = first.or(Some(found));
            if found == *hash {
                let end = Some(offset);
                return Ok(Found { first, end });
            }
        }
    }
    Ok(Found { first, end: None })
}

/// The `row_hash` of a line.
pub(super) fn row_hash(line: &[u8]) -> Option<Hash> {
    #[derive(serde::Deserialize)]
    struct Hashed<'a> {
        row_hash: &'a str,
    }
    let row: Hashed<'_> = serde_json::from_slice(line).ok()?;
    super::hash_of(row.row_hash)
}

#[cfg(test)]
#[path = "tests/resume.rs"]
mod tests;
