//! The last recoveries of subjects, to recognise a late failure: its publish was admitted before its subject
//! recovered.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::message::subject::Subject;

/// The maximum number of recoveries that are remembered. A late failure after a forgotten one opens the circuit
/// until its next probe.
const MAX_RECOVERIES: usize = 16_384;

#[derive(Debug)]
pub(super) struct Recoveries {
    /// The time after which no publish that was admitted before a recovery is in flight.
    max_flight: Duration,
    /// The number of the last recovery of each subject.
    last: HashMap<Subject, u64>,
    /// All recoveries that are remembered, oldest first.
    by_age: VecDeque<(Instant, u64, Subject)>,
}

impl Recoveries {
    pub(super) fn new(max_flight: Duration) -> Self {
        Self {
            max_flight,
            last: HashMap::new(),
            by_age: VecDeque::new(),
        }
    }

    /// Records recovery `number` of all subjects.
    pub(super) fn add(&mut self, subject: &Subject, number: u64, now: Instant) {
        self.prune(now);
        self.last.insert(subject.clone(), number);
        self.by_age.push_back((now, number, subject.clone()));
    }

    /// Whether a subject has recovered since an admission that saw `number` recoveries.
    pub(super) fn recovered_since(&self, subject: &Subject, number: u64) -> bool {
        self.last.get(subject).is_some_and(|last| *last > number)
    }

    fn prune(&mut self, now: Instant) {
        while let Some((at, number, subject)) = self.by_age.front() {
            if self.by_age.len() < MAX_RECOVERIES && now - *at <= self.max_flight {
                return;
            }
            // A later recovery of the subject has an entry of its own.
            if self.last.get(subject) == Some(number) {
                self.last.remove(subject);
            }
            self.by_age.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_FLIGHT: Duration = Duration::from_secs(3);

    fn subject(text: &str) -> Subject {
        Subject::new(text).unwrap()
    }

    #[test]
    fn recovery_is_known_until_no_earlier_publish_is_in_flight() {
        let now = Instant::now();
        let mut recoveries = Recoveries::new(MAX_FLIGHT);
        recoveries.add(&subject("a"), 1, now);
        assert!(recoveries.recovered_since(&subject("a"), 0));
        assert!(!recoveries.recovered_since(&subject("a"), 1));
        assert!(!recoveries.recovered_since(&subject("b"), 0));
        recoveries.add(&subject("a"), 2, now + MAX_FLIGHT);
        // The first entry is pruned; the second one counts.
        recoveries.add(
            &subject("b"),
            3,
            now + MAX_FLIGHT + Duration::from_millis(1),
        );
        assert!(recoveries.recovered_since(&subject("a"), 1));
        recoveries.add(&subject("c"), 4, now + 3 * MAX_FLIGHT);
        assert!(!recoveries.recovered_since(&subject("a"), 1));
        assert_eq!((recoveries.last.len(), recoveries.by_age.len()), (1, 1));
    }

    #[test]
    fn recoveries_are_bounded() {
        let now = Instant::now();
        let mut recoveries = Recoveries::new(MAX_FLIGHT);
        for number in 0..MAX_RECOVERIES + 10 {
            recoveries.add(&subject(&number.to_string()), number as u64 + 1, now);
        }
        assert_eq!(recoveries.by_age.len(), MAX_RECOVERIES);
        assert_eq!(recoveries.last.len(), MAX_RECOVERIES);
        assert!(!recoveries.recovered_since(&subject("0"), 0));
    }
}
