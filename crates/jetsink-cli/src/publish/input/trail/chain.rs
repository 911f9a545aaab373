//! The chain of an audit trail's rows: pure, one row after another.
//!
//! A row is one JSON object on a line, without white space. `row_hash` is the BLAKE3 hash of the row's other members, as
//! compact JSON with the names in order. `prev_hash` is the `row_hash` of the row before it; zeros in the first row.
//! So every byte of a row is covered by its own hash, and its place by the hash of the next row.

use std::collections::BTreeMap;

use blake3::{Hash, Hasher};
use bytes::Bytes;
use serde_json::value::RawValue;

use crate::lines::{LineContent, MAX_LINE, content};

/// The only known format of rows.
const SCHEMA: &str = "axiom.audit.v1";

/// The `prev_hash` of the first row.
const START: Hash = Hash::from_bytes([0; 32]);

/// A row whose own hash is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// A slice of the row.
    pub(super) event: Bytes,
    /// The offset of the event in the row, in bytes.
    pub(super) at: usize,
    pub(super) hash: Hash,
}

/// The reason why the chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("this is no row of a CellOS audit trail: {0}")]
    NoRow(&'static str),
    #[error("a row is longer than {MAX_LINE} bytes")]
    TooLong,
    #[error(
        "the row was altered: its content has the hash {expected}, and its row_hash is {found}"
    )]
    Altered { expected: Hash, found: Hash },
    #[error(
        "rows before this one were removed, added or moved: its prev_hash is {found}, expected is {expected}"
    )]
    Moved { expected: Hash, found: Hash },
    #[error(
        "rows were removed from the end: the .head file has {expected}, which is the hash of no row; the last row has {found}"
    )]
    Short { expected: Hash, found: Hash },
    #[error(
        "the end of the audit trail was not verified: the .head file {0}; restore it, or allow this user to read it"
    )]
    Unverified(String),
    #[error(
        "rows were removed, or the file was replaced: the last row that was read before has the hash {0}, which is the hash of no row"
    )]
    Lost(Hash),
}

/// The rows and the breaks before a position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::publish::input) struct ChainProgress {
    /// The hash of the first row.
    pub(in crate::publish::input) first: Option<Hash>,
    /// The hash of the last row.
    pub(in crate::publish::input) last: Option<Hash>,
    /// A digest of the lines at which the chain is broken.
    pub(in crate::publish::input) breaks: Option<Hash>,
}

/// A line of a trail that is not empty.
#[derive(Debug)]
pub(super) struct Checked {
    /// Empty if the line is too long.
    pub(super) line: Bytes,
    pub(super) row: Option<Row>,
    pub(super) broken: Option<Broken>,
}

/// The state behind the rows that were read.
#[derive(Debug)]
pub(super) struct Chain {
    last: Hash,
    first: Option<Hash>,
    breaks: Option<Hash>,
    /// A hash that a row must have.
    awaited: Option<Hash>,
}

impl Chain {
    /// Starts before the first row. `head` is the hash that CellOS saved for the last row, read before the first row is.
    pub(super) fn new(head: Option<Hash>) -> Self {
        Self {
            last: START,
            first: None,
            breaks: None,
            awaited: head.filter(|head| *head != START),
        }
    }

    /// Checks the next line; `number` is counted from 1. Returns `None` for an empty line.
    pub(super) fn line(&mut self, raw: &Bytes, number: u64) -> Option<Checked> {
        let checked = match content(raw.clone(), number) {
            LineContent::Empty => return None,
            LineContent::TooLong => Checked {
                line: Bytes::new(),
                row: None,
                broken: Some(Broken::TooLong),
            },
            LineContent::Text(line) => {
                let (row, broken) = self.next(&line);
                Checked { line, row, broken }
            }
        };
        if checked.broken.is_some() {
            // The number of bytes of a longer line that are kept depends on the reads.
            let known = match checked.broken {
                Some(Broken::TooLong) => &raw[..raw.len().min(MAX_LINE)],
                _ => &checked.line[..],
            };
            let mut hasher = Hasher::new();
            hasher.update(self.breaks.unwrap_or(START).as_bytes());
            hasher.update(&number.to_be_bytes());
            hasher.update(known);
            self.breaks = Some(hasher.finalize());
        }
        Some(checked)
    }

