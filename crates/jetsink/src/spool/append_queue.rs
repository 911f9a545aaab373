//! Queues changes for the writer, and keeps the state of events that may be stored.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::log::format::State;
use super::queue::{Change, Made, Writer};
use super::unreconciled::Unreconciled;
use super::{Baselines, Place, Spool};
use crate::message::subject::Subject;
use crate::outcome::SpoolError;

/// Invariant 2: a change and its place in the writer's queue are decided together.
#[derive(Debug)]
pub(super) struct AppendQueue {
    /// No record that was queued has this index, or a higher one.
    pub(super) next_index: u64,
    pub(super) writer: Writer,
    /// Subjects with events that may be stored (invariant 4).
    pub(super) unreconciled: Unreconciled,
    pub(super) baselines: Baselines,
    pub(super) marker: ReplayMarker,
    /// The states that were queued before records, and the markers that were to be taken away.
    pub(super) states: u64,
    /// The number of the state that makes an uncertain marker a written one.
    pub(super) awaited: Option<u64>,
}

/// The replay marker of invariant 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplayMarker {
    /// Nothing, and nothing here may be stored.
    Absent,
    /// Queued, or its write failed, though something here may be stored: again before the next replay sends.
    Uncertain,
    /// On the disk. A later state whose write fails leaves it there.
    Written,
}

impl AppendQueue {
    /// The marker by what the writer has reported.
    pub(super) fn marker(&mut self) -> ReplayMarker {
        if self
            .awaited
            .is_some_and(|number| self.writer.written_state() >= number)
        {
            self.marker = ReplayMarker::Written;
            self.awaited = None;
        }
        self.marker
    }

    /// The number of a state with a marker that is queued now.
    fn marker_queued(&mut self) -> u64 {
        self.states += 1;
        if self.marker() != ReplayMarker::Written {
            self.marker = ReplayMarker::Uncertain;
            self.awaited = Some(self.states);
        }
        self.states
    }

    /// A state without the marker is queued: until it is on the disk, what has left is still there.
    pub(super) fn marker_leaves(&mut self) {
        self.states += 1;
        self.marker = ReplayMarker::Uncertain;
        self.awaited = None;
    }

    pub(super) fn send(&mut self, change: Change) {
        let states = u64::from(change.before.is_some()) + u64::from(change.after.is_some());
        self.next_index += change.records.len() as u64 + states;
        self.writer.send(change);
    }

    pub(super) fn change(&mut self, change: Change) -> oneshot::Receiver<Result<Made, SpoolError>> {
        let (done, answer) = oneshot::channel();
        self.send(Change {
            done: Some(done),
            ..change
        });
        answer
    }

    /// The state to write, with these baselines. A marker that may be missing counts as written.
    pub(super) fn state(&self, baselines: &Baselines) -> State {
        State {
            replay_began: self.marker != ReplayMarker::Absent,
            baselines: baselines.clone().into_iter().collect::<BTreeMap<_, _>>(),
        }
    }

    /// Invariant 4, for an event that was sent before it came here.
    pub(super) fn may_be_stored(
        &mut self,
        subject: &Subject,
        index: u64,
        sent_above: &Baselines,
    ) -> (State, u64) {
        self.unreconciled.insert(subject.clone(), index);
        match self.marker() {
            ReplayMarker::Absent => self.baselines.clone_from(sent_above),
            ReplayMarker::Uncertain | ReplayMarker::Written => {
                self.baselines
                    .retain(|stream, baseline| match sent_above.get(stream) {
                        Some(above) if above.is_of_same_stream(baseline) => {
                            baseline.sequence = baseline.sequence.min(above.sequence);
                            true
                        }
                        // Unknown when it was sent, or another stream: it may be stored anywhere in it.
                        Some(_) | None => false,
                    });
            }
        }
        let number = self.marker_queued();
        (self.state(&self.baselines), number)
    }
}

impl Spool {
    /// Whether the disk says that something in it may be stored.
    pub(crate) fn replay_began(&self) -> bool {
        self.lock().marker() == ReplayMarker::Written
    }

    /// Before replay sends: from now on what is here may be stored, above these sequence numbers.
    /// Waits until that is on the disk, and does nothing where it is.
    pub(crate) async fn replay_begins(&self, acknowledged: &Baselines) -> Result<(), SpoolError> {
        let answer = {
            let mut appends = self.lock();
            match appends.marker() {
                ReplayMarker::Written => return Ok(()),
                ReplayMarker::Absent => {
                    for (stream, acknowledged) in acknowledged {
                        let baseline = appends.baselines.entry(stream.clone()).or_default();
                        if !baseline.is_of_same_stream(acknowledged)
                            || baseline.sequence < acknowledged.sequence
                        {
                            baseline.clone_from(acknowledged);
                        }
                    }
                }
                // A stream that is not named may hold what may be stored anywhere.
                ReplayMarker::Uncertain => {}
            }
            let state_number = appends.marker_queued();
            let before = Some(appends.state(&appends.baselines));
            appends.change(Change {
                before,
                state_number,
                ..Change::default()
            })
        };
        let marked = answer.await.unwrap_or_else(|_| Err(self.ended()));
        marked.map(|_| ())
    }

    /// These streams are others than those of their baselines, or were set back: they are read from their
    /// beginning.
    pub(crate) fn forget_baselines(&self, streams: &[String]) {
        let mut appends = self.lock();
        let known = appends.baselines.len();
        appends
            .baselines
            .retain(|stream, _| !streams.contains(stream));
        if appends.baselines.len() < known && appends.marker() != ReplayMarker::Absent {
            appends.states += 1;
            let (before, state_number) = (Some(appends.state(&appends.baselines)), appends.states);
            appends.send(Change {
                before,
                state_number,
                ..Change::default()
            });
        }
    }

    /// Waits until what the writer was given up to now is on the disk.
    ///
    /// # Errors
    /// [`SpoolError::Closed`], or that of a commit which it became part of.
    pub(crate) async fn written(&self) -> Result<(), SpoolError> {
        let written = self.lock().change(Change::default());
        written
            .await
            .unwrap_or_else(|_| Err(self.ended()))
            .map(|_| ())
    }

    /// These events were sent and not answered.
    pub(crate) fn mark_unreconciled(&self, places: impl IntoIterator<Item = Place>) {
        let mut appends = self.lock();
        for place in places {
            appends.unreconciled.insert(place.subject, place.index);
        }
    }

    /// What must be looked up before it is sent, and above which sequence numbers.
    pub(crate) fn unreconciled(&self) -> (Unreconciled, Baselines) {
        let appends = self.lock();
        (appends.unreconciled.clone(), appends.baselines.clone())
    }

    pub(crate) fn is_unreconciled(&self, subject: &Subject) -> bool {
        self.lock().unreconciled.contains(subject)
    }

    /// A subject has been looked up as it stood in `before`.
    pub(crate) fn reconciled(&self, subject: &Subject, before: &Unreconciled) {
        self.lock().unreconciled.remove(subject, before);
    }
}
