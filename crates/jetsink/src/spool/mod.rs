//! The spool: events on the local disk that no stream has acknowledged yet.
//!
//! Invariants:
//! 1. An append that returned `Ok` is synced to the disk.
//! 2. Indexes go to the disk in their order, so who reads a subject's events forward misses none.
//! 3. An event leaves when a stream has acknowledged it, when its id is found stored, or into the
//!    dead letters with the broker's reason; never otherwise.
//! 4. From before the first event that may be stored in spite of standing here, until the last one
//!    has left, the file says so (`replay began`), with sequence numbers (baselines) below which
//!    none of them is stored.

mod accounts;
mod backend;
mod closing;
mod damaged;
mod dead;
#[cfg(test)]
mod disk_tests;
mod error;
mod file;
mod record;
mod salvage;
mod settings;
mod store;
mod tables;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod torn_tests;
mod unsettled;
mod writer;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
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
pub use error::SpoolError;
pub use file::{BuriedEvent, SpoolCheck, SpoolFile, SpooledEvent};
pub(crate) use record::Record;
pub use salvage::SpoolLoss;
pub use settings::SpoolSettings;
pub(crate) use store::Chunk;
use store::Store;
use tables::{Batch, Contents};
pub(crate) use unsettled::Unsettled;
use writer::{Change, Writer};

use crate::envelope::Envelope;
use crate::subject::Subject;

/// What a spool holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolStatus {
    /// Events that wait for a stream.
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
    leaving: Mutex<HashMap<u64, Place>>,
    /// Events that were found damaged after it was opened.
    damaged: AtomicU64,
}

/// Invariant 2: an index and its place in the writer's queue are given together.
#[derive(Debug)]
struct Inlet {
    next_index: u64,
    writer: Writer,
    /// Subjects with events that may be stored (invariant 4).
    unsettled: Unsettled,
    baselines: Baselines,
    /// What the file says of invariant 4, once the writer has come to it.
    replay_began: bool,
}

