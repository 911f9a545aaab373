//! Reads pending events, on threads that may block.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::log::reader::{self, Chunk, Entry, Wanted};
use super::{Record, Spool};
use crate::message::subject::Subject;
use crate::outcome::SpoolError;

/// The maximum number of subjects in one reading, and of the events in a reading of replay.
pub(crate) const MAX_READ: usize = 1_024;

/// Events on their way from the disk, a chunk per subject.
pub(crate) type Reading = JoinHandle<Result<Vec<Chunk>, SpoolError>>;

impl Spool {
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
            let wanted = Wanted {
                subject: subject.clone(),
                from,
                limit,
            };
            let chunks = self
                .finish_reading(self.begin_reading(vec![wanted]))
                .await?;
            for chunk in chunks {
                if !chunk.entries.is_empty() || !chunk.more {
                    return Ok(chunk);
                }
                from = chunk.next;
            }
        }
    }

    /// Visits the events of several subjects, each in its order, chunk by chunk with the number of the subject. `visit`
    /// returns whether to read more of it.
    pub(crate) async fn read_each(
        &self,
        subjects: &[Subject],
        limit: usize,
        mut visit: impl FnMut(usize, Chunk) -> bool,
    ) -> Result<(), SpoolError> {
        let first = |subject: &Subject| Wanted {
            subject: subject.clone(),
            from: 0,
            limit,
        };
        let mut unread: VecDeque<(usize, Wanted)> =
            subjects.iter().map(first).enumerate().collect();
        while !unread.is_empty() {
            let count = unread.len().min(MAX_READ);
            let (numbers, wanted): (Vec<usize>, Vec<Wanted>) = unread.drain(..count).unzip();
            let reading = self.begin_reading(wanted.clone());
            let chunks = self.finish_reading(reading).await?.into_iter();
            for ((number, wanted), chunk) in numbers.into_iter().zip(wanted).zip(chunks).rev() {
                let (from, more) = (chunk.next, chunk.more);
                if visit(number, chunk) && more {
                    unread.push_front((number, Wanted { from, ..wanted }));
                }
            }
        }
        Ok(())
    }

    /// Begins to read the next events of several subjects, in few reads of the disk. Their bytes are bounded: the
    /// last subjects may get nothing yet.
    pub(crate) fn begin_reading(&self, wanted: Vec<Wanted>) -> Reading {
        let (index, path) = (Arc::clone(&self.index), self.path.clone());
        tokio::task::spawn_blocking(move || {
            let events = reader::events_of_many(&index, &wanted);
            events.map_err(|error| SpoolError::io(&path, "reading events", &error))
        })
    }

    /// Returns the events that have not left by now.
    pub(crate) async fn finish_reading(&self, reading: Reading) -> Result<Vec<Chunk>, SpoolError> {
        let mut chunks = reading.await.unwrap_or(Err(SpoolError::Closed))?;
        let delivered = self.lock_delivered();
        if !delivered.is_empty() {
            let stays = |(index, ..): &Entry<Record>| !delivered.contains_key(index);
            for chunk in &mut chunks {
                chunk.entries.retain(stays);
            }
        }
        Ok(chunks)
    }

    /// Sorts subjects by their first event on the disk.
    pub(crate) fn in_log_order(&self, subjects: Vec<Subject>) -> Vec<Subject> {
        reader::in_log_order(&self.index, subjects)
    }

    /// How long the oldest event has waited; blocking.
    pub(crate) fn oldest_age(&self) -> Result<Duration, SpoolError> {
        let since = reader::oldest(&self.index);
        let since =
            since.map_err(|error| SpoolError::io(&self.path, "reading an event", &error))?;
        let waited = since.map_or(0, |since| self.clock.millis().saturating_sub(since));
        Ok(Duration::from_millis(waited))
    }
}
