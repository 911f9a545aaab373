//! `--format cellos-audit-trail`: the file of `cellos-sink-spool`. Its rows contain events and form a [`chain`] of hashes.
//!
//! Every row is verified from the first one, also those that are not published again. The format is known from the
//! documentation and the output of version 0.6.0-pre.

mod chain;
mod head;
mod resume;

use std::fs::File;
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
use crate::publish::arguments::OnBrokenChain;
use chain::{Broken, Chain, Checked, Row};
pub(super) use chain::{ChainProgress, hash_of};
pub(super) use head::HEAD_WAIT;
use head::{HeadFile, Saved};
pub(super) use resume::ReadBefore;
use resume::row_hash;

/// Converts the rows of one file.
#[derive(Debug)]
pub(super) struct Trail {
    chain: Chain,
    /// The place of the saved hash of the last row.
    head: Option<HeadFile>,
    /// Its content before the first row was read; behind the end only [`Saved::Missing`].
    saved: Option<Saved>,
    on_broken: OnBrokenChain,
    /// Whether a break has ended it.
    is_ended: bool,
    /// Whether the last line is a row, also an altered one.
    pub(super) is_row: bool,
}

impl Trail {
    /// Starts at the first row.
    pub(super) fn new(on_broken: OnBrokenChain) -> Self {
        Self {
            chain: Chain::new(None),
            head: None,
            saved: None,
            on_broken,
            is_ended: false,
            is_row: false,
        }
    }

    /// As [`new`](Self::new), for a file that CellOS writes: a `.head` file beside it has the hash of the last row. Call it
    /// before the first row is read.
    pub(super) fn of_file(path: &Path, file: &File, on_broken: OnBrokenChain) -> Self {
        let mut trail = Self::new(on_broken);
        trail.head = HeadFile::of(path, file);
        trail.restart();
        trail
    }

    /// Starts at the first row again.
    fn restart(&mut self) {
        self.saved = self.head.as_ref().map(HeadFile::read);
        self.chain = Chain::new(self.saved.as_ref().and_then(Saved::hash));
    }

    /// The rows that were read.
    pub(super) fn progress(&self) -> ChainProgress {
        self.chain.progress()
    }

    /// Converts the next row. A row that is not `wanted` is verified only; a break at it is reported.
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
        let Some(Checked { line, row, broken }) = self.chain.line(&raw, location.line) else {
            return Converted::default();
        };
        self.is_row = !matches!(broken, Some(Broken::NoRow(_) | Broken::TooLong));
        let broken = broken.map(|broken| {
            // The row behind a gap is a line of its own. An earlier run has passed the lines that are not wanted.
            let raw = match row {
                None if wanted => line.clone(),
                _ => Bytes::new(),
            };
            self.broken(&broken, raw, location)
        });
        let row = row.filter(|_| wanted && !self.is_ended);
        [
            broken,
            row.map(|row| event_of(row, line, location, binding)),
        ]
    }

    /// Whether the row with the saved hash is missing or unknown so far. `rest` has the bytes behind the last line end.
    pub(super) fn is_short(&self, rest: &[u8]) -> bool {
        let awaited = self.chain.awaited();
        let is_missing = awaited.is_some_and(|awaited| row_hash(rest) != Some(awaited));
        let is_unusable = matches!(self.saved, Some(Saved::Unusable(_)));
        !self.is_ended && (is_missing || is_unusable)
    }

    /// Checks the end of the file. If it [`is_short`](Self::is_short), call it [`HEAD_WAIT`] later.
    pub(super) fn end(&mut self, location: &LineLocation) -> Option<Line> {
        let awaited = self.chain.take_awaited();
        let before = self.saved.take();
        let had_no_hash = matches!(before, Some(Saved::Unusable(_) | Saved::Missing));
        if self.is_ended || (awaited.is_none() && !had_no_hash) {
            return None;
        }
        let head = self.head.as_ref();
        let broken = match (head.map(HeadFile::read), awaited) {
            (Some(Saved::Hash(saved)), awaited) if Some(saved) != awaited => {
                if head.is_some_and(|head| head.has_row(&saved)) {
                    return None;
                }
                self.chain.short(saved)
            }
            (_, Some(awaited)) => self.chain.short(awaited),
            (Some(Saved::Unusable(reason)), None) => Broken::Unverified(reason),
            (Some(Saved::Missing), None) => {
                self.saved = Some(Saved::Missing);
                return None;
            }
            (_, None) => return None,
        };
        // A trail without a line has none to report.
        let location = LineLocation {
            line: location.line.max(1),
            ..location.clone()
        };
        Some(self.broken(&broken, Bytes::new(), &location))
    }

    /// Whether the [`end`](Self::end) could not be checked, although the file has the name of a trail that CellOS writes.
    pub(super) fn has_unverified_end(&self) -> bool {
        self.saved == Some(Saved::Missing) && !self.is_ended
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
                message: match broken {
                    Broken::Unverified(_) => broken.to_string(),
                    _ => format!("the audit trail's chain is broken: {broken}{remedy}"),
                },
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

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