/// An event's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) subject: Subject,
    pub(crate) index: u64,
    pub(crate) bytes: u64,
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
        let everything = contents.replay_began || loss.is_some();
        if everything && !contents.replay_began {
            store.commit(&Batch {
                replay_began: Some(true),
                ..Batch::default()
            })?;
        }
        let store = Arc::new(store);
        let accounts = Arc::new(Accounts::new(&contents, limit_bytes));
        let writer = Writer::start(Arc::clone(&store), Arc::clone(&accounts)).map_err(|error| {
            SpoolError::Io {
                path: store.path().to_owned(),
                doing: "starting its thread",
                reason: error.to_string(),
            }
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
                replay_began: everything,
            }),
            loss,
            leaving: Mutex::default(),
            damaged: AtomicU64::new(0),
        })
    }

    /// Takes an event in: `Ok` once it is synced. `sent` is given where it was sent before and may
    /// be stored: above those sequence numbers, then.
    ///
    /// Dropping the future gives up on the answer, not on the event.
    pub(crate) async fn append(
        &self,
        envelope: &Envelope,
        sent: Option<&Baselines>,
        deadline: Instant,
    ) -> Result<(), SpoolError> {
        let started = Instant::now();
        let subject = envelope.subject();
        let mut record = Record {
            index: 0,
            spooled_at: now_in_millis(),
            may_be_stored: sent.is_some(),
            envelope: envelope.clone(),
        };
        let bytes = record.encoded_len() as u64;
        self.accounts.take_in(subject, bytes)?;
        let (done, answer) = oneshot::channel();
        {
            let mut inlet = self.lock();
            record.index = inlet.next_index;
            inlet.next_index += 1;
            let mut batch = Batch {
                append: vec![(subject.clone(), record.index, record.encode())],
                ..Batch::default()
            };
            if let Some(sent) = sent {
                inlet.may_be_stored(subject, record.index, sent, &mut batch);
            }
            inlet.send(batch, Some(done));
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(SpoolError::Closed),
            Err(_) => Err(SpoolError::TooSlow {
                waited: started.elapsed(),
            }),
        }
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

    /// An event is stored: others of its subject need not queue behind it any more. It stays on the
    /// disk until [`remove_left`](Self::remove_left).
    pub(crate) fn left(&self, place: Place) {
        if let Entry::Vacant(free) = self.leaving().entry(place.index) {
            self.accounts.leave(&place.subject, place.bytes);
            free.insert(place);
        }
    }

    /// How many have left and are still on the disk.
    pub(crate) fn leaving_events(&self) -> usize {
        self.leaving().len()
    }

    /// An event can't be read any more.
    pub(crate) fn damaged(&self, place: Place) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        self.left(place);
    }

    /// Takes off the disk what has [`left`](Self::left); `acknowledged` are the highest sequence
    /// numbers that were acknowledged before anything that is in flight now. Queued for the disk
    /// by this call; the future waits for it. Where the disk fails, it is tried again the next time.
    pub(crate) fn remove_left(
        &self,
        acknowledged: &Baselines,
    ) -> impl Future<Output = Result<(), SpoolError>> + Send + use<'_> {
        let places: Vec<Place> = self.leaving().values().cloned().collect();
        let indexes: Vec<u64> = places.iter().map(|place| place.index).collect();
        let answer = (!places.is_empty()).then(|| self.remove(places, acknowledged));
        async move {
            let Some(answer) = answer else { return Ok(()) };
            answer.await.unwrap_or(Err(SpoolError::Closed))?;
            let mut leaving = self.leaving();
            for index in indexes {
                leaving.remove(&index);
            }
            Ok(())
        }
    }

    fn remove(
        &self,
        places: Vec<Place>,
        acknowledged: &Baselines,
    ) -> oneshot::Receiver<Result<(), SpoolError>> {
        let mut batch = Batch {
            freed_bytes: places.iter().map(|place| place.bytes).sum(),
            remove: places.into_iter().map(|p| (p.subject, p.index)).collect(),
            ..Batch::default()
        };
        let mut inlet = self.lock();
        if inlet.unsettled.is_empty() {
            if self.accounts.is_empty() {
                inlet.replay_began = false;
                batch.replay_began = Some(false);
            }
            for (stream, sequence) in acknowledged {
                inlet.baselines.insert(stream.clone(), *sequence);
            }
            batch.baselines = Some(inlet.baselines.clone().into_iter().collect());
        }
        inlet.change(batch)
    }

    /// Moves events to the dead letters.
    pub(crate) async fn bury(&self, letters: Vec<(DeadLetter, Place)>) -> Result<(), SpoolError> {
        if letters.is_empty() {
            return Ok(());
        }
        let (letters, places): (Vec<_>, Vec<_>) = letters.into_iter().unzip();
        let answer = self.lock().change(Batch {
            freed_bytes: places.iter().map(|place| place.bytes).sum(),
            bury: letters,
            ..Batch::default()
        });
        answer.await.unwrap_or(Err(SpoolError::Closed))?;
        for place in places {
            self.accounts.leave(&place.subject, place.bytes);
        }
        Ok(())
    }

    /// Whether the file says that something in it may be stored.
    pub(crate) fn replay_began(&self) -> bool {
        self.lock().replay_began
    }

    /// Before replay sends: from now on what is here may be stored, above these sequence numbers.
    /// Does nothing where the file says so already.
    pub(crate) async fn replay_begins(&self, acknowledged: &Baselines) -> Result<(), SpoolError> {
        let answer = {
            let mut inlet = self.lock();
            if inlet.replay_began {
                return Ok(());
            }
            inlet.replay_began = true;
            for (stream, sequence) in acknowledged {
                inlet.baselines.entry(stream.clone()).or_insert(*sequence);
            }
            let baselines = inlet.baselines.clone().into_iter().collect();
            inlet.change(Batch {
                baselines: Some(baselines),
                replay_began: Some(true),
                ..Batch::default()
            })
        };
        answer.await.unwrap_or(Err(SpoolError::Closed))
    }

    /// Events of these subjects were sent and not answered.
    pub(crate) fn unsettle(&self, subjects: impl IntoIterator<Item = Subject>) {
        let mut inlet = self.lock();
        for subject in subjects {
            inlet.unsettled.insert(subject, 0);
        }
    }

    /// What must be looked up before it is sent, and above which sequence numbers.
    pub(crate) fn unsettled(&self) -> (Unsettled, Baselines) {
        let inlet = self.lock();
        (inlet.unsettled.clone(), inlet.baselines.clone())
    }

    pub(crate) fn is_unsettled(&self, subject: &Subject) -> bool {
        self.lock().unsettled.contains(subject)
    }

    /// A subject has been looked up as it stood in `before`.
    pub(crate) fn settled(&self, subject: &Subject, before: &Unsettled) {
        self.lock().unsettled.remove(subject, before);
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

    /// Copies the file as it is once what the writer was given is on the disk.
    #[cfg(test)]
    pub(crate) async fn copy_unclosed(&self, folder: &std::path::Path) {
        let written = self.lock().change(Batch::default());
        written.await.unwrap().unwrap();
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

    pub(crate) fn loss(&self) -> Option<&SpoolLoss> {
        self.loss.as_ref()
    }

    fn leaving(&self) -> MutexGuard<'_, HashMap<u64, Place>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Inlet {
    fn send(&self, batch: Batch, done: Option<writer::Done>) {
        self.writer.send(Change { batch, done });
    }

    fn change(&self, batch: Batch) -> oneshot::Receiver<Result<(), SpoolError>> {
        let (done, answer) = oneshot::channel();
        self.send(batch, Some(done));
        answer
    }

    /// Invariant 4, for an event that was sent before it came here.
    fn may_be_stored(
        &mut self,
        subject: &Subject,
        index: u64,
        sent_above: &Baselines,
        batch: &mut Batch,
    ) {
        self.unsettled.insert(subject.clone(), index);
        if !self.replay_began {
            self.baselines.clone_from(sent_above);
        } else {
            self.baselines
                .retain(|stream, sequence| match sent_above.get(stream) {
                    // Not heard of when it was sent: it may be stored anywhere in that stream.
                    None => false,
                    Some(above) => {
                        *sequence = (*sequence).min(*above);
                        true
                    }
                });
        }
        self.replay_began = true;
        batch.replay_began = Some(true);
        batch.baselines = Some(self.baselines.clone().into_iter().collect());
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
