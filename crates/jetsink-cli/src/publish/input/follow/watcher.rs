//! The thread that watches folders and opens files as soon as they appear, independently of sending.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use tokio::sync::mpsc;

use super::folder::{Folder, Wanted, place_of};
use super::generation::{Loss, Time};
use super::position::save;
use super::scan::{Scanned, observe, scan, skip_lines};
use super::settings::TrackSettings;
use super::track::{Clock, Notice, Tracks};
use super::watch::{Changes, Watch};
use crate::publish::input::Batch;

/// The longest wait for a change.
const TICK: Duration = Duration::from_millis(25);

/// The interval between two looks at the files that are being written.
const OBSERVE: Duration = Duration::from_millis(50);

/// The interval between two scans of a folder without changes, and between two searches for folders.
const RESCAN: Duration = Duration::from_secs(1);

/// The files of a folder that can't be opened and are reported one by one.
const MAX_NOTED: usize = 20;

/// Folders by a pattern.
#[derive(Debug)]
pub(super) struct FolderPattern {
    /// `None` if it is the name of one folder.
    pub(super) pattern: Option<String>,
    pub(super) folder: PathBuf,
    pub(super) wanted: Wanted,
}

impl FolderPattern {
    /// The folders that exist, or the named one.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        match &self.pattern {
            None => vec![self.folder.clone()],
            // The pattern was checked when the command started.
            Some(text) => glob::glob(text).map_or_else(
                |_| Vec::new(),
                |paths| paths.flatten().filter(|path| path.is_dir()).collect(),
            ),
        }
    }
}

/// The files that could not be opened so far, by folder: lost if the run ends now.
#[derive(Debug, Clone, Default)]
pub(in crate::publish) struct UnopenedFiles(Arc<Mutex<BTreeMap<usize, Vec<Loss>>>>);

impl UnopenedFiles {
    fn set(&self, folder: usize, losses: Vec<Loss>) {
        self.lock().insert(folder, losses);
    }

