//! Queues changes for the writer, and keeps the subjects with events that may be stored.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::queue::{Change, StateChange, Writer};
use super::unreconciled::Unreconciled;
use super::{Baselines, Place, Spool};
use crate::message::subject::Subject;
use crate::outcome::SpoolError;
use crate::sync::lock;

/// The answer of the disk to a change; an error if the writer has ended.
type Answer = oneshot::Receiver<Result<(), SpoolError>>;

/// Invariant 2: a change and its place in the writer's queue are decided together.
#[derive(Debug)]
pub(super) struct AppendQueue {
    /// No record that was queued has this index, or a higher one.
    pub(super) next_index: u64,
    pub(super) writer: Writer,
    /// Subjects with events that may be stored (invariant 4).
    pub(super) unreconciled: Unreconciled,
}

impl AppendQueue {
    pub(super) fn change(&mut self, change: Change) -> Answer {
        let (done, answer) = oneshot::channel();
        // It may write states before and after its records, too.
        let states = u64::from(change.state.is_some()) + u64::from(change.acknowledged.is_some());
        self.next_index += change.records.len() as u64 + states;
        self.writer.send(Change {
            done: Some(done),
            ..change
        });
        answer
    }
}

impl Spool {
    /// Whether the disk says that something in it may be stored.
    pub(crate) fn replay_began(&self) -> bool {
        self.shared.has_marker.load(Ordering::Acquire)
    }

    /// Marks the pending events as possibly stored above these sequence numbers, before replay sends them. Waits until the
    /// mark is on the disk; does nothing if it is already.
    pub(crate) async fn replay_begins(&self, acknowledged: &Baselines) -> Result<(), SpoolError> {
        if self.replay_began() {
            return Ok(());
        }
        self.make(StateChange::ReplayBegins(acknowledged.clone()))
            .await
    }

    /// These streams are others than those of their baselines, or were set back: they are read from their
    /// beginning.
    pub(crate) fn forget_baselines(&self, streams: &[String]) {
        // Queued; if it fails, the writer keeps it in mind.
        drop(self.make(StateChange::Forget(streams.to_vec())));
    }

    fn make(
        &self,
        state: StateChange,
    ) -> impl Future<Output = Result<(), SpoolError>> + Send + use<'_> {
        let state = Some(state);
        let answer = self.lock().change(Change {
            state,
            ..Change::default()
        });
        self.answer(answer)
    }

    /// Waits for the answer to a change.
    pub(super) async fn answer(&self, answer: Answer) -> Result<(), SpoolError> {
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Waits for the changes that the writer was given up to now. Returns the subjects with sent events that are not on
    /// the disk even so: their records are in doubt.
    ///
    /// # Errors
    /// [`SpoolError::Closed`], or that of a commit which it became part of.
    pub(crate) async fn written(&self) -> Result<HashSet<Subject>, SpoolError> {
        let written = self.lock().change(Change::default());
        self.answer(written).await?;
        Ok(lock(&self.index).sent_in_doubt.clone())
    }

    /// These events were sent and not answered.
    pub(crate) fn mark_unreconciled(&self, places: impl IntoIterator<Item = Place>) {
        let mut appends = self.lock();
        for place in places {
            appends.unreconciled.insert(place.subject, place.index);
        }
    }

    /// The subjects to look up before their events are sent.
    pub(crate) fn unreconciled(&self) -> Unreconciled {
        self.lock().unreconciled.clone()
    }

    /// The sequence numbers above which the events that are [`written`](Self::written) may be stored.
    pub(crate) fn baselines(&self) -> Baselines {
        lock(&self.index).state.baselines.clone()
    }

    pub(crate) fn is_unreconciled(&self, subject: &Subject) -> bool {
        self.lock().unreconciled.contains(subject)
    }

    /// A subject has been looked up as it stood in `before`.
    pub(crate) fn reconciled(&self, subject: &Subject, before: &Unreconciled) {
        self.lock().unreconciled.remove(subject, before);
    }
}
