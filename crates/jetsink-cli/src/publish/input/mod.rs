//! Lines in, envelopes out: a thread of its own reads and checks, and hands over batches, so that
//! memory stays flat at any file size and a slow pipe never keeps answers waiting.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jetsink::{Binding, BindingError, Envelope};
use tokio::sync::mpsc;

use super::settings::Settings;
use crate::failure::Failure;
use crate::lines::{Bare, LONGEST_LINE, Lines, bare};

mod follow;
mod position;

use position::{Followed, Position};
pub(crate) use position::{Mark, PositionFile};

/// A batch is handed over when it holds this many bytes, or when the next read would block.
const BATCH_BYTES: usize = 128 << 10;

/// Batches that wait to be published.
const BATCHES_AHEAD: usize = 8;

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: Arc<Path>,
    /// The file's place in the list, from 0.
    pub(crate) index: usize,
    /// From 1.
    pub(crate) line: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A line that is no event.
#[derive(Debug)]
pub(crate) struct BadLine {
    /// From 1, in bytes.
    pub(crate) column: usize,
    pub(crate) message: String,
}

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) place: Place,
    /// As it stood, without its end; empty for one that was too long to keep.
    pub(crate) raw: Bytes,
    pub(crate) event: Result<Envelope, BadLine>,
    /// Its end, with `--follow`.
    pub(crate) mark: Option<Mark>,
}

#[derive(Debug)]
pub(crate) enum Batch {
    Lines(Vec<Line>),
    /// With `--follow`: the lines of this file come next, from there on.
    Opened(Mark),
    /// Something to tell.
    Note(String),
    /// The file can't be read further.
    Broken {
        place: Place,
        reason: String,
    },
}

pub(crate) struct Input {
    pub(crate) batches: mpsc::Receiver<Batch>,
    /// None where a size is not known: pipes, standard input.
    pub(crate) total_bytes: Option<u64>,
}

/// Opens all files, so that a missing one is found before anything is published, and starts reading.
pub(crate) fn open(settings: &Settings) -> Result<Input, Failure> {
    if settings.follow {
        return follow(settings);
    }
    let mut total_bytes = Some(0);
    let mut sources: Vec<(Arc<Path>, Lines)> = Vec::new();
    for path in &settings.files {
        let failed = |source| Failure::File {
            path: path.clone(),
            source,
        };
        if path.as_os_str() == "-" {
            total_bytes = None;
            sources.push((Path::new("-").into(), Lines::new(std::io::stdin())));
            continue;
        }
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        check_file(&metadata, path, settings)?;
        total_bytes = match total_bytes {
            Some(total) if metadata.is_file() => Some(total + metadata.len()),
            _ => None,
        };
        let name: Arc<Path> = PathBuf::from(path).into();
        sources.push((name, Lines::new(file)));
    }
    let (reader, batches) = Reader::new(settings);
    let from_line = settings.from_line;
    std::thread::spawn(move || {
        for (index, (file, source)) in sources.into_iter().enumerate() {
            let first = if index == 0 { from_line } else { 1 };
            let place = Place {
                file,
                index,
                line: 0,
            };
            // Nobody listens any more: the command has stopped.
            if reader
                .read(source, place, &Start::from_line(first))
                .is_err()
            {
                return;
            }
        }
    });
    Ok(Input {
        batches,
        total_bytes,
    })
}

/// Follows the one file there is, from where the last run got to.
fn follow(settings: &Settings) -> Result<Input, Failure> {
    let [path] = &settings.files[..] else {
        return Err(Failure::Follow("it takes one file".to_owned()));
    };
    if path.as_os_str() == "-" {
        let why = "standard input is read to its end anyway";
        return Err(Failure::Follow(why.to_owned()));
    }
    let failed = |source| Failure::File {
        path: path.clone(),
        source,
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(metadata) => {
            check_file(&metadata, path, settings)?;
            if settings.position.is_some() && !metadata.is_file() {
                return Err(Failure::Follow(format!(
                    "--position: {} is no regular file, and can't be read again from a position",
                    path.display()
                )));
            }
        }
    }
    let position = match &settings.position {
        None => None,
        Some(position) => Position::load(position)?,
    };
    let (reader, batches) = Reader::new(settings);
    let (path, from_line) = (path.clone(), settings.from_line);
    std::thread::spawn(move || follow::follow(&path, from_line, position, &reader));
    Ok(Input {
        batches,
        total_bytes: None,
    })
}

