//! What a trial's test printed, and what that is worth.

use super::list::Counts;
use super::table::thousands;

/// The rule of three says nothing of fewer.
const FEW: u64 = 30;

/// What one trial came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) count: u64,
    pub(crate) failures: u64,
    /// How many there are, where that is known and not all of them ran.
    pub(crate) of: Option<u64>,
    /// How many events were looked for one by one.
    pub(crate) events: Option<u64>,
}

impl Outcome {
    /// From what the test printed; `None` where it did not come to its end.
    pub(crate) fn read(output: &str, trial: &str, counts: Counts) -> Option<Self> {
        match counts {
            Counts::Random(_) | Counts::Time(_) | Counts::All(_) => own_line(output, trial),
            Counts::Tests(_) => test_result(output),
        }
    }

    /// This and another part of the same trial.
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

    /// What the count supports.
    pub(crate) fn bound(self, counts: Counts) -> String {
        match (self.failures, counts) {
            (0, _) if self.count == 0 => "nothing: nothing ran".to_owned(),
            (0, Counts::Tests(_)) => "each once".to_owned(),
            (0, Counts::All(_)) => match self.of {
                None => "all there are".to_owned(),
                Some(all) => format!("a sample of {}", thousands(all)),
            },
            // The rule of three: where none of n fails, at most 3 in n do, with 95 % confidence.
            (0, Counts::Time(_)) => "-".to_owned(),
            (0, Counts::Random(_)) if self.count < FEW => "-".to_owned(),
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
mod tests {
    use super::*;

    #[test]
    fn the_trials_own_line_is_found_among_others() {
        let output = "running 1 test\ntrial retry-not count=1 failures=1 seed=1\n\
                      trial retry count=20 failures=3 seed=7 events=90\ntest … ok\n";
        let read = |trial| Outcome::read(output, trial, Counts::Random("x"));
        let expected = Outcome {
            count: 20,
            failures: 3,
            of: None,
            events: Some(90),
        };
        assert_eq!(read("retry"), Some(expected));
        let both = expected.and(expected);
        assert_eq!((both.count, both.failures, both.events), (40, 6, Some(180)));
        assert_eq!(read("other"), None);
        assert!(!expected.is_passed());
    }

    #[test]
    fn a_file_of_tests_counts_its_tests() {
        let output = "test result: FAILED. 6 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.2s\n";
        let expected = Outcome {
            count: 7,
            failures: 1,
            of: None,
            events: None,
        };
        let read = |output| Outcome::read(output, "x", Counts::Tests("models"));
        assert_eq!(read(output), Some(expected));
        assert_eq!(read("error: could not compile"), None);
    }

    #[test]
    fn a_bound_is_three_in_the_count_and_only_where_none_failed() {
        let outcome = |count, failures| Outcome {
            count,
            failures,
            of: None,
            events: None,
        };
        let bound = |count, failures| outcome(count, failures).bound(Counts::Random("x"));
        assert_eq!(bound(200_000, 0), "at most 1.5e-5");
        assert_eq!(bound(29, 0), "-");
        assert_eq!(bound(200, 2), "1.0e-2 failed");
        assert_eq!(bound(0, 0), "nothing: nothing ran");
        let all = outcome(9, 0);
        assert_eq!(all.bound(Counts::All("x")), "all there are");
        let line = "trial x count=9 failures=0 seed=1 of=1200";
        let some = Outcome::read(line, "x", Counts::All("x")).unwrap();
        assert_eq!(some.bound(Counts::All("x")), "a sample of 1,200");
    }
}
