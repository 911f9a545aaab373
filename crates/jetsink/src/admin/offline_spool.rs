//! Offline access to a spool's files, while no sink has them open: reads, revives and removes events.

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::outcome::{SpoolError, SpoolLoss, SpoolStatus};
use crate::spool::clock::{Clock, time};
use crate::spool::log::disk::Disk;
use crate::spool::log::event::NewRecord;
use crate::spool::log::folder::Folder;
use crate::spool::log::marks::Marked;
use crate::spool::log::opening;
use crate::spool::log::reader::{self, Chunk, Wanted};
use crate::spool::log::writer::Log;
use crate::spool::{DeadRecord, Record};
use crate::sync::lock;

/// Events read at a time.
const CHUNK: usize = 1_000;

/// The size of the segments that an operator's changes begin.
const SEGMENT_BYTES: u64 = 4 << 20;

/// An event in a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpooledEvent {
    /// Its number in the order of spooling.
    pub index: u64,
    /// The time when it was spooled, by this machine's clock.
    pub spooled_at: SystemTime,
    /// Whether its stream may have it already: it was sent before it was spooled, with unknown outcome, or a replay has
    /// begun since ([`OfflineSpool::may_be_stored`]).
    pub may_be_stored: bool,
    /// Subject, message id, headers and payload.
    pub envelope: Envelope,
}

/// An event that the broker refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The event.
    pub event: SpooledEvent,
    /// The time when it was refused.
    pub died_at: SystemTime,
    /// The server's code (`err_code`), if any.
    pub code: Option<u64>,
    /// The reason, in one line.
    pub reason: String,
}

/// A subject with pending events, by [`OfflineSpool::subjects`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubjectUsage {
    /// The subject.
    pub subject: Subject,
    /// Its pending events.
    pub events: u64,
    /// Their bytes in the spool.
    pub bytes: u64,
}

/// The result of [`OfflineSpool::verify`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolCheck {
    /// Events that can be read.
    pub events: u64,
    /// Dead letters that can be read.
    pub dead_letters: u64,
    /// Records that exist and can't be read, as far as the files show: events, dead letters, or notes of the spool.
    pub damaged: u64,
    /// The damage of the spool as a whole, in one line.
    pub reason: Option<String>,
}

/// Offline access to a spool, while no sink has it open. Blocking.
///
/// Reading changes nothing in the folder: damage is found again by each later opening. The first change repairs it, as a sink
/// does.
///
/// ```no_run
/// use jetsink::OfflineSpool;
///
/// let spool = OfflineSpool::open("/var/lib/app/spool")?;
/// println!("{} pending events", spool.status().events);
/// spool.events(|event| println!("{} {}", event.index, event.envelope.subject()))?;
/// # Ok::<(), jetsink::SpoolError>(())
/// ```
#[derive(Debug)]
pub struct OfflineSpool {
    /// `None` once it is closed.
    log: Option<Log>,
    loss: SpoolLoss,
    /// Whether the files are repaired and may be changed.
    writes: bool,
}

impl OfflineSpool {
    /// The extension of companions: files in the spool's folder in which the program of the sink keeps notes about its
    /// events, such as `identities.companion`.
    ///
    /// [`discard`](Self::discard) and [`delete_dead_letters`](Self::delete_dead_letters) remove all companions before they
    /// delete an event: a gateway that still knew the event would answer its repeat as a duplicate, and store it nowhere.
    pub const COMPANION_EXTENSION: &'static str = "companion";