fn check_file(metadata: &Metadata, path: &Path, settings: &Settings) -> Result<(), Failure> {
    if let Some(rejected) = &settings.rejected
        && std::fs::metadata(rejected).is_ok_and(|other| same_file(metadata, &other))
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

/// Whatever the names.
fn same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[derive(Debug)]
struct Stopped;

/// Where reading begins in a file.
#[derive(Debug, Default)]
struct Start {
    offset: u64,
    /// Lines before this one are skipped, counted from 1.
    from_line: u64,
    followed: Option<Arc<Followed>>,
}

impl Start {
    fn from_line(from_line: u64) -> Self {
        Self {
            from_line,
            ..Self::default()
        }
    }
}

/// Reads lines and checks them.
struct Reader {
    binding: Binding,
    /// Whether a line's place gives it its message id, so that it has the same one after a crash.
    ids_by_place: bool,
    sender: mpsc::Sender<Batch>,
}

impl Reader {
    fn new(settings: &Settings) -> (Self, mpsc::Receiver<Batch>) {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let reader = Self {
            binding: settings.binding.clone(),
            ids_by_place: settings.position.is_some(),
            sender,
        };
        (reader, batches)
    }

    fn send(&self, batch: Batch) -> Result<(), Stopped> {
        self.sender.blocking_send(batch).map_err(|_| Stopped)
    }

    /// Reads to the end; gives the offset and the number of the last line.
    fn read(
        &self,
        mut source: Lines,
        mut place: Place,
        start: &Start,
    ) -> Result<(u64, u64), Stopped> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        let mut offset = start.offset;
        let mark = |offset, line| {
            let file = start.followed.clone()?;
            Some(Mark { file, offset, line })
        };
        // Told with the first line, when its beginning is known.
        let mut opened = mark(offset, place.line);
        loop {
            place.line += 1;
            let (raw, length) = match source.next() {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(error) => {
                    self.send(Batch::Lines(std::mem::take(&mut lines)))?;
                    let reason = error.to_string();
                    self.send(Batch::Broken { place, reason })?;
                    return Err(Stopped);
                }
            };
            if raw.last() != Some(&b'\n') && start.followed.as_ref().is_some_and(|f| f.is_cut()) {
                break;
            }
            let began = offset;
            offset += length;
            if place.line >= start.from_line
                && let Some(mut line) = check(raw, place.clone(), &self.binding)
            {
                if let (true, Some(file)) = (self.ids_by_place, &start.followed) {
                    line.event = line.event.map(|event| file.identify(event, began));
                }
                line.mark = mark(offset, place.line);
                bytes += line.raw.len();
                lines.push(line);
            }
            // A line that came alone through a pipe goes out alone, at once.
            if bytes >= BATCH_BYTES || (!source.has_next() && !lines.is_empty()) {
                if let Some(mark) = opened.take() {
                    self.send(Batch::Opened(mark))?;
                }
                self.send(Batch::Lines(std::mem::take(&mut lines)))?;
                bytes = 0;
            }
        }
        if place.line < start.from_line {
            let from_line = start.from_line;
            let reason = format!("it ends here, before --from-line {from_line}");
            self.send(Batch::Broken { place, reason })?;
            return Err(Stopped);
        }
        if !lines.is_empty() {
            if let Some(mark) = opened {
                self.send(Batch::Opened(mark))?;
            }
            self.send(Batch::Lines(lines))?;
        }
        Ok((offset, place.line - 1))
    }
}

/// `None` for an empty line.
fn check(raw: Bytes, place: Place, binding: &Binding) -> Option<Line> {
    let raw = match bare(raw, place.line) {
        Bare::Line(raw) => raw,
        Bare::Empty => return None,
        Bare::TooLong => {
            return Some(Line {
                place,
                raw: Bytes::new(),
                event: Err(BadLine {
                    column: LONGEST_LINE + 1,
                    message: format!("the line is longer than {LONGEST_LINE} bytes"),
                }),
                mark: None,
            });
        }
    };
    let event = binding.envelope(raw.clone()).map_err(|error| match error {
        BindingError::Event(error) => BadLine {
            column: error.column,
            message: format!("not a CloudEvent: {}", error.message),
        },
        other => BadLine {
            column: 1,
            message: other.to_string(),
        },
    });
    Some(Line {
        place,
        raw,
        event,
        mark: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_between_line_ends_stay_as_they_are() {
        let binding = Binding::new("e".parse().unwrap());
        let place = |line| Place {
            file: Path::new("f").into(),
            index: 0,
            line,
        };
        let event = r#"{ "specversion":"1.0","id":"1","source":"s","type":"t" } "#;
        let crlf = format!("{event}\r\n");
        let line = check(crlf.into(), place(2), &binding).unwrap();
        assert_eq!(line.event.unwrap().payload(), event.as_bytes());
        let marked = Bytes::from(format!("\u{feff}{event}\n"));
        assert!(
            check(marked.clone(), place(1), &binding)
                .unwrap()
                .event
                .is_ok()
        );
        assert!(check(marked, place(2), &binding).unwrap().event.is_err());
        assert!(check(Bytes::from_static(b" \t\r\n"), place(1), &binding).is_none());
    }
}
