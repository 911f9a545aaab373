//! What was emitted, against what a stream holds. Pure: lines and messages come in one by one.
//!
//! Lines are known by a hash of their bytes: equal ones are counted, and taken in their order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use sha2::{Digest as _, Sha256};

/// No line: the end of a chain.
const NONE: u32 = u32::MAX;

/// Enough of a SHA-256 for no two of ten million lines to share it.
type Hash = u128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Not in the stream so far; it must be.
    Missing,
    /// Not in the stream so far; it may be.
    Optional,
    Found,
}

/// What a message of the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Expected,
    OutOfOrder,
    Duplicated,
    /// Altered or unexpected: which, [`Ledger::finish`] tells.
    Unknown,
}

/// Places in the ledger, counted from 0 through all its files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) lost: Vec<u32>,
    /// The line, and the message's sequence number.
    pub(crate) altered: Vec<(u32, u64)>,
    /// Sequence numbers.
    pub(crate) unexpected: Vec<u64>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("more than 4,294,967,294 lines")]
pub(crate) struct TooManyLines;

#[derive(Default)]
pub(crate) struct Ledger {
    /// The first of the lines with these bytes that was not found, and the last of all.
    by_bytes: HashMap<Hash, (u32, u32)>,
    /// For each line the next one with the same bytes.
    next_equal: Vec<u32>,
    /// Of source and id; half of it, since a false match here only names a loss differently.
    identities: Vec<u64>,
    lines: Vec<Line>,
    /// The latest line that was found, by subject.
    latest: HashMap<String, u32>,
    /// Messages of no line: identity and sequence number.
    strangers: Vec<(Option<u64>, u64)>,
}

impl Ledger {
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// A line that was emitted. An optional one may be stored or not.
    pub(crate) fn emitted(
        &mut self,
        bytes: &[u8],
        identity: u64,
        optional: bool,
    ) -> Result<(), TooManyLines> {
        let line = u32::try_from(self.lines.len()).map_err(|_| TooManyLines)?;
        if line == NONE {
            return Err(TooManyLines);
        }
        self.lines.push(if optional {
            Line::Optional
        } else {
            Line::Missing
        });
        self.identities.push(identity);
        self.next_equal.push(NONE);
        match self.by_bytes.entry(hash(bytes)) {
            Entry::Vacant(vacant) => {
                vacant.insert((line, line));
            }
            Entry::Occupied(mut occupied) => {
                let (_, last) = occupied.get_mut();
                self.next_equal[*last as usize] = line;
                *last = line;
            }
        }
        Ok(())
    }

    /// The stream's next message; the identity is asked for only where its bytes are nobody's.
    pub(crate) fn stored(
        &mut self,
        subject: &str,
        sequence: u64,
        bytes: &[u8],
        identity: impl FnOnce() -> Option<u64>,
    ) -> Verdict {
        let Some((first, _)) = self.by_bytes.get_mut(&hash(bytes)) else {
            self.strangers.push((identity(), sequence));
            return Verdict::Unknown;
        };
        if *first == NONE {
            return Verdict::Duplicated;
        }
        let line = *first;
        *first = self.next_equal[line as usize];
        let optional = self.lines[line as usize] == Line::Optional;
        self.lines[line as usize] = Line::Found;
        // When an optional line was stored nobody knows: it may be late.
        match self.latest.get_mut(subject) {
            Some(latest) if line < *latest && !optional => Verdict::OutOfOrder,
            Some(latest) => {
                *latest = (*latest).max(if optional { 0 } else { line });
                Verdict::Expected
            }
            None => {
                let line = if optional { 0 } else { line };
                self.latest.insert(subject.to_owned(), line);
                Verdict::Expected
            }
        }
    }

    /// All messages were there: what is left over, on both sides.
    pub(crate) fn finish(self) -> Ended {
        let mut ended = Ended::default();
        let mut strangers: HashMap<u64, Vec<u64>> = HashMap::new();
        // The first in the stream is taken first.
        for (identity, sequence) in self.strangers.into_iter().rev() {
            match identity {
                Some(identity) => strangers.entry(identity).or_default().push(sequence),
                None => ended.unexpected.push(sequence),
            }
        }
        for (line, (state, identity)) in (0..).zip(self.lines.iter().zip(&self.identities)) {
            if *state == Line::Found {
                continue;
            }
            match strangers.get_mut(identity).and_then(Vec::pop) {
                Some(sequence) => ended.altered.push((line, sequence)),
                None if *state == Line::Missing => ended.lost.push(line),
                None => {}
            }
        }
        ended.unexpected.extend(strangers.into_values().flatten());
        ended.unexpected.sort_unstable();
        ended
    }
}

