//! The way of an event into the spool: space for it, a place in the append queue, the answer of the disk.

use std::sync::Arc;

use tokio::task::unconstrained;
use tokio::time::{Instant, timeout_at};

use super::log::event::{NewRecord, size_of_event};
use super::queue::{Change, StateChange};
use super::{Baselines, Spool};
use crate::message::envelope::Envelope;
use crate::outcome::SpoolError;

/// The bytes of events that wait for the disk, at most, unless one event alone has more.
pub(super) const MAX_QUEUED_BYTES: u32 = 16 << 20;

/// Room for one event, by [`Spool::reserve`].
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    spool: &'a Spool,
    /// The event; none once it is queued.
    record: Option<NewRecord>,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.spool.shared.release(&self.record);
    }
}

impl Spool {
    /// Makes room for an event, which from now on counts among those that wait here; until the room
    /// is dropped, or for good once it was appended.
    pub(crate) fn reserve(&self, envelope: &Envelope) -> Result<Reservation<'_>, SpoolError> {
        let bytes = size_of_event(envelope);
        self.shared.reserve(envelope.subject(), bytes)?;
        let record = NewRecord::new(envelope, self.clock.millis());
        Ok(Reservation {
            spool: self,
            record: Some(record),
        })
    }

    /// Takes an event in: `Ok` once it is synced. `sent` is given if it was sent before and may
    /// be stored: above those sequence numbers, then.
    ///
    /// An event that finds no place in the queue by the deadline is not spooled. One that is queued may be
    /// spooled, whatever becomes of the wait: dropping the future gives up the answer, not the event.
    pub(crate) async fn append(
        &self,
        mut room: Reservation<'_>,
        sent: Option<&Baselines>,
        deadline: Instant,
    ) -> Result<(), SpoolError> {
        let started = Instant::now();
        let bytes = room.record.as_ref().map_or(0, |record| record.head.size());
        let bytes = u32::try_from(bytes).map_or(MAX_QUEUED_BYTES, |b| b.min(MAX_QUEUED_BYTES));
        // One at a time, until it is queued: a later event that needs less room does not overtake. Without
        // the cooperative yields of tokio, which would come before the place in this line is taken.
        let turn = unconstrained(async {
            let turn = self.line.lock().await;
            let place = Arc::clone(&self.queue).acquire_many_owned(bytes).await;
            place.map(|place| (turn, place))
        });
        let (turn, place) = match timeout_at(deadline, turn).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) => return Err(SpoolError::Closed),
            Err(_) => {
                return Err(SpoolError::Busy {
                    waited: started.elapsed(),
                });
            }
        };
        let mut record = room.record.take();
        let answer = {
            let mut appends = self.lock();
            for record in record.iter_mut().filter(|_| sent.is_some()) {
                record.head.sent = true;
                if let Some(subject) = record.subject.clone() {
                    // Behind the state.
                    let index = appends.next_index + 1;
                    appends.unreconciled.insert(subject, index);
                }
            }
            appends.change(Change {
                state: sent.map(|sent| StateChange::Sent(sent.clone())),
                records: record.into_iter().collect(),
                _room: Some(place),
                ..Change::default()
            })
        };
        drop((turn, room));
        let answer = timeout_at(deadline, self.answer(answer)).await;
        answer.unwrap_or_else(|_| {
            let waited = started.elapsed();
            Err(SpoolError::TooSlow { waited })
        })
    }
}
