//! The waits between probes: 100 ms · 2^attempt, capped at 180 s.
//!
//! The schedule is a pure function of the attempt, without jitter: each sink probes its broker with one event
//! at a time, so there is no herd to spread, and the attempt in a log line shows when the next probe is due.

use std::time::Duration;

/// The wait after the first failure (attempt 0).
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The maximum wait, from attempt 11 on.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(180);

/// Returns the time for which the circuit stays open after failure number `attempt`, counted from 0.
///
/// 100 ms, 200 ms, 400 ms … 102.4 s (attempt 10), then 180 s for every further attempt up to
/// `u32::MAX`. Never panics or overflows.
#[must_use]
pub(crate) const fn wait_after(attempt: u32) -> Duration {
    // 2^11 · 100 ms is already past the cap; stopping there keeps the shift in range.
    if attempt >= 11 {
        return MAX_WAIT;
    }
    Duration::from_millis((FIRST_WAIT.as_millis() as u64) << attempt)
}
