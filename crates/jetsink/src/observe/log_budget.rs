//! Bounds the rate of log lines about single subjects. Pure: time is an argument.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::lock;

/// The number of lines per interval.
const LINES: u32 = 20;
const INTERVAL: Duration = Duration::from_secs(10);

/// Lines of one kind.
#[derive(Debug, Default)]
pub(crate) struct LogBudget(Mutex<Option<Current>>);

#[derive(Debug, Clone, Copy)]
struct Current {
    since: Instant,
    lines: u32,
    left_out: u64,
}

/// Whether to log a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Log,
    /// The first line of an interval, after this many were left out of the last one.
    LogAfter(u64),
    LeaveOut,
}

impl LogBudget {
    pub(crate) fn line(&self, now: Instant) -> Line {
        match &mut *lock(&self.0) {
            Some(open) if now.saturating_duration_since(open.since) < INTERVAL => {
                if open.lines < LINES {
                    open.lines += 1;
                    return Line::Log;
                }
                open.left_out += 1;
                Line::LeaveOut
            }
            ended => {
                let left_out = ended.map_or(0, |ended| ended.left_out);
                *ended = Some(Current {
                    since: now,
                    lines: 1,
                    left_out: 0,
                });
                match left_out {
                    0 => Line::Log,
                    left_out => Line::LogAfter(left_out),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_over_the_limit_are_counted_and_reported_with_the_next_interval() {
        let now = Instant::now();
        let budget = LogBudget::default();
        for _ in 0..LINES {
            assert_eq!(budget.line(now), Line::Log);
        }
        for _ in 0..5 {
            assert_eq!(budget.line(now), Line::LeaveOut);
        }
        let next = now + INTERVAL;
        assert_eq!(budget.line(next), Line::LogAfter(5));
        assert_eq!(budget.line(next), Line::Log);
        assert_eq!(budget.line(next + INTERVAL), Line::Log);
    }
}
