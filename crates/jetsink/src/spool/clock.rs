//! The time by which events age.
//!
//! It follows the monotonic clock while a process runs, and the difference of the system's clock over a restart. A
//! system clock that is set ages no event: the seal keeps the relation of the two clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The clock of a spool, in milliseconds. It begins as the system's, since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    started_at: u64,
    /// The system's time at the start.
    system_at: u64,
    system: fn() -> SystemTime,
}

/// The spool's clock and the system's at one moment, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockReading {
    pub(crate) spool: u64,
    pub(crate) system: u64,
}

impl Clock {
    /// Continues the clock that an earlier process read last.
    pub(crate) fn start(last: Option<ClockReading>, system: fn() -> SystemTime) -> Self {
        let now = millis(system());
        let since = |last: ClockReading| last.spool.saturating_add(now.saturating_sub(last.system));
        Self {
            started: Instant::now(),
            started_at: last.map_or(now, since),
            system_at: now,
            system,
        }
    }

    pub(crate) fn millis(&self) -> u64 {
        let elapsed = u64::try_from(self.started.elapsed().as_millis());
        self.started_at.saturating_add(elapsed.unwrap_or(u64::MAX))
    }

    pub(crate) fn now(&self) -> SystemTime {
        time(self.millis())
    }

    pub(crate) fn read(&self) -> ClockReading {
        ClockReading {
            spool: self.millis(),
            system: millis((self.system)()),
        }
    }

    /// The system's time at the moment when this clock showed `millis`, by the reading of both at the start: later readings
    /// differ by a millisecond, so an event would have another time in each call.
    pub(crate) fn system_time(&self, millis: u64) -> SystemTime {
        let millis = millis.min(self.millis());
        let system = self.system_at.saturating_add(millis);
        time(system.saturating_sub(self.started_at))
    }
}

impl ClockReading {
    /// How far the system's clock was set between two readings.
    pub(crate) fn shift_since(&self, earlier: &Self) -> Duration {
        let passed = |to: u64, from: u64| i128::from(to) - i128::from(from);
        let shift = passed(self.system, earlier.system) - passed(self.spool, earlier.spool);
        Duration::from_millis(u64::try_from(shift.unsigned_abs()).unwrap_or(u64::MAX))
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time in milliseconds since the Unix epoch.
pub(crate) fn time(millis: u64) -> SystemTime {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(millis));
    time.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const HOUR: u64 = 3_600_000;

    fn at(millis: u64) -> Option<ClockReading> {
        let system = millis;
        Some(ClockReading {
            spool: 5 * HOUR,
            system,
        })
    }

    fn hours() -> SystemTime {
        time(100 * HOUR)
    }

    #[test]
    fn restart_adds_the_difference_of_the_system_clock_and_never_a_negative_one() {
        for (last, shown) in [
            (None, 100),
            (at(97 * HOUR), 8),
            (at(100 * HOUR), 5),
            (at(900 * HOUR), 5),
        ] {
            let clock = Clock::start(last, hours);
            assert_eq!(clock.millis() / HOUR, shown);
        }
    }

    #[test]
    fn events_have_the_corrected_system_time() {
        let clock = Clock::start(at(100 * HOUR), hours);
        // Spooled 2 hours ago, when the system's clock was wrong.
        assert_eq!(clock.system_time(3 * HOUR), time(98 * HOUR));
    }

    // A user's finding: an event's time differed by a millisecond from call to call.
    #[test]
    fn time_of_an_event_does_not_depend_on_when_it_is_read() {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let fast = || time(100 * HOUR + CALLS.fetch_add(1, Ordering::Relaxed));
        let clock = Clock::start(None, fast);
        for _ in 0..3 {
            assert_eq!(clock.system_time(98 * HOUR), time(98 * HOUR));
        }
        let clock = Clock::start(at(98 * HOUR), hours);
        let again = Clock::start(at(98 * HOUR), || time(101 * HOUR));
        assert_eq!(clock.system_time(3 * HOUR), time(96 * HOUR));
        assert_eq!(again.system_time(3 * HOUR), time(96 * HOUR));
    }

    #[test]
    fn shift_is_how_far_the_system_clock_was_set() {
        let reading = |spool, system| ClockReading { spool, system };
        let shift = reading(9_000, 2_000).shift_since(&reading(4_000, 7_000));
        assert_eq!(shift, Duration::from_secs(10));
        assert_eq!(reading(9, 19).shift_since(&reading(4, 14)), Duration::ZERO);
    }
}
