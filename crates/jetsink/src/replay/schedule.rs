//! Whose turn it is to send, among the subjects in a spool.
//!
//! A lane stands in the row, or waits for a time to come, or rests while all it has is in flight: then a
//! result brings it back. None is looked at while there is nothing to do for it, or each event would
//! cost a look at all subjects.

use std::collections::{BTreeSet, VecDeque};

use tokio::time::Instant;

use crate::message::subject::Subject;

#[derive(Debug, Default)]
pub(super) struct Turns {
    row: VecDeque<Subject>,
    waiting: BTreeSet<(Instant, Subject)>,
}

impl Turns {
    pub(super) fn len(&self) -> usize {
        self.row.len()
    }

    /// Whoever has waited for long enough stands in the row again.
    pub(super) fn wake(&mut self, now: Instant) {
        while self.waiting.first().is_some_and(|(until, _)| *until <= now) {
            let first = self.waiting.pop_first();
            self.row.extend(first.map(|(_, subject)| subject));
        }
    }

    pub(super) fn next(&mut self) -> Option<Subject> {
        self.row.pop_front()
    }

    pub(super) fn goes_on(&mut self, subject: Subject) {
        self.row.push_front(subject);
    }

    pub(super) fn stands_behind(&mut self, subject: Subject) {
        self.row.push_back(subject);
    }

    pub(super) fn waits(&mut self, subject: Subject, until: Instant) {
        self.waiting.insert((until, subject));
    }

    /// When the first has waited for long enough.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_subject_that_waits_is_not_in_the_row_until_its_time_has_come() {
        let now = Instant::now();
        let later = now + Duration::from_millis(10);
        let [a, b, c] = ["a", "b", "c"].map(|text| Subject::new(text).unwrap());
        let mut turns = Turns::default();
        turns.waits(a.clone(), later);
        turns.stands_behind(b.clone());
        turns.waits(c.clone(), now);
        assert_eq!((turns.len(), turns.next_due()), (1, Some(now)));
        turns.wake(now);
        assert_eq!((turns.len(), turns.next_due()), (2, Some(later)));
        assert_eq!(turns.next(), Some(b.clone()));
        turns.goes_on(b.clone());
        turns.wake(later);
        let order = [turns.next(), turns.next(), turns.next(), turns.next()];
        assert_eq!(order, [Some(b), Some(c), Some(a), None]);
    }
}
