//! The settings of followed logs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::generation::file_name;
use super::history::History;
use super::position::{Positions, SavedTrack};
use super::track::Track;
use crate::failure::Failure;

/// The value of `--position`.
#[derive(Debug, Clone)]
pub(super) enum PositionPath {
    File(PathBuf),
    /// A file per log.
    Folder(PathBuf),
}

impl PositionPath {
    /// `one_log`: whether the arguments name one file.
    pub(super) fn resolve(path: PathBuf, one_log: bool) -> Result<Self, Failure> {
        let failed = |source| Failure::File {
            path: path.clone(),
            source,
        };
        let names_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.is_dir();
        if one_log && !names_folder {
            Positions::check(&path)?;
            return Ok(Self::File(path));
        }
        if path.is_file() {
            return Err(Failure::Follow(format!(
                "--position: {} is a file; several files, folders and patterns need a folder",
                path.display()
            )));
        }
        fs::create_dir_all(&path).map_err(failed)?;
        Positions::check(&path.join("check"))?;
        Ok(Self::Folder(path))
    }

    /// The file with the position of a log: its name, and a digest of its path.
    fn of(&self, log: &Path) -> io::Result<PathBuf> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Folder(folder) => {
                let digest =
                    Sha256::digest(std::path::absolute(log)?.as_os_str().as_encoded_bytes());
                let digest: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
                let mut name = file_name(log).to_owned();
                name.push(format!(".{digest}.position"));
                Ok(folder.join(name))
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct TrackSettings {
    pub(super) position: Option<PositionPath>,
    pub(super) rotate_wait: Duration,
    pub(super) start_at_end: bool,
    pub(super) from_line: u64,
}

impl TrackSettings {
    /// The log with this path, at its saved position.
    pub(super) fn track(&self, index: usize, path: Arc<Path>) -> Result<Arc<Track>, Failure> {
        let mut history = History::new(Arc::clone(&path), self.rotate_wait, new_name);
        let mut position = None;
        if let Some(setting) = &self.position {
            let file = setting.of(&path).map_err(|source| Failure::File {
                path: path.to_path_buf(),
                source,
            })?;
            history.is_saved = true;
            if let Some(saved) = SavedTrack::load(&file)? {
                saved.restore(&mut history);
            }
            position = Some(file);
        }
        let from_line = if index == 0 { self.from_line } else { 1 };
        Ok(Arc::new(Track::new(index, from_line, position, history)))
    }
}

fn new_name() -> Arc<str> {
    nuid::next().as_str().into()
}
