//! `--follow`: reads a file that grows and is rotated, or a FIFO, until the command ends.
//!
//! A renamed file is read to its end, then the file that replaced it. After a truncation (copytruncate)
//! the copy that contains the unread rest is searched for beside it.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;

use super::growing::{GrowingFile, POLL};
use super::position::{FollowedFile, SavedPosition};
use super::reader::{Reader, Start, Stopped};
use super::rotation::{OpenedFile, find, find_copy, successor};
use super::{Batch, LineLocation};
use crate::lines::Lines;

/// Reads `path`; returns when the receiver is gone or a file can't be read.
pub(super) fn follow(
    path: &Path,
    from_line: u64,
    position: Option<SavedPosition>,
    reader: &Reader,
) -> Result<(), Stopped> {
    let followed = Follow {
        path,
        from_line,
        location: LineLocation {
            file: path.into(),
            index: 0,
            line: 0,
        },
        reader,
    };
    match followed.run(position) {
        Err(End::Stopped) => Err(Stopped),
        Err(End::Failed(location, error)) => {
            let reason = error.to_string();
            reader.send(Batch::Failed { location, reason })
        }
        Ok(never) => match never {},
    }
}

enum End {
    Stopped,
    Failed(LineLocation, io::Error),
}

impl From<Stopped> for End {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

struct Follow<'a> {
    path: &'a Path,
    /// Applies to the first file.
    from_line: u64,
    location: LineLocation,
    reader: &'a Reader,
}

impl Follow<'_> {
    fn run(&self, position: Option<SavedPosition>) -> Result<Infallible, End> {
        let mut next = match position {
            None => None,
            Some(position) => {
                let found = find(self.path, &position).map_err(|e| self.failed(e))?;
                if found.is_none() && !position.is_blank() {
                    self.note(format!(
                        "{}: the file that was read up to line {} is not here any more; reading {0} \
                         from its beginning",
                        self.path.display(),
                        position.line
                    ))?;
                }
                found
            }
        };
        loop {
            let opened = match next.take() {
                Some(opened) => opened,
                None => self.wait_for_file()?,
            };
            next = self.read(opened)?;
        }
    }

    /// Opens the path as soon as it exists. Opening a FIFO waits for a writer.
    fn wait_for_file(&self) -> Result<OpenedFile, End> {
        let mut noted = false;
        loop {
            match File::open(self.path) {
                Ok(file) => return Ok(OpenedFile::at_start(self.path, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if !noted {
                        self.note(format!("{} does not exist yet", self.path.display()))?;
                        noted = true;
                    }
                    // Stops if the receiver is gone.
                    self.reader.send(Batch::Lines(Vec::new()))?;
                    sleep(POLL);
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Reads one file to its end. Returns the next one, if it is not the path itself.
    fn read(&self, opened: OpenedFile) -> Result<Option<OpenedFile>, End> {
        let failed = |error| self.failed(error);
        let metadata = opened.file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let mut location = self.location.clone();
        location.file = opened.path.as_path().into();
        location.line = opened.line;
        if metadata.file_type().is_fifo() {
            return self.read_fifo(opened, location);
        }
        let OpenedFile {
            file,
            name,
            head,
            offset,
            line,
            ..
        } = opened;
        let followed = Arc::new(FollowedFile::new(&file, name, head).map_err(failed)?);
        let growing = GrowingFile {
            path: self.path.to_owned(),
            file: file.try_clone().map_err(failed)?,
            followed: Arc::clone(&followed),
            offset,
            sender: self.reader.sender.clone(),
        };
        let start = Start {
            offset,
            from_line: if line == 0 { self.from_line } else { 0 },
            followed: Some(Arc::clone(&followed)),
        };
        let (offset, line) = self.reader.read(Lines::new(growing), location, &start)?;
        if followed.is_truncated() {
            let position = followed.position(offset, line);
            let copy = find_copy(self.path, &position, followed.since).map_err(failed)?;
            if copy.is_none() {
                self.note(format!(
                    "{} was truncated, and no copy of it was found: lines behind line {line} that were \
                     not read are lost",
                    self.path.display()
                ))?;
            }
            return Ok(copy);
        }
        let metadata = file.metadata().map_err(failed)?;
        successor(self.path, &metadata).map_err(failed)
    }

    /// Reads until the last writer has closed the FIFO. It stays open for the next writer: closing it
    /// would lose bytes that are already in it.
    fn read_fifo(
        &self,
        opened: OpenedFile,
        location: LineLocation,
    ) -> Result<Option<OpenedFile>, End> {
        let open = opened.file.try_clone().map_err(|e| self.failed(e))?;
        let start = Start::from_line(1);
        let (_, line) = self
            .reader
            .read(Lines::new(opened.file), location, &start)?;
        if self.reader.sender.is_closed() {
            return Err(Stopped.into());
        }
        sleep(POLL);
        let mut next = OpenedFile::at_start(self.path, open);
        next.line = line;
        Ok(Some(next))
    }

    fn note(&self, text: String) -> Result<(), Stopped> {
        self.reader.send(Batch::Note(text))
    }

    fn failed(&self, error: io::Error) -> End {
        End::Failed(self.location.clone(), error)
    }
}
