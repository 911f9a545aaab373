//! `--format cellos-audit-trail`: the file of `cellos-sink-spool`. Its rows contain events and form a [`chain`] of hashes.
//!
//! Every row is verified from the first one, also those that are not published again. The format is known from the
//! documentation and the output of version 0.6.0-pre.

mod chain;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake3::Hash;
use bytes::Bytes;
use jetsink::{Binding, HeaderError, MessageId};
use sha2::{Digest as _, Sha256};

use super::reader::{Converted, checked};
use super::values::Position;
use super::{BadLine, Line, LineLocation, Stops};
use crate::lines::{LineContent, Lines, content};
use crate::publish::arguments::OnBrokenChain;
use crate::system::file_number;
pub(super) use chain::hash_of;
use chain::{Broken, Chain, Row};

/// Converts the rows of one file.
#[derive(Debug)]
pub(super) struct Trail {
    chain: Chain,
    on_broken: OnBrokenChain,
    /// Whether a break has ended it.
    is_ended: bool,
    /// Whether the last line is a row, also an altered one.
    pub(super) is_row: bool,
    /// The last row that was published before, if the file does not have it.
    lost: Option<Hash>,
    /// Whether the rows that were published before are not where they were: their breaks are new.
    has_changed: bool,
}

impl Trail {
    /// Starts at the first row.
    pub(super) fn new(on_broken: OnBrokenChain) -> Self {
        Self {
            chain: Chain::new(None),
            on_broken,
            is_ended: false,
            is_row: false,
            lost: None,
            has_changed: false,
        }
    }

    /// As [`new`](Self::new), for a file that CellOS writes: a `.head` file beside it has the hash of the last row. Call it
    /// before the first row is read.
    pub(super) fn of_file(path: &Path, file: &File, on_broken: OnBrokenChain) -> Self {
        Self {
            chain: Chain::new(head_beside(path, file)),
            ..Self::new(on_broken)
        }
    }

    /// Rows before this run were published up to a row that the file no longer has. Call it before the first row.
    pub(super) fn lose(&mut self, row: Hash) {
        self.lost = Some(row);
        self.has_changed = true;
    }

    /// The file was changed before the last row that was published. Call it before the first row.
    pub(super) fn change(&mut self) {
        self.has_changed = true;
    }

    /// The report of a lost row, once.
    pub(super) fn start(&mut self, location: &LineLocation) -> Option<Line> {
        let lost = self.lost.take()?;
        Some(self.broken(&Broken::Lost(lost), Bytes::new(), location))
    }

    /// The hash in the last row; `None` before the first one.
    pub(super) fn last_row(&self) -> Option<Hash> {
        self.chain.last()
    }

    /// Converts the next row. A row that is not `wanted` is verified only.
    pub(super) fn next(
        &mut self,
        raw: Bytes,
        location: &LineLocation,
        binding: &Binding,
        wanted: bool,
    ) -> Converted {
        if self.is_ended {
            return Converted::default();
        }
        let (line, (row, broken)) = match content(raw, location.line) {
            LineContent::Empty => return Converted::default(),
            LineContent::TooLong => (Bytes::new(), (None, Some(Broken::TooLong))),
            LineContent::Text(line) => {
                let next = self.chain.next(&line);
                (line, next)
            }
        };
        let no_row = matches!(broken, Some(Broken::NoRow(_) | Broken::TooLong));
        self.is_row = !no_row;
        // An earlier run has reported the others.
        let is_reported = wanted || self.has_changed || self.on_broken == OnBrokenChain::Stop;
        let broken = broken.filter(|_| is_reported).map(|broken| {
            // The row behind a gap is a line of its own.
            let raw = match row {
                None => line.clone(),
                Some(_) => Bytes::new(),
            };
            self.broken(&broken, raw, location)
        });
        let row = row.filter(|_| wanted && !self.is_ended);
        [
            broken,
            row.map(|row| event_of(row, line, location, binding)),
        ]
    }

    /// Checks the end of the file.
    pub(super) fn end(&mut self, location: &LineLocation) -> Option<Line> {
        if self.is_ended {
            return None;
        }
        let broken = self.chain.end()?;
        Some(self.broken(&broken, Bytes::new(), location))
    }

    fn broken(&mut self, broken: &Broken, raw: Bytes, location: &LineLocation) -> Line {
        let (stops, remedy) = match self.on_broken {
            OnBrokenChain::Stop => {
                self.is_ended = true;
                let remedy = "; nothing behind it is published without --on-broken-chain continue";
                (Stops::Command, remedy)
            }
            OnBrokenChain::Continue => (Stops::Nothing, ""),
        };
        Line {
            event: Err(BadLine {
                line: location.line,
                column: 1,
                message: format!("the audit trail's chain is broken: {broken}{remedy}"),
                stops,
            }),
            location: location.clone(),
            raw,
            checkpoint: None,
        }
    }
}

/// A message id of subject and row hash, as `--id source-id` makes one. The stream compares ids without subjects, and CellOS' own
/// forwarder publishes the bare hash under another subject.
fn message_id(subject: &str, row: &Hash) -> Result<MessageId, HeaderError> {
    let mut digest = Sha256::new();
    for part in [subject, row.to_hex().as_str()] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    MessageId::new(URL_SAFE_NO_PAD.encode(digest.finalize()))
}

/// The event of a row.
fn event_of(row: Row, line: Bytes, location: &LineLocation, binding: &Binding) -> Line {
    let start = Position {
        line: location.line,
        column: row.at + 1,
    };
    let mut converted = checked(row.event, location.clone(), start, binding, |_| None);
    converted.event = converted.event.map(|event| {
        // A digest as Base64 is a valid id.
        match message_id(event.subject().as_str(), &row.hash) {
            Ok(id) => event.with_message_id(id),
            Err(_) => event,
        }
    });
    converted.raw = line;
    converted
}

/// Searches a trail for the first row with this hash; returns the end of its line, in bytes.
pub(super) fn end_of_row(
    source: impl Read + Send + 'static,
    hash: &Hash,
) -> io::Result<Option<u64>> {
    let hex = hash.to_hex();
    let finder = memchr::memmem::Finder::new(hex.as_bytes());
    let mut lines = Lines::new(source);
    let (mut offset, mut number) = (0, 0);
    while let Some((line, length)) = lines.next()? {
        offset += length;
        number += 1;
        // The next row has the hash, too, and an event may.
        if finder.find(&line).is_some()
            && let LineContent::Text(line) = content(line, number)
            && row_hash(&line).as_deref() == Some(hex.as_str())
        {
            return Ok(Some(offset));
        }
    }
    Ok(None)
}

/// The `row_hash` of a line.
fn row_hash(line: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Hashed {
        row_hash: String,
    }
    serde_json::from_slice(line)
        .ok()
        .map(|row: Hashed| row.row_hash)
}

/// Reads the saved hash of the last row. `None` if no hash is saved, or if it belongs to another file: the path may lead to
/// a new trail by now.
fn head_beside(path: &Path, file: &File) -> Option<Hash> {
    if path.extension()? != "jsonl" {
        return None;
    }
    let text = fs::read_to_string(path.with_extension("head")).ok()?;
    let (at_path, opened) = (fs::metadata(path).ok()?, file.metadata().ok()?);
    if file_number(&at_path) != file_number(&opened) {
        return None;
    }
    hash_of(text.trim_ascii_end())
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
