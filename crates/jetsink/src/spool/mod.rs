//! The spool: events on the local disk that no stream has acknowledged yet.
//!
//! Invariants:
//! 1. An append that returned `Ok` is synced to the disk.
//! 2. Indexes go to the disk in their order, so who reads a subject's events forward misses none.
//! 3. An event leaves when a stream has acknowledged it, when its id is found stored, when an earlier
//!    one of its subject has the same id and was just read, or into the dead letters with the broker's
//!    reason; never otherwise.
//! 4. From before the first event that may be stored in spite of standing here, until the last one
//!    has left, the file says so (`replay began`), with sequence numbers (baselines) below which
//!    none of them is stored.

mod accounts;
mod backend;
mod closing;
mod commit;
mod damaged;
mod dead;
mod doubt;
mod file;
mod inlet;
mod leaving;
#[allow(dead_code)]
mod log;
mod record;
mod salvage;
mod settings;
mod store;
mod tables;
#[cfg(test)]
pub(crate) mod tests;
mod unsettled;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use accounts::Accounts;
pub(crate) use dead::DeadLetter;
pub use file::{BuriedEvent, SpoolCheck, SpoolFile, SpooledEvent};
use inlet::{Inlet, Mark};
use leaving::Leaving;
pub(crate) use record::Record;
pub use salvage::SpoolLoss;
pub use settings::SpoolSettings;
pub(crate) use store::Chunk;
#[cfg(test)]
pub(crate) use store::OpenError;
use store::Store;
use tables::{Batch, Contents};
pub(crate) use unsettled::Unsettled;
use writer::Writer;

