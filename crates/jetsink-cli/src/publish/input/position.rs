//! `--position`: how far a followed file is dealt with, kept over restarts.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use jetsink::{Envelope, MessageId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;

const VERSION: u32 = 1;

/// A file is known again by its beginning: names change, and numbers are given out anew.
pub(super) const HEAD: usize = 1024;

/// A file that is followed, whatever its name is by now.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// When it was made, in nanoseconds since 1970, where the file system knows: numbers of files that
    /// were deleted are given out again.
    born: Option<u64>,
    /// When this run began to read it.
    pub(super) since: SystemTime,
    /// Part of the message ids of its lines; stays with the file over restarts.
    pub(super) name: String,
    /// What was read of its first [`HEAD`] bytes.
    pub(super) head: Mutex<Vec<u8>>,
    /// Whether it was cut off: what was read behind its last line end is nothing then.
    pub(super) cut: AtomicBool,
}

impl Followed {
    pub(super) fn new(file: &File, name: String, head: Vec<u8>) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: born(&metadata),
            since: SystemTime::now(),
            name,
            head: Mutex::new(head),
            cut: AtomicBool::new(false),
        })
    }

    pub(super) fn is(&self, metadata: &fs::Metadata) -> bool {
        (self.device, self.inode) == (metadata.dev(), metadata.ino())
    }

    /// Gives the line that begins there an id that it has again in the next run, unless it has one.
    pub(super) fn identify(&self, event: Envelope, offset: u64) -> Envelope {
        match MessageId::new(format!("{}.{offset}", self.name)) {
            Ok(id) if event.message_id().is_none() => event.with_message_id(id),
            _ => event,
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// What is dealt with of it, as [`Position`] keeps it.
    pub(super) fn position(&self, offset: u64, line: u64) -> Position {
        // Nothing panics while holding it.
        let head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        Position {
            version: VERSION,
            device: self.device,
            inode: self.inode,
            born: self.born,
            name: self.name.clone(),
            offset,
            line,
            head_bytes: head.len(),
            head: digest(&head),
        }
    }
}

/// Up to where a followed file is dealt with: behind a line.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) file: Arc<Followed>,
    /// In bytes.
    pub(crate) offset: u64,
    /// The number of that line.
    pub(crate) line: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    version: u32,
    device: u64,
    inode: u64,
    born: Option<u64>,
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) line: u64,
    head_bytes: usize,
    head: String,
}

impl Position {
    /// `None` where there is no such file yet.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, Failure> {
        let failed = |source| Failure::File {
            path: path.to_owned(),
            source,
        };
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(failed)?,
        };
        let position: Self = serde_json::from_slice(&text).map_err(|e| failed(e.into()))?;
        if position.version != VERSION {
            let reason = format!("version {} is not known here", position.version);
            return Err(failed(io::Error::other(reason)));
        }
        Ok(Some(position))
    }

    /// The beginning of a file that may be the one, with what is known of it; `None` for another.
    pub(super) fn head_of(&self, file: &File) -> io::Result<Option<Vec<u8>>> {
        if self.head_bytes > HEAD || file.metadata()?.len() < self.offset {
            return Ok(None);
        }
        let head = head(file, self.head_bytes)?;
        let same = head.len() == self.head_bytes && digest(&head) == self.head;
        Ok(same.then_some(head))
    }

    /// Whether it is of that very file, by its number.
    pub(super) fn is_of(&self, metadata: &fs::Metadata) -> bool {
        (self.device, self.inode) == (metadata.dev(), metadata.ino()) && self.born == born(metadata)
    }

    /// Whether the beginning says enough to know a copy by it: shorter ones are alike too often.
    pub(super) fn knows_copies(&self) -> bool {
        self.head_bytes == HEAD
    }

    /// Whether nothing was read of it.
    pub(super) fn is_blank(&self) -> bool {
        self.head_bytes == 0
    }
}

fn born(metadata: &fs::Metadata) -> Option<u64> {
    let since = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

/// The first bytes of a file.
pub(super) fn head(file: &File, bytes: usize) -> io::Result<Vec<u8>> {
    let mut head = vec![0; bytes];
    let mut read = 0;
    while read < bytes {
        match file.read_at(&mut head[read..], read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    head.truncate(read);
    Ok(head)
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keeps the position on the disk.
#[derive(Debug)]
pub(crate) struct PositionFile {
    path: PathBuf,
    /// What is not written yet.
    unsaved: Option<Mark>,
}

impl PositionFile {
    /// Finds out now whether it can be written.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Failure> {
        let file = Self {
            path,
            unsaved: None,
        };
        let trial = file.beside();
        let tried = File::create(&trial).and_then(|_| fs::remove_file(&trial));
        tried.map_err(|source| file.failed(source))?;
        Ok(file)
    }

    /// All up to there is dealt with.
    pub(crate) fn advance(&mut self, mark: Mark) {
        self.unsaved = Some(mark);
    }

    /// Whether there is something to save.
    pub(crate) fn is_behind(&self) -> bool {
        self.unsaved.is_some()
    }

    /// Writes it, if it has changed, so that a crash leaves the old one or the new one.
    pub(crate) fn save(&mut self) -> Result<(), Failure> {
        let Some(mark) = self.unsaved.take() else {
            return Ok(());
        };
        let position = mark.file.position(mark.offset, mark.line);
        let beside = self.beside();
        let write = || -> io::Result<()> {
            let mut file = File::create(&beside)?;
            serde_json::to_writer(&mut file, &position)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            #[cfg(feature = "crash-points")]
            jetsink::crash::point("position.written");
            fs::rename(&beside, &self.path)?;
            #[cfg(feature = "crash-points")]
            jetsink::crash::point("position.renamed");
            let folder = self.path.parent().filter(|f| !f.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|source| self.failed(source))
    }

    fn beside(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        name.into()
    }

    fn failed(&self, source: io::Error) -> Failure {
        Failure::File {
            path: self.path.clone(),
            source,
        }
    }
}
