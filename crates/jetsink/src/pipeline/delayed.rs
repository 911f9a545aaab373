//! Subjects whose entries wait for a retry while those of other subjects are sent.
//!
//! Invariants:
//! 1. No entry of a delayed subject is sent.
//! 2. A delay begins once no entry of its subject is in flight, and ends when a round begins that looks at all queued
//!    entries. So no entry overtakes an earlier one of its subject.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::message::subject::Subject;
use crate::publish::LOOK_AGAIN;
use crate::publish::schedule::Schedule;

/// The shortest time from a round that ended delays to the next one: each looks at the whole window.
const LOOK_INTERVAL: Duration = LOOK_AGAIN;

#[derive(Debug, Default)]
pub(super) struct Delayed {
    /// Subjects that may have entries in flight, and until when they wait.
    in_flight: HashMap<Subject, Instant>,
    waiting: Schedule<Subject>,
    /// No delay ends before this time.
    look_at: Option<Instant>,
    /// Whether the present round has ended delays.
    has_released: bool,
}

impl Delayed {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty() && !self.waiting.has_delayed()
    }

    pub(super) fn contains(&self, subject: &Subject) -> bool {
        self.in_flight.contains_key(subject) || self.waiting.due_at(subject).is_some()
    }

    /// Delays a subject, which may have entries in flight.
    pub(super) fn insert(&mut self, subject: Subject, until: Instant) {
        let delay = self.in_flight.entry(subject).or_insert(until);
        *delay = until.max(*delay);
    }

    /// No entry of this subject is in flight.
    pub(super) fn landed(&mut self, subject: &Subject) {
        if let Some((subject, until)) = self.in_flight.remove_entry(subject) {
            self.waiting.delay_until(subject, until);
        }
    }

    /// Ends the delays that are due. Returns whether there were any.
    pub(super) fn release(&mut self, now: Instant) -> bool {
        if self.look_at.is_some_and(|look_at| now < look_at) {
            return false;
        }
        self.waiting.wake(now);
        while self.waiting.pop_front().is_some() {
            self.has_released = true;
        }
        self.has_released
    }

    /// Ends a round. A slow one must not be due again at once.
    pub(super) fn end_round(&mut self, now: impl FnOnce() -> Instant) {
        if std::mem::take(&mut self.has_released) {
            self.look_at = Some(now() + LOOK_INTERVAL);
        }
    }

    /// The time when the next delay ends; `None` without one that has begun.
    pub(super) fn next_release(&self) -> Option<Instant> {
        let (due, _) = self.waiting.first_due()?;
        Some(self.look_at.map_or(due, |look_at| due.max(look_at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_lasts_until_the_latest_time_and_the_last_entry_in_flight() {
        let now = Instant::now();
        let after = |millis| now + Duration::from_millis(millis);
        let (a, b) = (Subject::new("a").unwrap(), Subject::new("b").unwrap());
        let mut delayed = Delayed::default();
        delayed.insert(a.clone(), after(20));
        delayed.insert(a.clone(), after(10));
        delayed.insert(b.clone(), after(20));
        assert!(!delayed.release(after(30)), "both are in flight");
        assert_eq!(delayed.next_release(), None);
        delayed.landed(&a);
        assert_eq!(delayed.next_release(), Some(after(20)));
        assert!(!delayed.release(after(19)));
        assert!(delayed.release(after(20)));
        delayed.end_round(|| after(30));
        assert!(!delayed.contains(&a) && delayed.contains(&b));
        delayed.landed(&b);
        assert_eq!(delayed.next_release(), Some(after(50)), "not at once");
        assert!(!delayed.release(after(49)) && delayed.release(after(50)));
        assert!(delayed.is_empty());
    }

    /// A thousand failing subjects made each millisecond a round over the whole window.
    #[test]
    fn delays_of_many_subjects_end_at_most_once_per_interval() {
        let start = Instant::now();
        let mut delayed = Delayed::default();
        let subjects: Vec<Subject> = (0..1_000)
            .map(|number| Subject::new(number.to_string()).unwrap())
            .collect();
        let mut rounds = 0;
        for (millis, subject) in (0..).zip(&subjects) {
            let now = start + Duration::from_millis(millis);
            delayed.insert(subject.clone(), now);
            delayed.landed(subject);
            rounds += u32::from(delayed.release(now));
            delayed.end_round(|| now);
        }
        assert_eq!(rounds, 50);
    }
}