/// Of an event's source and id.
pub(crate) fn identity(source: &str, id: &str) -> u64 {
    let mut bytes = Vec::with_capacity(source.len() + id.len() + 1);
    bytes.extend_from_slice(source.as_bytes());
    // Neither holds it in JSON that people write; where one does, an identity is shared, no more.
    bytes.push(0);
    bytes.extend_from_slice(id.as_bytes());
    (hash(&bytes) >> 64) as u64
}

fn hash(bytes: &[u8]) -> Hash {
    let digest = Sha256::digest(bytes);
    let (half, _) = digest.split_at(16);
    half.iter()
        .fold(0, |hash, byte| (hash << 8) | Hash::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each event is its identity's letter and its content: `a1`, `a2` are one event altered.
    fn id(event: &str) -> u64 {
        identity("s", &event[..1])
    }

    fn audit(emitted: &[&str], may: &[&str], stored: &[&str]) -> (Vec<Verdict>, Ended) {
        let mut ledger = Ledger::default();
        for (lines, optional) in [(emitted, false), (may, true)] {
            for line in lines {
                ledger.emitted(line.as_bytes(), id(line), optional).unwrap();
            }
        }
        let look = |(event, sequence): (&&str, u64)| {
            ledger.stored("subject", sequence, event.as_bytes(), || Some(id(event)))
        };
        let verdicts = stored.iter().zip(1..).map(look).collect();
        (verdicts, ledger.finish())
    }

    fn clean(emitted: &[&str], may: &[&str], stored: &[&str]) -> bool {
        let (verdicts, ended) = audit(emitted, may, stored);
        verdicts.iter().all(|v| *v == Verdict::Expected) && ended == Ended::default()
    }

    #[test]
    fn what_is_stored_once_in_order_is_clean_and_equal_lines_are_counted() {
        assert!(clean(
            &["a1", "b1", "b1", "c1"],
            &[],
            &["a1", "b1", "b1", "c1"]
        ));
        let (_, ended) = audit(&["a1", "b1", "b1"], &[], &["a1", "b1"]);
        assert_eq!(ended.lost, [2]);
        let (verdicts, _) = audit(&["a1", "b1"], &[], &["a1", "b1", "b1"]);
        assert_eq!(verdicts[2], Verdict::Duplicated);
    }

    #[test]
    fn an_altered_event_is_neither_lost_nor_unexpected_and_a_stranger_is() {
        let (_, ended) = audit(&["a1", "b1", "c1"], &[], &["a1", "b2", "x1"]);
        assert_eq!(ended.altered, [(1, 2)]);
        assert_eq!((ended.lost, ended.unexpected), (vec![2], vec![3]));
    }

    #[test]
    fn order_is_told_by_subject() {
        let (verdicts, ended) = audit(&["a1", "b1", "c1"], &[], &["b1", "a1", "c1"]);
        assert_eq!(verdicts[1], Verdict::OutOfOrder);
        assert_eq!(ended, Ended::default());
        let mut ledger = Ledger::default();
        for line in ["a1", "b1"] {
            ledger.emitted(line.as_bytes(), id(line), false).unwrap();
        }
        let seen = [("one", "b1"), ("two", "a1")];
        for (sequence, (subject, event)) in (1..).zip(seen) {
            let verdict = ledger.stored(subject, sequence, event.as_bytes(), || None);
            assert_eq!(verdict, Verdict::Expected);
        }
    }

    #[test]
    fn an_optional_line_may_be_there_or_not_and_late() {
        assert!(clean(&["a1", "b1"], &["u1"], &["a1", "b1"]));
        assert!(clean(&["a1", "b1"], &["u1"], &["a1", "u1", "b1"]));
        let (verdicts, _) = audit(&["a1"], &["u1"], &["a1", "u1", "u1"]);
        assert_eq!(verdicts[2], Verdict::Duplicated);
    }
}
