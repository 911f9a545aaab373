//! Reports on standard error about single lines, events and files: some are printed in full, the others are counted.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use crate::output::counted;

/// A period begins with its first report. At its end those that were left out are reported together.
const PERIOD: Duration = Duration::from_secs(60);

/// The reports of one kind.
pub(super) struct LimitedReports {
    /// The subject of each report, as a singular.
    noun: &'static str,
    /// The reports in full per period.
    show: u64,
    period: Option<Period>,
}

struct Period {
    began: Instant,
    in_full: u64,
    left_out: Option<LeftOut>,
}

struct LeftOut {
    count: u64,
    first: String,
    last: String,
}

impl LimitedReports {
    pub(super) fn new(noun: &'static str, show: u64) -> Self {
        Self {
            noun,
            show,
            period: None,
        }
    }

    /// Whether the report about this place is to be printed in full; otherwise it adds `count`. A period that is over has
    /// to be ended first.
    pub(super) fn admit(&mut self, count: u64, place: &impl Display, now: Instant) -> bool {
        let period = self.period.get_or_insert(Period {
            began: now,
            in_full: 0,
            left_out: None,
        });
        if period.in_full < self.show {
            period.in_full += 1;
            return true;
        }
        match &mut period.left_out {
            Some(left_out) => {
                left_out.count += count;
                left_out.last = place.to_string();
            }
            None => {
                period.left_out = Some(LeftOut {
                    count,
                    first: place.to_string(),
                    last: place.to_string(),
                });
            }
        }
        false
    }

    /// The end of the period.
    pub(super) fn period_ends(&self) -> Option<Instant> {
        self.period.as_ref().map(|period| period.began + PERIOD)
    }

    /// Ends the period. Returns the report of those that were left out.
    pub(super) fn end_period(&mut self) -> Option<String> {
        let period = self.period.take()?;
        let left_out = period.left_out?;
        let more = if period.in_full > 0 { "more " } else { "" };
        let lines = counted(left_out.count, &format!("{more}{}", self.noun));
        let (first, last) = (&left_out.first, &left_out.last);
        Some(match first == last {
            true => format!("{lines}, at {first}"),
            false => format!("{lines}, from {first} to {last}; --show N reports N per minute"),
        })
    }
}

#[cfg(test)]
#[path = "tests/limited_reports.rs"]
mod tests;
