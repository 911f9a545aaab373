//! Queues changes for the writer, and keeps the subjects with events that may be stored.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::queue::{Change, Made, StateChange, Writer};
use super::{Baselines, Place, Spool};
use crate::message::subject::Subject;
use crate::outcome::SpoolError;
use crate::sync::lock;

/// The answer of the disk to a change; an error if the writer has ended.
type Answer = oneshot::Receiver<Made>;

/// Invariant 2: a change and its place in the writer's queue are decided together.
#[derive(Debug)]
pub(super) struct AppendQueue {
    /// No record that was queued has this index, or a higher one.
    pub(super) next_index: u64,
    pub(super) writer: Writer,
    /// Subjects with events that may be stored (invariant 4).
    pub(super) unreconciled: Unreconciled,
}

/// The subjects with events that may be stored already.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unreconciled {
    subjects: HashMap<Subject, Sent>,
    next_stamp: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    /// Distinguishes events that came in after a look at it.
    stamp: u64,
    /// The last event that was sent.
    last_sent: u64,
}

impl Unreconciled {
    /// `index` belongs to an event that was sent.
    pub(super) fn insert(&mut self, subject: Subject, index: u64) {
        self.next_stamp += 1;
        let stamp = self.next_stamp;
        let mark = self.subjects.entry(subject).or_insert(Sent {
            stamp,
            last_sent: index,
        });
        mark.stamp = stamp;
        mark.last_sent = mark.last_sent.max(index);
    }

    /// Takes a subject away, unless more of it came in since `before`.
    pub(super) fn remove(&mut self, subject: &Subject, before: &Self) {
        if self.subjects.get(subject) == before.subjects.get(subject) {
            self.subjects.remove(subject);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    pub(crate) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.subjects.keys()
    }

    /// No event of the subject behind this index was sent.
    pub(crate) fn last_sent(&self, subject: &Subject) -> u64 {
        self.subjects.get(subject).map_or(0, |mark| mark.last_sent)
    }

    pub(crate) fn contains(&self, subject: &Subject) -> bool {
        self.subjects.contains_key(subject)
    }
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
        let ended = || (Err(self.ended()), Vec::new());
        answer.await.unwrap_or_else(|_| ended()).0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::tests::subject;

    #[test]
    fn a_subject_is_settled_unless_more_of_it_came_in_since() {
        let (a, b) = (subject("a"), subject("b"));
        let mut unreconciled = Unreconciled::default();
        unreconciled.insert(a.clone(), 5);
        let before = unreconciled.clone();
        // The same event once more is more, too.
        unreconciled.insert(a.clone(), 5);
        unreconciled.remove(&a, &before);
        assert!(unreconciled.contains(&a) && !unreconciled.is_empty());
        let before = unreconciled.clone();
        unreconciled.remove(&b, &before);
        assert!(unreconciled.contains(&a));
        unreconciled.remove(&a, &before);
        assert!(!unreconciled.contains(&a) && unreconciled.is_empty());
    }

    #[test]
    fn the_last_that_was_sent_is_the_highest_of_its_subject() {
        let (a, b) = (subject("a"), subject("b"));
        let mut unreconciled = Unreconciled::default();
        for (index, last) in [(3, 3), (7, 7), (0, 7)] {
            unreconciled.insert(a.clone(), index);
            assert_eq!(unreconciled.last_sent(&a), last);
        }
        assert_eq!(unreconciled.last_sent(&b), 0);
        assert_eq!(unreconciled.subjects().collect::<Vec<_>>(), [&a]);
    }
}
