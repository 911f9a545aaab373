//! Changes on their way to the disk, and the thread that makes them. All waiting changes share one
//! write and one sync.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Place;
use super::log::event::NewRecord;
use super::log::format::{Kind, State};
use super::log::marks::{Marked, Removed};
use super::log::writer::Log;
use super::observer::Observer;
use super::usage::Usage;
use crate::crash;
use crate::outcome::SpoolError;

/// The bytes and the changes that one sync is shared by, at most.
const MAX_GROUP_BYTES: u64 = 8 << 20;
const MAX_GROUP: usize = 16_384;

/// After so long without a change the log is sealed.
const IDLE: Duration = Duration::from_millis(20);

/// The interval of the seals under a steady load.
const MAX_UNSEALED: Duration = Duration::from_secs(1);

/// How often the seal is compared with the system's clock.
const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// How often records in doubt are written again.
const RETRY: Duration = Duration::from_secs(1);

/// Sent when a change is made: whether it is on the disk.
pub(super) type Done = oneshot::Sender<Result<Made, SpoolError>>;

/// A change that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    OnDisk,
    /// The disk is full: the marks of delivered events are in memory.
    InMemory,
}

/// By index: events whose dead letters are on their way to the disk, or in doubt, and whether the event is
/// counted out because it was found stored meanwhile.
pub(super) type Dying = Arc<Mutex<HashMap<u64, bool>>>;

/// A change on its way to the disk.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// The state from before the records.
    pub(super) before: Option<State>,
    /// The number of `before`, counted from 1; 0 without one.
    pub(super) state_number: u64,
    pub(super) records: Vec<NewRecord>,
    /// Leaves once the records are synced.
    pub(super) left: Vec<Place>,
    /// The state once the marks of `left` are synced.
    pub(super) after: Option<State>,
    pub(super) done: Option<Done>,
    /// The room in the queue, until it is made.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// The log and its counters.
#[derive(Debug)]
struct Worker {
    log: Log,
    usage: Arc<Usage>,
    /// Their records are in doubt.
    in_doubt: Vec<Change>,
    /// The highest `state_number` that is synced.
    written_state: Arc<AtomicU64>,
    dying: Dying,
    observer: Observer,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: VecDeque<Change>,
    is_closed: bool,
    has_ended: bool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<Queue>,
    written_state: Arc<AtomicU64>,
    pub(super) dying: Dying,
    pub(super) observer: Observer,
    /// For tests in virtual time, which a thread would take real time from: the sender makes the change.
    at_once: Option<Worker>,
}

impl Writer {
    pub(super) fn start(log: Log, usage: Arc<Usage>) -> io::Result<Self> {
        let queue = Arc::<Queue>::default();
        let worker = Worker::new(log, Arc::clone(&usage));
        let written_state = Arc::clone(&worker.written_state);
        let dying = Arc::clone(&worker.dying);
        let observer = worker.observer.clone();
        let of_thread = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name("jetsink-spool".to_owned());
        let _: JoinHandle<()> = thread.spawn(move || run(worker, &of_thread, &usage))?;
        Ok(Self {
            queue,
            written_state,
            dying,
            observer,
            at_once: None,
        })
    }

    #[cfg(test)]
    pub(super) fn at_once(log: Log, usage: Arc<Usage>) -> io::Result<Self> {
        let worker = Worker::new(log, usage);
        Ok(Self {
            queue: Arc::default(),
            written_state: Arc::clone(&worker.written_state),
            dying: Arc::clone(&worker.dying),
            observer: worker.observer.clone(),
            at_once: Some(worker),
        })
    }

    /// Queues a change. After the end, `done` is dropped, which says so.
    pub(super) fn send(&mut self, change: Change) {
        if let Some(worker) = &mut self.at_once {
            return worker.make(vec![change]);
        }
        let mut waiting = self.queue.lock();
        if !waiting.is_closed {
            // The thread waits for an empty queue only. A notification is a system call.
            let was_empty = waiting.changes.is_empty();
            waiting.changes.push_back(change);
            drop(waiting);
            if was_empty {
                self.queue.changed.notify_all();
            }
        }
    }

    /// The highest number of a state that is on the disk.
    pub(super) fn written_state(&self) -> u64 {
        self.written_state.load(Ordering::Acquire)
    }

