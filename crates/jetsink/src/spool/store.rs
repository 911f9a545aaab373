//! The spool's file: redb behind four operations, each one transaction. Blocking; knows nothing of
//! brokers.
//!
//! Invariants:
//! 1. What [`Store::commit`] returned `Ok` for is on the disk: each commit is synced.
//! 2. After a failed sync nothing more is written, until the file is opened again by a new process.
//! 3. After any other failure (no space left, say) the file is opened anew before the next use:
//!    redb refuses to go on from a half-written state, and its recovery finds the last commit.
//! 4. No panic of redb's over a damaged file passes this module.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition, WriteTransaction,
};

use super::backend::{Guarded, SyncFailure};
use super::closing::ClosingNote;
use super::dead::DeadLetter;
use super::error::SpoolError;
use super::record::{Damage, Record};
use crate::subject::Subject;

/// The layout of the tables below.
const FORMAT: u64 = 1;

/// redb's page cache: enough for a window of replay, little beside a service.
pub(super) const CACHE_BYTES: usize = 8 << 20;

/// An empty file that is larger is made small again.
const WORTH_SHRINKING: u64 = 32 << 20;

pub(super) type EventKey = (&'static [u8], u64);
/// Subject and index to record: one subject's events stand together, in their order.
pub(super) const EVENTS: TableDefinition<'_, EventKey, &[u8]> = TableDefinition::new("events");
const DEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("dead letters");
/// Stream to a sequence number below which nothing that is spooled here is stored.
const BASELINES: TableDefinition<'_, &[u8], u64> = TableDefinition::new("baselines");
const META: TableDefinition<'_, &[u8], u64> = TableDefinition::new("meta");
const META_FORMAT: &[u8] = b"format";
const META_NEXT_INDEX: &[u8] = b"next index";
const META_REPLAY_BEGAN: &[u8] = b"replay began";

/// Changes that are made together or not at all.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Subject, index and encoded record.
    pub(crate) append: Vec<(Subject, u64, Vec<u8>)>,
    /// Delivered.
    pub(crate) remove: Vec<(Subject, u64)>,
    /// Refused for good.
    pub(crate) bury: Vec<DeadLetter>,
    /// Dead letters that someone has dealt with.
    pub(crate) unbury: Vec<u64>,
    /// All of them, in place of those that were there.
    pub(crate) baselines: Option<Vec<(String, u64)>>,
    /// Bytes that are free once this is done.
    pub(crate) freed_bytes: u64,
    /// Whether replay may have sent something of what is here.
    pub(crate) replay_began: Option<bool>,
}

impl Batch {
    /// Adds the changes of `later`, which come after these.
    pub(crate) fn merge(&mut self, later: Self) {
        self.append.extend(later.append);
        self.remove.extend(later.remove);
        self.bury.extend(later.bury);
        self.unbury.extend(later.unbury);
        self.freed_bytes += later.freed_bytes;
        self.baselines = later.baselines.or(self.baselines.take());
        self.replay_began = later.replay_began.or(self.replay_began);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.append.is_empty()
            && self.remove.is_empty()
            && self.bury.is_empty()
            && self.unbury.is_empty()
            && self.baselines.is_none()
            && self.replay_began.is_none()
    }
}

/// What a file held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) lanes: HashMap<Subject, Lane>,
    pub(crate) dead: Lane,
    pub(crate) next_index: u64,
    pub(crate) replay_began: bool,
    pub(crate) baselines: HashMap<String, u64>,
}

/// How much there is of one kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

impl Lane {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.events += 1;
        self.bytes += bytes;
    }
}

/// A record, or what is left of one.
pub(crate) type Entry = (u64, u64, Result<Record, Damage>);

/// A dead letter's index, and the letter or what is left of it.
pub(crate) type DeadEntry = (u64, Result<DeadLetter, Damage>);

type Opener = Box<dyn Fn(&Builder, SyncFailure) -> Result<Database, DatabaseError> + Send + Sync>;

