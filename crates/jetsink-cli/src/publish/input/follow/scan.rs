//! Scans a folder: opens the files that a log's history needs.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use memchr::{memchr_iter, memrchr};

use super::folder::{Folder, Owner, Unopened};
use super::generation::{Loss, Place, Sighting, Time, file_name};
use super::history::History;
use super::identity::{FileId, HEAD, read_at};
use super::live::FixedFile;
use super::names;
use super::track::Track;
use crate::publish::input::decode::{Form, read_start};
use crate::system::is_out_of_descriptors;

/// The time without a write after which a copy or a compression is complete.
const SETTLED: Duration = Duration::from_secs(1);

/// The longest wait for a file that is being copied or compressed. Then the others are read.
const PATIENCE: Duration = Duration::from_secs(10);

/// The result of a scan.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Whether a file has to be looked at again soon. One that can't be opened is not: the next regular scan, or one after a
    /// change of its mode, tries it again.
    pub(super) is_due: bool,
    /// The files that can't be opened, and the reasons.
    pub(super) unopened: Vec<(Arc<Path>, String)>,
    /// Files that could never be opened, and that are not here any more.
    pub(super) lost: Vec<Loss>,
}

/// A file that was found and is not open yet.
struct Candidate {
    log: usize,
    path: Arc<Path>,
    place: Place,
    is_sought: bool,
    id: FileId,
    length: u64,
}

/// Scans the folder once. `new_track` makes the log of a new name. A folder that does not exist is not scanned.
///
/// # Errors
/// The folder can't be read.
pub(super) fn scan(
    folder: &mut Folder,
    now: Time,
    mut new_track: impl FnMut(usize, Arc<Path>) -> Option<Arc<Track>>,
) -> io::Result<Scanned> {
    let is_first = !folder.was_scanned;
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder.path)? {
        names.push(entry?.file_name());
    }
    // A log before the files that are rotated from it.
    names.sort_unstable_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    for log in &folder.logs {
        log.track.history().begin_scan();
    }
    folder.begin_scan();
    let mut result = Scanned::default();
    let mut seen: Vec<Vec<FileId>> = Vec::new();
    let mut candidates = Vec::new();
    for name in &names {
        let path = folder.join(name);
        // It may have another name by now: then a change is pending.
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                let is_wanted = match folder.owner(name) {
                    None => continue,
                    Some(Owner::New(_)) => true,
                    Some(Owner::Known(_, place)) => place.is_asked(),
                };
                let link = fs::symlink_metadata(&path);
                let file = Unopened {
                    id: None,
                    path: Arc::clone(&path),
                    error: error.to_string(),
                    has_lines: !link.is_ok_and(|link| link.is_symlink()),
                };
                result.unopened.push((path, file.error.clone()));
                folder.unopened(file, is_wanted);
                continue;
            }
        };
        if !metadata.is_file() {
            continue;
        }
        let id = FileId::of(&metadata);
        let owner = owner(folder, name, id, is_first, &path, &mut new_track);
        let Some((log, place)) = owner else {
            continue;
        };
        seen.resize_with(folder.logs.len(), Vec::new);
        seen[log].push(id);
        let is_at_path = place == Place::Asked && folder.logs[log].is_named;
        let mut history = folder.logs[log].track.history();
        let is_needed = history.needs(id, metadata.len());
        if is_at_path {
            history.seen_at_path(id, is_needed);
        }
        if is_needed {
            candidates.push(Candidate {
                log,
                path,
                place,
                is_sought: history.is_sought(id),
                id,
                length: metadata.len(),
            });
        } else {
            history.seen(id, &place);
            drop(history);
            folder.opened(id, &path);
        }
    }
    seen.resize_with(folder.logs.len(), Vec::new);
    // By birth: a descriptor that is missing is missing for the youngest.
    candidates.sort_by_key(|candidate| candidate.id.born);
    let (mut found, mut denied, mut is_incomplete) = (Vec::new(), Vec::new(), false);
    for candidate in candidates {
        let (log, id, path) = (candidate.log, candidate.id, Arc::clone(&candidate.path));
        let (length, is_sought) = (candidate.length, candidate.is_sought);
        let is_wanted = candidate.place.is_asked() || is_sought;
        match open(candidate, &folder.logs[log].track) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                denied.push(id);
                result.is_due |= is_out_of_descriptors(&error);
                let error = error.to_string();
                result.unopened.push((Arc::clone(&path), error.clone()));
                let is_read = folder.logs[log].track.history().is_read(id, length);
                if is_read {
                    folder.opened(id, &path);
                } else {
                    let file = Unopened {
                        id: Some(id),
                        path,
                        error,
                        has_lines: true,
                    };
                    folder.unopened(file, is_wanted);
                }
            }
            Ok(Opened::Found(file)) => {
                folder.opened(file.sighting.id, &path);
                found.push(file);
            }
            Ok(Opened::Leftover(id)) => folder.opened(id, &path),
            Ok(Opened::Unsettled) => is_incomplete = true,
            Ok(Opened::Other) => {}
        }
    }
    // First files of an earlier run, then those whose order does not depend on names.
    found.sort_by_key(|file| (!file.is_sought, file.is_unknown_compression));
    for file in found {
        let mut history = folder.logs[file.log].track.history();
        is_incomplete |= !history.sight(file.sighting, now);
    }
    result.is_due |= is_incomplete;
    let waits = is_incomplete && *folder.incomplete_since.get_or_insert(now) + PATIENCE > now;
    if !is_incomplete {
        folder.incomplete_since = None;
    }
    for log in &folder.logs {
        log.track.history().wait_for_files(waits);
    }
    // An earlier run may have left lines in a file that is still being compressed.
    if is_first && waits {
        return Ok(result);
    }
    result.lost = folder.end_scan(&seen);
    folder.was_scanned = true;
    for (log, seen) in folder.logs.iter().zip(&seen) {
        log.track.history().scanned(now, seen, &denied);
    }
    Ok(result)
}