    /// Takes no more changes. Returns a wait, up to a time, until those that were taken are made and the
    /// folder is free.
    pub(super) fn stop(&mut self) -> impl FnOnce(Duration) -> bool + use<> {
        let mut waiting = self.queue.lock();
        waiting.is_closed = true;
        if let Some(worker) = self.at_once.take() {
            worker.log.close();
            waiting.has_ended = true;
        }
        drop(waiting);
        self.queue.changed.notify_all();
        let queue = Arc::clone(&self.queue);
        move |wait| queue.has_ended_within(wait)
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended_within(&self, wait: Duration) -> bool {
        let started = Instant::now();
        let mut waiting = self.lock();
        while !waiting.has_ended {
            let Some(left) = wait.checked_sub(started.elapsed()) else {
                return false;
            };
            // A far end would be none for the system.
            let left = left.min(Duration::from_secs(3_600));
            let woken = self.changed.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The next group; empty after `idle`, and `None` at the end.
    fn next(&self, idle: Duration) -> Option<Vec<Change>> {
        let mut waiting = self.lock();
        while waiting.changes.is_empty() {
            if waiting.is_closed {
                return None;
            }
            let woken = self.changed.wait_timeout(waiting, idle);
            let (again, result) = woken.unwrap_or_else(PoisonError::into_inner);
            waiting = again;
            if result.timed_out() && waiting.changes.is_empty() {
                return Some(Vec::new());
            }
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(change) = waiting.changes.pop_front() {
            bytes += change.records.iter().map(NewRecord::size).sum::<u64>();
            // A later state would be older than this one.
            let is_last = change.after.is_some();
            group.push(change);
            if is_last || bytes >= MAX_GROUP_BYTES || group.len() >= MAX_GROUP {
                break;
            }
        }
        Some(group)
    }
}

/// Ends the queue with its thread, also after a panic: its callers get no answer.
struct Ending<'a> {
    queue: &'a Queue,
    usage: &'a Usage,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.usage.fail();
        }
        let mut waiting = self.queue.lock();
        (waiting.is_closed, waiting.has_ended) = (true, true);
        waiting.changes.clear();
        self.queue.changed.notify_all();
    }
}

fn run(worker: Worker, queue: &Queue, usage: &Usage) {
    let _ending = Ending { queue, usage };
    // Dropped before that.
    let mut worker = worker;
    let mut idle = CLOCK_CHECK;
    let mut sealed = Instant::now();
    while let Some(group) = queue.next(idle) {
        if group.is_empty() {
            idle = worker.rest();
        } else {
            worker.make(group);
            idle = IDLE;
            if sealed.elapsed() >= MAX_UNSEALED {
                // A failure shows in the next append.
                let _ = worker.log.seal();
                sealed = Instant::now();
            }
        }
    }
    // The folder is free before the end is known.
    worker.log.close();
}

impl Worker {
    fn new(log: Log, usage: Arc<Usage>) -> Self {
        Self {
            log,
            usage,
            in_doubt: Vec::new(),
            written_state: Arc::default(),
            dying: Dying::default(),
            observer: Observer::default(),
        }
    }

    /// With nothing else to do. Returns when to come again.
    fn rest(&mut self) -> Duration {
        if self.log.has_doubt() {
            let _ = self.log.resolve_doubt();
            self.decide();
            return RETRY;
        }
        // A failure shows in the next append.
        let _ = self.log.seal();
        if self.log.rewrite() {
            IDLE
        } else {
            CLOCK_CHECK
        }
    }

