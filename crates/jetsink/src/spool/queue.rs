//! Changes on their way to the disk, and the thread that makes them. All waiting changes share one
//! write and one sync.

use std::collections::HashSet;
use std::io;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Baselines;
use super::log::event::NewRecord;
use super::log::format::{Kind, State};
use super::log::marks::{Marked, REUSED};
use super::log::writer::{Failed, Log};
use super::shared::Shared;
use crate::crash;
use crate::outcome::SpoolError;
use crate::sync::lock;

/// The bytes and the changes that one sync is shared by, at most.
const MAX_GROUP_BYTES: u64 = 8 << 20;
const MAX_GROUP: usize = 16_384;

/// After so long without a change the log is sealed.
pub(super) const IDLE: Duration = Duration::from_millis(20);

/// The interval of the seals under a steady load.
pub(super) const MAX_UNSEALED: Duration = Duration::from_secs(1);

/// How often the seal is compared with the system's clock.
const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// How often records in doubt are written again.
const RETRY: Duration = Duration::from_secs(1);

/// A change on its way to the disk.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// The change of the state, which is written before the records.
    pub(super) state: Option<StateChange>,
    pub(super) records: Vec<NewRecord>,
    /// Whether to mark the records that have left.
    pub(super) marks: bool,
    /// The baselines once the marks are synced.
    pub(super) acknowledged: Option<Baselines>,
    pub(super) done: Option<oneshot::Sender<Made>>,
    /// The room in the queue, until it is made.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// The answer of the disk to a change, and the change's records: their memory is freed by the caller, while others wait for the
/// thread.
pub(super) type Made = (Result<(), SpoolError>, Vec<NewRecord>);

/// A change that goes to the disk before what depends on it (invariant 4).
#[derive(Debug)]
pub(super) enum StateChange {
    /// An event is appended that was sent before, and may be stored above these sequence numbers.
    Sent(Baselines),
    /// Replay is about to send events, which will be stored above these sequence numbers.
    ReplayBegins(Baselines),
    /// These streams are others than those of their baselines, or were set back.
    Forget(Vec<String>),
}

impl StateChange {
    /// Changes the state. Returns whether it must be written.
    pub(super) fn apply(self, state: &mut State) -> bool {
        match self {
            Self::Sent(above) if !state.replay_began => {
                state.baselines = above;
            }
            Self::Sent(above) => state.baselines.retain(|stream, baseline| {
                // Unknown when it was sent, or another stream: it may be stored anywhere in it.
                let above = above.get(stream);
                let Some(above) = above.filter(|above| above.is_of_same_stream(baseline)) else {
                    return false;
                };
                baseline.sequence = baseline.sequence.min(above.sequence);
                true
            }),
            // An event that may be stored anywhere may be in a stream that is not named.
            Self::ReplayBegins(_) if state.replay_began => {}
            Self::ReplayBegins(acknowledged) => {
                for (stream, acknowledged) in acknowledged {
                    let baseline = state.baselines.entry(stream).or_default();
                    let is_other = !baseline.is_of_same_stream(&acknowledged);
                    if is_other || baseline.sequence < acknowledged.sequence {
                        *baseline = acknowledged;
                    }
                }
            }
            Self::Forget(streams) => {
                let known = state.baselines.len();
                state
                    .baselines
                    .retain(|stream, _| !streams.contains(stream));
                return state.replay_began && state.baselines.len() < known;
            }
        }
        state.replay_began = true;
        true
    }
}

/// The log and its counters.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) log: Log,
    shared: Arc<Shared>,
    /// When the log was last sealed under load.
    sealed: Instant,
}

/// The way to the thread.
#[derive(Debug)]
pub(super) enum Writer {
    Thread(Sender<Change>),
    /// The sender makes the change: a thread would take real time from tests in virtual time.
    #[cfg(test)]
    AtOnce(Box<Worker>),
    Closed,
}

