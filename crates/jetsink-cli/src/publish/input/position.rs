//! `--position`: the position in a followed file, saved over restarts.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use jetsink::{Envelope, MessageId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;

const VERSION: u32 = 1;

/// The first bytes of a file that identify it: names change, and inode numbers are reused.
pub(super) const HEAD: usize = 1024;

/// A followed file, independent of its name.
#[derive(Debug)]
pub(super) struct FollowedFile {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Creation time in nanoseconds since 1970, if the file system knows it: inode numbers of deleted
    /// files are reused.
    born: Option<u64>,
    /// Time at which this run began to read the file.
    pub(super) since: SystemTime,
    /// Part of the message ids of its lines; stays with the file over restarts.
    pub(super) name: String,
    /// The part of the first [`HEAD`] bytes that was read.
    head: Mutex<Vec<u8>>,
    /// Whether the file was truncated: then bytes after the last line end are not a line.
    pub(super) truncated: AtomicBool,
}

impl FollowedFile {
    pub(super) fn new(file: &File, name: String, head: Vec<u8>) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: born(&metadata),
            since: SystemTime::now(),
            name,
            head: Mutex::new(head),
            truncated: AtomicBool::new(false),
        })
    }

    pub(super) fn is(&self, metadata: &fs::Metadata) -> bool {
        (self.device, self.inode) == (metadata.dev(), metadata.ino())
    }

    /// Sets the message id of the line at an offset, unless it has one: the next run derives the same
    /// id.
    pub(super) fn identify(&self, event: Envelope, offset: u64) -> Envelope {
        match MessageId::new(format!("{}.{offset}", self.name)) {
            Ok(id) if event.message_id().is_none() => event.with_message_id(id),
            _ => event,
        }
    }

    pub(super) fn head(&self) -> MutexGuard<'_, Vec<u8>> {
        // No code panics while it holds the lock.
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.truncated.load(Ordering::Acquire)
    }

    /// The position behind a line, to be saved.
    pub(super) fn position(&self, offset: u64, line: u64) -> SavedPosition {
        let head = self.head();
        SavedPosition {
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

/// A position in a followed file, behind a line.
#[derive(Debug, Clone)]
pub(in crate::publish) struct Checkpoint {
    pub(super) file: Arc<FollowedFile>,
    /// In bytes.
    pub(super) offset: u64,
    /// The number of the line before it.
    pub(super) line: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedPosition {
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

impl SavedPosition {
    /// Reads the file; `None` if it does not exist yet.
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

    /// The known first bytes of a file, if they match this position; `None` for another file.
    pub(super) fn head_of(&self, file: &File) -> io::Result<Option<Vec<u8>>> {
        if self.head_bytes > HEAD || file.metadata()?.len() < self.offset {
            return Ok(None);
        }
        let head = head(file, self.head_bytes)?;
        let same = head.len() == self.head_bytes && digest(&head) == self.head;
        Ok(same.then_some(head))
    }

    /// Whether the position belongs to this file, by device, inode and creation time.
    pub(super) fn is_of(&self, metadata: &fs::Metadata) -> bool {
        (self.device, self.inode) == (metadata.dev(), metadata.ino()) && self.born == born(metadata)
    }

    /// Whether the known first bytes are enough to identify a copy: shorter ones match too often.
    pub(super) fn knows_copies(&self) -> bool {
        self.head_bytes == HEAD
    }

    /// Whether nothing of the file was read.
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

/// Saves the position to a file.
#[derive(Debug)]
pub(in crate::publish) struct PositionFile {
    path: PathBuf,
    /// The position since the last save.
    unsaved: Option<Checkpoint>,
}

impl PositionFile {
    /// Checks that the file can be written.
    pub(in crate::publish) fn open(path: PathBuf) -> Result<Self, Failure> {
        let file = Self {
            path,
            unsaved: None,
        };
        let trial = file.new_path();
        let tried = File::create(&trial).and_then(|_| fs::remove_file(&trial));
        tried.map_err(|source| file.failed(source))?;
        Ok(file)
    }

    /// Sets the position; all lines before it have results.
    pub(in crate::publish) fn advance(&mut self, checkpoint: Checkpoint) {
        self.unsaved = Some(checkpoint);
    }

    /// Whether the position has changed since the last save.
    pub(in crate::publish) fn is_unsaved(&self) -> bool {
        self.unsaved.is_some()
    }

    /// Writes the position if it has changed. A crash leaves the old file or the new one.
    pub(in crate::publish) fn save(&mut self) -> Result<(), Failure> {
        let Some(checkpoint) = self.unsaved.take() else {
            return Ok(());
        };
        let position = checkpoint.file.position(checkpoint.offset, checkpoint.line);
        let new = self.new_path();
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            serde_json::to_writer(&mut file, &position)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            #[cfg(feature = "crash-points")]
            jetsink::crash::point("position.written");
            fs::rename(&new, &self.path)?;
            #[cfg(feature = "crash-points")]
            jetsink::crash::point("position.renamed");
            let folder = self.path.parent().filter(|f| !f.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|source| self.failed(source))
    }

    fn new_path(&self) -> PathBuf {
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