    /// Checks the next row. A row behind a gap is returned together with the break.
    pub(super) fn next(&mut self, line: &Bytes) -> (Option<Row>, Option<Broken>) {
        let members = match Members::read(line) {
            Ok(members) => members,
            Err(broken) => return (None, Some(broken)),
        };
        let (found, previous) = (members.row_hash, members.prev_hash);
        if self.awaited == Some(found) {
            self.awaited = None;
        }
        self.first.get_or_insert(found);
        let expected = std::mem::replace(&mut self.last, found);
        if members.hash != found {
            let expected = members.hash;
            return (None, Some(Broken::Altered { expected, found }));
        }
        let row = Row {
            event: line.slice_ref(members.body),
            at: members.body.as_ptr() as usize - line.as_ptr() as usize,
            hash: found,
        };
        let found = previous;
        let moved = (expected != found).then_some(Broken::Moved { expected, found });
        (Some(row), moved)
    }

    pub(super) fn progress(&self) -> ChainProgress {
        ChainProgress {
            first: self.first,
            last: self.first.map(|_| self.last),
            breaks: self.breaks,
        }
    }

    /// The hash that no row has had yet.
    pub(super) fn awaited(&self) -> Option<Hash> {
        self.awaited
    }

    /// Waits no longer for the row with that hash, and returns it.
    pub(super) fn take_awaited(&mut self) -> Option<Hash> {
        self.awaited.take()
    }

    /// The break that the row with this hash is missing at the end.
    pub(super) fn short(&self, expected: Hash) -> Broken {
        let found = self.last;
        Broken::Short { expected, found }
    }
}

/// The members of a row that matter here.
struct Members<'a> {
    body: &'a [u8],
    prev_hash: Hash,
    row_hash: Hash,
    /// The hash of the row's content.
    hash: Hash,
}

impl<'a> Members<'a> {
    fn read(line: &'a [u8]) -> Result<Self, Broken> {
        let mut members: BTreeMap<&str, &RawValue> =
            serde_json::from_slice(line).map_err(|_| Broken::NoRow("it is no JSON object"))?;
        let schema = members.get("schema").map(|schema| schema.get());
        if schema.and_then(|schema| schema.strip_prefix('"')?.strip_suffix('"')) != Some(SCHEMA) {
            return Err(Broken::NoRow("its schema is not axiom.audit.v1"));
        }
        let row_hash = members.remove("row_hash").and_then(parse_hash);
        let prev_hash = members.get("prev_hash").copied().and_then(parse_hash);
        let (Some(row_hash), Some(prev_hash)) = (row_hash, prev_hash) else {
            return Err(Broken::NoRow(
                "row_hash and prev_hash are not both 64 hexadecimal digits",
            ));
        };
        let Some(body) = members
            .get("body")
            .filter(|body| body.get().starts_with('{'))
        else {
            return Err(Broken::NoRow("it has no event"));
        };
        let body = body.get().as_bytes();
        let mut hasher = Hasher::new();
        let mut bytes = 0;
        let mut add = |part: &[u8]| {
            hasher.update(part);
            bytes += part.len();
        };
        for (index, (name, value)) in members.iter().enumerate() {
            add(if index == 0 { b"{\"" } else { b",\"" });
            add(name.as_bytes());
            add(b"\":");
            add(value.get().as_bytes());
        }
        add(b"}");
        // The hash covers neither white space nor a second member of one name.
        if line.len() != bytes + r#","row_hash":"""#.len() + row_hash.to_hex().len() {
            return Err(Broken::NoRow("CellOS has not written it like this"));
        }
        Ok(Self {
            body,
            prev_hash,
            row_hash,
            hash: hasher.finalize(),
        })
    }
}

/// Reads a hash as CellOS writes it: a string of 64 lower-case digits.
fn parse_hash(value: &RawValue) -> Option<Hash> {
    hash_of(value.get().strip_prefix('"')?.strip_suffix('"')?)
}

/// Reads 64 lower-case hexadecimal digits.
pub(in crate::publish::input) fn hash_of(text: &str) -> Option<Hash> {
    let hash = Hash::from_hex(text).ok()?;
    (hash.to_hex().as_str() == text).then_some(hash)
}

#[cfg(test)]
#[path = "tests/chain.rs"]
mod tests;
