//! The files that an audit compares with a stream. They are read twice, or three times if the stream
//! contains events in binary mode. Pipes are copied first.

use std::fs::File;
use std::io::{Seek as _, copy, stdin};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;

use super::progress::Progress;
use crate::failure::Failure;
use crate::lines::{LineContent, Lines, content};

/// The identity of an event.
#[derive(Deserialize)]
pub(super) struct Identity {
    pub(super) source: String,
    pub(super) id: String,
}

impl Identity {
    /// `None` if the bytes are not an event in JSON.
    pub(super) fn of(event: &[u8]) -> Option<Self> {
        serde_json::from_slice(event).ok()
    }
}

pub(super) struct Line<'a> {
    pub(super) path: &'a Path,
    /// From 1, empty ones counted.
    pub(super) number: u64,
    /// Without its end.
    pub(super) bytes: Bytes,
    pub(super) identity: Identity,
}

/// An open file: a rename or rotation does not affect it.
pub(super) struct Source {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |source| Failure::File {
            path: path.to_owned(),
            source,
        };
        let opened = || {
            if path == Path::new("-") {
                return copied(stdin());
            }
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(std::io::ErrorKind::IsADirectory.into());
            }
            if metadata.is_file() {
                return Ok((file, metadata.len()));
            }
            copied(file)
        };
        let (file, length) = opened().map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            length,
        })
    }

    /// In bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Calls `visit` for each line that is not empty, until it returns `false`.
    pub(super) fn read<'a>(
        &'a self,
        progress: &Progress,
        mut visit: impl FnMut(Line<'a>) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let path = self.path.as_path();
        let failed = |source| Failure::File {
            path: path.to_owned(),
            source,
        };
        // Duplicates of a descriptor share its position.
        let mut file = self.file.try_clone().map_err(failed)?;
        file.rewind().map_err(failed)?;
        let mut lines = Lines::new(file);
        let mut number = 0;
        while let Some((raw, length)) = lines.next().map_err(failed)? {
            number += 1;
            progress.add(length);
            let wrong = |what| Failure::Usage(format!("{}:{number}: {what}", path.display()));
            let bytes = match content(raw, number) {
                LineContent::Text(bytes) => bytes,
                LineContent::Empty => continue,
                LineContent::TooLong => return Err(wrong("the line is too long")),
            };
            let Some(identity) = Identity::of(&bytes) else {
                return Err(wrong("not an event: JSON with source and id is required"));
            };
            let line = Line {
                path,
                number,
                bytes,
                identity,
            };
            if !visit(line)? {
                break;
            }
        }
        Ok(())
    }
}

/// Copies to an unnamed temporary file.
fn copied(mut from: impl std::io::Read) -> std::io::Result<(File, u64)> {
    let mut file = tempfile::tempfile()?;
    let length = copy(&mut from, &mut file)?;
    Ok((file, length))
}
