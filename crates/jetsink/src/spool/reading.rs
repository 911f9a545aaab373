//! Reads pending events, on threads that may block.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::log::reader::{self, Chunk, Entry};
use super::{Record, Spool};
use crate::message::subject::Subject;
use crate::outcome::SpoolError;

/// Events on their way from the disk.
pub(crate) type Reading = JoinHandle<Result<Chunk, SpoolError>>;

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
            let chunk = self
                .finish_reading(self.begin_reading(subject, from, limit))
                .await?;
            if !chunk.entries.is_empty() || !chunk.more {
                return Ok(chunk);
            }
            from = chunk.next;
        }
    }

    /// Lets the disk work while its caller does something else.
    pub(crate) fn begin_reading(&self, subject: &Subject, from: u64, limit: usize) -> Reading {
        let (index, subject, path) = (Arc::clone(&self.index), subject.clone(), self.path.clone());
        tokio::task::spawn_blocking(move || {
            let events = reader::events(&index, &subject, from, limit);
            events.map_err(|error| SpoolError::io(&path, "reading events", &error))
        })
    }

    /// Gives those that have not left by now.
    pub(crate) async fn finish_reading(&self, reading: Reading) -> Result<Chunk, SpoolError> {
        let mut chunk = reading.await.unwrap_or(Err(SpoolError::Closed))?;
        let delivered = self.lock_delivered();
        if !delivered.is_empty() {
            let stays = |(index, ..): &Entry<Record>| !delivered.contains_key(index);
            chunk.entries.retain(stays);
        }
        Ok(chunk)
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
