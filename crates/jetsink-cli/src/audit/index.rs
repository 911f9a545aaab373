//! Lines by a hash, in as few bytes as they can be found by: sorted, not in a map. Pure.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::ledger::Line;

/// Enough of a SHA-256 for no two of ten million lines to share it. In pieces, so that an entry has no
/// padding.
pub(crate) type Hash = [u32; 4];

pub(crate) fn hash(bytes: &[u8]) -> Hash {
    let digest = Sha256::digest(bytes);
    let mut hash = [0; 4];
    for (piece, bytes) in hash.iter_mut().zip(digest.chunks(4)) {
        *piece = bytes
            .iter()
            .fold(0, |all, byte| (all << 8) | u32::from(*byte));
    }
    hash
}

/// In groups of so many equal lines, what was found is not looked at again and again.
const LARGE: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    hash: Hash,
    line: u32,
}

/// Equal lines are neighbours, in their order. Sorted once, by [`sort`](Self::sort), before it is
/// asked.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
    /// In large groups, by their first entry: before this one all are found.
    open_from: HashMap<usize, usize>,
}

/// What there is for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Line(u32),
    /// There are such lines, and each has its message.
    AllFound,
    Nobodys,
}

impl Index {
    pub(super) fn add(&mut self, hash: Hash, line: u32) {
        self.entries.push(Entry { hash, line });
    }

    pub(super) fn sort(&mut self) {
        self.entries.sort_unstable();
    }

    /// The line that a message stands for: the first that is open, unless that would be out of order
    /// behind `latest` and a later one is not. So one of two equal lines that is lost is told as lost,
    /// not as late. Lines that must be there come before those that may be.
    pub(super) fn take(&mut self, hash: Hash, latest: u32, lines: &[Line]) -> Taken {
        let (start, end) = self.group(hash);
        if start == end {
            return Taken::Nobodys;
        }
        let state = |entry: &Entry| lines.get(entry.line as usize).copied();
        let is_open = |entry: &Entry| matches!(state(entry), Some(Line::Missing | Line::Optional));
        let from = self.open_from.get(&start).copied().unwrap_or(start);
        let first = self.entries[from..end].iter().position(is_open);
        let first = first.map_or(end, |at| from + at);
        if end - start > LARGE {
            self.open_from.insert(start, first);
        }
        let Some(entry) = self.entries[first..end].first() else {
            return Taken::AllFound;
        };
        if entry.line >= latest || state(entry) == Some(Line::Optional) {
            return Taken::Line(entry.line);
        }
        let open = &self.entries[first..end];
        let later = open.partition_point(|entry| entry.line < latest);
        let in_order = open[later..]
            .iter()
            .find(|entry| state(entry) == Some(Line::Missing));
        Taken::Line(in_order.unwrap_or(entry).line)
    }

    /// Whether the line has this hash.
    pub(super) fn holds(&self, line: u32, hash: Hash) -> bool {
        self.entries.binary_search(&Entry { hash, line }).is_ok()
    }

    /// The lines of each group that has several.
    pub(super) fn groups(&self) -> impl Iterator<Item = impl Iterator<Item = u32>> {
        let groups = self.entries.chunk_by(|one, other| one.hash == other.hash);
        groups
            .filter(|group| group.len() > 1)
            .map(|group| group.iter().map(|entry| entry.line))
    }

    fn group(&self, hash: Hash) -> (usize, usize) {
        let start = self.entries.partition_point(|entry| entry.hash < hash);
        let rest = &self.entries[start..];
        let is_its = |entry: Option<&Entry>| entry.is_some_and(|entry| entry.hash == hash);
        let length = match (is_its(rest.first()), is_its(rest.get(1))) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => rest.partition_point(|entry| entry.hash <= hash),
        };
        (start, start + length)
    }
}
