//! The spool of an open sink, as its owner sees it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Sink;
use crate::message::envelope::Envelope;
use crate::outcome::{SpoolError, SpoolLoss, SpoolStatus};
use crate::publisher::Publisher;
use crate::spool::{Chunk, Spool, Unread};

/// Events of a subject read at a time.
const CHUNK: usize = 1_000;

/// The error of a second [`SinkSpool::observe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the spooled events of this sink are observed already; use one observer per sink")]
#[non_exhaustive]
pub struct AlreadyObserved {}

/// The spool of a sink, by [`Sink::spool`].
///
/// ```
/// # use jetsink::{Publisher, Sink};
/// fn pending<P: Publisher>(sink: &Sink<P>) -> u64 {
///     sink.spool().map_or(0, |spool| spool.status().events)
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SinkSpool<'a> {
    spool: &'a Spool,
    oldest_age: &'a AtomicU64,
}

impl<P: Publisher> Sink<P> {
    /// Returns the spool; `None` for a sink without one.
    #[must_use]
    pub fn spool(&self) -> Option<SinkSpool<'_>> {
        self.spool.as_ref().map(|spool| SinkSpool {
            spool,
            oldest_age: &self.oldest_age,
        })
    }
}

impl<'a> SinkSpool<'a> {
    /// Returns its folder.
    #[must_use]
    pub fn directory(self) -> &'a Path {
        self.spool.path()
    }

    /// Returns its contents in numbers. Cheap: nothing is read from the disk. After the opening of a spool with more than two
    /// segments, events count once a thread has scanned them. A segment has 1/16 of the limit, between 256 KiB and 16 MiB.
    #[must_use]
    pub fn status(self) -> SpoolStatus {
        self.spool.status()
    }

    /// Returns the age of the oldest pending event; `None` without one. Up to a second old, and older in a spool of very many
    /// subjects.
    #[must_use]
    pub fn oldest_age(self) -> Option<Duration> {
        let pending = self.status().events > 0;
        pending.then(|| Duration::from_millis(self.oldest_age.load(Ordering::Relaxed)))
    }

    /// Returns the damage that the opening found; `None` without any, and until all segments are scanned.
    #[must_use]
    pub fn loss(self) -> Option<&'a SpoolLoss> {
        self.spool.loss()
    }

    /// Passes the message ids of events to `observe` once they are synced, those of one sync in one call. A call ends before
    /// an emit of its events returns, and before one of them leaves the spool. A caller that must recognise events which
    /// have left the spool before a restart keeps the ids in a file of its own.
    ///
    /// The calls come from the thread that writes the spool, so that a slow function delays all events. Only events of
    /// this process are passed, and none that was emitted before this call.
    ///
    /// ```
    /// # fn observe(spool: jetsink::SinkSpool<'_>) -> Result<(), jetsink::AlreadyObserved> {
    /// spool.observe(|ids| ids.for_each(|id| println!("{id} is on the disk")))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AlreadyObserved`] after an earlier call: that function stays, and `observe` is never called.
    ///
    /// # Panics
    /// Never itself. A panic of `observe` ends the spool: each later emit returns [`SpoolError::Failed`].
    pub fn observe(
        self,
        observe: impl Fn(&mut dyn Iterator<Item = &str>) + Send + Sync + 'static,
    ) -> Result<(), AlreadyObserved> {
        match self.spool.observe(Box::new(observe)) {
            true => Ok(()),
            false => Err(AlreadyObserved {}),
        }
    }

    /// Passes each event in the spool to `visit`, those of a subject in their order. A caller that must recognise
    /// events which it emitted before a restart calls it when it starts.
    ///
    /// Reads the whole spool, at most 1 MiB at a time, and waits for the scan after the opening first. Events that
    /// enter or leave the spool meanwhile may be passed or not. Replay runs beside the scan: an event that it removes before
    /// this call reads it is not passed. Then only the stream's duplicate window recognises a repeat of the event. Damaged
    /// events are left out. Cancellation-safe.
    ///
    /// ```
    /// # async fn count(spool: jetsink::SinkSpool<'_>) -> Result<u64, jetsink::SpoolError> {
    /// let mut events = 0;
    /// spool.visit(|_| events += 1).await?;
    /// # Ok(events)
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SpoolError`]: the sink is closed, or the disk cannot be read.
    pub async fn visit(self, mut visit: impl FnMut(&Envelope)) -> Result<(), SpoolError> {
        let spool = self.spool;
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