impl Writer {
    pub(super) fn start(log: Log, shared: Arc<Shared>) -> io::Result<Self> {
        let (sender, changes) = channel();
        let worker = Worker::new(log, Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("jetsink-spool".to_owned());
        thread.spawn(move || {
            // The folder is free before the end is known.
            shared.run(|| worker.run(&changes));
            shared.end();
        })?;
        Ok(Self::Thread(sender))
    }

    /// Queues a change. After the end, `done` is dropped, which says so.
    pub(super) fn send(&mut self, change: Change) {
        match self {
            // A thread that has panicked receives nothing.
            Self::Thread(changes) => drop(changes.send(change)),
            #[cfg(test)]
            Self::AtOnce(worker) => worker.make(vec![change]),
            Self::Closed => {}
        }
    }

    /// Takes no more changes. The thread makes those that it was given, and frees the folder.
    pub(super) fn close(&mut self) {
        #[cfg(test)]
        if let Self::AtOnce(worker) = std::mem::replace(self, Self::Closed) {
            let Worker { log, shared, .. } = *worker;
            log.close();
            shared.end();
        }
        *self = Self::Closed;
    }
}

/// The first change and those behind it that share its sync.
fn group(first: Change, changes: &Receiver<Change>) -> Vec<Change> {
    let mut group = Vec::new();
    let mut bytes = 0;
    for change in iter::once(first).chain(changes.try_iter()) {
        let sizes = change.records.iter().map(|record| record.head.size());
        bytes += sizes.sum::<u64>();
        // The baselines are raised before a later change lowers them.
        let is_last = change.acknowledged.is_some();
        group.push(change);
        if is_last || bytes >= MAX_GROUP_BYTES || group.len() >= MAX_GROUP {
            break;
        }
    }
    group
}

impl Worker {
    pub(super) fn new(log: Log, shared: Arc<Shared>) -> Self {
        Self {
            log,
            shared,
            sealed: Instant::now(),
        }
    }

