//! A spool's file for those who look after it: what is in it, and what is to become of it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::closing;
use super::dead::DeadLetter;
use super::record::Record;
use super::salvage::{self, SpoolLoss};
use super::store::Store;
use super::tables::{Batch, Contents};
use super::{SpoolStatus, file_in, now_in_millis};
use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::outcome::SpoolError;

/// Events read at a time.
const CHUNK: usize = 1_000;

/// An event in a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpooledEvent {
    /// Its place in the order of spooling.
    pub index: u64,
    /// When it was spooled, by this machine's clock.
    pub spooled_at: SystemTime,
    /// Whether it was sent before it was spooled, and nobody knows what became of it.
    pub may_be_stored: bool,
    /// Subject, message id, headers and payload.
    pub envelope: Envelope,
}

/// An event that the broker refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuriedEvent {
    /// The event.
    pub event: SpooledEvent,
    /// When it was refused.
    pub died_at: SystemTime,
    /// The server's code (`err_code`), where it gave one.
    pub code: Option<u64>,
    /// Why, in one line.
    pub reason: String,
}

/// What [`SpoolFile::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolCheck {
    /// Events that can be read.
    pub events: u64,
    /// Dead letters that can be read.
    pub dead_letters: u64,
    /// Events and dead letters that are there and can't be read, as far as the file tells.
    pub damaged: u64,
    /// What is wrong with the file as a whole.
    pub reason: Option<String>,
}

/// A spool opened by its keeper, while no sink has it open. Blocking.
///
/// ```no_run
/// use jetsink::SpoolFile;
///
/// let spool = SpoolFile::open("/var/lib/app/spool".as_ref())?;
/// println!("{} events wait", spool.status().events);
/// spool.events(|event| println!("{} {}", event.index, event.envelope.subject()))?;
/// # Ok::<(), jetsink::SpoolError>(())
/// ```
#[derive(Debug)]
pub struct SpoolFile {
    store: Store,
    contents: Contents,
    loss: Option<SpoolLoss>,
}

impl SpoolFile {
    /// Opens the spool in `directory`. As a sink does, this mends what a crash or damage left;
    /// [`loss`](Self::loss) tells of it.
    ///
    /// # Errors
    /// [`SpoolError`]: there is none, a sink has it open, another format, or the disk.
    pub fn open(directory: &Path) -> Result<Self, SpoolError> {
        let path = file_in(directory);
        if !path.exists() {
            return Err(SpoolError::Io {
                path,
                doing: "opening it",
                reason: "there is no spool".to_owned(),
            });
        }
        let (store, contents, loss) = salvage::open(directory)?;
        Ok(Self {
            store,
            contents,
            loss,
        })
    }

    /// When the oldest of the events that wait came in; `None` where none waits.
    ///
    /// # Errors
    /// [`SpoolError`], where the disk fails.
    pub fn oldest(&self) -> Result<Option<SystemTime>, SpoolError> {
        let oldest = self.store.oldest()?;
        Ok(oldest.map(time))
    }

