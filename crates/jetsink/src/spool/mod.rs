//! The spool: events on the local disk that no stream has acknowledged yet.
//!
//! A segmented log (decision 15): a locked folder of segment files. A segment is a sequence of records. Each
//! record has its segment's id, its index, and the index below which all records were synced before it was
//! written. Events are appended in groups, with one write and one sync. A delivered event is marked in its own
//! segment, and a drained segment is removed. Dead letters are records of the same log, with the index of the
//! event that they replace.
//!
//! Invariants:
//! 1. An append that returned `Ok` is synced to the disk. One that returned an error is not there, unless the
//!    error says that it may be; then it is written before any later one, or found at the next opening.
//! 2. Indexes go to the disk in their order, so a forward read of a subject misses no event.
//! 3. An event leaves when a stream has acknowledged it, when its id is found stored, when an earlier
//!    one of its subject has the same id and was just read, or into the dead letters with the broker's
//!    reason; never otherwise. A record that takes the place of another is synced before that one is marked.
//! 4. From before the first send of a spooled event until the last one has left, the log has the replay
//!    marker, with sequence numbers (baselines) below which none of its events is stored. A baseline is
//!    raised once the marks of all events acknowledged below it are synced. A state that may be damaged counts
//!    as a marker without baselines.
//! 5. A failed write or sync closes its segment for good. Its unproven records do not count until they are
//!    written to another segment.
//! 6. Every index below the highest `durable_below` is found, marked, or counted as damaged. An incomplete
//!    end above it is reported as torn.
//! 7. A newer segment says which indexes the older ones have. It is not removed before them.
//!
//! `log` knows no brokers and no callers: `format` and `event` are the bytes, `disk` the calls to the system,
//! `writer`, `reader` and `opening` what their names say, `index` and `places` the memory. `queue` is the
//! writer's thread; `inlet` and `leaving` are the ways in and out; `accounts` counts; `file` is the operator's
//! access while no sink has the spool open.

mod accounts;
mod clock;
mod file;
mod inlet;
mod leaving;
mod log;
mod queue;
mod record;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod unsettled;

use std::collections::HashMap;
use std::io;
#[cfg(test)]
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, unconstrained};
use tokio::time::{Instant, timeout_at};
use tracing::error;

use accounts::Accounts;
use clock::Clock;
pub use file::{BuriedEvent, SpoolCheck, SpoolFile, SpooledEvent};
use inlet::{Inlet, ReplayMarker};
use leaving::Leaving;
use log::disk::{Disk, Folder};
use log::event::{NewRecord, size_of_event};
use log::index::Index;
pub use log::opening::SpoolLoss;
use log::opening::{Access, Backlog, Counted};
pub(crate) use log::reader::Chunk;
use log::reader::{self, Entry};
use log::writer::Log;
use queue::{Change, Dying, Writer};
pub(crate) use record::{DeadLetter, Record};
pub use settings::SpoolSettings;
pub(crate) use unsettled::Unsettled;

use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::outcome::SpoolError;

/// The bytes of events that wait for the disk, at most, unless one event alone has more.
const MAX_QUEUED_BYTES: u32 = 16 << 20;

/// A backlog of up to this many bytes, two segments at most, is scanned before the spool opens, so that its status is
/// exact from the start. A thread scans a larger one.
const MAX_SCANNED_AT_ONCE: u64 = 32 << 20;

/// How long a drop waits for the disk.
const DROP_WAIT: Duration = Duration::from_secs(1);

/// What a spool holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolStatus {
    /// Events that wait for a stream, with those of which a failed disk leaves open whether they are here.
    pub events: u64,
    /// The subjects that they belong to.
    pub subjects: u64,
    /// Bytes of events and dead letters.
    pub used_bytes: u64,
    /// Past this, events are refused.
    pub limit_bytes: u64,
    /// Events that the broker refused for good.
    pub dead_letters: u64,
    /// Events that were found damaged, and are lost, since it was opened.
    pub damaged: u64,
}

