//! `--follow`: a file that grows and is rotated, or a FIFO, read for ever.
//!
//! A file that is renamed is read to its end, then whatever has followed it under its name. Where a
//! file was cut off (copytruncate), the copy that holds the rest is looked for beside it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use super::position::{Followed, HEAD, Position, head};
use super::{Batch, Place, Reader, Start, Stopped};
use crate::lines::Lines;

/// How often the end of a file is looked at.
const POLL: Duration = Duration::from_millis(100);

/// How long a file that was rotated must not grow before it is taken for done: the last of several
/// writers may be slow to open the new one.
const QUIET: Duration = Duration::from_secs(1);

/// Reads `path` for ever; ends when nobody listens any more, or it can't be read further.
pub(super) fn follow(
    path: &Path,
    from_line: u64,
    position: Option<Position>,
    reader: &Reader,
) -> Result<(), Stopped> {
    let followed = Follow {
        path,
        from_line,
        place: Place {
            file: path.into(),
            index: 0,
            line: 0,
        },
        reader,
    };
    match followed.run(position) {
        Err(End::Stopped) => Err(Stopped),
        Err(End::Failed(place, error)) => {
            let reason = error.to_string();
            reader.send(Batch::Broken { place, reason })
        }
        Ok(never) => match never {},
    }
}

enum End {
    Stopped,
    Failed(Place, io::Error),
}

impl From<Stopped> for End {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

struct Follow<'a> {
    path: &'a Path,
    /// Of the first file.
    from_line: u64,
    place: Place,
    reader: &'a Reader,
}

/// A file and where to read on in it.
struct Opened {
    path: PathBuf,
    file: File,
    name: String,
    head: Vec<u8>,
    offset: u64,
    line: u64,
}

