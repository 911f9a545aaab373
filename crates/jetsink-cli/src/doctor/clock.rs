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
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_reported() {
        let server: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let later = |seconds: i64| Timestamp::from_second(server.as_second() + seconds).unwrap();
        assert_eq!(skew(server, later(1)), None);
        let text = skew(server, later(3)).unwrap().text;
        assert_eq!(text, "the clock here is 3.0 s ahead of the server's");
        let text = skew(server, later(-60)).unwrap().text;
        assert!(text.contains("60.0 s behind"), "{text}");
    }
}
