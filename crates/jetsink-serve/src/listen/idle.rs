//! Ends connections that wait too long for the headers of a request, or for their client to take an answer.
//!
//! hyper's own timeout arms a timer for each request. This one has a timer per connection, and a request costs two
//! writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The requests of one connection.
#[derive(Debug)]
pub(crate) struct Activity {
    opened: Instant,
    in_flight: AtomicUsize,
    /// Milliseconds from `opened` to the end of the last request.
    ended: AtomicU64,
    /// Answers that have not left the process: those of the present period, and those of the period before.
    unsent: [AtomicUsize; 2],
    /// The index of the present period in `unsent`.
    period: AtomicUsize,
}

/// A request between its headers and its answer.
pub(crate) struct Active<'a>(&'a Activity);

/// An answer that has not left the process.
#[derive(Debug)]
pub(crate) struct Unsent {
    activity: Arc<Activity>,
    period: usize,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            opened: Instant::now(),
            in_flight: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
            unsent: Default::default(),
            period: AtomicUsize::new(0),
        }
    }

    pub(crate) fn begin(&self) -> Active<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Active(self)
    }

    /// Counts an answer until the drop of the result.
    pub(crate) fn unsent(self: &Arc<Self>) -> Unsent {
        let period = self.period.load(Ordering::Relaxed);
        self.unsent[period].fetch_add(1, Ordering::Relaxed);
        Unsent {
            activity: Arc::clone(self),
            period,
        }
    }

    pub(crate) fn has_requests(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Completes once the connection has had no request for this long, counted from `since` at the earliest.
    pub(crate) async fn idle(&self, since: Instant, limit: Duration) {
        loop {
            let due = self.waits_since().max(since) + limit;
            if Instant::now() >= due {
                return;
            }
            sleep_until(due).await;
        }
    }

    /// Completes once the connection has waited this long for headers, or has had an unsent answer for this long, at
    /// most twice as long.
    pub(crate) async fn stalled(&self, limit: Duration) {
        let mut period_end = Instant::now() + limit;
        loop {
            let now = Instant::now();
            if now >= period_end {
                if !self.begin_period() {
                    return;
                }
                period_end = now + limit;
            }
            let due = self.waits_since() + limit;
            if now >= due {
                return;
            }
            sleep_until(due.min(period_end)).await;
        }
    }

    /// The present time while requests are in flight.
    fn waits_since(&self) -> Instant {
        if self.has_requests() {
            return Instant::now();
        }
        self.opened + Duration::from_millis(self.ended.load(Ordering::Relaxed))
    }

    /// Begins a period, unless an answer was unsent for the whole of the last one. Returns whether it did.
    fn begin_period(&self) -> bool {
        let next = 1 - self.period.load(Ordering::Relaxed);
        // Before the switch: an answer of the new period counts at the same index.
        if self.unsent[next].load(Ordering::Relaxed) > 0 {
            return false;
        }
        self.period.store(next, Ordering::Relaxed);
        true
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        let ended = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.ended.store(ended, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.activity.unsent[self.period].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{sleep, timeout};

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn connection_is_stalled_once_its_last_request_is_long_over() {
        let activity = Activity::new();
        let started = Instant::now();
        let request = activity.begin();
        let during = timeout(LIMIT * 5, activity.stalled(LIMIT)).await;
        assert!(during.is_err(), "a request is in flight");
        drop(request);
        sleep(LIMIT / 2).await;
        drop(activity.begin());
        activity.stalled(LIMIT).await;
        let elapsed = started.elapsed().as_millis();
        assert_eq!(elapsed, (LIMIT * 5 + LIMIT / 2 + LIMIT).as_millis());
    }

    #[tokio::test(start_paused = true)]
    async fn connection_without_a_request_is_stalled_after_the_limit() {
        let activity = Activity::new();
        activity.stalled(LIMIT).await;
        assert_eq!(activity.opened.elapsed().as_millis(), LIMIT.as_millis());
    }

    #[tokio::test(start_paused = true)]
    async fn connection_is_idle_after_the_limit_from_the_given_time_on() {
        let activity = Activity::new();
        sleep(LIMIT * 3).await;
        let stopped = Instant::now();
        let request = activity.begin();
        let during = timeout(LIMIT * 5, activity.idle(stopped, LIMIT)).await;
        assert!(during.is_err(), "a request is in flight");
        drop(request);
        let ended = Instant::now();
        activity.idle(stopped, LIMIT).await;
        assert_eq!(ended.elapsed().as_millis(), LIMIT.as_millis());
        activity.idle(Instant::now(), LIMIT).await;
        assert_eq!(ended.elapsed().as_millis(), (LIMIT * 2).as_millis());
    }

    // A reviewer's finding: answers that a client never took stayed as long as it sent a request now and then.
    #[tokio::test(start_paused = true)]
    async fn unsent_answer_stalls_the_connection_while_others_are_sent() {
        let activity = Arc::new(Activity::new());
        let others = async {
            loop {
                drop((activity.begin(), activity.unsent()));
                sleep(LIMIT / 10).await;
            }
        };
        tokio::pin!(others);
        let stalled = activity.stalled(LIMIT);
        tokio::pin!(stalled);
        tokio::select! {
            () = &mut stalled => panic!("each answer was sent"),
            () = &mut others => {}
            () = sleep(LIMIT * 5 + LIMIT / 3) => {}
        }
        let unsent = activity.unsent();
        let since = Instant::now();
        tokio::select! {
            () = &mut stalled => {}
            () = &mut others => {}
        }
        assert!(since.elapsed() >= LIMIT && since.elapsed() <= LIMIT * 2);
        drop(unsent);
    }
}