    /// Makes a group of changes, and answers each.
    fn make(&mut self, mut group: Vec<Change>) {
        crash::point("spool.before-commit");
        for change in &mut group {
            if let Some(state) = &change.before {
                // Also in the segment that this may begin.
                self.log.state.clone_from(state);
                change.records.insert(0, NewRecord::state(state));
            }
        }
        let records: Vec<&NewRecord> = group.iter().flat_map(|change| &change.records).collect();
        let appended = match records.is_empty() {
            true => {
                // Who waits for records in doubt queues an empty change.
                let _ = self.log.resolve_doubt();
                Ok(())
            }
            false => self.log.append(&records),
        };
        crash::point("spool.after-commit");
        self.decide();
        if appended.is_ok() {
            self.observe(&group);
        }
        let appended = appended.map_err(|failed| {
            let path = self.log.disk.path().to_owned();
            let reason = failed.error.to_string();
            match failed.in_doubt {
                true => SpoolError::HalfWritten { path, reason },
                false => SpoolError::Io {
                    path,
                    doing: "writing events",
                    reason,
                },
            }
        });
        let is_written = |change: &Change| change.records.is_empty();
        let made: Vec<&Change> = group
            .iter()
            .filter(|change| appended.is_ok() || is_written(change))
            .collect();
        let marked = self.leave(&made);
        let after = made.iter().rev().find_map(|change| change.after.clone());
        let marked = match (marked, after) {
            (Ok(Marked::OnDisk), Some(after)) => Ok(self.log.set_state(after).is_ok()),
            (marked, _) => marked.map(|marked| matches!(marked, Marked::OnDisk)),
        };
        let marked = match marked {
            Ok(true) => Ok(Made::OnDisk),
            Ok(false) => Ok(Made::InMemory),
            Err(error) => Err(SpoolError::io(
                self.log.disk.path(),
                "marking what has left",
                &error,
            )),
        };
        self.log.drop_long();
        let mut doubtful = Vec::new();
        for mut change in group {
            let done = change.done.take();
            let result = match (is_written(&change), &appended) {
                (false, Err(error)) => Err(error.clone()),
                // A dead letter counts from when it is written: its event needs no mark.
                (false, Ok(())) => Ok(Made::OnDisk),
                (true, _) => marked.clone(),
            };
            match (&result, &appended) {
                (Err(error), Err(_)) if error.may_be_spooled() => doubtful.push(change),
                (Err(_), Err(_)) => self.refused(&change),
                _ => self.written(&change),
            }
            if let Some(done) = done {
                // A caller that has gone away has given up on the answer, not on the event.
                let _ = done.send(result);
            }
        }
        self.in_doubt.extend(doubtful);
        crash::point("spool.acknowledged");
    }

    /// Before their callers get an answer, and before a later change removes one of the events.
    fn observe(&self, changes: &[Change]) {
        let records = changes.iter().flat_map(|change| &change.records);
        self.observer.synced(records);
    }

    /// Counts the changes whose records were in doubt, and are written by now.
    fn decide(&mut self) {
        if self.log.has_doubt() || self.in_doubt.is_empty() {
            return;
        }
        let changes = std::mem::take(&mut self.in_doubt);
        self.observe(&changes);
        let _ = self.leave(&changes.iter().collect::<Vec<_>>());
        for change in &changes {
            self.written(change);
        }
    }

    /// Lets events leave whose marks or dead letters these changes are.
    fn leave(&mut self, changes: &[&Change]) -> io::Result<Marked> {
        // A letter counts before its event leaves: no status has neither.
        for record in changes.iter().flat_map(|change| &change.records) {
            if record.kind() == Kind::DeadLetter {
                self.usage.add_letter(record.size());
            }
        }
        let places = changes.iter().flat_map(|change| {
            let is_burial = !change.records.is_empty();
            change.left.iter().map(move |place| (place, is_burial))
        });
        let places: Vec<(&Place, bool)> = places.collect();
        if places.is_empty() {
            return Ok(Marked::OnDisk);
        }
        let removed = places.iter().map(|(place, _)| Removed {
            subject: Some(place.subject.clone()),
            index: place.index,
            bytes: place.bytes,
        });
        let removed: Vec<Removed> = removed.collect();
        let (usage, dying) = (&self.usage, &self.dying);
        let marked = self.log.deliver(&removed, |at| {
            let (place, is_burial) = places[at];
            if is_burial && lock_dying(dying).remove(&place.index) != Some(true) {
                usage.leave(&place.subject, place.bytes);
            }
            usage.free(place.bytes);
        });
        self.log.rewrite();
        marked
    }

    fn written(&self, change: &Change) {
        self.written_state
            .fetch_max(change.state_number, Ordering::AcqRel);
        self.decided(change);
        for record in &change.records {
            self.usage.entered(&record.subject);
        }
    }

    /// Nothing of a burial is in doubt any more.
    fn decided(&self, change: &Change) {
        if !change.records.is_empty() && !change.left.is_empty() {
            let mut dying = lock_dying(&self.dying);
            for place in &change.left {
                dying.remove(&place.index);
            }
        }
    }

    fn refused(&self, change: &Change) {
        self.decided(change);
        for record in &change.records {
            if let Some(subject) = &record.subject {
                self.usage.release(subject, record.size());
            }
        }
    }
}

pub(super) fn lock_dying(dying: &Dying) -> MutexGuard<'_, HashMap<u64, bool>> {
    dying.lock().unwrap_or_else(PoisonError::into_inner)
}