    /// Reads all of the spool in `directory`, and changes nothing: it opens a copy, made beside it and
    /// removed again.
    ///
    /// # Errors
    /// As [`open`](Self::open), and where there is no room for the copy.
    pub fn verify(directory: &Path) -> Result<SpoolCheck, SpoolError> {
        let path = file_in(directory);
        let io = |doing| {
            let path = path.clone();
            move |error: std::io::Error| SpoolError::Io {
                path,
                doing,
                reason: error.to_string(),
            }
        };
        let file = File::open(&path).map_err(io("opening it"))?;
        // The store locks the whole file for as long as it has it open.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse { path }),
            Err(TryLockError::Error(error)) => return Err(io("locking it")(error)),
        }
        let copy = directory.join("spool.verify");
        fs::create_dir_all(&copy).map_err(io("making a folder for a copy"))?;
        fs::copy(&path, file_in(&copy)).map_err(io("copying it"))?;
        let _ = fs::copy(closing::path_in(directory), closing::path_in(&copy));
        drop(file);
        let check = Self::open(&copy).and_then(|spool| spool.check());
        fs::remove_dir_all(&copy).map_err(io("removing the copy"))?;
        check
    }

    fn check(&self) -> Result<SpoolCheck, SpoolError> {
        let mut check = SpoolCheck::default();
        let loss = self.loss.as_ref();
        let events = loss.and_then(|loss| loss.lost).unwrap_or(0);
        let dead_letters = loss.and_then(|loss| loss.dead_letters_lost).unwrap_or(0);
        check.damaged = events + dead_letters;
        check.damaged += self.events(|_| check.events += 1)?;
        check.damaged += self.dead(|_| check.dead_letters += 1)?;
        check.reason = self.loss.as_ref().map(|loss| loss.reason.clone());
        Ok(check)
    }

    /// What it held when it was opened. Its limit is the sink's, and 0 here.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        let lanes = self.contents.lanes.values();
        SpoolStatus {
            events: lanes.clone().map(|lane| lane.events).sum(),
            subjects: self.contents.lanes.len() as u64,
            used_bytes: lanes.map(|lane| lane.bytes).sum::<u64>() + self.contents.dead.bytes,
            limit_bytes: 0,
            dead_letters: self.contents.dead.events,
            damaged: 0,
        }
    }

    /// Whether something in it may be stored in its stream already; replay looks that up.
    #[must_use]
    pub fn may_be_stored(&self) -> bool {
        self.contents.replay_began
    }

    /// What opening it found damaged.
    #[must_use]
    pub fn loss(&self) -> Option<&SpoolLoss> {
        self.loss.as_ref()
    }

    /// The subjects, in order, with their events and bytes.
    #[must_use]
    pub fn subjects(&self) -> Vec<(Subject, u64, u64)> {
        let lanes = self.contents.lanes.iter();
        let mut subjects: Vec<_> = lanes
            .map(|(subject, lane)| (subject.clone(), lane.events, lane.bytes))
            .collect();
        subjects.sort();
        subjects
    }

    /// Visits all events, subject by subject, each in its order; gives how many are damaged and can't
    /// be read.
    ///
    /// # Errors
    /// [`SpoolError`], where the file can't be read further.
    pub fn events(&self, mut visit: impl FnMut(SpooledEvent)) -> Result<u64, SpoolError> {
        let mut damaged = 0;
        for (subject, ..) in self.subjects() {
            let mut next = 0;
            loop {
                let chunk = self.store.lane(&subject, next, CHUNK)?;
                for (_, _, record) in chunk.entries {
                    match record {
                        Ok(record) => visit(record.into()),
                        Err(_) => damaged += 1,
                    }
                }
                if !chunk.more {
                    break;
                }
                next = chunk.next;
            }
        }
        Ok(damaged)
    }

    /// Visits all dead letters, oldest event first; gives how many are damaged.
    ///
    /// # Errors
    /// [`SpoolError`], where the file can't be read further.
    pub fn dead_letters(&self, mut visit: impl FnMut(BuriedEvent)) -> Result<u64, SpoolError> {
        self.dead(|letter| visit(letter.into()))
    }

    fn dead(&self, mut visit: impl FnMut(DeadLetter)) -> Result<u64, SpoolError> {
        let mut damaged = 0;
        let mut next = 0;
        loop {
            let letters = self.store.dead(next, CHUNK)?;
            let Some((last, _)) = letters.last() else {
                return Ok(damaged);
            };
            next = last + 1;
            for (_, letter) in letters {
                match letter {
                    Ok(letter) => visit(letter),
                    Err(_) => damaged += 1,
                }
            }
        }
    }

    /// Puts dead letters back among the events that wait, behind those of their subjects, as if they
    /// were spooled now; gives how many.
    ///
    /// # Errors
    /// [`SpoolError`], where the disk fails; then nothing has changed.
    pub fn revive_dead_letters(&mut self) -> Result<u64, SpoolError> {
        let mut batch = Batch::default();
        let mut next_index = self.contents.next_index;
        self.dead(|letter| {
            batch.unbury.push(letter.record.index);
            let record = Record {
                index: next_index,
                spooled_at: now_in_millis(),
                ..letter.record
            };
            next_index += 1;
            let subject = record.envelope.subject().clone();
            batch.append.push((subject, record.index, record.encode()));
        })?;
        self.change(&batch)
    }

    /// Deletes the dead letters for good; gives how many.
    ///
    /// # Errors
    /// [`SpoolError`], where the disk fails; then nothing has changed.
    pub fn delete_dead_letters(&mut self) -> Result<u64, SpoolError> {
        let mut batch = Batch::default();
        self.dead(|letter| batch.unbury.push(letter.record.index))?;
        self.change(&batch)
    }

    /// Deletes waiting events for good, those for which `unwanted` says so: of a subject that will
    /// never have a stream, for instance. Gives how many.
    ///
    /// # Errors
    /// [`SpoolError`], where the disk fails; then nothing has changed.
    pub fn discard(
        &mut self,
        mut unwanted: impl FnMut(&SpooledEvent) -> bool,
    ) -> Result<u64, SpoolError> {
        let mut batch = Batch::default();
        self.events(|event| {
            if unwanted(&event) {
                let subject = event.envelope.subject().clone();
                batch.remove.push((subject, event.index));
            }
        })?;
        let discarded = batch.remove.len() as u64;
        self.change(&batch)?;
        Ok(discarded)
    }

    /// Damaged files that were set aside when a spool was opened, until somebody takes them away.
    #[must_use]
    pub fn set_aside(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| name.starts_with(salvage::SET_ASIDE))
            })
            .collect();
        files.sort();
        files
    }

    fn change(&mut self, batch: &Batch) -> Result<u64, SpoolError> {
        if !batch.is_empty() {
            self.store.commit(batch)?;
            self.contents = self.store.contents()?;
        }
        Ok(batch.unbury.len() as u64)
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if let Err(error) = self.store.close() {
            tracing::warn!(%error, "the spool could not be closed in good order");
        }
    }
}

impl From<Record> for SpooledEvent {
    fn from(record: Record) -> Self {
        Self {
            index: record.index,
            spooled_at: time(record.spooled_at),
            may_be_stored: record.may_be_stored,
            envelope: record.envelope,
        }
    }
}

impl From<DeadLetter> for BuriedEvent {
    fn from(letter: DeadLetter) -> Self {
        Self {
            event: letter.record.into(),
            died_at: time(letter.died_at),
            code: (letter.code > 0).then_some(letter.code),
            reason: letter.reason,
        }
    }
}

fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_millis(millis))
        .unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
#[path = "tests/file.rs"]
mod tests;