/// Events on their way from the disk.
pub(crate) type Reading = JoinHandle<Result<Chunk, SpoolError>>;

/// Sequence numbers by stream.
pub(crate) type Baselines = HashMap<String, u64>;

/// An open spool.
#[derive(Debug)]
pub(crate) struct Spool {
    path: PathBuf,
    index: Arc<Mutex<Index>>,
    accounts: Arc<Accounts>,
    inlet: Arc<Mutex<Inlet>>,
    loss: Arc<OnceLock<SpoolLoss>>,
    /// By index: what has left and is still on the disk.
    leaving: Mutex<HashMap<u64, Leaving>>,
    dying: Dying,
    /// Events that were found damaged after the scan.
    damaged: AtomicU64,
    /// Room in the queue of the writer, in bytes.
    queue: Arc<Semaphore>,
    /// Held from the wait for that room until the event is queued: its waiters come in the order of their calls.
    line: tokio::sync::Mutex<()>,
    is_closed: Arc<AtomicBool>,
    clock: Clock,
}

/// An event's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) subject: Subject,
    pub(crate) index: u64,
    pub(crate) bytes: u64,
}

/// Room for one event, by [`Spool::reserve`].
#[derive(Debug)]
pub(crate) struct Room<'a> {
    spool: &'a Spool,
    record: Record,
    bytes: u64,
    is_taken: bool,
}

impl Room<'_> {
    pub(crate) fn envelope(&self) -> &Envelope {
        &self.record.envelope
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if !self.is_taken {
            let subject = self.record.envelope.subject();
            self.spool.accounts.give_back(subject, self.bytes);
        }
    }
}

impl Spool {
    /// Opens the spool of `settings`, or makes it; blocking. A thread scans the segments of a large backlog.
    ///
    /// # Errors
    /// [`SpoolError`]: in use, another format, or the disk.
    pub(crate) fn open(settings: &SpoolSettings) -> Result<Self, SpoolError> {
        let path = settings.directory();
        let disk = Folder::open(path, true)?;
        let failed = |doing| move |error: io::Error| SpoolError::io(path, doing, &error);
        let own = disk.own_bytes().map_err(failed("reading its size"))?;
        let limit_bytes = settings.limit(disk.free_bytes(), own);
        let (log, backlog) = log::opening::open(Arc::new(disk), access(limit_bytes))?;
        let scan = |scan: Scan| {
            if scan.uncounted <= MAX_SCANNED_AT_ONCE {
                scan.run();
                return Ok(());
            }
            let thread = std::thread::Builder::new().name("jetsink-spool-scan".to_owned());
            thread.spawn(move || scan.run()).map(|_| ())
        };
        let spool = Self::over(log, backlog, limit_bytes, Writer::start, scan);
        spool.map_err(failed("starting its threads"))
    }

    /// A spool whose changes are made by who asks for them, for tests in virtual time.
    #[cfg(test)]
    pub(crate) fn at_once(disk: Arc<dyn Disk>, limit_bytes: u64) -> Result<Self, SpoolError> {
        let (log, backlog) = log::opening::open(
            disk,
            Access::Write {
                segment_bytes: 64 << 10,
                prepares: false,
            },
        )?;
        let spool = Self::over(log, backlog, limit_bytes, Writer::at_once, |scan| {
            scan.run();
            Ok(())
        });
        Ok(spool.unwrap())
    }

    /// A spool on a simulated disk, written by a thread of its own.
    #[cfg(test)]
    pub(crate) fn threaded(disk: Arc<dyn Disk>, limit_bytes: u64) -> Result<Self, SpoolError> {
        let (log, backlog) = log::opening::open(disk, access(limit_bytes))?;
        let spool = Self::over(log, backlog, limit_bytes, Writer::start, |scan| {
            scan.run();
            Ok(())
        });
        Ok(spool.unwrap())
    }

