//! The spool's file: redb behind four operations, each one transaction. Blocking; knows nothing of
//! brokers.
//!
//! Invariants:
//! 1. What [`Store::commit`] returned `Ok` for is on the disk: each commit is synced.
//! 2. After a failed sync nothing more is written, until the file is opened again by a new process.
//! 3. After any other failure (no space left, say) the file is opened anew before the next use:
//!    redb refuses to go on from a half-written state, and its recovery finds the last commit. Where that
//!    may be the one that failed, it is looked for before anything else is done, at once or as soon as
//!    the file opens, so that no error says of an event what is not so.
//! 4. No panic of redb's over a damaged file passes this module.

use std::fs::{File, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase as _, StorageError};

use super::backend::{Guarded, SharedWrites};
use super::closing::ClosingNote;
use super::dead::DeadLetter;
use super::doubt::Doubt;
use super::record::{Damage, Record};
use super::tables::{Contents, DEAD, EVENTS, FORMAT, count, decode, decode_shared, set_up};
use crate::crash;
use crate::message::subject::Subject;
use crate::outcome::SpoolError;

/// redb's page cache: enough for a window of replay, little beside a service.
pub(super) const CACHE_BYTES: usize = 8 << 20;

/// An empty file that is larger is made small again.
const WORTH_SHRINKING: u64 = 32 << 20;

/// Whoever reads events has no more of them than this in memory, and the one that passes it.
const READ_BYTES: usize = 1 << 20;

/// A record, or what is left of one.
pub(crate) type Entry = (u64, u64, Result<Record, Damage>);

/// Some of a subject's events, in their order.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) entries: Vec<Entry>,
    /// Where to read on.
    pub(crate) next: u64,
    /// Whether there may be more.
    pub(crate) more: bool,
}

/// A dead letter's index, and the letter or what is left of it.
pub(crate) type DeadEntry = (u64, Result<DeadLetter, Damage>);

type Opener = Box<dyn Fn(&Builder, SharedWrites) -> Result<Database, DatabaseError> + Send + Sync>;

pub(crate) struct Store {
    path: PathBuf,
    opener: Opener,
    pub(super) writes: SharedWrites,
    /// None after a failure, until it is opened anew.
    database: RwLock<Option<Database>>,
    pub(super) doubt: Doubt,
}

impl Store {
    /// Opens the file at `path`, or makes it.
    ///
    /// # Errors
    /// [`SpoolError::InUse`], [`SpoolError::Format`], [`SpoolError::Io`], and
    /// [`OpenError::Damaged`] for a file that someone other than redb has changed.
    pub(crate) fn open(path: &Path) -> Result<(Self, Contents), OpenError> {
        let file_path = path.to_owned();
        Self::open_with(
            path,
            Box::new(move |builder, writes| {
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(&file_path)
                    .map_err(StorageError::Io)?;
                let backend = FileBackend::new(file)?;
                builder.create_with_backend(Guarded::new(backend, writes))
            }),
        )
    }

    pub(super) fn open_with(path: &Path, opener: Opener) -> Result<(Self, Contents), OpenError> {
        let writes = SharedWrites::default();
        let store = Self {
            path: path.to_owned(),
            writes,
            database: RwLock::new(None),
            doubt: Doubt::default(),
            opener,
        };
        let database = store.open_database()?;
        let contents = caught(|| read_contents(&database, path))
            .unwrap_or_else(|panic| Err(OpenError::Damaged(panic)))?;
        sync_folder(path).map_err(|error| store.io("syncing its folder", &error))?;
        *store.write_lock() = Some(database);
        Ok((store, contents))
    }

