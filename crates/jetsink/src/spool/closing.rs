//! The note that a clean closing leaves beside the file: how much it held.
//!
//! After a crash redb goes back to its last whole commit, and a damaged header looks the same to it:
//! the last commits would be gone without a word. Where this note says how much there must be, they
//! are missed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::tables::Contents;

/// What the file held when it was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClosingNote {
    pub(super) next_index: u64,
    pub(super) events: u64,
    pub(super) dead_letters: u64,
}

impl ClosingNote {
    pub(super) fn of(contents: &Contents) -> Self {
        Self {
            next_index: contents.next_index,
            events: contents.lanes.values().map(|lane| lane.events).sum(),
            dead_letters: contents.dead.events,
        }
    }

    /// Synced before it takes its name.
    pub(super) fn leave(self, directory: &Path) -> std::io::Result<()> {
        let (path, new) = (path_in(directory), directory.join("spool.closed.new"));
        let mut file = File::create(&new)?;
        serde_json::to_writer(&file, &self)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(new, path)
    }

    /// Takes the note away: from here on the file changes. `None` where there is none that can be
    /// read.
    pub(super) fn take(directory: &Path) -> std::io::Result<Option<Self>> {
        let path = path_in(directory);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        fs::remove_file(&path)?;
        File::open(directory)?.sync_all()?;
        Ok(serde_json::from_slice(&text).ok())
    }
}

pub(super) fn path_in(directory: &Path) -> PathBuf {
    directory.join("spool.closed")
}
