//! Counts requests and their answers, and keeps the counts at the beginning of each minute of the last hour.
//!
//! A request costs a few additions to counters. The first request of a minute copies the counts; without requests there
//! is nothing to copy, since the counts stay the same.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::latency::{BUCKETS, Times, bucket};
use crate::answer::problem::{Problem, ProblemKind};

/// The minutes that are kept, without the present one.
pub(crate) const MINUTES: u64 = 60;

const KINDS: usize = ProblemKind::ALL.len();

/// Counts since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) events: u64,
    pub(crate) abandoned: u64,
    /// In the order of [`ProblemKind::ALL`].
    pub(crate) problems: [u64; KINDS],
    pub(crate) times: Times,
}

impl Counts {
    const ZERO: Self = Self {
        accepted: 0,
        events: 0,
        abandoned: 0,
        problems: [0; KINDS],
        times: [0; BUCKETS],
    };

    /// The counts from an earlier moment to this one.
    fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.clone();
        counts.accepted -= earlier.accepted;
        counts.events -= earlier.events;
        counts.abandoned -= earlier.abandoned;
        let problems = counts.problems.iter_mut().zip(earlier.problems);
        let times = counts.times.iter_mut().zip(earlier.times);
        problems
            .chain(times)
            .for_each(|(count, before)| *count -= before);
        counts
    }

    pub(crate) fn refused(&self) -> u64 {
        self.problems.iter().sum()
    }
}

/// The last refusal of a kind.
#[derive(Debug, Clone)]
pub(crate) struct LastRefusal {
    pub(crate) at: Instant,
    pub(crate) detail: String,
}

/// The last hour: its counts, those of each minute, and the last refusal of each kind.
#[derive(Debug)]
pub(crate) struct Hour {
    pub(crate) counts: Counts,
    /// From the earliest to the present minute, which is not over.
    pub(crate) minutes: Vec<Counts>,
    /// In the order of [`ProblemKind::ALL`].
    pub(crate) refusals: Vec<Option<LastRefusal>>,
    pub(crate) uptime: Duration,
}

#[derive(Debug)]
pub(crate) struct History {
    started: Instant,
    accepted: AtomicU64,
    events: AtomicU64,
    abandoned: AtomicU64,
    problems: [AtomicU64; KINDS],
    times: Box<[AtomicU64; BUCKETS]>,
    /// The first minute whose beginning is not in `beginnings` yet.
    next_minute: AtomicU64,
    /// Minutes and the counts at their beginning. A minute without an entry has the counts of the next entry.
    beginnings: Mutex<VecDeque<(u64, Counts)>>,
    refusals: Mutex<Vec<Option<LastRefusal>>>,
}