    fn open_database(&self) -> Result<Database, OpenError> {
        let mut builder = Database::builder();
        builder
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true);
        let opened = caught(|| (self.opener)(&builder, self.writes.clone()));
        match opened {
            Ok(Ok(database)) => Ok(database),
            Ok(Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch)) => {
                Err(OpenError::Spool(SpoolError::InUse {
                    path: self.path.clone(),
                }))
            }
            Ok(Err(DatabaseError::Storage(StorageError::Io(error))))
                if error.kind() != std::io::ErrorKind::InvalidData
                    && error.kind() != std::io::ErrorKind::UnexpectedEof =>
            {
                Err(OpenError::Spool(self.io("opening it", &error)))
            }
            // Also where it seems to be of an earlier version of redb's, which no spool ever was.
            Ok(Err(error)) => Err(OpenError::Damaged(error.to_string())),
            Err(panic) => Err(OpenError::Damaged(panic)),
        }
    }

    /// Events of one subject, from index `from` on: up to `limit`, and no more once they hold
    /// [`READ_BYTES`].
    pub(crate) fn lane(
        &self,
        subject: &Subject,
        from: u64,
        limit: usize,
    ) -> Result<Chunk, SpoolError> {
        let key = subject.as_str().as_bytes();
        self.use_database("reading", |database| {
            let events = database.begin_read()?.open_table(EVENTS)?;
            // One allocation for all: the records share it.
            let mut bytes = Vec::new();
            let mut ends = Vec::with_capacity(limit);
            let mut more = false;
            // Without an end, since it would be compared with every key.
            for entry in events.range((key, from)..)? {
                let (found, value) = entry?;
                let (subject_found, index) = found.value();
                if subject_found != key {
                    break;
                }
                let value = value.value();
                if ends.is_empty() {
                    // As if all were as long as the first.
                    bytes.reserve((value.len() * limit).min(READ_BYTES + value.len()));
                }
                bytes.extend_from_slice(value);
                ends.push((index, bytes.len()));
                if ends.len() >= limit || bytes.len() >= READ_BYTES {
                    more = true;
                    break;
                }
            }
            let bytes = Bytes::from(bytes);
            let mut start = 0;
            let entries = ends.iter().map(|(index, end)| {
                let record = &bytes[start..*end];
                start = *end;
                let length = record.len() as u64;
                let record = decode_shared(subject, *index, record, &bytes);
                (*index, length, record)
            });
            Ok(Chunk {
                entries: entries.collect(),
                next: ends.last().map_or(from, |(last, _)| last + 1),
                more,
            })
        })
    }

    /// When the oldest of the events came in, in milliseconds since 1970: each subject's first is
    /// looked at. `None` where there are none.
    pub(super) fn oldest(&self) -> Result<Option<u64>, SpoolError> {
        self.use_database("reading", |database| {
            let events = database.begin_read()?.open_table(EVENTS)?;
            let mut oldest = None;
            let mut behind = Vec::new();
            while let Some(first) = events.range((behind.as_slice(), u64::MAX)..)?.next() {
                let (key, value) = first?;
                let (subject, index) = key.value();
                if let Ok(record) = decode(subject, index, value.value()) {
                    let at = record.spooled_at;
                    oldest = Some(oldest.map_or(at, |oldest: u64| oldest.min(at)));
                }
                behind = subject.to_vec();
            }
            Ok(oldest)
        })
    }

    /// Up to `limit` dead letters, from index `from` on.
    pub(crate) fn dead(&self, from: u64, limit: usize) -> Result<Vec<DeadEntry>, SpoolError> {
        self.use_database("reading", |database| {
            let dead = database.begin_read()?.open_table(DEAD)?;
            let mut letters = Vec::new();
            for entry in dead.range(from..)?.take(limit) {
                let (index, value) = entry?;
                letters.push((index.value(), DeadLetter::decode(value.value())));
            }
            Ok(letters)
        })
    }

    /// Gives the disk back what an emptied file keeps, if it is much; waits for readers.
    pub(super) fn shrink(&self) {
        let length = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        if length < WORTH_SHRINKING || self.writes.final_failure().is_some() {
            return;
        }
        let mut guard = self.write_lock();
        if let Some(database) = guard.as_mut()
            && !matches!(caught(|| database.compact()), Ok(Ok(_)))
        {
            // Opened anew before its next use.
            let closing = guard.take();
            let _ = caught(|| drop(closing));
        }
    }

    /// What it holds now.
    pub(super) fn contents(&self) -> Result<Contents, SpoolError> {
        self.use_database("reading", count)
    }

    /// Leaves a note of what it holds, and gives the file free. A store that failed leaves none.
    pub(super) fn close(&self) -> Result<(), SpoolError> {
        let note =
            self.use_database("closing", |database| Ok(ClosingNote::of(&count(database)?)))?;
        crash::point("close.before-note");
        let database = self.write_lock().take();
        let _ = caught(|| drop(database));
        let folder = self.path.parent().unwrap_or(Path::new("."));
        note.leave(folder)
            .map_err(|error| self.io("leaving a note beside it", &error))?;
        crash::point("close.after-note");
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `operation` on the open file; a failure closes it.
    pub(super) fn use_database<T>(
        &self,
        doing: &'static str,
        operation: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, SpoolError> {
        self.ready()?;
        let result = {
            let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
            match &*guard {
                None => return Err(self.failed(doing, "another use of it failed")),
                Some(database) => caught(|| operation(database)),
            }
        };
        let reason = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic,
        };
        // Closing it writes, and what it writes may fail or panic as the operation did.
        let closing = self.write_lock().take();
        let _ = caught(|| drop(closing));
        match self.writes.final_failure() {
            Some(reason) => Err(self.poisoned(reason)),
            None => Err(self.failed(doing, &reason)),
        }
    }

    /// Opens the file where it is closed, unless a sync has failed.
    pub(super) fn ready(&self) -> Result<(), SpoolError> {
        if let Some(reason) = self.writes.final_failure() {
            return Err(self.poisoned(reason));
        }
        if self
            .database
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
        {
            return Ok(());
        }
        let mut guard = self.write_lock();
        if guard.is_none() {
            let database = self.open_database().map_err(|error| {
                match (self.writes.final_failure(), error) {
                    // A sync that fails while it opens is as final.
                    (Some(reason), _) => self.poisoned(reason),
                    (None, OpenError::Spool(error)) => error,
                    (None, OpenError::Damaged(reason)) => self.failed("opening it again", &reason),
                }
            })?;
            *guard = Some(self.without_doubt(database)?);
        }
        Ok(())
    }

    fn write_lock(&self) -> std::sync::RwLockWriteGuard<'_, Option<Database>> {
        self.database
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn poisoned(&self, reason: &str) -> SpoolError {
        SpoolError::Poisoned {
            path: self.path.clone(),
            reason: reason.replace(char::is_control, " "),
        }
    }

    fn io(&self, doing: &'static str, error: &std::io::Error) -> SpoolError {
        self.failed(doing, &error.to_string())
    }

    pub(super) fn failed(&self, doing: &'static str, reason: &str) -> SpoolError {
        SpoolError::Io {
            path: self.path.clone(),
            doing,
            reason: reason.replace(char::is_control, " "),
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Why a file can't be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The file is not what redb left.
    #[error("{0}")]
    Damaged(String),
}

/// Makes the tables of a new file, checks the format of an old one, and counts.
fn read_contents(database: &Database, path: &Path) -> Result<Contents, OpenError> {
    let damaged = |error: redb::Error| OpenError::Damaged(error.to_string());
    let format = set_up(database).map_err(damaged)?;
    if format != FORMAT {
        return Err(OpenError::Spool(SpoolError::Format {
            path: path.to_owned(),
            found: format,
            expected: FORMAT,
        }));
    }
    count(database).map_err(damaged)
}

/// Invariant 4.
pub(super) fn caught<T>(operation: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(operation)).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        format!("the store panicked: {}", text.unwrap_or("no reason given"))
    })
}

/// A new file is only there for good once its folder is synced.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "tests/store.rs"]
mod tests;
