//! Changes on their way to the disk, and the thread that makes them. All waiting changes share one
//! write and one sync.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::log::event::NewRecord;
use super::log::format::Kind;
use super::log::marks::Marked;
use super::log::writer::{Failed, Log};
use super::shared::Shared;
use super::state_change::StateChange;
use super::{Baselines, Place};
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
    /// The events of dead letters, which leave once the records are synced.
    pub(super) replaced: Vec<Place>,
    /// Whether to mark the records that have left.
    pub(super) marks: bool,
    /// The baselines once the marks are synced.
    pub(super) acknowledged: Option<Baselines>,
    pub(super) done: Option<oneshot::Sender<Result<(), SpoolError>>>,
    /// The room in the queue, until it is made.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

impl Change {
    fn has_event(&self) -> bool {
        self.records
            .iter()
            .any(|record| record.head.kind == Kind::Event)
    }
}

/// The log and its counters.
#[derive(Debug)]
pub(super) struct Worker {
    log: Log,
    shared: Arc<Shared>,
    /// Their records are in doubt.
    in_doubt: Vec<Change>,
    /// When the log was last sealed under load.
    sealed: Instant,
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
    /// For tests in virtual time, which a thread would take real time from: the sender makes the change.
    pub(super) at_once: Option<Worker>,
}

impl Writer {
    pub(super) fn start(log: Log, shared: Arc<Shared>) -> io::Result<Self> {
        let mut writer = Self::at_once(log, shared)?;
        let queue = Arc::clone(&writer.queue);
        if let Some(worker) = writer.at_once.take() {
            let thread = std::thread::Builder::new().name("jetsink-spool".to_owned());
            let _: JoinHandle<()> = thread.spawn(move || run(worker, &queue))?;
        }
        Ok(writer)
    }

    pub(super) fn at_once(log: Log, shared: Arc<Shared>) -> io::Result<Self> {
        Ok(Self {
            queue: Arc::default(),
            at_once: Some(Worker {
                log,
                shared,
                in_doubt: Vec::new(),
                sealed: Instant::now(),
            }),
        })
    }

    /// Queues a change. After the end, `done` is dropped, which says so.
    pub(super) fn send(&mut self, change: Change) {
        if let Some(worker) = &mut self.at_once {
            return worker.make(vec![change]);
        }
        let mut waiting = lock(&self.queue.waiting);
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

    /// Takes no more changes. Returns a wait, up to a time, until those that were taken are made and the
    /// folder is free.
    pub(super) fn stop(&mut self) -> impl FnOnce(Duration) -> bool + use<> {
        let mut waiting = lock(&self.queue.waiting);
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
    fn has_ended_within(&self, wait: Duration) -> bool {
        let started = Instant::now();
        let mut waiting = lock(&self.waiting);
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
        let mut waiting = lock(&self.waiting);
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
            let sizes = change.records.iter().map(|record| record.head.size());
            bytes += sizes.sum::<u64>();
            // The baselines are raised before a later change lowers them.
            let is_last = change.acknowledged.is_some();
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
    shared: Arc<Shared>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.fail();
        }
        let mut waiting = lock(&self.queue.waiting);
        (waiting.is_closed, waiting.has_ended) = (true, true);
        waiting.changes.clear();
        self.queue.changed.notify_all();
    }
}

fn run(worker: Worker, queue: &Queue) {
    let shared = Arc::clone(&worker.shared);
    let _ending = Ending { queue, shared };
    // Dropped before that.
    let mut worker = worker;
    let mut idle = CLOCK_CHECK;
    while let Some(group) = queue.next(idle) {
        idle = worker.step(group, Instant::now());
    }
    // The folder is free before the end is known.
    worker.log.close();
}

impl Worker {
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
        if self.log.has_doubt() {
            let _ = self.log.resolve_doubt();
            self.decide();
            return RETRY;
        }
        // A failure shows in the next append.
        let _ = self.log.seal();
        match self.log.mark_more() || self.log.rewrite() {
            true => IDLE,
            false => CLOCK_CHECK,
        }
    }