    fn over(
        log: Log,
        backlog: Backlog,
        limit_bytes: u64,
        writer: impl FnOnce(Log, Arc<Accounts>) -> io::Result<Writer>,
        scan: impl FnOnce(Scan) -> io::Result<()>,
    ) -> io::Result<Self> {
        let uncounted = backlog.bytes();
        let accounts = Arc::new(Accounts::new(limit_bytes, uncounted));
        let (path, index) = (log.disk.path().to_owned(), Arc::clone(&log.index));
        let inlet = Inlet {
            next_index: log.next_index,
            unsettled: Unsettled::default(),
            baselines: log.state.baselines.clone().into_iter().collect(),
            states: 0,
            awaited: None,
            marker: if log.state.replay_began {
                ReplayMarker::Written
            } else {
                ReplayMarker::Absent
            },
            writer: writer(log, Arc::clone(&accounts))?,
        };
        let dying = Arc::clone(&inlet.writer.dying);
        let spool = Self {
            path,
            index,
            accounts,
            inlet: Arc::new(Mutex::new(inlet)),
            loss: Arc::default(),
            leaving: Mutex::default(),
            dying,
            damaged: AtomicU64::new(0),
            queue: Arc::new(Semaphore::new(MAX_QUEUED_BYTES as usize)),
            line: tokio::sync::Mutex::default(),
            is_closed: Arc::default(),
            clock: Clock::start(),
        };
        scan(Scan {
            backlog,
            uncounted,
            accounts: Arc::clone(&spool.accounts),
            inlet: Arc::clone(&spool.inlet),
            loss: Arc::clone(&spool.loss),
            is_closed: Arc::clone(&spool.is_closed),
        })?;
        Ok(spool)
    }

