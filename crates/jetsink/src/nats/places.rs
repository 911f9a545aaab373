//! The publishes of a window that are in flight, in the order of their sending. Pure: time is an argument.
//!
//! All have the same time limit, so that the oldest is the next to be late, and the next to expire.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use crate::message::envelope::Envelope;

/// A publish in flight.
pub(super) struct InFlight {
    /// The caller's number.
    pub(super) number: u64,
    pub(super) token: u64,
    pub(super) envelope: Arc<Envelope>,
    /// Payload and headers.
    pub(super) bytes: usize,
    /// The time of the liveness check.
    pub(super) late_at: Instant,
    pub(super) deadline: Instant,
}

/// The publishes in flight, each at the place that it got when it was sent.
#[derive(Default)]
pub(super) struct Places {
    /// `None` once a publish has its result. The front is never `None`.
    places: VecDeque<Option<InFlight>>,
    /// The place of the front.
    first: u64,
    /// A liveness check covers all places below this one.
    checked_below: u64,
}

impl Places {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The place of the next publish.
    pub(super) fn next(&self) -> u64 {
        self.first + self.places.len() as u64
    }

    pub(super) fn push(&mut self, in_flight: InFlight) {
        self.places.push_back(Some(in_flight));
    }

    /// Removes and returns the publish at `place`; `None` if it has its result.
    pub(super) fn take(&mut self, place: u64) -> Option<InFlight> {
        let index = usize::try_from(place.checked_sub(self.first)?).ok()?;
        let taken = self.places.get_mut(index)?.take();
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.first += 1;
        }
        taken
    }

    /// The time when the oldest publish expires or the first unchecked one is late.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let deadline = self.places.front()?.as_ref()?.deadline;
        let checked = self.checked_below.saturating_sub(self.first) as usize;
        let mut unchecked = self.places.iter().skip(checked).flatten();
        let late_at = unchecked.next().map_or(deadline, |next| next.late_at);
        Some(late_at.min(deadline))
    }

    /// The place of the oldest publish, if its deadline has passed.
    pub(super) fn expired(&self, now: Instant) -> Option<u64> {
        let oldest = self.places.front()?.as_ref()?;
        (oldest.deadline <= now).then_some(self.first)
    }

    /// Counts all late publishes as checked. Returns the token of the newest one that was not.
    pub(super) fn newest_late(&mut self, now: Instant) -> Option<u64> {
        self.checked_below = self.checked_below.max(self.first);
        let mut newest = None;
        while let Some(place) = self.places.get((self.checked_below - self.first) as usize) {
            match place {
                Some(in_flight) if in_flight.late_at > now => break,
                Some(in_flight) => newest = Some(in_flight.token),
                None => {}
            }
            self.checked_below += 1;
        }
        newest
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &InFlight> {
        self.places.iter().flatten()
    }
}
