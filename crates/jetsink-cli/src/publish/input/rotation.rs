//! Finds the files of a rotation: the file that a position belongs to, and the file that came next.
//!
//! A rotated file keeps its name as a prefix and stays uncompressed: `events.jsonl.1`,
//! `events.jsonl-20261123`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::position::SavedPosition;

/// An open file and the position to read from.
pub(super) struct OpenedFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Part of the message ids of its lines.
    pub(super) name: String,
    /// Its known first bytes.
    pub(super) head: Vec<u8>,
    pub(super) offset: u64,
    pub(super) line: u64,
}

impl OpenedFile {
    /// Positions the file at its beginning.
    pub(super) fn at_start(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            file,
            name: nuid::next().to_string(),
            head: Vec::new(),
            offset: 0,
            line: 0,
        }
    }

    fn seek(mut self) -> io::Result<Self> {
        io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.offset))?;
        Ok(self)
    }
}

/// The path itself and the files that were rotated away from it.
fn generations(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let mut generations = Vec::new();
    for entry in fs::read_dir(folder)? {
        let other = entry?.file_name();
        let Some(suffix) = other.as_encoded_bytes().strip_prefix(name) else {
            continue;
        };
        let rotated = suffix.first().is_some_and(|byte| b".-_".contains(byte))
            && suffix.iter().any(u8::is_ascii_digit)
            && suffix
                .iter()
                .all(|byte| byte.is_ascii_digit() || b".-_:T".contains(byte));
        if suffix.is_empty() || rotated {
            generations.push(folder.join(other));
        }
    }
    Ok(generations)
}

/// Finds the file that a position belongs to: by its inode, or else by its first bytes, which identify
/// a copy.
pub(super) fn find(path: &Path, position: &SavedPosition) -> io::Result<Option<OpenedFile>> {
    search(path, position, 0, |_| Ok(position.knows_copies()))
}

/// Finds the copy of a file that was truncated: it contains more than was read, and was written since
/// `reading_since`.
pub(super) fn find_copy(
    path: &Path,
    position: &SavedPosition,
    reading_since: SystemTime,
) -> io::Result<Option<OpenedFile>> {
    search(path, position, position.offset + 1, |metadata| {
        Ok(position.knows_copies() || metadata.modified()? >= reading_since)
    })
}

fn search(
    path: &Path,
    position: &SavedPosition,
    min_length: u64,
    is_copy: impl Fn(&fs::Metadata) -> io::Result<bool>,
) -> io::Result<Option<OpenedFile>> {
    let mut copy = None;
    for path in generations(path)? {
        let Ok(file) = File::open(&path) else {
            continue;
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() < min_length {
            continue;
        }
        let Some(head) = position.head_of(&file)? else {
            continue;
        };
        let found = OpenedFile {
            path,
            file,
            name: position.name.clone(),
            head,
            offset: position.offset,
            line: position.line,
        };
        if position.is_of(&metadata) {
            return found.seek().map(Some);
        }
        if is_copy(&metadata)? {
            copy = Some(found);
        }
    }
    copy.map(OpenedFile::seek).transpose()
}

/// The file that came after a rotated one: the oldest that is younger. `None` if that is the path
/// itself.
pub(super) fn successor(path: &Path, ended: &fs::Metadata) -> io::Result<Option<OpenedFile>> {
    let mut younger: Vec<(SystemTime, PathBuf)> = Vec::new();
    for other in generations(path)? {
        if other.file_name() == path.file_name() {
            continue;
        }
        let Ok(metadata) = fs::metadata(&other) else {
            continue;
        };
        let is_other = (metadata.dev(), metadata.ino()) != (ended.dev(), ended.ino());
        if metadata.is_file() && is_other && metadata.modified()? > ended.modified()? {
            younger.push((metadata.modified()?, other));
        }
    }
    younger.sort();
    for (_, other) in younger {
        if let Ok(file) = File::open(&other) {
            return Ok(Some(OpenedFile::at_start(&other, file)));
        }
    }
    Ok(None)
}