use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::outcome::SpoolError;

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
    store: Arc<Store>,
    accounts: Arc<Accounts>,
    inlet: Mutex<Inlet>,
    loss: Option<SpoolLoss>,
    /// By index: what has left and is still on the disk.
    leaving: Mutex<HashMap<u64, Leaving>>,
    /// Events that were found damaged after it was opened.
    damaged: AtomicU64,
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
    /// Opens the spool of `settings`, or makes it; blocking.
    ///
    /// # Errors
    /// [`SpoolError`]: in use, another format, or the disk.
    pub(crate) fn open(settings: &SpoolSettings) -> Result<Self, SpoolError> {
        let (store, contents, loss) = salvage::open(settings.directory())?;
        Self::over(store, contents, loss, settings.limit())
    }

    fn over(
        store: Store,
        contents: Contents,
        loss: Option<SpoolLoss>,
        limit_bytes: u64,
    ) -> Result<Self, SpoolError> {
        Self::written_by(Writer::start, store, contents, loss, limit_bytes)
    }

    /// A spool whose changes are made by who asks for them, for tests in virtual time.
    #[cfg(test)]
    pub(crate) fn at_once(
        disk: &tests::simulated_disk::SimulatedDisk,
        limit_bytes: u64,
    ) -> Result<Self, OpenError> {
        let (store, contents) = disk.open()?;
        let spool = Self::written_by(Writer::at_once, store, contents, None, limit_bytes);
        Ok(spool?)
    }

    fn written_by(
        writer: impl FnOnce(Arc<Store>, Arc<Accounts>) -> std::io::Result<Writer>,
        store: Store,
        contents: Contents,
        loss: Option<SpoolLoss>,
        limit_bytes: u64,
    ) -> Result<Self, SpoolError> {
        let everything = contents.replay_began || loss.is_some();
        if everything && !contents.replay_began {
            store.commit(&Batch {
                replay_began: Some(true),
                ..Batch::default()
            })?;
        }
        let store = Arc::new(store);
        let accounts = Arc::new(Accounts::new(&contents, limit_bytes));
        let listener = Arc::clone(&accounts);
        store.tell(move |batch, made| listener.settle_late(batch, made));
        let writer =
            writer(Arc::clone(&store), Arc::clone(&accounts)).map_err(|error| SpoolError::Io {
                path: store.path().to_owned(),
                doing: "starting its thread",
                reason: error.to_string(),
            })?;
        let left = contents.lanes.keys().filter(|_| everything);
        let unsettled = Unsettled::left_by_another(left.cloned());
        Ok(Self {
            store,
            accounts,
            inlet: Mutex::new(Inlet {
                next_index: contents.next_index,
                writer,
                unsettled,
                baselines: contents.baselines,
                mark: if everything {
                    Mark::Made
                } else {
                    Mark::NotNeeded
                },
            }),
            loss,
            leaving: Mutex::default(),
            damaged: AtomicU64::new(0),
        })
    }

    /// Makes room for an event, which from now on counts among those that wait here; until the room
    /// is dropped, or for good once it was appended.
    pub(crate) fn reserve(&self, envelope: &Envelope) -> Result<Room<'_>, SpoolError> {
        let record = unplaced(envelope);
        let bytes = record.encoded_len() as u64;
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
        let bytes = unplaced(envelope).encoded_len() as u64;
        !self.accounts.is_too_large(bytes)
    }

    /// Takes an event in: `Ok` once it is synced. `sent` is given where it was sent before and may
    /// be stored: above those sequence numbers, then.
    ///
    /// Dropping the future gives up on the answer, not on the event.
    pub(crate) async fn append(
        &self,
        mut room: Room<'_>,
        sent: Option<&Baselines>,
        deadline: Instant,
    ) -> Result<(), SpoolError> {
        let started = Instant::now();
        room.is_taken = true;
        let record = &mut room.record;
        record.may_be_stored = sent.is_some();
        let (done, answer) = oneshot::channel();
        {
            let mut inlet = self.lock();
            record.index = inlet.next_index;
            inlet.next_index += 1;
            let subject = record.envelope.subject().clone();
            let mut batch = Batch {
                append: vec![(subject.clone(), record.index, record.encode())],
                ..Batch::default()
            };
            if let Some(sent) = sent {
                inlet.may_be_stored(&subject, record.index, sent, &mut batch);
            }
            inlet.send(batch, Some(done));
        }
        drop(room);
        match timeout_at(deadline, answer).await {
            Ok(Ok(result)) => {
                if result.is_err() && sent.is_some() {
                    self.mark_is_missing();
                }
                result
            }
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
        self.accounts.lane(subject).events > 0
    }

    /// How many events of `subject` wait here.
    pub(crate) fn waiting(&self, subject: &Subject) -> u64 {
        self.accounts.lane(subject).events
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

    /// Waits until there is something.
    pub(crate) async fn filled(&self) {
        while self.accounts.is_empty() {
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
        let (store, subject) = (Arc::clone(&self.store), subject.clone());
        tokio::task::spawn_blocking(move || store.lane(&subject, from, limit))
    }

    /// Gives those that have not left by now.
    pub(crate) async fn finish_reading(&self, reading: Reading) -> Result<Chunk, SpoolError> {
        let mut chunk = reading.await.unwrap_or(Err(SpoolError::Closed))?;
        let leaving = self.leaving();
        if !leaving.is_empty() {
            let stays = |(index, ..): &store::Entry| !leaving.contains_key(index);
            chunk.entries.retain(stays);
        }
        Ok(chunk)
    }

    /// Takes nothing more, waits for what was taken to be on the disk, and gives the file free;
    /// blocking. A second call does nothing.
    pub(crate) fn close(&self) {
        let Some(thread) = self.lock().writer.stop() else {
            return;
        };
        let _ = thread.join();
        if let Err(error) = self.store.close() {
            warn!(%error, "the spool could not be closed in good order");
        }
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

    /// Copies the file as it is once what the writer was given is on the disk.
    #[cfg(test)]
    pub(crate) async fn copy_unclosed(&self, folder: &std::path::Path) {
        self.written().await.unwrap();
        std::fs::copy(self.store.path(), file_in(folder)).unwrap();
    }

    pub(crate) fn status(&self) -> SpoolStatus {
        let totals = self.accounts.totals();
        SpoolStatus {
            events: totals.events,
            subjects: totals.subjects,
            used_bytes: totals.used_bytes,
            limit_bytes: totals.limit_bytes,
            dead_letters: totals.dead_letters,
            damaged: self.damaged.load(Ordering::Relaxed),
        }
    }

    /// How long the oldest event has waited; blocking.
    pub(crate) fn oldest_age(&self) -> Result<Duration, SpoolError> {
        if self.accounts.is_empty() {
            return Ok(Duration::ZERO);
        }
        let since = self.store.oldest()?;
        let waited = since.map_or(0, |since| now_in_millis().saturating_sub(since));
        Ok(Duration::from_millis(waited))
    }

    pub(crate) fn loss(&self) -> Option<&SpoolLoss> {
        self.loss.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, Inlet> {
        // Nothing panics while holding it.
        self.inlet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Spool {
    /// Waits for the last commit, some milliseconds on a healthy disk.
    fn drop(&mut self) {
        self.close();
    }
}

/// An event's record, but for its index.
fn unplaced(envelope: &Envelope) -> Record {
    Record {
        index: 0,
        spooled_at: now_in_millis(),
        may_be_stored: false,
        envelope: envelope.clone(),
    }
}

fn now_in_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.unwrap_or(Duration::ZERO).as_millis();
    u64::try_from(millis).unwrap_or(u64::MAX)
}

/// The spool's file in its folder.
fn file_in(directory: &std::path::Path) -> PathBuf {
    directory.join("spool.redb")
}
