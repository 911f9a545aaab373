//! The outcome of a trial, read from the output of its test, and the bound that it supports.

use super::trial::Counts;
use crate::page::thousands;

/// The rule of three needs at least this many.
const FEW: u64 = 30;

/// The outcome of one trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) count: u64,
    pub(crate) failures: u64,
    /// The number of all cases, if it is known and not all of them ran.
    pub(crate) of: Option<u64>,
    /// The number of events that were looked for one by one.
    pub(crate) events: Option<u64>,
}

impl Outcome {
    /// Reads the output of the test; `None` if the test did not finish.
    pub(crate) fn read(output: &str, trial: &str, counts: Counts) -> Option<Self> {
        match counts {
            Counts::Random(_) | Counts::Amount(_) | Counts::All(_) => own_line(output, trial),
            Counts::Tests(_) => test_result(output),
        }
    }

    /// Adds another part of the same trial.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            failures: self.failures + other.failures,
            of: self.of,
            events: self.events.and_then(|events| Some(events + other.events?)),
        }
    }

    pub(crate) fn is_passed(self) -> bool {
        self.failures == 0 && self.count > 0
    }

    /// The statement that the count supports.
    pub(crate) fn bound(self, counts: Counts) -> String {
        match (self.failures, counts) {
            (0, _) if self.count == 0 => "none: nothing ran".to_owned(),
            (0, Counts::Tests(_)) => "each once".to_owned(),
            (0, Counts::All(_)) => match self.of {
                None => "all there are".to_owned(),
                Some(all) => format!("a sample of {}", thousands(all)),
            },
            (0, Counts::Amount(_)) => "-".to_owned(),
            (0, Counts::Random(_)) if self.count < FEW => "-".to_owned(),
            // The rule of three: if none of n fails, the rate is at most 3/n with 95 % confidence.
            (0, Counts::Random(_)) => format!("at most {:.1e}", 3.0 / self.count as f64),
            (failures, _) => format!("{:.1e} failed", failures as f64 / self.count.max(1) as f64),
        }
    }
}

/// `trial NAME count=N failures=N seed=N`.
fn own_line(output: &str, trial: &str) -> Option<Outcome> {
    let fields = output.lines().rev().find_map(|line| {
        let fields = line.strip_prefix("trial ")?.strip_prefix(trial)?;
        fields.starts_with(' ').then_some(fields)
    })?;
    let number = |name: &str| {
        let mut fields = fields.split_whitespace();
        fields.find_map(|field| field.strip_prefix(name)?.parse().ok())
    };
    let count = number("count=")?;
    Some(Outcome {
        count,
        failures: number("failures=")?,
        of: number("of=").filter(|of| *of != count),
        events: number("events="),
    })
}

/// `test result: ok. 7 passed; 0 failed; …`
fn test_result(output: &str) -> Option<Outcome> {
    let line = output
        .lines()
        .rev()
        .find(|line| line.starts_with("test result: "))?;
    let number = |what: &str| {
        let mut words = line.split([' ', ';']).filter(|word| !word.is_empty());
        let mut before = None;
        words.find_map(|word| {
            let number = if word == what { before } else { None };
            before = word.parse::<u64>().ok();
            number
        })
    };
    let (passed, failures) = (number("passed")?, number("failed")?);
    Some(Outcome {
        count: passed + failures,
        failures,
        of: None,
        events: None,
    })
}

#[cfg(test)]
#[path = "tests/outcome.rs"]
mod tests;
