//! The difference between the local clock and the server's.

use jiff::Timestamp;

use super::finding::Finding;

/// The largest difference that is not reported.
const MAX_SKEW_SECONDS: f64 = 2.0;

/// The finding for clocks that differ. The time of the answer counts as skew; it is small.
pub(super) fn skew(server: Timestamp, here: Timestamp) -> Option<Finding> {
    let seconds = here.duration_since(server).as_secs_f64();
    (seconds.abs() > MAX_SKEW_SECONDS).then(|| {
        let ahead = if seconds > 0.0 { "ahead of" } else { "behind" };
        Finding::warning(
            "clock.skew",
            format!(
                "the clock here is {:.1} s {ahead} the server's",
                seconds.abs()
            ),
            "run a time service (chrony, systemd-timesyncd) on both",
        )
    })
}

#[cfg(test)]
#[path = "tests/clock.rs"]
mod tests;