    /// Opens the spool in `directory` and locks it. Nothing is written before the first change, so damage stays as it is;
    /// [`loss`](Self::loss) reports it.
    ///
    /// # Errors
    /// [`SpoolError`] if the folder contains no spool ([`Missing`](SpoolError::Missing)), a sink has it open, it has another
    /// format, or the disk fails.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, SpoolError> {
        let directory = directory.as_ref();
        let has = |name| directory.join(name).try_exists();
        let is_spool = has("lock").and_then(|has_lock| Ok(has_lock || has("spool.redb")?));
        if !is_spool.map_err(|error| SpoolError::io(directory, "opening it", &error))? {
            return Err(SpoolError::Missing {
                path: directory.to_owned(),
            });
        }
        Self::over(Folder::open(directory, false)?)
    }

    fn over(disk: Arc<dyn Disk>) -> Result<Self, SpoolError> {
        let (log, mut backlog) = opening::open(disk, None)?;
        backlog.scan();
        Ok(Self {
            log: Some(log),
            loss: backlog.loss,
            writes: false,
        })
    }

    /// Opens the log once more, under the same lock, to change it. Repairs damage, which no later opening finds.
    fn begin_changes(&mut self) -> Result<(), SpoolError> {
        if !self.writes {
            let disk = Arc::clone(&self.log()?.disk);
            let (log, mut backlog) = opening::open(disk, Some(SEGMENT_BYTES))?;
            backlog.scan();
            (self.log, self.writes) = (Some(log), true);
        }
        Ok(())
    }

    fn log(&self) -> Result<&Log, SpoolError> {
        self.log.as_ref().ok_or(SpoolError::Closed)
    }

    /// Returns the time when the oldest pending event was spooled; `None` if there is no pending event.
    ///
    /// # Errors
    /// [`SpoolError`] if the disk fails.
    pub fn oldest(&self) -> Result<Option<SystemTime>, SpoolError> {
        let log = self.log()?;
        let oldest = reader::oldest(&log.index)?;
        Ok(oldest.map(|millis| log.clock.system_time(millis)))
    }

    /// Reads the whole spool in `directory` and changes nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn verify(directory: &Path) -> Result<SpoolCheck, SpoolError> {
        let spool = Self::open(directory)?;
        let mut check = SpoolCheck {
            damaged: spool.loss.damaged,
            ..SpoolCheck::default()
        };
        check.damaged += spool.events(|_| check.events += 1)?;
        check.damaged += spool.dead(|_, _, _| check.dead_letters += 1)?;
        check.reason = spool.loss().map(ToString::to_string);
        Ok(check)
    }

    /// Returns the contents in numbers. The limit is the sink's, and 0 here.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        let index = self.log.as_ref().map(|log| lock(&log.index));
        SpoolStatus {
            damaged: self.loss.damaged,
            ..index.map_or_else(SpoolStatus::default, |index| index.status())
        }
    }

    /// Whether a pending event may be stored in its stream already; replay looks that up. An event is if it was sent with
    /// unknown outcome, or if a replay has sent events and not emptied the spool. After damage that may be unknown, and all
    /// events may be stored.
    #[must_use]
    pub fn may_be_stored(&self) -> bool {
        let log = self.log.as_ref();
        log.is_some_and(|log| {
            let index = lock(&log.index);
            let is_empty = index.subjects.is_empty() && index.has_scanned_all();
            index.state.replay_began && !is_empty
        })
    }

    /// Returns the damage that the opening found.
    #[must_use]
    pub fn loss(&self) -> Option<&SpoolLoss> {
        Some(&self.loss).filter(|loss| !loss.is_none())
    }

    /// Returns the subjects of pending events, in order.
    #[must_use]
    pub fn subjects(&self) -> Vec<SubjectUsage> {
        let Some(log) = &self.log else {
            return Vec::new();
        };
        let index = lock(&log.index);
        let subjects = index.subjects.iter();
        let mut subjects: Vec<_> = subjects
            .map(|(subject, pending)| SubjectUsage {
                subject: subject.clone(),
                events: pending.events,
                bytes: index.bytes(pending),
            })
            .collect();
        subjects.sort_unstable_by(|one, other| one.subject.cmp(&other.subject));
        subjects
    }

    /// Passes all events to `visit`, subject by subject, each in its order. Returns the number of damaged events, which can't
    /// be read.
    ///
    /// # Errors
    /// [`SpoolError`] if the files can't be read further.
    pub fn events(&self, mut visit: impl FnMut(SpooledEvent)) -> Result<u64, SpoolError> {
        self.pending(|_, event| visit(event))
    }

    fn pending(&self, mut visit: impl FnMut(u64, SpooledEvent)) -> Result<u64, SpoolError> {
        let log = self.log()?;
        let may_be_stored = self.may_be_stored();
        let mut damaged = 0;
        for SubjectUsage { subject, .. } in self.subjects() {
            let mut from = 0;
            loop {
                let wanted = Wanted {
                    subject: subject.clone(),
                    from,
                    limit: CHUNK,
                };
                let chunk = whole(reader::events(&log.index, &[wanted]).remove(0))?;
                for (_, bytes, record) in chunk.entries {
                    match record {
                        Ok(mut record) => {
                            record.may_be_stored |= may_be_stored;
                            visit(bytes, event(record, &log.clock));
                        }
                        Err(_) => damaged += 1,
                    }
                }
                if !chunk.more {
                    break;
                }
                from = chunk.next;
            }
        }
        Ok(damaged)
    }

    /// Passes all dead letters to `visit`, in the order of their refusal. Returns the number of damaged ones.
    ///
    /// # Errors
    /// [`SpoolError`] if the files can't be read further.
    pub fn dead_letters(&self, mut visit: impl FnMut(DeadLetter)) -> Result<u64, SpoolError> {
        let clock = self.log()?.clock;
        self.dead(|_, _, letter| visit(dead_letter(letter, &clock)))
    }

    fn dead(&self, mut visit: impl FnMut(u64, u64, DeadRecord)) -> Result<u64, SpoolError> {
        let mut damaged = 0;
        let mut next = 0;
        loop {
            let chunk = whole(reader::letters(&self.log()?.index, next, CHUNK))?;
            for (index, bytes, letter) in chunk.entries {
                match letter {
                    Ok(letter) => visit(index, bytes, letter),
                    Err(_) => damaged += 1,
                }
            }
            if !chunk.more {
                return Ok(damaged);
            }
            next = chunk.next;
        }
    }

    /// Moves the dead letters back to the pending events, behind those of their subjects, as if they
    /// were spooled now. Returns their number.
    ///
    /// # Errors
    /// [`SpoolError`] if the disk fails; each of them is then a dead letter or a pending event.
    pub fn revive_dead_letters(&mut self) -> Result<u64, SpoolError> {
        let now = self.log()?.clock.millis();
        let (mut revived, mut next) = (0, 0);
        loop {
            let chunk = whole(reader::letters(&self.log()?.index, next, CHUNK))?;
            let (mut records, mut removed) = (Vec::new(), Vec::new());
            for (index, bytes, letter) in chunk.entries {
                // A damaged one stays, as far as it can be read.
                let Ok(letter) = letter else { continue };
                let record = Record {
                    spooled_at: now,
                    ..letter.record
                };
                records.push(NewRecord::event(&record, Some(index)));
                removed.push((None, index, bytes));
            }
            revived += self.change(&records, &removed)?;
            if !chunk.more {
                return Ok(revived);
            }
            next = chunk.next;
        }
    }

    /// Deletes the dead letters for good. Returns their number. Removes the
    /// [companions](Self::COMPANION_EXTENSION), unless there are no dead letters.
    ///
    /// # Errors
    /// [`SpoolError`] if the disk fails; then some may be deleted.
    pub fn delete_dead_letters(&mut self) -> Result<u64, SpoolError> {
        let mut removed = Vec::new();
        self.dead(|index, bytes, _| removed.push((None, index, bytes)))?;
        self.delete(&removed)
    }

    /// Deletes the pending events for which `unwanted` returns `true`, for good: for instance those of a subject that will
    /// never have a stream. Returns their number. Removes the [companions](Self::COMPANION_EXTENSION), unless there are no
    /// such events.
    ///
    /// # Errors
    /// [`SpoolError`] if the disk fails; then some may be deleted.
    pub fn discard(
        &mut self,
        mut unwanted: impl FnMut(&SpooledEvent) -> bool,
    ) -> Result<u64, SpoolError> {
        let mut removed = Vec::new();
        self.pending(|bytes, event| {
            if unwanted(&event) {
                let subject = event.envelope.subject().clone();
                removed.push((Some(subject), event.index, bytes));
            }
        })?;
        self.delete(&removed)
    }

    /// Lets records leave that nothing sends later. The companions go first: without them a repeat may be stored twice, but a
    /// deleted event that a companion still has would never be stored.
    fn delete(&mut self, removed: &[Removed]) -> Result<u64, SpoolError> {
        if !removed.is_empty() {
            let disk = &self.log()?.disk;
            remove_companions(&**disk).map_err(disk.failed("removing companions"))?;
        }
        self.change(&[], removed)
    }

    /// Appends events, and then lets other records leave; returns how many left.
    fn change(&mut self, events: &[NewRecord], removed: &[Removed]) -> Result<u64, SpoolError> {
        if events.is_empty() && removed.is_empty() {
            return Ok(0);
        }
        self.begin_changes()?;
        let log = self.log.as_mut().ok_or(SpoolError::Closed)?;
        let path = log.disk.path().to_owned();
        if !events.is_empty() {
            for event in events {
                if let Some(subject) = &event.subject {
                    lock(&log.index).reserve(subject, event.head.size());
                }
            }
            let appended = log.append(&events.iter().collect::<Vec<_>>());
            appended.map_err(|failed| SpoolError::io(&path, "writing", &failed.error))?;
        }
        for (subject, index, bytes) in removed {
            lock(&log.index).leave(subject.as_ref(), *index, *bytes);
        }
        match log.mark_all_left() {
            Ok(Marked::OnDisk | Marked::InPart) => Ok(removed.len() as u64),
            Ok(Marked::InMemory(error)) | Err(error) => {
                Err(SpoolError::io(&path, "marking records as removed", &error))
            }
        }
    }
}

