//! The rate limit of replay.

use std::time::Duration;

use tokio::time::Instant;

use super::LOOK_AGAIN;

#[derive(Debug)]
pub(super) struct Pace {
    /// Events per second; `None` without a limit.
    rate: Option<u32>,
    next_allowed: Instant,
}

impl Pace {
    pub(super) fn new(rate: Option<u32>, now: Instant) -> Self {
        Self {
            rate,
            next_allowed: now,
        }
    }

    /// Whether another event may be sent now; counts it if so.
    pub(super) fn allows_one(&mut self) -> bool {
        let Some(rate) = self.rate else {
            return true;
        };
        let now = Instant::now();
        if now < self.next_allowed {
            return false;
        }
        // Unused time does not add up to a burst.
        self.next_allowed = self.next_allowed.max(now - LOOK_AGAIN) + Duration::from_secs(1) / rate;
        true
    }

    /// The time at which the next event may be sent; `None` without a limit.
    pub(super) fn next_allowed(&self) -> Option<Instant> {
        self.rate.map(|_| self.next_allowed)
    }
}