fn owner(
    folder: &mut Folder,
    name: &OsStr,
    id: FileId,
    is_first: bool,
    path: &Arc<Path>,
    new_track: &mut impl FnMut(usize, Arc<Path>) -> Option<Arc<Track>>,
) -> Option<(usize, Place)> {
    let sought = |folder: &Folder| {
        let mut logs = folder.logs.iter();
        let index = logs.position(|log| is_first && log.track.history().is_sought(id));
        index.map(|index| (index, Place::Elsewhere))
    };
    match folder.owner(name) {
        Some(Owner::Known(index, place)) => Some((index, place)),
        None => sought(folder),
        Some(Owner::New(index)) => {
            if let Some(found) = sought(folder) {
                return Some(found);
            }
            // A file of a log that was renamed to any name.
            if folder.has(id) {
                return None;
            }
            let track = new_track(index, Arc::clone(path))?;
            Some((folder.add(track, false), Place::Asked))
        }
    }
}

/// A file that was opened for a log.
struct Found {
    log: usize,
    is_sought: bool,
    /// Whether it is the compression of a file that is not known.
    is_unknown_compression: bool,
    sighting: Sighting<Arc<File>>,
}

enum Opened {
    Found(Found),
    /// Another file has the name by now, and is known.
    Other,
    /// It was to be a compression, and stays empty.
    Leftover(FileId),
    /// It is still being compressed.
    Unsettled,
}

fn open(candidate: Candidate, track: &Track) -> io::Result<Opened> {
    let file = Arc::new(File::open(&candidate.path)?);
    let metadata = file.metadata()?;
    let id = FileId::of(&metadata);
    if !metadata.is_file() || !track.history().needs(id, metadata.len()) {
        return Ok(Opened::Other);
    }
    let age = metadata.modified()?.elapsed().unwrap_or(Duration::MAX);
    let is_settled = age >= SETTLED;
    let is_rotated = matches!(candidate.place, Place::Rotated { .. });
    let mut start = read_at(&file, 0, HEAD)?;
    if names::is_compression(file_name(&candidate.path)) && Form::is_open(&start) {
        // Created, and its compression has written nothing yet. It would be taken for lines.
        return Ok(if age < PATIENCE {
            Opened::Unsettled
        } else {
            Opened::Leftover(id)
        });
    }
    let form = Form::of(&start);
    let mut length = Some(file.metadata()?.len());
    if form != Form::Plain {
        start = decoded(&file, form, |source| read_start(source, HEAD)).unwrap_or_default();
        length = None;
        let (is_first_run, is_known, is_unread) = {
            let history = track.history();
            let is_known = history.knows_start(&start);
            (
                history.is_first_run(),
                is_known,
                history.knows_unread(&start),
            )
        };
        if !is_settled && is_rotated && !is_first_run && !is_unread {
            return Ok(Opened::Unsettled);
        }
        if is_known && !is_unread {
            let count = |source: &mut dyn io::Read| io::copy(source, &mut io::sink());
            length = decoded(&file, form, count).ok();
        }
    }
    let is_unknown = !track.history().knows_start(&start);
    Ok(Opened::Found(Found {
        log: candidate.log,
        is_sought: candidate.is_sought,
        is_unknown_compression: form != Form::Plain && is_rotated && is_unknown,
        sighting: Sighting {
            path: candidate.path,
            id,
            place: candidate.place,
            form,
            length,
            start,
            is_settled,
            file,
        },
    }))
}

fn decoded<T>(
    file: &Arc<File>,
    form: Form,
    read: impl FnOnce(&mut dyn io::Read) -> io::Result<T>,
) -> io::Result<T> {
    let file = Arc::clone(file);
    read(&mut *form.decode(FixedFile { file, offset: 0 }))
}

/// Notes growth and truncation of the files that are being written.
pub(super) fn observe(track: &Track, now: Time) {
    let observed = track.history().observed();
    for (number, file) in observed {
        // A file that can't be read is reported by its reader.
        let (Ok(start), Ok(metadata)) = (read_at(&file, 0, HEAD), file.metadata()) else {
            continue;
        };
        let mut history = track.history();
        history.observe(number, metadata.len(), start, now);
    }
}

/// Moves a history to the last line end of its growing files, and behind all others: `--start-at end`.
pub(super) fn skip_lines(history: &mut History<Arc<File>>) -> io::Result<()> {
    for (number, file) in history.observed() {
        let mut source = FixedFile { file, offset: 0 };
        let mut buffer = vec![0; 256 << 10];
        let (mut offset, mut end, mut lines) = (0, 0, 0);
        loop {
            let read = source.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            let block = &buffer[..read];
            lines += memchr_iter(b'\n', block).count() as u64;
            if let Some(last) = memrchr(b'\n', block) {
                end = offset + last as u64 + 1;
            }
            offset += read as u64;
        }
        history.read(number, end, lines, Some(end));
        history.settle(number, end, lines);
    }
    history.skip_complete_files();
    Ok(())
}

#[cfg(test)]
#[path = "tests/scan.rs"]
mod tests;
