//! Queues changes for the writer, and keeps the state of events that may be stored.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::log::format::State;
use super::queue::{Change, Made, Writer};
use super::unsettled::Unsettled;
use super::{Baselines, Spool};
use crate::message::subject::Subject;
use crate::outcome::SpoolError;

/// Invariant 2: a change and its place in the writer's queue are decided together.
#[derive(Debug)]
pub(super) struct Inlet {
    /// No record that was queued has this index, or a higher one.
    pub(super) next_index: u64,
    pub(super) writer: Writer,
    /// Subjects with events that may be stored (invariant 4).
    pub(super) unsettled: Unsettled,
    pub(super) baselines: Baselines,
    pub(super) mark: Mark,
}

/// The replay marker of invariant 4, once the writer has made all queued changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing, and nothing here may be stored.
    NotNeeded,
    /// Perhaps nothing, though something here may be stored: again before the next replay sends.
    Missing,
    Made,
}

impl Inlet {
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
            replay_began: self.mark != Mark::NotNeeded,
            baselines: baselines.clone().into_iter().collect::<BTreeMap<_, _>>(),
        }
    }

    /// Invariant 4, for an event that was sent before it came here.
    pub(super) fn may_be_stored(
        &mut self,
        subject: &Subject,
        index: u64,
        sent_above: &Baselines,
    ) -> State {
        self.unsettled.insert(subject.clone(), index);
        match self.mark {
            Mark::NotNeeded => self.baselines.clone_from(sent_above),
            Mark::Missing | Mark::Made => {
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
        }
        self.mark = Mark::Made;
        self.state(&self.baselines)
    }
}

impl Spool {
    /// Whether the file says that something in it may be stored.
    pub(crate) fn replay_began(&self) -> bool {
        self.lock().mark == Mark::Made
    }

    /// Before replay sends: from now on what is here may be stored, above these sequence numbers.
    /// Does nothing where the file says so already.
    pub(crate) async fn replay_begins(&self, acknowledged: &Baselines) -> Result<(), SpoolError> {
        let answer = {
            let mut inlet = self.lock();
            match inlet.mark {
                Mark::Made => return Ok(()),
                Mark::NotNeeded => {
                    for (stream, sequence) in acknowledged {
                        inlet.baselines.entry(stream.clone()).or_insert(*sequence);
                    }
                }
                // A stream that is not named may hold what may be stored anywhere.
                Mark::Missing => {}
            }
            inlet.mark = Mark::Made;
            let before = Some(inlet.state(&inlet.baselines));
            inlet.change(Change {
                before,
                ..Change::default()
            })
        };
        let marked = answer.await.unwrap_or(Err(SpoolError::Closed));
        if marked.is_err() {
            self.mark_is_missing();
        }
        marked.map(|_| ())
    }

    /// The file may not say what it was to say.
    pub(super) fn mark_is_missing(&self) {
        self.lock().mark = Mark::Missing;
    }

    /// Waits until what the writer was given up to now is on the disk.
    ///
    /// # Errors
    /// [`SpoolError::Closed`], or that of a commit which it became part of.
    pub(crate) async fn written(&self) -> Result<(), SpoolError> {
        let written = self.lock().change(Change::default());
        written.await.unwrap_or(Err(SpoolError::Closed)).map(|_| ())
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
}
