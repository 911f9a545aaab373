//! Streams that can't be read at the moment, although JetStream answers.

use std::time::Duration;

use tokio::time::Instant;

/// A stream that can't be read for this long, while JetStream answers other requests, counts as one that never can be.
pub(super) const MAX_SILENCE: Duration = Duration::from_secs(600);

/// The time for which a stream could not be read, though events could be stored.
#[derive(Debug, Default)]
pub(super) struct Silence {
    total: Duration,
    /// The last look-up, if it found the same.
    last: Option<Instant>,
}

impl Silence {
    /// A look-up found the stream silent. Returns the time so far.
    pub(super) fn goes_on(&mut self, now: Instant) -> Duration {
        if let Some(last) = self.last.replace(now) {
            self.total += now.saturating_duration_since(last);
        }
        self.total
    }

    /// The stream had no chance to answer: the time until the next look-up does not count.
    pub(super) fn pauses(&mut self) {
        self.last = None;
    }
}
