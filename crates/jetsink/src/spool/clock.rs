//! The time by which events age.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The system's clock at the start, and the time that has passed since. Setting the system's clock moves
/// it only at the next start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: Instant,
    started_at: SystemTime,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            started: Instant::now(),
            started_at: SystemTime::now(),
        }
    }

    pub(super) fn now(&self) -> SystemTime {
        self.started_at + self.started.elapsed()
    }

    /// In milliseconds since the Unix epoch.
    pub(super) fn millis(&self) -> u64 {
        let since = self.now().duration_since(UNIX_EPOCH);
        let millis = since.unwrap_or(Duration::ZERO).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX)
    }
}
