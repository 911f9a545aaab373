//! The events that replay has sent and that have no result yet.
//!
//! Invariants: `places` has the queue and the place of each envelope in the pipeline, in the same order; `bytes` is the
//! sum of theirs.

use std::collections::VecDeque;

use super::queues::QueueId;
use crate::outcome::{Delivery, EmitError};
use crate::pipeline::Pipeline;
use crate::publish::Direct;
use crate::publisher::Publisher;
use crate::publisher::window::WindowSize;
use crate::spool::{Place, Record};

pub(super) struct InFlightSet<'a, P> {
    pipeline: Pipeline<'a, P>,
    places: VecDeque<(QueueId, Place)>,
    /// Their bytes in the spool.
    bytes: u64,
}

/// The bytes in flight, at most, and the event that exceeds the limit.
const MAX_BYTES: u64 = 16 << 20;

impl<'a, P: Publisher> InFlightSet<'a, P> {
    pub(super) fn new(direct: &'a Direct<P>, window: WindowSize) -> Self {
        Self {
            pipeline: direct.pipeline(window).holding_failed_subjects(),
            places: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes < MAX_BYTES && self.pipeline.has_room()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pipeline.is_empty()
    }

    /// Sends an event, if there is [room](Self::has_room).
    pub(super) fn push(&mut self, queue: QueueId, place: Place, record: Record) {
        if self.pipeline.push(record.envelope).is_ok() {
            self.bytes += place.bytes;
            self.places.push_back((queue, place));
        }
    }

    /// The result of the oldest event; `None` without any. Cancellation-safe.
    pub(super) async fn next(&mut self) -> Option<(QueueId, Place, Result<Delivery, EmitError>)> {
        let result = self.pipeline.next().await?;
        let (queue, place) = self.places.pop_front()?;
        self.bytes -= place.bytes;
        Some((queue, place, result))
    }

    /// Sends nothing more: queued events fail as not sent.
    pub(super) fn stop(&mut self) {
        self.pipeline.stop();
    }

    /// Abandons the events in flight, and returns their places.
    pub(super) fn abandon(self) -> impl Iterator<Item = Place> {
        drop(self.pipeline);
        self.places.into_iter().map(|(_, place)| place)
    }
}
