//! A folder with followed logs: which of its files belongs to which log.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glob::Pattern;

use super::generation::{Loss, LossReason, Place, Time, file_name};
use super::identity::FileId;
use super::names::{Stamp, undated};
use super::track::Track;
use crate::system::is_same_file;

/// A pattern of names, or all names of a folder.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The argument's place in the list, from 0.
    pub(super) index: usize,
    pub(super) pattern: Pattern,
}

/// A log in a folder.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) track: Arc<Track>,
    /// The name of the log, or the first name that was found.
    base: OsString,
    /// Whether the user gave the name.
    pub(super) is_named: bool,
}

/// A file with lines to publish that could not be opened so far.
#[derive(Debug, Clone)]
pub(super) struct Unopened {
    /// `None` if the system does not report it: then its path identifies it.
    pub(super) id: Option<FileId>,
    pub(super) path: Arc<Path>,
    pub(super) error: String,
    /// Whether its lines are lost with its name. Those of a link's target are not.
    pub(super) has_lines: bool,
}

/// A file in the list of a folder.
#[derive(Debug)]
struct Listed {
    file: Unopened,
    /// The log that a notification has announced it to.
    announced_to: Option<usize>,
    /// Whether the current scan has found it.
    is_here: bool,
}

impl Unopened {
    /// Whether both are one file.
    fn is(&self, id: Option<FileId>, path: &Path) -> bool {
        match (self.id, id) {
            (Some(known), Some(id)) => known == id,
            _ => *self.path == *path,
        }
    }

    fn loss(&self) -> Loss {
        Loss {
            path: Arc::clone(&self.path),
            files: 1,
            bytes: None,
            reason: LossReason::Unopened(self.error.clone()),
        }
    }
}

impl Log {
    /// Whether the user gave exactly this name. Only files of such names are announced to their log.
    fn is_at(&self, name: &OsStr) -> bool {
        self.is_named && self.base == name
    }
}

#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    wanted: Vec<Wanted>,
    pub(super) logs: Vec<Log>,
    /// Whether changes are notified.
    pub(super) is_watched: bool,
    pub(super) was_scanned: bool,
    pub(super) needs_scan: bool,
    /// Time of the first of the last scans that found a file that is still being written.
    pub(super) incomplete_since: Option<Time>,
    /// Whether the last scan has opened every file that can be opened, and no change is known since.
    pub(super) is_clean: bool,
    unopened: Vec<Listed>,
}

/// The log that a file belongs to.
#[derive(Debug)]
pub(super) enum Owner {
    Known(usize, Place),
    /// A log of this argument that was not seen before.
    New(usize),
}

