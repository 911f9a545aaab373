//! Ends connections that wait too long for the headers of a request.
//!
//! hyper's own timeout arms a timer for each request. This one has a timer per connection, and a request costs two
//! writes.

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
}

/// A request between its headers and its answer.
pub(crate) struct Active<'a>(&'a Activity);

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            opened: Instant::now(),
            in_flight: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
        }
    }

    pub(crate) fn begin(&self) -> Active<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Active(self)
    }

    /// Completes once the connection has waited this long for headers.
    pub(crate) async fn idle(&self, limit: Duration) {
        loop {
            let waiting_since = match self.in_flight.load(Ordering::Relaxed) {
                0 => self.opened + Duration::from_millis(self.ended.load(Ordering::Relaxed)),
                _ => Instant::now(),
            };
            let due = waiting_since + limit;
            if Instant::now() >= due {
                return;
            }
            sleep_until(due).await;
        }
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        let ended = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.ended.store(ended, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{sleep, timeout};

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn connection_is_idle_once_its_last_request_is_long_over() {
        let activity = Activity::new();
        let started = Instant::now();
        let request = activity.begin();
        let during = timeout(LIMIT * 5, activity.idle(LIMIT)).await;
        assert!(during.is_err(), "a request is in flight");
        drop(request);
        sleep(LIMIT / 2).await;
        drop(activity.begin());
        activity.idle(LIMIT).await;
        let elapsed = started.elapsed().as_millis();
        assert_eq!(elapsed, (LIMIT * 5 + LIMIT / 2 + LIMIT).as_millis());
    }

    #[tokio::test(start_paused = true)]
    async fn connection_without_a_request_is_idle_after_the_limit() {
        let activity = Activity::new();
        activity.idle(LIMIT).await;
        assert_eq!(activity.opened.elapsed().as_millis(), LIMIT.as_millis());
    }
}
