//! How events leave: counted out at once, and marked on the disk together with others.

use std::io;
use std::sync::atomic::Ordering;

use super::log::event::NewRecord;
use super::queue::Change;
use super::record::DeadRecord;
use super::{Baselines, Place, Spool};
use crate::outcome::SpoolError;
use crate::sync::lock;

impl Spool {
    /// An event is stored: others of its subject need not queue behind it any more. It stays on the
    /// disk until [`remove_delivered`](Self::remove_delivered).
    pub(crate) fn delivered(&self, place: &Place) {
        self.shared.leave(place);
    }

    /// At least the number of events that have left, and that the writer has not tried to mark.
    pub(crate) fn delivered_events(&self) -> usize {
        self.shared.left.load(Ordering::Acquire)
    }

    /// An event can't be read any more.
    pub(crate) fn damaged(&self, place: &Place) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        self.delivered(place);
    }

    /// Removes the events from the disk that have [left](Self::delivered). `acknowledged` are the highest sequence numbers that were
    /// acknowledged before anything that is in flight now. This call queues the change; the future waits for it, and
    /// dropping it gives up the wait. Marks that fail are written with the next ones.
    pub(crate) fn remove_delivered(
        &self,
        acknowledged: &Baselines,
    ) -> impl Future<Output = Result<(), SpoolError>> + Send + use<'_> {
        // A dead letter's change may have marked the last events.
        let is_over = self.is_empty() && self.replay_began();
        let answer = (self.delivered_events() > 0 || is_over).then(|| {
            let mut appends = self.lock();
            let is_reconciled = self.shared.is_complete() && appends.unreconciled.is_empty();
            appends.change(Change {
                marks: true,
                acknowledged: is_reconciled.then(|| acknowledged.clone()),
                ..Change::default()
            })
        });
        async move {
            match answer {
                Some(answer) => self.answer(answer).await,
                None => Ok(()),
            }
        }
    }

    /// Moves events to the dead letters.
    pub(crate) async fn move_to_dead_letters(
        &self,
        letters: Vec<(DeadRecord, Place)>,
    ) -> Result<(), SpoolError> {
        if letters.is_empty() {
            return Ok(());
        }
        let record = |(letter, event)| NewRecord {
            dead: Some(event),
            ..NewRecord::dead_letter(&letter)
        };
        let records: Vec<NewRecord> = letters.into_iter().map(record).collect();
        let dead = records.iter().filter_map(|record| record.dead.as_ref());
        let dead: Vec<u64> = dead.map(|event| event.index).collect();
        let answer = self.lock().change(Change {
            records,
            marks: true,
            ..Change::default()
        });
        self.answer(answer).await?;
        let index = lock(&self.index);
        if !dead.iter().all(|event| index.is_gone(*event)) {
            return Err(SpoolError::HalfWritten {
                path: self.path.clone(),
                kind: io::ErrorKind::Other,
                reason: "an earlier dead letter is still not written".to_owned(),
            });
        }
        Ok(())
    }
}