    /// Makes a group of changes.
    fn make(&mut self, mut group: Vec<Change>) {
        crash::point("spool.before-commit");
        for change in &mut group {
            let mut index = lock(&self.log.index);
            if let Some(state) = change.state.take()
                && state.apply(&mut index.state)
            {
                let record = NewRecord::state(&index.state, &[]);
                change.records.insert(0, record);
            }
        }
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
        self.decide();
        if appended.as_ref().is_err_and(Failed::is_for_lack_of_room) {
            // The reserve is for what replay writes, which must not fail with the events beside it.
            let (events, others) = group.into_iter().partition(Change::has_event);
            group = events;
            if !group.is_empty() && !others.is_empty() {
                self.commit(others);
            } else {
                group.extend(others);
            }
        }
        let path = self.log.disk.path();
        let appended = appended.map_err(|failed| match failed.in_doubt {
            true => SpoolError::HalfWritten {
                path: path.to_owned(),
                reason: failed.error.to_string(),
            },
            false => SpoolError::io(path, "writing events", &failed.error),
        });
        match &appended {
            Ok(()) => self.written(&group),
            Err(error) if error.may_be_spooled() => {}
            Err(_) => self.refused(&group),
        }
        let marked = self.mark(&group);
        self.log.drop_long();
        for mut change in group {
            let result = match change.records.is_empty() {
                true => &marked,
                // A dead letter counts from when it is written: its event needs no mark.
                false => &appended,
            };
            let in_doubt = result.as_ref().is_err_and(SpoolError::may_be_spooled);
            if in_doubt {
                let sent = change.records.iter().filter(|record| record.head.sent);
                let subjects = sent.filter_map(|record| record.subject.clone());
                lock(&self.shared.sent_in_doubt).extend(subjects);
            }
            if let Some(done) = change.done.take() {
                // A caller that has gone away has given up on the answer, not on the event.
                let _ = done.send(result.clone());
            }
            if in_doubt {
                self.in_doubt.push(change);
            }
        }
        crash::point("spool.acknowledged");
    }

    /// Counts the changes whose records were in doubt, and are written by now.
    fn decide(&mut self) {
        if !self.log.has_doubt() {
            let decided = std::mem::take(&mut self.in_doubt);
            self.written(&decided);
            lock(&self.shared.sent_in_doubt).clear();
        }
    }

    /// The records of these changes are on the disk.
    fn written(&self, changes: &[Change]) {
        let records = || changes.iter().flat_map(|change| &change.records);
        // Before their callers get an answer, and before a later change removes one of the events.
        self.shared.observer.synced(records());
        if records().any(|record| record.head.kind == Kind::State) {
            self.shared.has_marker.store(true, Ordering::Release);
        }
        for place in changes.iter().flat_map(|change| &change.replaced) {
            self.shared.leave(place);
            lock(&self.shared.dying).remove(&place.index);
        }
        let subjects = records().filter_map(|record| record.subject.as_ref());
        self.shared.entered(subjects);
    }

    /// The records of these changes are not on the disk.
    fn refused(&self, changes: &[Change]) {
        for place in changes.iter().flat_map(|change| &change.replaced) {
            lock(&self.shared.dying).remove(&place.index);
        }
        let records = changes.iter().flat_map(|change| &change.records);
        self.shared.release(records);
    }

    /// Marks the records that have left, and then raises the baselines.
    fn mark(&mut self, group: &[Change]) -> Result<(), SpoolError> {
        if !group.iter().any(|change| change.marks) {
            return Ok(());
        }
        self.log.rewrite_blocked();
        let marked = self.log.mark_left();
        let acknowledged = group.last().and_then(|change| change.acknowledged.as_ref());
        let (before, has_all) = {
            let index = lock(&self.log.index);
            (index.state.clone(), index.has_scanned_all())
        };
        // A segment that the scan could not read may have events that were sent.
        let acknowledged = acknowledged.filter(|_| has_all);
        if let (Ok(Marked::OnDisk), Some(acknowledged)) = (&marked, acknowledged) {
            let mut state = before.clone();
            state.baselines.extend(acknowledged.clone());
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
        let path = self.log.disk.path();
        marked.map_or_else(
            |error| Err(SpoolError::io(path, "marking what has left", &error)),
            |_| Ok(()),
        )
    }
}
