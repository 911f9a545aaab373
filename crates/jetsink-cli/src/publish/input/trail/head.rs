//! The `.head` file beside a trail: the hash of the last row. CellOS writes it after the row.

use std::fs::{self, File};
use std::io;
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

/// The content of a `.head` file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Saved {
    Hash(Hash),
    /// There is no such file.
    Missing,
    /// The path leads to a new trail by now, and the `.head` file may be of that one.
    OfAnotherFile,
    /// It can't be read, or contains no hash: the reason.
    Unusable(String),
}

impl Saved {
    pub(super) fn hash(&self) -> Option<Hash> {
        match self {
            Self::Hash(hash) => Some(*hash),
            Self::Missing | Self::OfAnotherFile | Self::Unusable(_) => None,
        }
    }
}

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

    /// Reads the saved hash.
    pub(super) fn read(&self) -> Saved {
        let read = fs::read(self.trail.with_extension("head"));
        let at_path = fs::metadata(&self.trail);
        if !at_path.is_ok_and(|at_path| file_number(&at_path) == self.number) {
            return Saved::OfAnotherFile;
        }
        match read {
            Ok(text) => {
                let text = str::from_utf8(text.trim_ascii_end()).unwrap_or_default();
                hash_of(text).map_or_else(
                    || {
                        Saved::Unusable(
                            "has no hash of 64 lower-case hexadecimal digits".to_owned(),
                        )
                    },
                    Saved::Hash,
                )
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Saved::Missing,
            Err(error) => Saved::Unusable(format!("can't be read: {error}")),
        }
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