/// The place of the folder that `path` leads to. Equal paths come first: each look at the disk costs two calls.
pub(super) fn place_of(folders: &[Folder], path: &Path) -> Option<usize> {
    let by_path = folders.iter().position(|known| known.path == path);
    by_path.or_else(|| {
        folders
            .iter()
            .position(|known| is_same_file(&known.path, path))
    })
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            wanted: Vec::new(),
            logs: Vec::new(),
            is_watched: false,
            was_scanned: false,
            needs_scan: true,
            incomplete_since: None,
            is_clean: false,
            unopened: Vec::new(),
        }
    }

    pub(super) fn begin_scan(&mut self) {
        for listed in &mut self.unopened {
            listed.is_here = false;
        }
    }

    /// The folder can't be read: none of its files can.
    pub(super) fn unreadable(&mut self, error: String) {
        let folder = Unopened {
            id: None,
            path: self.path.as_path().into(),
            error,
            has_lines: false,
        };
        self.unopened(folder, true);
    }

    /// Notes a file that can't be opened. One that is not `wanted` counts only if it was, under an earlier name.
    pub(super) fn unopened(&mut self, file: Unopened, is_wanted: bool) {
        let mut listed = self.unopened.iter_mut();
        if let Some(listed) = listed.find(|listed| listed.file.is(file.id, &file.path)) {
            listed.is_here = true;
            listed.file = Unopened {
                id: file.id.or(listed.file.id),
                has_lines: file.has_lines || listed.file.has_lines,
                ..file
            };
        } else if is_wanted {
            let name = file_name(&file.path);
            let named = self.logs.iter().position(|log| log.is_at(name));
            let announced_to = named.filter(|_| self.was_scanned);
            if let Some(log) = announced_to {
                self.logs[log].track.history().set_aside();
            }
            self.unopened.push(Listed {
                file,
                announced_to,
                is_here: true,
            });
        }
    }

    /// A file can be opened, or has no line to read.
    pub(super) fn opened(&mut self, id: FileId, path: &Path) {
        let logs = &self.logs;
        self.unopened.retain(|listed| {
            let is_it = listed.file.is(Some(id), path);
            if let (true, Some(log)) = (is_it, listed.announced_to) {
                logs[log].track.history().take_back();
            }
            !is_it
        });
    }

    /// A scan has ended that has seen these files of the logs. Returns the losses: files that are not here any more.
    pub(super) fn end_scan(&mut self, seen: &[Vec<FileId>]) -> Vec<Loss> {
        let is_seen = |id: FileId| seen.iter().any(|files| files.contains(&id));
        let (here, gone): (Vec<_>, Vec<_>) = self
            .unopened
            .drain(..)
            .partition(|listed| listed.is_here || listed.file.id.is_some_and(is_seen));
        self.unopened = here;
        let lost = gone.iter().filter(|listed| listed.file.has_lines);
        lost.map(|listed| listed.file.loss()).collect()
    }

    /// The losses if the run ended now.
    pub(super) fn losses(&self) -> Vec<Loss> {
        let files = self.unopened.iter();
        files.map(|listed| listed.file.loss()).collect()
    }

    pub(super) fn want(&mut self, wanted: Wanted) {
        let is_new = |other: &Wanted| other.pattern != wanted.pattern;
        if self.wanted.iter().all(is_new) {
            self.wanted.push(wanted);
            self.needs_scan = true;
        }
    }

    /// Adds a log; returns its place in `logs`.
    pub(super) fn add(&mut self, track: Arc<Track>, is_named: bool) -> usize {
        let base = file_name(&track.path).to_owned();
        self.logs.push(Log {
            track,
            base,
            is_named,
        });
        self.logs.len() - 1
    }

    /// The log with exactly this name.
    pub(super) fn named(&self, name: &OsStr) -> Option<&Log> {
        self.logs.iter().find(|log| log.is_at(name))
    }

    /// The owner of a file by its name; `None` if no log wants it.
    pub(super) fn owner(&self, name: &OsStr) -> Option<Owner> {
        let index = self.logs.iter().position(|log| log.base == name);
        if let Some(index) = index {
            return Some(Owner::Known(index, Place::Asked));
        }
        let wanted = self.wanted.iter().find(|wanted| wanted.matches(name));
        let asked = wanted.is_some();
        let rotated = self.logs.iter().enumerate().filter_map(|(index, log)| {
            let stamp = Stamp::of(&log.base, name)?;
            let belongs = !asked || log.is_named || stamp.is_certain();
            belongs.then_some((index, log.base.len(), stamp))
        });
        if let Some((index, _, stamp)) = rotated.max_by_key(|(_, length, _)| *length) {
            return Some(Owner::Known(index, Place::Rotated { stamp, asked }));
        }
        if let Some(common) = undated(name) {
            let same = |log: &Log| !log.is_named && undated(&log.base).as_ref() == Some(&common);
            if let Some(index) = self.logs.iter().position(same) {
                let place = match (asked, Stamp::of(OsStr::new(""), &dated_suffix(name))) {
                    (false, None) => return None,
                    (false, Some(stamp)) => Place::Rotated { stamp, asked },
                    (true, _) => Place::Asked,
                };
                return Some(Owner::Known(index, place));
            }
        }
        wanted.map(|wanted| Owner::New(wanted.index))
    }

    /// Whether a log of the folder has this file.
    pub(super) fn has(&self, id: FileId) -> bool {
        let mut logs = self.logs.iter();
        logs.any(|log| log.track.history().generations.iter().any(|g| g.id == id))
    }

    pub(super) fn join(&self, name: &OsStr) -> Arc<Path> {
        // The path that the user gave, not ./path.
        if self.path == Path::new(".") {
            return Path::new(name).into();
        }
        self.path.join(name).into()
    }
}

/// The date in a name, as a stamp behind an empty name.
fn dated_suffix(name: &OsStr) -> OsString {
    let bytes = name.as_encoded_bytes();
    let digit = bytes.iter().position(u8::is_ascii_digit).unwrap_or(0);
    let text = String::from_utf8_lossy(&bytes[digit..]);
    let end = text.find(|c: char| !c.is_ascii_digit() && !".-_:+TZ".contains(c));
    let stamp = text[..end.unwrap_or(text.len())].trim_end_matches(['.', '-', '_']);
    format!(".{stamp}").into()
}

impl Wanted {
    pub(super) fn matches(&self, name: &OsStr) -> bool {
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        let is_hidden_wanted = self.pattern.as_str().starts_with('.');
        (!is_hidden || is_hidden_wanted) && self.pattern.matches_path(Path::new(name))
    }
}

#[cfg(test)]
#[path = "tests/folder.rs"]
mod tests;