    /// Makes all changes until the queue is closed, and frees the folder.
    fn run(mut self, changes: &Receiver<Change>) {
        let mut idle = CLOCK_CHECK;
        loop {
            let group = match changes.recv_timeout(idle) {
                Ok(first) => group(first, changes),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            idle = self.step(group, Instant::now());
        }
        self.log.close();
    }

    /// Makes a group of changes, or rests if it is empty. Returns when to come again at the latest.
    pub(super) fn step(&mut self, group: Vec<Change>, now: Instant) -> Duration {
        if group.is_empty() {
            return self.rest();
        }
        self.make(group);
        if now.saturating_duration_since(self.sealed) >= MAX_UNSEALED {
            // A failure shows in the next append.
            let _ = self.log.seal();
            self.sealed = now;
        }
        IDLE
    }

    /// With nothing else to do. Returns when to come again.
    fn rest(&mut self) -> Duration {
        if !self.log.in_doubt.is_empty() {
            let _ = self.log.resolve_doubt();
            self.count_resolved();
            return RETRY;
        }
        // A failure shows in the next append.
        let _ = self.log.seal();
        let has_unmarked = self.log.unmarked_from.is_some();
        if has_unmarked {
            // A failure shows in the next removal.
            let _ = self.log.mark_left();
        }
        match has_unmarked || self.log.rewrite(|_| true) {
            true => IDLE,
            false => CLOCK_CHECK,
        }
    }

    /// Makes a group of changes.
    fn make(&mut self, mut group: Vec<Change>) {
        crash::point("spool.before-commit");
        let in_doubt = self.log.in_doubt.iter();
        let in_doubt = in_doubt.filter_map(|record| Some(record.dead.as_ref()?.index));
        let mut dying: HashSet<u64> = in_doubt.collect();
        // Once, not for each change: emits wait for it.
        let mut index = lock(&self.log.index);
        for change in &mut group {
            // An event has one dead letter, also if its caller gave up an earlier call.
            change.records.retain(|record| match &record.dead {
                Some(dead) => !index.is_gone(dead.index) && dying.insert(dead.index),
                None => true,
            });
            if let Some(state) = change.state.take()
                && state.apply(&mut index.state)
            {
                let record = NewRecord::state(&index.state, &[]);
                change.records.insert(0, record);
            }
        }
        drop(index);
        self.commit(group);
    }

    /// Writes a group, and answers each change.
    fn commit(&mut self, mut group: Vec<Change>) {
        let records: Vec<&NewRecord> = group.iter().flat_map(|change| &change.records).collect();
        let appended = match records.is_empty() {
            // A caller that waits for records in doubt queues an empty change.
            true => self.log.resolve_doubt().or(Ok(())),
            false => self.log.append(&records),
        };
        crash::point("spool.after-commit");
        self.count_resolved();
        if appended.as_ref().is_err_and(Failed::is_for_lack_of_room) {
            // The reserve is for what replay writes, which must not fail with the events beside it.
            let is_event = |record: &NewRecord| record.head.kind == Kind::Event;
            let has_event = |change: &Change| change.records.iter().any(is_event);
            let (events, others) = group.into_iter().partition(has_event);
            group = events;
            if !group.is_empty() && !others.is_empty() {
                self.commit(others);
            } else {
                group.extend(others);
            }
        }
        let disk = &self.log.disk;
        let appended = appended.map_err(|Failed { error, in_doubt }| match in_doubt {
            true => SpoolError::HalfWritten {
                path: disk.path().to_owned(),
                kind: error.kind(),
                reason: error.to_string(),
            },
            false => disk.failed("writing events")(error),
        });
        let records = group.iter().flat_map(|change| &change.records);
        match &appended {
            Ok(()) => self.written(records),
            Err(error) if error.may_be_spooled() => {}
            Err(_) => self.shared.release(records),
        }
        let marked = self.mark(&group);
        self.log.drop_drained(REUSED);
        for change in group {
            let result = match change.records.is_empty() {
                true => &marked,
                // A dead letter counts from when it is written: its event needs no mark.
                false => &appended,
            };
            if let Some(done) = change.done {
                // A caller that has gone away has given up on the answer, not on the event.
                let _ = done.send((result.clone(), change.records));
            }
        }
        crash::point("spool.acknowledged");
    }

    /// Counts the records that were in doubt, and are written by now.
    fn count_resolved(&mut self) {
        let resolved = std::mem::take(&mut self.log.resolved);
        self.written(resolved.iter());
    }

    /// These records are on the disk.
    fn written<'a>(&self, records: impl Iterator<Item = &'a NewRecord> + Clone) {
        // Before their callers get an answer, and before a later change removes one of the events.
        self.shared.observer.synced(records.clone());
        for record in records.clone() {
            if record.head.kind == Kind::State {
                // One that was in doubt may be the state without the marker.
                let state = State::decode(&mut record.fields.as_slice());
                let has_marker = state.is_some_and(|state| state.replay_began);
                self.shared.has_marker.store(has_marker, Ordering::Release);
            }
            if let Some(dead) = &record.dead {
                self.shared.leave(dead);
            }
        }
        let subjects = records.filter_map(|record| record.subject.as_ref());
        self.shared.entered(subjects);
    }

    /// Marks the records that have left, and then raises the baselines.
    fn mark(&mut self, group: &[Change]) -> Result<(), SpoolError> {
        if !group.iter().any(|change| change.marks) {
            return Ok(());
        }
        // A segment from which records have left since the last marks may be drained soon, and costs nothing then.
        self.log.rewrite(|segment| segment.unmarked.is_empty());
        let marked = self.log.mark_left();
        let acknowledged = group.last().and_then(|change| change.acknowledged.clone());
        // A segment that the scan could not read may have events that were sent.
        let acknowledged = acknowledged.filter(|_| lock(&self.log.index).has_scanned_all());
        if let (Ok(Marked::OnDisk), Some(acknowledged)) = (&marked, acknowledged) {
            let before = lock(&self.log.index).state.clone();
            let mut state = before.clone();
            state.baselines.extend(acknowledged);
            // Nothing is here that may be stored.
            state.replay_began &= !self.shared.is_empty();
            if !state.replay_began {
                self.shared.has_marker.store(false, Ordering::Release);
            }
            if state != before {
                // If this fails, the lower ones hold.
                let _ = self.log.set_state(state);
            }
        }
        let failed = self.log.disk.failed("marking what has left");
        marked.map(|_| ()).map_err(failed)
    }
}
