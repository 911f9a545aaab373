//! The difference between the local clock and the server's.

use jiff::Timestamp;

use super::finding::ConnectionFinding;

/// The largest difference that is not reported.
const MAX_SKEW_SECONDS: f64 = 2.0;

/// The finding for clocks that differ. The time of the answer counts as skew; it is small.
pub(super) fn skew(server: Timestamp, here: Timestamp) -> Option<ConnectionFinding> {
    let seconds = here.duration_since(server).as_secs_f64();
    (seconds.abs() > MAX_SKEW_SECONDS).then_some(ConnectionFinding::ClockSkew { seconds })
}

#[cfg(test)]
#[path = "tests/clock.rs"]
mod tests;
