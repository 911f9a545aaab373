//! Reads pending events, on threads that may block.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};

use super::log::reader::{self, Chunk, Wanted};
use super::{Place, Record, Spool};
use crate::message::subject::Subject;
use crate::outcome::SpoolError;
use crate::sync::lock;

/// The maximum number of subjects in one reading, and of the events in a reading of replay.
pub(crate) const MAX_READ: usize = 1_024;

/// Events on their way from the disk, a chunk per subject.
pub(crate) type Reading = JoinHandle<Vec<Chunk>>;

/// The events of several subjects that are still to be read, each subject with its number.
#[derive(Debug)]
pub(crate) struct Unread(VecDeque<(usize, Wanted)>);

impl Unread {
    /// All events of these subjects, up to `limit` per chunk.
    pub(crate) fn new(subjects: &[Subject], limit: usize) -> Self {
        let first = |subject: &Subject| Wanted {
            subject: subject.clone(),
            from: 0,
            limit,
        };
        Self(subjects.iter().map(first).enumerate().collect())
    }
}

/// The error of a blocking task that gave no result: it panicked, or the runtime ended.
pub(crate) fn lost_task(error: &JoinError) -> SpoolError {
    if error.is_panic() {
        SpoolError::Failed
    } else {
        SpoolError::Closed
    }
}

impl Spool {
    /// Reads one event; `None` if it is damaged, or has left.
    pub(crate) async fn read(&self, place: &Place) -> Result<Option<Record>, SpoolError> {
        let reading = self.begin_reading(vec![Wanted {
            subject: place.subject.clone(),
            from: place.index,
            limit: 1,
        }]);
        for chunk in self.finish_reading(reading).await? {
            let mut entries = chunk.entries.into_iter();
            if let Some((.., record)) = entries.find(|(index, ..)| *index == place.index) {
                return Ok(record.ok());
            }
            chunk.failed.map_or(Ok(()), Err)?;
        }
        Ok(None)
    }

    /// Visits the next chunks of several subjects, each in its order, with the number of the subject. `visit` returns
    /// whether to read more of it; events behind a failure are not read. Returns whether there may be more.
    pub(crate) async fn read_next(
        &self,
        unread: &mut Unread,
        mut visit: impl FnMut(usize, Chunk) -> bool,
    ) -> Result<bool, SpoolError> {
        let count = unread.0.len().min(MAX_READ);
        let (numbers, wanted): (Vec<usize>, Vec<Wanted>) = unread.0.drain(..count).unzip();
        let chunks = self
            .finish_reading(self.begin_reading(wanted.clone()))
            .await?;
        for ((number, wanted), chunk) in numbers.into_iter().zip(wanted).zip(chunks).rev() {
            let (from, more) = (chunk.next, chunk.more && chunk.failed.is_none());
            if visit(number, chunk) && more {
                unread.0.push_front((number, Wanted { from, ..wanted }));
            }
        }
        Ok(!unread.0.is_empty())
    }

    /// Begins to read the next events of several subjects, in few reads of the disk. Their bytes are bounded: the
    /// last subjects may get nothing yet.
    pub(crate) fn begin_reading(&self, wanted: Vec<Wanted>) -> Reading {
        let index = Arc::clone(&self.index);
        tokio::task::spawn_blocking(move || reader::events(&index, &wanted))
    }

    /// Returns the events that have not left by now.
    pub(crate) async fn finish_reading(&self, reading: Reading) -> Result<Vec<Chunk>, SpoolError> {
        let mut chunks = reading.await.map_err(|ended| lost_task(&ended))?;
        let index = lock(&self.index);
        for chunk in &mut chunks {
            chunk.entries.retain(|(at, ..)| !index.is_gone(*at));
        }
        Ok(chunks)
    }

    /// The subjects with pending events, by the first one on the disk.
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        reader::subjects(&self.index)
    }

    /// Sorts subjects by their first event on the disk.
    pub(crate) fn in_log_order(&self, subjects: Vec<Subject>) -> Vec<Subject> {
        reader::in_log_order(&self.index, subjects)
    }

    /// How long the oldest event has waited; blocking.
    pub(crate) fn oldest_age(&self) -> Result<Duration, SpoolError> {
        let since = reader::oldest(&self.index)?;
        let waited = since.map_or(0, |since| self.clock.millis().saturating_sub(since));
        Ok(Duration::from_millis(waited))
    }
}
