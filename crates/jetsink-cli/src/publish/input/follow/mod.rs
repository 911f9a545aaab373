//! `--follow`: logs that grow and are rotated.
//!
//! Opening is independent of sending. The [`watcher`] thread is notified of changes of the folders ([`watch`]), scans
//! them ([`scan`]) and opens each new file at once; a stalled reader loses nothing, because the descriptors wait in the
//! [`history`] of their log. That pure state machine decides which file is a new [`generation`], which one is a copy or
//! a compression of a known one, and which could not be read: each such loss is reported. The [`reading`] thread reads
//! the generations in order. [`position`] saves them over restarts.

mod fifo;
mod folder;
mod generation;
mod history;
mod identity;
mod live;
mod names;
mod position;
mod progress;
mod reading;
mod scan;
mod settings;
mod sighting;
mod track;
mod watch;
mod watcher;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glob::Pattern;
use tokio::sync::mpsc;

use super::reader::Reader;
use super::{Input, check_file};
use crate::failure::Failure;
use crate::publish::settings::Settings;
use crate::spool::folder::is_same_folder;
use crate::system::{FILES_CAN_BE_FOLLOWED, is_fifo, raise_file_limit};
use folder::{Folder, Wanted, place_of};
pub(in crate::publish) use generation::Loss;
use generation::file_name;
use names::Stamp;
pub(in crate::publish) use position::Positions;
use settings::{PositionPath, TrackSettings};
pub(in crate::publish) use track::{Checkpoint, Notice};
use track::{Clock, Tracks};
pub(in crate::publish) use watcher::UnopenedFiles;
use watcher::{FolderPattern, Watcher, folder_of};

/// Names of files as a spool has them: its lock, and a segment.
const IN_SPOOL: [&str; 2] = ["lock", "000000000001-00f1e2d3c4b5a697.log"];

/// An argument of `--follow`.
#[derive(Debug)]
enum Target {
    File(PathBuf),
    Fifo(PathBuf),
    /// The names in a folder; the folder may be a pattern, too.
    Pattern(FolderPattern),
}

impl Target {
    /// Whether a file of this path is followed.
    fn includes(&self, path: &Path) -> bool {
        let (folder, name) = (folder_of(path), file_name(path));
        match self {
            Self::Fifo(_) => false,
            Self::File(log) => {
                let base = file_name(log);
                is_same_folder(&folder_of(log), &folder)
                    && (base == name || Stamp::of(base, name).is_some())
            }
            Self::Pattern(pattern) => {
                let mut folders = pattern.folders().into_iter();
                pattern.wanted.matches(name) && folders.any(|known| is_same_folder(&known, &folder))
            }
        }
    }
}