impl Follow<'_> {
    fn run(&self, position: Option<Position>) -> Result<std::convert::Infallible, End> {
        let mut next = match position {
            None => None,
            Some(position) => {
                let found = find(self.path, &position, None).map_err(|e| self.failed(e))?;
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

    /// Opens the path, as soon as there is something. A FIFO is there once somebody writes to it.
    fn wait_for_file(&self) -> Result<Opened, End> {
        let mut told = false;
        loop {
            match File::open(self.path) {
                Ok(file) => return Ok(Opened::new(self.path, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if !told {
                        self.note(format!("{} is not there yet", self.path.display()))?;
                        told = true;
                    }
                    // Nobody may listen any more.
                    self.reader.send(Batch::Lines(Vec::new()))?;
                    sleep(POLL);
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Reads to the end that it has once it was rotated, and says what comes next, if that is known.
    fn read(&self, opened: Opened) -> Result<Option<Opened>, End> {
        let failed = |error| self.failed(error);
        let metadata = opened.file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let mut place = self.place.clone();
        place.file = opened.path.as_path().into();
        place.line = opened.line;
        if metadata.file_type().is_fifo() {
            let writers = opened.file.try_clone().map_err(failed)?;
            let start = Start::from_line(1);
            let (_, line) = self.reader.read(Lines::new(opened.file), place, &start)?;
            if self.reader.sender.is_closed() {
                return Err(Stopped.into());
            }
            // It stays open, or what the next one writes would be lost with it.
            sleep(POLL);
            let mut next = Opened::new(self.path, writers);
            next.line = line;
            return Ok(Some(next));
        }
        let Opened {
            file,
            name,
            head,
            offset,
            line,
            ..
        } = opened;
        let copy = file.try_clone().map_err(failed)?;
        let followed = Arc::new(Followed::new(&file, name, head).map_err(failed)?);
        let growing = Growing {
            path: self.path.to_owned(),
            file: copy,
            followed: Arc::clone(&followed),
            offset,
            sender: self.reader.sender.clone(),
        };
        let start = Start {
            offset,
            from_line: if line == 0 { self.from_line } else { 0 },
            followed: Some(Arc::clone(&followed)),
        };
        let (offset, line) = self.reader.read(Lines::new(growing), place, &start)?;
        if followed.is_cut() {
            // What was cut off before it was read is in the copy, if one was made.
            let position = followed.position(offset, line);
            let copy = find(self.path, &position, Some(followed.since)).map_err(failed)?;
            if copy.is_none() {
                self.note(format!(
                    "{} was cut off; if there was more behind line {line}, it is in no copy here",
                    self.path.display()
                ))?;
            }
            return Ok(copy);
        }
        let metadata = file.metadata().map_err(failed)?;
        successor(self.path, &metadata).map_err(failed)
    }

    fn note(&self, text: String) -> Result<(), Stopped> {
        self.reader.send(Batch::Note(text))
    }

    fn failed(&self, error: io::Error) -> End {
        End::Failed(self.place.clone(), error)
    }
}

impl Opened {
    /// From its beginning.
    fn new(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            file,
            name: nuid::next().to_string(),
            head: Vec::new(),
            offset: 0,
            line: 0,
        }
    }
}

/// The path itself and what was rotated away from it, uncompressed: `events.jsonl.1`,
/// `events.jsonl-20261123`.
fn generations(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let mut generations = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let other = entry.file_name();
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

/// The file that the position is of: by its number if that fits, else by its beginning alone, which
/// finds a copy. `cut` is when the reading began of a file that was cut off: then it is a copy that was
/// made since, and holds more than was read.
fn find(path: &Path, position: &Position, cut: Option<SystemTime>) -> io::Result<Option<Opened>> {
    let mut copy = None;
    for path in generations(path)? {
        let Ok(file) = File::open(&path) else {
            continue;
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() || (cut.is_some() && metadata.len() <= position.offset) {
            continue;
        }
        let Some(head) = position.head_of(&file)? else {
            continue;
        };
        let same = position.is_of(&metadata);
        let found = Opened {
            path,
            file,
            name: position.name.clone(),
            head,
            offset: position.offset,
            line: position.line,
        };
        if same {
            return seek(found).map(Some);
        }
        let made_since = match cut {
            Some(since) => metadata.modified()? >= since,
            None => false,
        };
        if made_since || position.knows_copies() {
            copy = Some(found);
        }
    }
    copy.map(seek).transpose()
}

fn seek(mut opened: Opened) -> io::Result<Opened> {
    io::Seek::seek(&mut opened.file, io::SeekFrom::Start(opened.offset))?;
    Ok(opened)
}

/// What came right after a file that was rotated away, if it was rotated more than once meanwhile: the
/// oldest that is younger. Otherwise that is the path itself.
fn successor(path: &Path, ended: &fs::Metadata) -> io::Result<Option<Opened>> {
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
            return Ok(Some(Opened::new(&other, file)));
        }
    }
    Ok(None)
}

/// A file whose end waits for more, until it was rotated or cut off.
struct Growing {
    path: PathBuf,
    file: File,
    followed: Arc<Followed>,
    offset: u64,
    sender: mpsc::Sender<Batch>,
}

impl Growing {
    /// Whether something was written to the file that came after it. While the new one is empty, or not
    /// there, whoever writes has the old one open.
    fn is_rotated(&self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(now) if self.followed.is(&now) => Ok(false),
            Ok(now) if now.len() > 0 => Ok(true),
            _ => Ok(successor(&self.path, &self.file.metadata()?)?.is_some()),
        }
    }

    /// Whether it was cut off, even if it has grown again since.
    fn is_cut(&self) -> io::Result<bool> {
        let known = self.followed.head.lock();
        // Nothing panics while holding it.
        let known = known.unwrap_or_else(PoisonError::into_inner);
        let cut = self.file.metadata()?.len() < self.offset;
        Ok(cut || head(&self.file, known.len())? != *known)
    }

    fn note_head(&self, bytes: &[u8]) {
        let mut known = self
            .followed
            .head
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let missing = HEAD - known.len().min(HEAD);
        // Nothing of it is missing.
        if self.offset == known.len() as u64 {
            known.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        }
    }
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut quiet = Duration::ZERO;
        loop {
            let read = self.file.read(buffer)?;
            // What was read behind a cut is the middle of something else.
            if self.is_cut()? {
                self.followed.cut.store(true, Ordering::Release);
                return Ok(0);
            }
            if read > 0 {
                self.note_head(&buffer[..read]);
                self.offset += read as u64;
                return Ok(read);
            }
            if quiet >= QUIET || self.sender.is_closed() {
                return Ok(0);
            }
            sleep(POLL);
            if self.is_rotated()? {
                quiet += POLL;
            }
        }
    }
}
