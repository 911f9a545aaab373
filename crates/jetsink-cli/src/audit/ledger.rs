//! What was emitted, against what a stream holds. Pure: lines and messages come in one by one.
//!
//! Lines are known by a hash of their bytes, or of what they mean: equal ones are counted. About 35
//! bytes are kept for a line, and 20 more where events are compared by meaning; for messages nothing.

use std::collections::HashMap;

use super::index::{Hash, Index, Taken, hash};

/// What is known of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Not in the stream so far; it must be.
    Missing,
    /// Not in the stream so far; it may be.
    Optional,
    /// In a spool. Before [`Ledger::seal`] only.
    Spooled,
    /// The spool's copy of another line, which may be missing therefore.
    Excuse,
    Found,
}

/// By what a message is held against lines.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key<'a> {
    Bytes(&'a [u8]),
    /// `None` for what means nothing.
    Meaning(Option<Hash>),
}

/// What a message of the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Expected,
    OutOfOrder,
    Duplicated,
    /// No line has its source and id, or all that have are altered already.
    Unexpected,
    /// Altered or unexpected: which, [`Ledger::finish`] tells.
    Stranger,
}

/// Places in the ledger, counted from 0 through all its files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) lost: Vec<u32>,
    /// The line, and the message's sequence number.
    pub(crate) altered: Vec<(u32, u64)>,
    /// Sequence numbers of strangers that no line is left for.
    pub(crate) unexpected: Vec<u64>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("more than 4,294,967,295 lines")]
pub(crate) struct TooManyLines;

/// A line by its source and id; half a hash is enough, since a false match here only names a loss
/// differently. In pieces, so that it has no padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    identity: [u32; 2],
    line: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    lines: Vec<Line>,
    by_bytes: Index,
    by_meaning: Option<Index>,
    by_identity: Vec<Named>,
    /// The latest line that was found, by subject.
    latest: HashMap<String, u32>,
    /// Messages of no line, by identity; for each identity no more than it has lines.
    strangers: HashMap<[u32; 2], Vec<u64>>,
}

impl Ledger {
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// A line that was emitted, one that may be there, or one of a spool. First come all that must be
    /// there, and last those of a spool. The meaning where the ledger is to have one of each.
    pub(crate) fn add(
        &mut self,
        line: Line,
        bytes: &[u8],
        meaning: Option<Hash>,
        identity: [u32; 2],
    ) -> Result<(), TooManyLines> {
        let number = u32::try_from(self.lines.len()).map_err(|_| TooManyLines)?;
        self.lines.push(line);
        self.by_bytes.add(hash(bytes), number);
        if let Some(meaning) = meaning {
            let index = self.by_meaning.get_or_insert_default();
            index.add(meaning, number);
        }
        self.by_identity.push(Named {
            identity,
            line: number,
        });
        Ok(())
    }

    /// All lines are there.
    pub(crate) fn seal(&mut self) {
        self.by_bytes.sort();
        self.by_identity.sort_unstable();
        if let Some(by_meaning) = &mut self.by_meaning {
            by_meaning.sort();
        }
        self.excuse_what_is_spooled();
    }

    /// Those that were left out when the lines came in, in their order.
    pub(crate) fn add_meanings(&mut self, meanings: Index) {
        self.by_meaning = Some(meanings);
    }

    pub(crate) fn has_meanings(&self) -> bool {
        self.by_meaning.is_some()
    }

    /// A spool's line stands for one that must be there, if there is one; else it may be there itself.
    fn excuse_what_is_spooled(&mut self) {
        let index = self.by_meaning.as_ref().unwrap_or(&self.by_bytes);
        for group in index.groups() {
            let mut spooled = Vec::new();
            let mut missing = 0;
            for line in group {
                match self.lines[line as usize] {
                    Line::Missing => missing += 1,
                    Line::Spooled => spooled.push(line),
                    Line::Optional | Line::Excuse | Line::Found => {}
                }
            }
            for line in spooled.into_iter().take(missing) {
                self.lines[line as usize] = Line::Excuse;
            }
        }
        for line in &mut self.lines {
            if *line == Line::Spooled {
                *line = Line::Optional;
            }
        }
    }