pub(crate) struct Store {
    path: PathBuf,
    opener: Opener,
    failure: SyncFailure,
    /// None after a failure, until it is opened anew.
    database: RwLock<Option<Database>>,
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
            Box::new(move |builder, failure| {
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(&file_path)
                    .map_err(StorageError::Io)?;
                let backend = FileBackend::new(file)?;
                builder.create_with_backend(Guarded::new(backend, failure))
            }),
        )
    }

    pub(super) fn open_with(path: &Path, opener: Opener) -> Result<(Self, Contents), OpenError> {
        let failure = SyncFailure::default();
        let store = Self {
            path: path.to_owned(),
            failure: failure.clone(),
            database: RwLock::new(None),
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
        let opened = caught(|| (self.opener)(&builder, self.failure.clone()));
        match opened {
            Ok(Ok(database)) => Ok(database),
            Ok(Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch)) => {
                Err(OpenError::Spool(SpoolError::InUse {
                    path: self.path.clone(),
                }))
            }
            Ok(Err(DatabaseError::UpgradeRequired(found))) => {
                Err(OpenError::Spool(SpoolError::Format {
                    path: self.path.clone(),
                    found: found.into(),
                    expected: FORMAT,
                }))
            }
            Ok(Err(DatabaseError::Storage(StorageError::Io(error))))
                if error.kind() != std::io::ErrorKind::InvalidData
                    && error.kind() != std::io::ErrorKind::UnexpectedEof =>
            {
                Err(OpenError::Spool(self.io("opening it", &error)))
            }
            Ok(Err(error)) => Err(OpenError::Damaged(error.to_string())),
            Err(panic) => Err(OpenError::Damaged(panic)),
        }
    }

    /// Makes all changes of `batch`, synced to the disk.
    pub(crate) fn commit(&self, batch: &Batch) -> Result<(), SpoolError> {
        self.use_database("writing", |database| {
            let transaction = database.begin_write()?;
            apply(&transaction, batch)?;
            transaction.commit()?;
            Ok(())
        })
    }

    /// Up to `limit` events of one subject, from index `from` on.
    pub(crate) fn lane(
        &self,
        subject: &Subject,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, SpoolError> {
        let subject = subject.as_str().as_bytes();
        self.use_database("reading", |database| {
            let events = database.begin_read()?.open_table(EVENTS)?;
            let mut entries = Vec::new();
            for entry in events
                .range((subject, from)..=(subject, u64::MAX))?
                .take(limit)
            {
                let (key, value) = entry?;
                let (key_subject, index) = key.value();
                entries.push((
                    index,
                    value.value().len() as u64,
                    decode(key_subject, index, value.value()),
                ));
            }
            Ok(entries)
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
        if length < WORTH_SHRINKING || self.failure.get().is_some() {
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
        let database = self.write_lock().take();
        let _ = caught(|| drop(database));
        let folder = self.path.parent().unwrap_or(Path::new("."));
        note.leave(folder)
            .map_err(|error| self.io("leaving a note beside it", &error))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `operation` on the open file; a failure closes it.
    fn use_database<T>(
        &self,
        doing: &'static str,
        operation: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, SpoolError> {
        if let Some(reason) = self.failure.get() {
            return Err(SpoolError::Poisoned {
                path: self.path.clone(),
                reason: reason.clone(),
            });
        }
        self.open_again()?;
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
        match self.failure.get() {
            Some(reason) => Err(SpoolError::Poisoned {
                path: self.path.clone(),
                reason: reason.clone(),
            }),
            None => Err(self.failed(doing, &reason)),
        }
    }

    fn open_again(&self) -> Result<(), SpoolError> {
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
            *guard = Some(self.open_database().map_err(|error| match error {
                OpenError::Spool(error) => error,
                OpenError::Damaged(reason) => self.failed("opening it again", &reason),
            })?);
        }
        Ok(())
    }

    fn write_lock(&self) -> std::sync::RwLockWriteGuard<'_, Option<Database>> {
        self.database
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn io(&self, doing: &'static str, error: &std::io::Error) -> SpoolError {
        self.failed(doing, &error.to_string())
    }

    fn failed(&self, doing: &'static str, reason: &str) -> SpoolError {
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

fn apply(transaction: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    let mut events = transaction.open_table(EVENTS)?;
    let mut meta = transaction.open_table(META)?;
    for (subject, index, record) in &batch.append {
        events.insert((subject.as_str().as_bytes(), *index), record.as_slice())?;
    }
    if let Some(highest) = batch.append.iter().map(|(_, index, _)| index + 1).max() {
        let next = meta.get(META_NEXT_INDEX)?.map_or(0, |next| next.value());
        meta.insert(META_NEXT_INDEX, next.max(highest))?;
    }
    for (subject, index) in &batch.remove {
        events.remove((subject.as_str().as_bytes(), *index))?;
    }
    if !batch.bury.is_empty() || !batch.unbury.is_empty() {
        let mut dead = transaction.open_table(DEAD)?;
        for letter in &batch.bury {
            let record = &letter.record;
            let subject = record.envelope.subject().as_str().as_bytes();
            events.remove((subject, record.index))?;
            dead.insert(record.index, letter.encode().as_slice())?;
        }
        for index in &batch.unbury {
            dead.remove(index)?;
        }
    }
    if let Some(current) = &batch.baselines {
        let mut baselines = transaction.open_table(BASELINES)?;
        baselines.retain(|_, _| false)?;
        for (stream, sequence) in current {
            baselines.insert(stream.as_bytes(), sequence)?;
        }
    }
    if let Some(began) = batch.replay_began {
        meta.insert(META_REPLAY_BEGAN, u64::from(began))?;
    }
    Ok(())
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

/// The file's format.
fn set_up(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let format = {
        let mut meta = transaction.open_table(META)?;
        let found = meta.get(META_FORMAT)?.map(|format| format.value());
        match found {
            Some(format) if format != FORMAT => return Ok(format),
            Some(format) => format,
            None => {
                meta.insert(META_FORMAT, FORMAT)?;
                FORMAT
            }
        }
    };
    transaction.open_table(EVENTS)?;
    transaction.open_table(DEAD)?;
    transaction.open_table(BASELINES)?;
    transaction.commit()?;
    Ok(format)
}

fn count(database: &Database) -> Result<Contents, redb::Error> {
    let transaction = database.begin_read()?;
    let mut contents = Contents::default();
    let mut highest = None;
    let mut lane: Option<(Subject, Lane)> = None;
    for entry in transaction.open_table(EVENTS)?.iter()? {
        let (key, value) = entry?;
        let (subject, index) = key.value();
        let bytes = value.value().len() as u64;
        match &mut lane {
            Some((current, lane)) if current.as_str().as_bytes() == subject => lane.add(bytes),
            _ => {
                let subject = std::str::from_utf8(subject)
                    .ok()
                    .and_then(|text| Subject::new(text).ok())
                    .ok_or_else(|| redb::Error::Corrupted("a key holds no subject".to_owned()))?;
                let mut next = Lane::default();
                next.add(bytes);
                contents.lanes.extend(lane.replace((subject, next)));
            }
        }
        highest = highest.max(Some(index));
    }
    contents.lanes.extend(lane);
    let dead = transaction.open_table(DEAD)?;
    for entry in dead.iter()? {
        let (index, value) = entry?;
        contents.dead.add(value.value().len() as u64);
        highest = highest.max(Some(index.value()));
    }
    for entry in transaction.open_table(BASELINES)?.iter()? {
        let (stream, sequence) = entry?;
        let stream = String::from_utf8_lossy(stream.value()).into_owned();
        contents.baselines.insert(stream, sequence.value());
    }
    let meta = transaction.open_table(META)?;
    let next_index = meta.get(META_NEXT_INDEX)?.map_or(0, |next| next.value());
    contents.next_index = next_index.max(highest.map_or(0, |index| index + 1));
    contents.replay_began = meta.get(META_REPLAY_BEGAN)?.is_some_and(|b| b.value() != 0);
    Ok(contents)
}

/// A record whose own words differ from its key is somebody else's.
pub(super) fn decode(subject: &[u8], index: u64, bytes: &[u8]) -> Result<Record, Damage> {
    let record = Record::decode(bytes)?;
    let same = record.index == index && record.envelope.subject().as_str().as_bytes() == subject;
    if same {
        Ok(record)
    } else {
        Err(Damage::Fields)
    }
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
