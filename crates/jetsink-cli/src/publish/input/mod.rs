//! Reads lines and converts them to envelopes, on a thread of its own.
//!
//! The thread sends batches over a bounded channel: memory is constant for any file size, and a slow
//! pipe does not delay results.

mod decode;
mod follow;
mod foreign;
mod reader;
mod trail;
mod values;

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jetsink::Envelope;
use tokio::sync::mpsc;

use super::arguments::Format;
use super::settings::Settings;
use crate::failure::Failure;
use crate::system::{self, is_same_file};
use decode::{Decoded, Form};
pub(super) use follow::{Checkpoint, Loss, Notice, Positions, UnopenedFiles};
use reader::{LineFormat, Reader};

/// The location of a line in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LineLocation {
    pub(super) file: Arc<Path>,
    /// The file's place in the list, from 0.
    pub(super) index: usize,
    /// From 1.
    pub(super) line: u64,
    /// With `--format json`: the number of the event in the file, from 1.
    pub(super) event: Option<u64>,
}

impl LineLocation {
    /// The first line or event that a run publishes.
    pub(super) fn first(settings: &Settings) -> Self {
        let number = settings.from_line;
        Self {
            file: settings.files[0].as_path().into(),
            index: 0,
            line: number,
            event: (settings.format == Format::Json).then_some(number),
        }
    }

    /// The line or event behind it.
    pub(super) fn next(self) -> Self {
        Self {
            line: self.line + 1,
            event: self.event.map(|event| event + 1),
            ..self
        }
    }

    /// The number for `--from-line`.
    pub(super) fn number(&self) -> u64 {
        self.event.unwrap_or(self.line)
    }
}

impl std::fmt::Display for LineLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// The reason why a line is not an event.
#[derive(Debug)]
pub(super) struct BadLine {
    /// The line, from 1.
    pub(super) line: u64,
    /// From 1, in bytes.
    pub(super) column: usize,
    pub(super) message: String,
    pub(super) stops: Stops,
}

/// The input that a bad line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stops {
    /// That of `--on-bad-line`; the next line can be read.
    Choice,
    /// That of `--on-bad-line`, and its file: nothing behind it can be read.
    FileByChoice,
    /// None, whatever `--on-bad-line` is.
    Nothing,
    /// All files, whatever `--on-bad-line` is.
    Command,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) location: LineLocation,
    /// The bytes of the line without its end; empty for a line that is too long.
    pub(super) raw: Bytes,
    pub(super) event: Result<Envelope, BadLine>,
    /// With `--follow`: the end of the line.
    pub(super) checkpoint: Option<Checkpoint>,
}

#[derive(Debug)]
pub(super) enum Batch {
    Lines(Vec<Line>),
    /// With `--follow`: lines of this file come next, starting at this position.
    Opened(Checkpoint),
    /// The file can't be read further.
    Failed {
        location: LineLocation,
        reason: String,
    },
}

pub(super) struct Input {
    pub(super) batches: mpsc::Receiver<Batch>,
    /// Messages of `--follow`; closed otherwise.
    pub(super) notices: mpsc::UnboundedReceiver<Notice>,
    /// Files of `--follow` that could not be opened so far.
    pub(super) unopened: UnopenedFiles,
    /// `None` for pipes and standard input.
    pub(super) total_bytes: Option<u64>,
}

/// Opens all files, so that a missing file is an error before an event is published, and starts
/// reading.
pub(super) fn open(settings: &Settings) -> Result<Input, Failure> {
    if settings.follow {
        return follow::follow(settings);
    }
    let mut total_bytes = Some(0);
    let (reader, batches) = Reader::new(settings);
    let mut sources: Vec<(Arc<Path>, LineFormat, Box<dyn Read + Send>)> = Vec::new();
    for path in &settings.files {
        let failed = |source| Failure::File {
            path: path.clone(),
            source,
        };
        if path.as_os_str() == "-" {
            total_bytes = None;
            sources.push((
                Path::new("-").into(),
                reader.line_format(None),
                Box::new(Decoded::new(std::io::stdin())),
            ));
            continue;
        }
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        check_file(&metadata, path, settings)?;
        total_bytes = match total_bytes {
            // The progress counts the bytes of lines.
            Some(total) if metadata.is_file() && !is_compressed(&file) => {
                Some(total + metadata.len())
            }
            _ => None,
        };
        let name: Arc<Path> = PathBuf::from(path).into();
        let format = reader.line_format(Some((path, &file)));
        sources.push((name, format, Box::new(Decoded::new(file))));
    }
    let from_line = settings.from_line;
    std::thread::spawn(move || {
        for (index, (file, format, source)) in sources.into_iter().enumerate() {
            let first = if index == 0 { from_line } else { 1 };
            let location = LineLocation {
                file,
                index,
                line: 0,
                event: None,
            };
            // Stopped: the command has ended, or a file can't be read.
            if reader.read(source, format, location, first).is_err() {
                return;
            }
        }
    });
    let (_, notices) = mpsc::unbounded_channel();
    Ok(Input {
        batches,
        notices,
        unopened: UnopenedFiles::default(),
        total_bytes,
    })
}

fn is_compressed(file: &File) -> bool {
    let mut start = [0; 4];
    let read = system::read_at(file, &mut start, 0);
    read.is_ok_and(|read| Form::of(&start[..read]) != Form::Plain)
}

fn check_file(metadata: &Metadata, path: &Path, settings: &Settings) -> Result<(), Failure> {
    if let Some(rejected) = &settings.rejected
        && is_same_file(path, rejected)
    {
        return Err(Failure::RejectedIsInput(path.to_owned()));
    }
    if metadata.is_dir() {
        return Err(Failure::File {
            path: path.to_owned(),
            source: std::io::ErrorKind::IsADirectory.into(),
        });
    }
    Ok(())
}