    /// The stream's next message; the identity is asked for only where it is no line.
    pub(crate) fn stored(
        &mut self,
        subject: &str,
        sequence: u64,
        key: Key<'_>,
        identity: impl FnOnce() -> Option<[u32; 2]>,
    ) -> Verdict {
        let latest = self.latest.get(subject).copied();
        let (index, hash) = match key {
            Key::Bytes(bytes) => (Some(&mut self.by_bytes), Some(hash(bytes))),
            Key::Meaning(meaning) => (self.by_meaning.as_mut(), meaning),
        };
        let taken = match (index, hash) {
            (Some(index), Some(hash)) => index.take(hash, latest.unwrap_or(0), &self.lines),
            _ => Taken::Nobodys,
        };
        let line = match taken {
            Taken::Nobodys => return self.stranger(sequence, identity()),
            Taken::AllFound => return Verdict::Duplicated,
            Taken::Line(line) => line,
        };
        let was = std::mem::replace(&mut self.lines[line as usize], Line::Found);
        // When an optional line was stored nobody knows: it may be late.
        if was == Line::Optional {
            return Verdict::Expected;
        }
        match latest {
            Some(latest) if line < latest => Verdict::OutOfOrder,
            Some(_) => {
                if let Some(latest) = self.latest.get_mut(subject) {
                    *latest = line;
                }
                Verdict::Expected
            }
            None => {
                self.latest.insert(subject.to_owned(), line);
                Verdict::Expected
            }
        }
    }

    fn stranger(&mut self, sequence: u64, identity: Option<[u32; 2]>) -> Verdict {
        let lines = identity.map_or(0, |identity| self.named(identity).len());
        let Some(identity) = identity.filter(|_| lines > 0) else {
            return Verdict::Unexpected;
        };
        let strangers = self.strangers.entry(identity).or_default();
        // The first in the stream is taken first.
        if strangers.len() >= lines {
            return Verdict::Unexpected;
        }
        strangers.push(sequence);
        Verdict::Stranger
    }

    fn named(&self, identity: [u32; 2]) -> &[Named] {
        let start = self.by_identity.partition_point(|n| n.identity < identity);
        let rest = &self.by_identity[start..];
        &rest[..rest.partition_point(|n| n.identity == identity)]
    }

    /// Whether the line has these bytes: whether a file is as it was.
    pub(crate) fn holds(&self, line: u32, bytes: &[u8]) -> bool {
        self.by_bytes.holds(line, hash(bytes))
    }

    /// All messages were there: what is left over, on both sides.
    pub(crate) fn finish(&mut self) -> Ended {
        self.excuse();
        let mut ended = Ended::default();
        for (identity, strangers) in std::mem::take(&mut self.strangers) {
            let lines: Vec<u32> = self
                .named(identity)
                .iter()
                .map(|named| named.line)
                .collect();
            let is_open =
                |line: &u32| matches!(self.lines[*line as usize], Line::Missing | Line::Optional);
            let mut open = lines
                .into_iter()
                .filter(is_open)
                .collect::<Vec<_>>()
                .into_iter();
            for sequence in strangers {
                match open.next() {
                    Some(line) => {
                        ended.altered.push((line, sequence));
                        self.lines[line as usize] = Line::Found;
                    }
                    None => ended.unexpected.push(sequence),
                }
            }
        }
        ended.altered.sort_unstable();
        ended.unexpected.sort_unstable();
        let lost = (0..)
            .zip(&self.lines)
            .filter(|(_, line)| **line == Line::Missing);
        ended.lost = lost.map(|(number, _)| number).collect();
        ended
    }

    /// For each line of a spool its last equal that is missing need not be there.
    fn excuse(&mut self) {
        let index = self.by_meaning.as_ref().unwrap_or(&self.by_bytes);
        for group in index.groups() {
            let (mut excuses, mut missing) = (0, Vec::new());
            for line in group {
                match self.lines[line as usize] {
                    Line::Missing => missing.push(line),
                    Line::Excuse => excuses += 1,
                    Line::Optional | Line::Spooled | Line::Found => {}
                }
            }
            for line in missing.into_iter().rev().take(excuses) {
                self.lines[line as usize] = Line::Optional;
            }
        }
    }
}

/// Of an event's source and id.
pub(crate) fn identity(source: &str, id: &str) -> [u32; 2] {
    let mut bytes = Vec::with_capacity(source.len() + id.len() + 1);
    bytes.extend_from_slice(source.as_bytes());
    // Neither holds it in JSON that people write; where one does, an identity is shared, no more.
    bytes.push(0);
    bytes.extend_from_slice(id.as_bytes());
    let [first, second, ..] = hash(&bytes);
    [first, second]
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