/// The subject of an event, none of a dead letter; the index; the bytes.
type Removed = (Option<Subject>, u64, u64);

fn remove_companions(disk: &dyn Disk) -> io::Result<()> {
    let mut names = disk.list()?;
    names.retain(|name| {
        let extension = Path::new(name).extension();
        extension.is_some_and(|extension| extension == OfflineSpool::COMPANION_EXTENSION)
    });
    for name in &names {
        disk.remove(name)?;
    }
    match names.is_empty() {
        true => Ok(()),
        false => disk.sync(),
    }
}

/// A chunk that could be read.
fn whole<T>(chunk: Chunk<T>) -> Result<Chunk<T>, SpoolError> {
    chunk.failed.clone().map_or(Ok(chunk), Err)
}

impl Drop for OfflineSpool {
    fn drop(&mut self) {
        if let Some(log) = self.log.take_if(|_| self.writes) {
            log.close();
        }
    }
}

fn event(record: Record, clock: &Clock) -> SpooledEvent {
    SpooledEvent {
        index: record.index,
        spooled_at: clock.system_time(record.spooled_at),
        may_be_stored: record.may_be_stored,
        envelope: record.envelope,
    }
}

fn dead_letter(letter: DeadRecord, clock: &Clock) -> DeadLetter {
    DeadLetter {
        event: event(letter.record, clock),
        died_at: time(letter.died_at),
        code: (letter.code > 0).then_some(letter.code),
        reason: letter.reason,
    }
}
