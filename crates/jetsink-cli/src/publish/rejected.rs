//! The file of `--rejected`: lines that were not stored because of their own content.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use crate::failure::Failure;

/// Appends rejected lines to a file.
pub(super) struct RejectedLines {
    path: PathBuf,
    file: BufWriter<File>,
    /// The bytes of the lines in the buffer, behind those of lines that are in the file.
    buffered: Vec<usize>,
    /// Lines in the file or the buffer.
    kept: u64,
    /// Those that the disk has.
    synced: u64,
    /// Lines that could not be written.
    not_kept: u64,
}

impl RejectedLines {
    /// Opens the file for appending; lines of earlier runs stay.
    pub(super) fn open(path: PathBuf) -> Result<Self, Failure> {
        match OpenOptions::new().append(true).create(true).open(&path) {
            Ok(file) => Ok(Self {
                path,
                file: BufWriter::new(file),
                buffered: Vec::new(),
                kept: 0,
                synced: 0,
                not_kept: 0,
            }),
            Err(source) => Err(Failure::File { path, source }),
        }
    }

    /// Keeps a line, or a JSON value of several lines. After an error it is not kept.
    pub(super) fn write(&mut self, line: &[u8]) -> Result<(), Failure> {
        // Both at once: a buffer without room takes neither.
        let written = self.file.write_all(&[line, b"\n"].concat());
        match written {
            Ok(()) => {
                if self.file.buffer().len() <= line.len() + 1 {
                    self.buffered.clear();
                }
                self.buffered.push(line.len() + 1);
                self.kept += 1;
            }
            Err(_) => self.not_kept += 1,
        }
        written.map_err(|source| self.failed(source))
    }

    /// Writes the buffered lines to the file.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.file.flush().map_err(|source| self.failed(source))
    }

    /// Writes the buffered lines to the disk.
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        if self.synced == self.kept {
            return Ok(());
        }
        self.flush()?;
        let synced = self.file.get_ref().sync_data();
        synced.map_err(|source| self.failed(source))?;
        self.synced = self.kept;
        Ok(())
    }

    /// The number of lines in the file or the buffer.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// The number of lines that the disk has.
    pub(super) fn synced(&self) -> u64 {
        self.synced
    }

    /// The lines that the file does not contain.
    pub(super) fn not_kept(&self) -> u64 {
        let mut unwritten = self.file.buffer().len();
        let lines = self.buffered.iter().rev().take_while(|bytes| {
            let is_unwritten = unwritten > 0;
            unwritten = unwritten.saturating_sub(**bytes);
            is_unwritten
        });
        self.not_kept + lines.count() as u64
    }

    fn failed(&self, source: io::Error) -> Failure {
        Failure::File {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
#[path = "tests/rejected.rs"]
mod tests;
