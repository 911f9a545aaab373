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
    /// `None` if the system does not report it.
    id: Option<FileId>,
    log: Option<usize>,
    path: Arc<Path>,
    error: String,
    /// Whether the first scan has found it. No notification has announced it.
    is_from_start: bool,
}

impl Unopened {
    fn loss(&self) -> Loss {
        Loss {
            path: Arc::clone(&self.path),
            files: 1,
            bytes: None,
            reason: LossReason::Unopened(self.error.clone()),
        }
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
    /// Whether the last scan has opened everything, and no change is known since.
    pub(super) is_clean: bool,
    unopened: Vec<Unopened>,
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

    /// A scan begins: files without a known identity are found again, or they are not here any more.
    pub(super) fn begin_scan(&mut self) {
        self.unopened.retain(|file| file.id.is_some());
    }

    /// The folder can't be read: none of its files can.
    pub(super) fn unreadable(&mut self, error: String) {
        self.begin_scan();
        self.unopened.push(Unopened {
            id: None,
            log: None,
            path: self.path.as_path().into(),
            error,
            is_from_start: false,
        });
    }

    /// Notes a file that can't be opened. One that is not `wanted` counts only if it was, under an earlier name.
    pub(super) fn unopened(
        &mut self,
        id: Option<FileId>,
        log: Option<usize>,
        path: Arc<Path>,
        error: String,
        is_wanted: bool,
    ) {
        let known = self
            .unopened
            .iter_mut()
            .find(|file| id.is_some() && file.id == id);
        if let Some(known) = known {
            known.path = path;
        } else if is_wanted {
            self.unopened.push(Unopened {
                id,
                log,
                path,
                error,
                is_from_start: !self.was_scanned,
            });
        }
    }

    pub(super) fn opened(&mut self, id: FileId) {
        self.unopened.retain(|file| file.id != Some(id));
    }

    /// A scan has ended that has seen these files of the logs. A file that is not here any more is lost; if a notification has
    /// announced it, its log reports that.
    pub(super) fn end_scan(&mut self, seen: &[Vec<FileId>]) {
        let logs = &self.logs;
        self.unopened.retain(|file| {
            let is_here = |id: FileId| seen.iter().any(|files| files.contains(&id));
            let is_gone = file.id.is_some_and(|id| !is_here(id));
            if let (true, true, Some(log)) = (is_gone, file.is_from_start, file.log) {
                logs[log].track.history().losses.push(file.loss());
            }
            !is_gone
        });
    }

    /// The losses if the run ended now.
    pub(super) fn losses(&self) -> Vec<Loss> {
        self.unopened.iter().map(Unopened::loss).collect()
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
        self.logs
            .iter()
            .find(|log| log.is_named && log.base == name)
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
