//! The `.head` file beside a trail: the hash of the last row. CellOS writes it after the row.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use blake3::Hash;

use super::chain::hash_of;
use super::resume::find_row;
use crate::publish::input::decode::Decoded;
use crate::system::file_number;

/// The time after which the saved hash is read once more before rows are reported as missing: the hash of an older trail
/// may lie beside the first row of a new one.
pub(in crate::publish::input) const HEAD_WAIT: Duration = Duration::from_secs(1);

/// A trail that may have a `.head` file beside it.
#[derive(Debug)]
pub(super) struct HeadFile {
    trail: PathBuf,
    number: (u64, u64),
}

impl HeadFile {
    /// Returns `None` unless the name of the trail ends with `.jsonl`, as CellOS names it.
    pub(super) fn of(trail: &Path, file: &File) -> Option<Self> {
        if trail.extension()? != "jsonl" {
            return None;
        }
        Some(Self {
            trail: trail.to_owned(),
            number: file_number(&file.metadata().ok()?),
        })
    }

    /// Reads the saved hash. Returns `None` if no hash is saved, or if it belongs to another file: the path may lead to a
    /// new trail by now.
    pub(super) fn read(&self) -> Option<Hash> {
        let text = fs::read_to_string(self.trail.with_extension("head")).ok()?;
        let at_path = fs::metadata(&self.trail).ok()?;
        if file_number(&at_path) != self.number {
            return None;
        }
        hash_of(text.trim_ascii_end())
    }

    /// Whether a row of the trail has this hash. A trail that can't be read has none.
    pub(super) fn has_row(&self, hash: &Hash) -> bool {
        let found = File::open(&self.trail).and_then(|file| find_row(Decoded::new(file), hash));
        found.is_ok_and(|found| found.end.is_some())
    }
}

#[cfg(test)]
#[path = "tests/head.rs"]
mod tests;