    /// Takes the losses of all folders.
    pub(in crate::publish) fn take(&self) -> Vec<Loss> {
        std::mem::take(&mut *self.lock())
            .into_values()
            .flatten()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Vec<Loss>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Watcher {
    pub(super) folders: Vec<Folder>,
    pub(super) patterns: Vec<FolderPattern>,
    pub(super) tracks: Tracks,
    pub(super) settings: TrackSettings,
    pub(super) notices: mpsc::UnboundedSender<Notice>,
    pub(super) batches: mpsc::Sender<Batch>,
    pub(super) clock: Clock,
    pub(super) unopened: UnopenedFiles,
    watch: Watch,
    next_rescan: Time,
    next_observation: Time,
    /// Problems that were reported: each once.
    noted: HashSet<String>,
}

impl Watcher {
    pub(super) fn new(
        folders: Vec<Folder>,
        patterns: Vec<FolderPattern>,
        tracks: Tracks,
        settings: TrackSettings,
        notices: mpsc::UnboundedSender<Notice>,
        batches: mpsc::Sender<Batch>,
        clock: Clock,
    ) -> Self {
        Self {
            folders,
            patterns,
            tracks,
            settings,
            notices,
            batches,
            clock,
            unopened: UnopenedFiles::default(),
            watch: Watch::new(),
            next_rescan: Time::ZERO,
            next_observation: Time::ZERO,
            noted: HashSet::new(),
        }
    }

    /// Watches until the command ends. A file that was lost before is reported.
    pub(super) fn run(mut self) {
        while !self.batches.is_closed() {
            let now = self.clock.now();
            if now >= self.next_rescan {
                self.next_rescan = now + RESCAN;
                self.find_folders();
                for folder in &mut self.folders {
                    folder.needs_scan = true;
                }
            }
            for key in 0..self.folders.len() {
                self.scan_folder(key);
            }
            if self.clock.now() >= self.next_observation {
                self.next_observation = self.clock.now() + OBSERVE;
                for track in self.tracks.all() {
                    observe(&track, self.clock.now());
                    track.report_losses(&self.notices);
                }
            }
            let changes = self.watch.wait(TICK);
            self.apply(&changes);
        }
        self.last_look();
    }

    /// A file that was removed unread before the end is a loss, also if no scan has found that out yet.
    fn last_look(&mut self) {
        let changes = self.watch.wait(Duration::ZERO);
        self.apply(&changes);
        for key in 0..self.folders.len() {
            self.scan_folder(key);
        }
        let changes = self.watch.wait(Duration::ZERO);
        self.apply(&changes);
        for track in self.tracks.all() {
            track.report_losses(&self.notices);
        }
    }

    /// Finds the folders of patterns and watches folders that exist by now.
    fn find_folders(&mut self) {
        for pattern in &self.patterns {
            for path in pattern.folders() {
                if let Some(place) = place_of(&self.folders, &path) {
                    self.folders[place].want(pattern.wanted.clone());
                } else {
                    let mut folder = Folder::new(path);
                    folder.want(pattern.wanted.clone());
                    self.folders.push(folder);
                }
            }
        }
        for (key, folder) in self.folders.iter_mut().enumerate() {
            if !folder.is_watched && self.watch.add(&folder.path, key) {
                folder.is_watched = true;
                folder.needs_scan = true;
            }
        }
    }

    fn scan_folder(&mut self, key: usize) {
        let folder = &mut self.folders[key];
        let asked = folder.logs.iter().any(|log| {
            let mut history = log.track.history();
            std::mem::take(&mut history.needs_scan)
        });
        if !asked && !folder.needs_scan && folder.is_watched {
            return;
        }
        folder.needs_scan = false;
        folder.is_clean = false;
        // Truncations first: then a copy of later content is not taken for an older file.
        for log in &folder.logs {
            observe(&log.track, self.clock.now());
        }
        let is_first = !folder.was_scanned;
        let (settings, tracks, notices) = (&self.settings, &self.tracks, &self.notices);
        let scanned = scan(folder, self.clock.now(), |index, path| {
            match settings.track(index, path) {
                Ok(track) => {
                    tracks.add(Arc::clone(&track));
                    Some(track)
                }
                Err(failure) => {
                    let _ = notices.send(Notice::Note(failure.to_string()));
                    None
                }
            }
        });
        let path = folder.path.clone();
        match scanned {
            Ok(scanned) => {
                if is_first && self.folders[key].was_scanned {
                    self.after_first_scan(key);
                }
                self.after_scan(key, scanned);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.note(format!("{} does not exist yet", path.display()));
            }
            Err(error) => {
                self.folders[key].unreadable(error.to_string());
                self.note(format!("{}: {error}; trying again", path.display()));
            }
        }
        self.unopened.set(key, self.folders[key].losses());
    }

    fn after_first_scan(&mut self, key: usize) {
        // Files that were created while it was scanned are in it, or are found by the next scan.
        let mut changes = self.watch.wait(Duration::ZERO);
        changes.created.retain(|(folder, _)| *folder != key);
        self.apply(&changes);
        let folder = &mut self.folders[key];
        folder.needs_scan = true;
        let mut notes = Vec::new();
        for log in &folder.logs {
            let mut history = log.track.history();
            if self.settings.start_at_end
                && !history.is_restored
                && let Err(error) = skip_lines(&mut history)
            {
                notes.push(format!("{}: {error}", log.track.path.display()));
            }
            let is_missing = |path: &Path| {
                fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            };
            if history.generations.iter().all(|g| g.is_finished)
                && log.is_named
                && is_missing(&log.track.path)
            {
                notes.push(format!("{} does not exist yet", log.track.path.display()));
            }
        }
        for note in notes {
            self.note(note);
        }
    }

    fn after_scan(&mut self, key: usize, scanned: Scanned) {
        let folder = &mut self.folders[key];
        for log in &folder.logs {
            log.track.history().is_ready |= folder.was_scanned;
        }
        let mut notes = Vec::new();
        for log in folder.logs.iter().filter(|_| folder.was_scanned) {
            // If this run is killed before its first line is sent, the next one knows the older files.
            let is_on_disk = std::mem::replace(&mut log.track.history().is_on_disk, true);
            if !is_on_disk && let Err(failure) = save(&log.track) {
                notes.push(failure.to_string());
            }
        }
        folder.is_clean = !scanned.is_due && folder.is_watched;
        folder.needs_scan |= scanned.is_due;
        for loss in scanned.lost {
            let _ = self.notices.send(Notice::Loss(loss));
        }
        for note in notes {
            self.note(note);
        }
        for (path, error) in scanned.unopened.iter().take(MAX_NOTED) {
            self.note(format!("{}: {error}; trying again", path.display()));
        }
        if scanned.unopened.len() > MAX_NOTED {
            let folder = self.folders[key].path.display();
            let text = format!("{folder}: more files can't be opened; trying again");
            self.note(text);
        }
    }

    fn apply(&mut self, changes: &Changes) {
        for key in &changes.folders {
            self.folders[*key].needs_scan = true;
        }
        for key in &changes.ended {
            self.folders[*key].is_watched = false;
        }
        for (key, name) in &changes.created {
            if let Some(log) = self.folders[*key].named(name) {
                log.track.history().created();
            }
        }
        for folder in &mut self.folders {
            if changes.has_overflowed {
                folder.needs_scan = true;
            }
            let is_quiet = folder.is_clean && !folder.needs_scan;
            for log in folder.logs.iter().filter(|log| log.is_named) {
                let mut history = log.track.history();
                if changes.has_overflowed {
                    history.overflowed();
                } else if is_quiet {
                    history.is_quiet();
                } else {
                    history.counted();
                }
            }
        }
    }

    /// Reports a problem, once.
    fn note(&mut self, text: String) {
        if self.noted.insert(text.clone()) {
            let _ = self.notices.send(Notice::Note(text));
        }
    }
}

/// The folder of a path, as the system names it.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(all(test, target_os = "linux"))]
#[path = "tests/watcher.rs"]
mod tests;