    /// Makes room for an event, which from now on counts among those that wait here; until the room
    /// is dropped, or for good once it was appended.
    pub(crate) fn reserve(&self, envelope: &Envelope) -> Result<Room<'_>, SpoolError> {
        let record = Record {
            index: 0,
            spooled_at: self.clock.millis(),
            may_be_stored: false,
            envelope: envelope.clone(),
        };
        let bytes = size_of_event(envelope);
        self.accounts.take_in(envelope.subject(), bytes)?;
        Ok(Room {
            spool: self,
            record,
            bytes,
            is_taken: false,
        })
    }

    /// Whether there would be room if the spool were empty.
    pub(crate) fn can_hold(&self, envelope: &Envelope) -> bool {
        !self.accounts.is_too_large(size_of_event(envelope))
    }

    /// Takes an event in: `Ok` once it is synced. `sent` is given if it was sent before and may
    /// be stored: above those sequence numbers, then.
    ///
    /// An event that finds no place in the queue by the deadline is not spooled. One that is queued may be
    /// spooled, whatever becomes of the wait: dropping the future gives up the answer, not the event.
    pub(crate) async fn append(
        &self,
        mut room: Room<'_>,
        sent: Option<&Baselines>,
        deadline: Instant,
    ) -> Result<(), SpoolError> {
        let started = Instant::now();
        let bytes = u32::try_from(room.bytes)
            .unwrap_or(u32::MAX)
            .min(MAX_QUEUED_BYTES);
        // One at a time, until it is queued: a later event that needs less room does not overtake. Without
        // the cooperative yields of tokio, which would come before the place in this line is taken.
        let turn = unconstrained(async {
            let turn = self.line.lock().await;
            let place = Arc::clone(&self.queue).acquire_many_owned(bytes).await;
            place.map(|place| (turn, place))
        });
        let (turn, place) = match timeout_at(deadline, turn).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) => return Err(SpoolError::Closed),
            Err(_) => {
                return Err(SpoolError::Busy {
                    waited: started.elapsed(),
                });
            }
        };
        room.is_taken = true;
        room.record.may_be_stored = sent.is_some();
        let answer = {
            let mut inlet = self.lock();
            let subject = room.record.envelope.subject().clone();
            let next_index = inlet.next_index + 1;
            let before = sent.map(|sent| inlet.may_be_stored(&subject, next_index, sent));
            let (before, state_number) = before.unzip();
            inlet.change(Change {
                before,
                state_number: state_number.unwrap_or(0),
                records: vec![NewRecord::event(&room.record, None)],
                _room: Some(place),
                ..Change::default()
            })
        };
        drop((turn, room));
        match timeout_at(deadline, answer).await {
            Ok(Ok(result)) => result.map(|_| ()),
            Ok(Err(_)) => Err(SpoolError::Closed),
            Err(_) => Err(SpoolError::TooSlow {
                waited: started.elapsed(),
            }),
        }
    }

    /// Whether no event waits here.
    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Whether events of `subject` wait here, so that new ones must queue behind them.
    pub(crate) fn holds(&self, subject: &Subject) -> bool {
        self.accounts.waiting(subject) > 0
    }

    /// How many events of `subject` wait here.
    pub(crate) fn waiting(&self, subject: &Subject) -> u64 {
        self.accounts.waiting(subject)
    }

    /// Waits until no event of `subject` waits here, until `deadline` at the most.
    pub(crate) async fn drained(&self, subject: &Subject, deadline: Instant) -> bool {
        let empty = async {
            loop {
                let mut drained = std::pin::pin!(self.accounts.drained.notified());
                drained.as_mut().enable();
                if !self.holds(subject) {
                    return;
                }
                drained.await;
            }
        };
        timeout_at(deadline, empty).await.is_ok()
    }

    /// Waits until nothing waits here, until `deadline` at the most.
    pub(crate) async fn emptied(&self, deadline: Instant) {
        let empty = async {
            loop {
                let mut drained = std::pin::pin!(self.accounts.drained.notified());
                drained.as_mut().enable();
                if self.accounts.is_empty() {
                    return;
                }
                drained.await;
            }
        };
        let _ = timeout_at(deadline, empty).await;
    }

    /// Waits until the scan has ended and an event waits.
    pub(crate) async fn filled(&self) {
        while !self.accounts.is_complete() || self.accounts.is_empty() {
            self.accounts.came_in.notified().await;
        }
    }

    /// Waits until an event comes in.
    pub(crate) async fn came_in(&self) {
        self.accounts.came_in.notified().await;
    }

    /// The subjects of which something waits here.
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        self.accounts.subjects()
    }

    /// Events of a subject, from index `from` on, without those that have left: some, up to `limit`,
    /// as long as there are any.
    pub(crate) async fn read(
        &self,
        subject: &Subject,
        from: u64,
        limit: usize,
    ) -> Result<Chunk, SpoolError> {
        let mut from = from;
        loop {
            let chunk = self
                .finish_reading(self.begin_reading(subject, from, limit))
                .await?;
            if !chunk.entries.is_empty() || !chunk.more {
                return Ok(chunk);
            }
            from = chunk.next;
        }
    }

    /// Lets the disk work while its caller does something else.
    pub(crate) fn begin_reading(&self, subject: &Subject, from: u64, limit: usize) -> Reading {
        let (index, subject, path) = (Arc::clone(&self.index), subject.clone(), self.path.clone());
        tokio::task::spawn_blocking(move || {
            let events = reader::events(&index, &subject, from, limit);
            events.map_err(|error| SpoolError::io(&path, "reading events", &error))
        })
    }

    /// Gives those that have not left by now.
    pub(crate) async fn finish_reading(&self, reading: Reading) -> Result<Chunk, SpoolError> {
        let mut chunk = reading.await.unwrap_or(Err(SpoolError::Closed))?;
        let leaving = self.leaving();
        if !leaving.is_empty() {
            let stays = |(index, ..): &Entry<Record>| !leaving.contains_key(index);
            chunk.entries.retain(stays);
        }
        Ok(chunk)
    }

    /// Accepts no more changes, and waits up to `wait` until all accepted ones are on the disk and the folder
    /// is unlocked; blocking. Returns whether that happened in time.
    pub(crate) fn close(&self, wait: Duration) -> bool {
        self.is_closed.store(true, Ordering::Relaxed);
        self.queue.close();
        let ended = self.lock().writer.stop();
        ended(wait)
    }

    /// Makes room, and takes it.
    #[cfg(test)]
    pub(crate) async fn append_event(
        &self,
        envelope: &Envelope,
        sent: Option<&Baselines>,
        deadline: Instant,
    ) -> Result<(), SpoolError> {
        self.append(self.reserve(envelope)?, sent, deadline).await
    }

    /// The dead letters.
    #[cfg(test)]
    pub(crate) fn letters(&self) -> Vec<DeadLetter> {
        let letters = reader::letters(&self.index, 0, usize::MAX).unwrap().entries;
        letters
            .into_iter()
            .map(|(_, _, letter)| letter.unwrap())
            .collect()
    }

    /// Copies the files once all queued changes are on the disk.
    #[cfg(test)]
    pub(crate) async fn copy_unclosed(&self, folder: &Path) {
        self.written().await.unwrap();
        for entry in std::fs::read_dir(&self.path).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "lock" {
                std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
            }
        }
    }

    pub(crate) fn status(&self) -> SpoolStatus {
        let totals = self.accounts.totals();
        SpoolStatus {
            events: totals.events,
            subjects: totals.subjects,
            used_bytes: totals.used_bytes,
            limit_bytes: totals.limit_bytes,
            dead_letters: totals.dead_letters,
            damaged: self.damaged.load(Ordering::Relaxed)
                + self.loss().map_or(0, |loss| loss.damaged),
        }
    }

    /// How long the oldest event has waited; blocking.
    pub(crate) fn oldest_age(&self) -> Result<Duration, SpoolError> {
        let since = reader::oldest(&self.index);
        let since =
            since.map_err(|error| SpoolError::io(&self.path, "reading an event", &error))?;
        let waited = since.map_or(0, |since| self.clock.millis().saturating_sub(since));
        Ok(Duration::from_millis(waited))
    }

    /// The damage that the scan found; `None` until the scan has ended.
    pub(crate) fn loss(&self) -> Option<&SpoolLoss> {
        self.loss.get()
    }

    /// The time for the age of events: a clock of the system that is set does not change it.
    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    fn lock(&self) -> MutexGuard<'_, Inlet> {
        self.inlet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Spool {
    /// Waits for the last sync, some milliseconds on a healthy disk.
    fn drop(&mut self) {
        self.close(DROP_WAIT);
    }
}

