//! Orders keys by when they may be tried: ready now in a given order, or delayed until a time.
//!
//! Invariants:
//! 1. A key is ready, delayed, or unknown here; never ready and delayed.
//! 2. `by_time` has one entry per delay, and no other.
//!
//! Pure: the time is passed in.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

use crate::circuit::backoff::wait_after;

#[derive(Debug)]
pub(crate) struct Schedule<K> {
    ready: VecDeque<K>,
    delays: HashMap<K, Delay>,
    by_time: BTreeSet<(Instant, K)>,
}

#[derive(Debug, Clone, Copy)]
struct Delay {
    until: Instant,
    /// Failures in a row, for a key that backs off.
    failures: u32,
}

/// The delay of a key that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackOff {
    /// Failures in a row before this one.
    pub(crate) attempt: u32,
    pub(crate) wait: Duration,
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            delays: HashMap::new(),
            by_time: BTreeSet::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Schedule<K> {
    /// The number of ready keys.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Takes the next ready key.
    pub(crate) fn pop_front(&mut self) -> Option<K> {
        self.ready.pop_front()
    }

    /// Makes a key ready, before all others.
    pub(crate) fn push_front(&mut self, key: K) {
        self.ready.push_front(key);
    }

    /// Makes a key ready, after all others.
    pub(crate) fn push_back(&mut self, key: K) {
        self.ready.push_back(key);
    }

    /// Makes the keys ready whose delay has passed, in the order of their times.
    pub(crate) fn wake(&mut self, now: Instant) {
        while self.by_time.first().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, key)) = self.by_time.pop_first() {
                self.delays.remove(&key);
                self.ready.push_back(key);
            }
        }
    }

    /// Delays a key that is not ready; replaces an earlier delay.
    pub(crate) fn delay_until(&mut self, key: K, until: Instant) {
        self.delay(key, Delay { until, failures: 0 });
    }

    /// Delays a key that failed, by the circuit's waits: longer with each failure until
    /// [`cancel`](Self::cancel).
    pub(crate) fn back_off(&mut self, key: K, now: Instant) -> BackOff {
        let attempt = self.delays.get(&key).map_or(0, |delay| delay.failures);
        let wait = wait_after(attempt);
        let delay = Delay {
            until: now + wait,
            failures: attempt.saturating_add(1),
        };
        self.delay(key, delay);
        BackOff { attempt, wait }
    }

    /// Forgets the delay of a key, and its failures.
    pub(crate) fn cancel(&mut self, key: &K) {
        if let Some((key, delay)) = self.delays.remove_entry(key) {
            self.by_time.remove(&(delay.until, key));
        }
    }

    /// Forgets the delays of all keys except those that `keep` selects.
    pub(crate) fn retain_delayed(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.by_time.retain(|(_, key)| {
            let keeps = keep(key);
            if !keeps {
                self.delays.remove(key);
            }
            keeps
        });
    }

    pub(crate) fn has_delayed(&self) -> bool {
        !self.by_time.is_empty()
    }

    /// The time until which a key is delayed, which may have passed; `None` without a delay.
    pub(crate) fn due_at(&self, key: &K) -> Option<Instant> {
        self.delays.get(key).map(|delay| delay.until)
    }

    /// The delayed key with the earliest time.
    pub(crate) fn first_due(&self) -> Option<(Instant, &K)> {
        self.by_time.first().map(|(until, key)| (*until, key))
    }

    fn delay(&mut self, key: K, delay: Delay) {
        if let Some(before) = self.delays.insert(key.clone(), delay) {
            self.by_time.remove(&(before.until, key.clone()));
        }
        self.by_time.insert((delay.until, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(now: Instant, millis: u64) -> Instant {
        now + Duration::from_millis(millis)
    }

    #[test]
    fn delayed_key_becomes_ready_at_its_time_behind_the_ready_ones() {
        let now = Instant::now();
        let later = after(now, 10);
        let mut schedule = Schedule::default();
        schedule.delay_until("a", later);
        schedule.push_back("b");
        schedule.delay_until("c", now);
        assert_eq!(
            (schedule.ready(), schedule.first_due()),
            (1, Some((now, &"c")))
        );
        schedule.wake(now);
        assert_eq!(
            (schedule.ready(), schedule.first_due()),
            (2, Some((later, &"a")))
        );
        assert_eq!(schedule.pop_front(), Some("b"));
        schedule.push_front("b");
        schedule.wake(later);
        let order = [(); 4].map(|()| schedule.pop_front());
        assert_eq!(order, [Some("b"), Some("c"), Some("a"), None]);
        assert!(!schedule.has_delayed());
    }

    #[test]
    fn failing_key_waits_longer_each_time_until_its_delay_is_cancelled() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        for attempt in 0..3 {
            let wait = wait_after(attempt);
            assert_eq!(schedule.back_off("a", now), BackOff { attempt, wait });
            assert_eq!(schedule.due_at(&"a"), Some(now + wait));
            assert_eq!(schedule.first_due(), Some((now + wait, &"a")));
        }
        schedule.cancel(&"a");
        assert_eq!((schedule.due_at(&"a"), schedule.first_due()), (None, None));
        assert_eq!(schedule.back_off("a", now).attempt, 0);
    }

    #[test]
    fn new_delay_replaces_the_earlier_one() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.delay_until("a", after(now, 5));
        schedule.delay_until("a", after(now, 20));
        schedule.wake(after(now, 10));
        assert_eq!(schedule.ready(), 0);
        schedule.wake(after(now, 20));
        assert_eq!((schedule.ready(), schedule.due_at(&"a")), (1, None));
    }

    #[test]
    fn delays_that_are_not_retained_are_forgotten() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.delay_until("a", now);
        schedule.delay_until("b", now);
        schedule.retain_delayed(|key| *key == "b");
        assert_eq!(
            (schedule.due_at(&"a"), schedule.due_at(&"b")),
            (None, Some(now))
        );
        assert_eq!(schedule.first_due(), Some((now, &"b")));
    }
}