/// Follows the files of the arguments from their saved positions.
pub(super) fn follow(settings: &Settings) -> Result<Input, Failure> {
    if !FILES_CAN_BE_FOLLOWED {
        let why = "this system's files have no numbers by which a rotated one is recognised; follow them on Unix";
        return Err(Failure::Follow(why.to_owned()));
    }
    let mut targets = Vec::new();
    for (index, path) in settings.files.iter().enumerate() {
        targets.push(target(index, path, settings)?);
    }
    if let Some(rejected) = &settings.rejected
        && targets.iter().any(|target| target.includes(rejected))
    {
        return Err(Failure::Follow(format!(
            "--rejected: {} would be followed itself; write it to another folder",
            rejected.display()
        )));
    }
    if let Some(spool) = &settings.spool {
        let spool = spool.directory();
        let is_followed = |name| {
            targets
                .iter()
                .any(|target| target.includes(&spool.join(name)))
        };
        if IN_SPOOL.iter().any(is_followed) {
            return Err(Failure::Follow(format!(
                "--spool: the files in {} would be followed themselves; use another folder",
                spool.display()
            )));
        }
    }
    let position = match &settings.position {
        None => None,
        Some(path) => {
            let one_log = matches!(targets[..], [Target::File(_)]);
            Some(PositionPath::resolve(path.clone(), one_log)?)
        }
    };
    let track_settings = TrackSettings {
        position,
        rotate_wait: settings.rotate_wait,
        start_at_end: settings.start_at_end,
        from_line: settings.from_line,
    };
    // Each unread file is open.
    let _ = raise_file_limit();
    let (notice_sender, notices) = mpsc::unbounded_channel();
    let (reader, batches) = Reader::new(settings);
    let (clock, tracks) = (Clock::start(), Tracks::default());
    let mut unopened = UnopenedFiles::default();
    let mut folders: Vec<Folder> = Vec::new();
    let mut patterns = Vec::new();
    for (index, target) in targets.into_iter().enumerate() {
        match target {
            Target::Pattern(pattern) => patterns.push(pattern),
            Target::Fifo(path) => {
                let (reader, from_line) = (reader.clone(), settings.from_line);
                std::thread::spawn(move || fifo::read_fifo(&path, index, from_line, &reader));
            }
            Target::File(path) => {
                let folder = folder_of(&path);
                let place = place_of(&folders, &folder);
                let place = place.unwrap_or_else(|| {
                    folders.push(Folder::new(folder));
                    folders.len() - 1
                });
                if folders[place].named(file_name(&path)).is_none() {
                    let track = track_settings.track(index, path.into())?;
                    tracks.add(Arc::clone(&track));
                    folders[place].add(track, true);
                }
            }
        }
    }
    if !folders.is_empty() || !patterns.is_empty() {
        let watcher = Watcher::new(
            folders,
            patterns,
            tracks.clone(),
            track_settings,
            notice_sender,
            reader.sender.clone(),
            clock,
        );
        unopened = watcher.unopened.clone();
        std::thread::spawn(move || watcher.run());
        std::thread::spawn(move || reading::read_logs(reader, tracks, clock));
    }
    Ok(Input {
        batches,
        notices,
        unopened,
        total_bytes: None,
    })
}

fn target(index: usize, path: &Path, settings: &Settings) -> Result<Target, Failure> {
    if path == Path::new("-") {
        let why = "standard input is read to its end anyway";
        return Err(Failure::Follow(why.to_owned()));
    }
    let failed = |source| Failure::File {
        path: path.to_owned(),
        source,
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let is_pattern =
                |text: &OsStr| text.as_encoded_bytes().iter().any(|b| b"*?[".contains(b));
            if !is_pattern(path.as_os_str()) {
                return Ok(Target::File(path.to_owned()));
            }
            let folder = folder_of(path);
            let pattern = match is_pattern(folder.as_os_str()) {
                false => None,
                true => Some(checked_pattern(&folder)?.as_str().to_owned()),
            };
            Ok(Target::Pattern(FolderPattern {
                pattern,
                folder,
                wanted: Wanted {
                    index,
                    pattern: checked_pattern(Path::new(file_name(path)))?,
                },
            }))
        }
        Err(error) => Err(failed(error)),
        Ok(metadata) if metadata.is_dir() => Ok(Target::Pattern(FolderPattern {
            pattern: None,
            folder: path.to_owned(),
            wanted: Wanted {
                index,
                pattern: checked_pattern(Path::new("*"))?,
            },
        })),
        Ok(metadata) => {
            check_file(&metadata, path, settings)?;
            if metadata.is_file() {
                return Ok(Target::File(path.to_owned()));
            }
            if settings.position.is_some() || !is_fifo(&metadata) {
                return Err(Failure::Follow(format!(
                    "{} is no regular file, and can't be read again from a position",
                    path.display()
                )));
            }
            Ok(Target::Fifo(path.to_owned()))
        }
    }
}

fn checked_pattern(text: &Path) -> Result<Pattern, Failure> {
    let shown = text.display();
    let Some(text) = text.to_str() else {
        let reason = format!("the pattern {shown} is not UTF-8");
        return Err(Failure::Follow(reason));
    };
    Pattern::new(text).map_err(|error| Failure::Follow(format!("the pattern {shown}: {error}")))
}