/// Scans the segments that existed when the spool was opened.
struct Scan {
    backlog: Backlog,
    uncounted: u64,
    accounts: Arc<Accounts>,
    inlet: Arc<Mutex<Inlet>>,
    loss: Arc<OnceLock<SpoolLoss>>,
    is_closed: Arc<AtomicBool>,
}

impl Scan {
    fn run(self) {
        let is_closed = self.is_closed;
        let counted = self.backlog.scan(|| !is_closed.load(Ordering::Relaxed));
        let Some(counted) = counted else { return };
        report(&counted, &self.loss);
        {
            let mut inlet = self.inlet.lock().unwrap_or_else(PoisonError::into_inner);
            if inlet.marker != ReplayMarker::Absent {
                // Left by a process that sent: it is not known which.
                for subject in counted.subjects.keys() {
                    inlet.unsettled.insert(subject.clone(), u64::MAX);
                }
            }
        }
        self.accounts.complete(&counted, self.uncounted);
    }
}

fn report(counted: &Counted, loss: &OnceLock<SpoolLoss>) {
    if !counted.loss.is_none() {
        error!("{}", counted.loss);
        let _ = loss.set(counted.loss.clone());
    }
}

/// How a spool with this limit is written.
fn access(limit_bytes: u64) -> Access {
    Access::Write {
        segment_bytes: (limit_bytes / 16).clamp(256 << 10, 16 << 20),
        prepares: true,
    }
}