impl History {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            started: now,
            accepted: AtomicU64::default(),
            events: AtomicU64::default(),
            abandoned: AtomicU64::default(),
            problems: std::array::from_fn(|_| AtomicU64::default()),
            times: Box::new(std::array::from_fn(|_| AtomicU64::default())),
            next_minute: AtomicU64::new(1),
            beginnings: Mutex::new(VecDeque::from([(0, Counts::ZERO)])),
            refusals: Mutex::new(vec![None; KINDS]),
        }
    }

    /// Call it with the time of each request, before the request is counted.
    pub(crate) fn tick(&self, now: Instant) {
        let minute = self.minute(now);
        if minute < self.next_minute.load(Ordering::Relaxed) {
            return;
        }
        let mut beginnings = lock(&self.beginnings);
        if minute < self.next_minute.load(Ordering::Relaxed) {
            return; // another request was faster
        }
        self.next_minute.store(minute + 1, Ordering::Relaxed);
        beginnings.push_back((minute, self.counts()));
        while beginnings
            .front()
            .is_some_and(|(first, _)| first + MINUTES < minute)
        {
            beginnings.pop_front();
        }
    }

    pub(crate) fn accepted(&self, events: u64) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.events.fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn abandoned(&self) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn took(&self, time: Duration) {
        self.times[bucket(time)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, index: usize, problem: &Problem, now: Instant) {
        self.tick(now);
        self.problems[index].fetch_add(1, Ordering::Relaxed);
        lock(&self.refusals)[index] = Some(LastRefusal {
            at: now,
            detail: problem.detail().to_owned(),
        });
    }

    pub(crate) fn hour(&self, now: Instant) -> Hour {
        self.tick(now);
        let present = self.minute(now);
        let first = present.saturating_sub(MINUTES);
        let beginnings = lock(&self.beginnings);
        // Under the lock, or another request may put higher counts in `beginnings`, and a difference is negative.
        let latest = self.counts();
        let counts_at = |minute: u64| {
            let next = beginnings.iter().find(|(known, _)| *known >= minute);
            next.map_or(&latest, |(_, counts)| counts)
        };
        let minutes = (first..=present).map(|minute| {
            let end = match minute == present {
                true => &latest,
                false => counts_at(minute + 1),
            };
            end.since(counts_at(minute))
        });
        Hour {
            minutes: minutes.collect(),
            counts: latest.since(counts_at(first)),
            refusals: lock(&self.refusals).clone(),
            uptime: now.saturating_duration_since(self.started),
        }
    }

    fn minute(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs() / 60
    }

    fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            accepted: read(&self.accepted),
            events: read(&self.events),
            abandoned: read(&self.abandoned),
            problems: std::array::from_fn(|index| read(&self.problems[index])),
            times: std::array::from_fn(|index| read(&self.times[index])),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(hour: &Hour) -> Vec<u64> {
        hour.minutes.iter().map(|minute| minute.events).collect()
    }

    #[test]
    fn events_are_counted_in_their_minute() {
        let start = Instant::now();
        let history = History::new(start);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let accept = |seconds, count| {
            history.tick(at(seconds));
            history.accepted(count);
        };
        accept(0, 1);
        accept(59, 2);
        accept(60, 4);
        assert_eq!(events(&history.hour(at(61))), [3, 4]);
        accept(300, 8);
        assert_eq!(events(&history.hour(at(310))), [3, 4, 0, 0, 0, 8]);
        assert_eq!(events(&history.hour(at(430))), [3, 4, 0, 0, 0, 8, 0, 0]);
    }

    #[test]
    fn only_the_last_hour_is_kept() {
        let start = Instant::now();
        let history = History::new(start);
        for minute in 0..200 {
            history.tick(start + Duration::from_secs(minute * 60));
            history.accepted(minute);
        }
        let now = start + Duration::from_secs(199 * 60 + 30);
        let hour = history.hour(now);
        assert_eq!(events(&hour), (139..200).collect::<Vec<u64>>());
        assert_eq!(hour.counts.events, (139..200).sum::<u64>());
        assert_eq!(lock(&history.beginnings).len(), 61);
        let later = history.hour(now + Duration::from_secs(3 * 3_600));
        assert_eq!(later.counts, Counts::ZERO);
        assert_eq!(events(&later), [0; 61]);
    }

    // A reviewer's finding: a request that began a minute during the call made a difference negative.
    #[test]
    fn hour_can_be_read_while_requests_begin_minutes() {
        let start = Instant::now();
        let history = History::new(start);
        let at = |minute: u64| start + Duration::from_secs(minute * 60);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for minute in 0..3_000 {
                    history.accepted(1);
                    history.tick(at(minute));
                }
            });
            for minute in (0..3_000).step_by(10) {
                let hour = history.hour(at(minute));
                assert!(hour.counts.events <= 3_000);
            }
        });
    }

    #[test]
    fn refusal_is_kept_with_its_last_detail() {
        let now = Instant::now();
        let history = History::new(now);
        let problem = |detail: &'static str| Problem::new(ProblemKind::Forbidden, detail);
        history.refused(3, &problem("first"), now);
        history.refused(3, &problem("second"), now);
        let hour = history.hour(now);
        assert_eq!((hour.counts.problems[3], hour.counts.refused()), (2, 2));
        assert_eq!(hour.refusals[3].as_ref().unwrap().detail, "second");
        assert!(hour.refusals[0].is_none());
    }
}
