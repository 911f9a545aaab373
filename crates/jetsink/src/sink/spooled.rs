//! The events in the spool of an open sink.

use std::path::Path;

use super::Sink;
use crate::message::envelope::Envelope;
use crate::outcome::SpoolError;
use crate::publisher::Publisher;
use crate::spool::{Chunk, Unread};

/// Events of a subject read at a time.
const CHUNK: usize = 1_000;

/// The error of a second [`Sink::observe_spooled`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the spooled events of this sink are observed already; use one observer per sink")]
#[non_exhaustive]
pub struct AlreadyObserved {}

impl<P: Publisher> Sink<P> {
    /// The folder of the spool; `None` without one.
    #[must_use]
    pub fn spool_directory(&self) -> Option<&Path> {
        self.spool.as_ref().map(|spool| spool.path())
    }

    /// Passes the message ids of events to `observe` once they are synced, those of one sync in one call. A call ends before
    /// an emit of its events returns, and before one of them leaves the spool. A caller that must recognise events which
    /// have left the spool before a restart keeps the ids in a file of its own.
    ///
    /// The calls come from the thread that writes the spool, so that a slow function delays all events. Only events of
    /// this process are passed, and none that was emitted before this call. Does nothing without a spool.
    ///
    /// ```
    /// # use jetsink::{Publisher, Sink};
    /// # fn observe<P: Publisher>(sink: &Sink<P>) -> Result<(), jetsink::AlreadyObserved> {
    /// sink.observe_spooled(|ids| ids.for_each(|id| println!("{id} is on the disk")))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AlreadyObserved`] after an earlier call: that function stays, and `observe` is never called.
    ///
    /// # Panics
    /// Never itself. A panic of `observe` ends the spool: each later emit returns [`SpoolError::Failed`].
    pub fn observe_spooled(
        &self,
        observe: impl Fn(&mut dyn Iterator<Item = &str>) + Send + Sync + 'static,
    ) -> Result<(), AlreadyObserved> {
        match &self.spool {
            Some(spool) if !spool.observe(Box::new(observe)) => Err(AlreadyObserved {}),
            _ => Ok(()),
        }
    }

    /// Passes each event in the spool to `visit`, those of a subject in their order. A caller that must recognise
    /// events which it emitted before a restart calls it when it starts. Does nothing without a spool.
    ///
    /// Reads the whole spool, at most 1 MiB at a time, and waits for the scan after the opening first. Events that
    /// enter or leave the spool meanwhile may be passed or not. Replay runs beside the scan: an event that it removes before
    /// this call reads it is not passed. Then only the stream's duplicate window recognises a repeat of the event. Damaged
    /// events are left out. Cancellation-safe.
    ///
    /// ```
    /// # use jetsink::{Publisher, Sink, SpoolError};
    /// # async fn count<P: Publisher>(sink: &Sink<P>) -> Result<u64, SpoolError> {
    /// let mut events = 0;
    /// sink.visit_spooled(|_| events += 1).await?;
    /// # Ok(events)
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SpoolError`]: the sink is closed, or the disk cannot be read.
    pub async fn visit_spooled(&self, mut visit: impl FnMut(&Envelope)) -> Result<(), SpoolError> {
        let Some(spool) = &self.spool else {
            return Ok(());
        };
        spool.scanned().await?;
        let mut failed = None;
        let mut visit_chunk = |_, chunk: Chunk| {
            let records = chunk.entries.iter().flat_map(|(_, _, record)| record);
            records.for_each(|record| visit(&record.envelope));
            failed = chunk.failed.or(failed.take());
            true
        };
        let subjects = spool.subjects();
        let mut unread = Unread::new(&subjects, CHUNK);
        while spool.read_next(&mut unread, &mut visit_chunk).await? {}
        failed.map_or(Ok(()), Err)
    }
}
