//! Bounded retry with fixed waits: 100 ms after the first failure, then four times the previous wait.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::outcome::PublishError;

/// The wait after failure number `failure`, counted from 0: 100 ms · 4^failure, at most an hour.
#[must_use]
pub(crate) fn wait_before_retry(failure: u32) -> Duration {
    const MAX_MILLIS: u64 = 3_600_000;
    let millis = 4_u64
        .checked_pow(failure)
        .and_then(|factor| factor.checked_mul(100))
        .unwrap_or(MAX_MILLIS);
    Duration::from_millis(millis.min(MAX_MILLIS))
}

/// Calls `f` up to `max_attempts` times, until it returns `Ok`; 0 counts as 1.
///
/// Waits 100 ms after the first failure, 400 ms after the second, and so on
/// up to an hour. Logs each failure but the last as a warning. Dropping the future drops the
/// call in progress.
///
/// # Errors
/// The error of the last call.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let mut calls = 0;
/// let result = jetsink::with_retry(3, || {
///     calls += 1;
///     let call = calls;
///     async move { if call < 3 { Err("not yet") } else { Ok(call) } }
/// })
/// .await;
/// assert_eq!(result, Ok(3));
/// # }
/// ```
pub async fn with_retry<F, Fut, T, E>(max_attempts: u32, mut f: F) -> Result<T, E>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Display,
{
    let mut failures = 0;
    loop {
        match f().await {
            Ok(value) => return Ok(value),
            Err(error) if failures + 1 >= max_attempts => return Err(error),
            Err(error) => {
                let wait = wait_before_retry(failures);
                warn!(
                    attempt = failures + 1,
                    max_attempts,
                    wait_ms = wait.as_millis() as u64,
                    %error,
                    "attempt failed, trying again"
                );
                sleep(wait).await;
            }
        }
        failures += 1;
    }
}

/// The retries of one envelope, in an emit or in a pipeline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retries {
    max_attempts: u32,
}

impl Retries {
    pub(crate) fn new(max_attempts: u32) -> Self {
        Self { max_attempts }
    }

    /// One attempt only, as for a probe.
    pub(crate) fn none() -> Self {
        Self::new(1)
    }

    pub(crate) fn max_attempts(self) -> u32 {
        self.max_attempts
    }

    /// The wait before the retry after failure number `failure`, counted from 0; `None` if that
    /// failure is final.
    pub(crate) fn wait_after(self, failure: u32, error: &PublishError) -> Option<Duration> {
        let retries = failure + 1 < self.max_attempts && error.is_transient();
        retries.then(|| wait_before_retry(failure))
    }
}

/// Whether a retry after `wait` begins before `deadline`.
pub(crate) fn fits(wait: Duration, now: Instant, deadline: Instant) -> bool {
    now + wait < deadline
}

/// Logs failure number `failure` of a publish, before the wait for the retry.
pub(crate) fn log_retry(failure: u32, max_attempts: u32, wait: Duration, error: &impl Display) {
    warn!(
        attempt = failure + 1,
        max_attempts,
        wait_ms = wait.as_millis() as u64,
        %error,
        "publish failed, trying again"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn waits_quadruple_and_the_last_error_is_returned() {
        let started = Instant::now();
        let calls = Cell::new(0);
        let result: Result<(), String> = with_retry(4, || {
            calls.set(calls.get() + 1);
            let call = calls.get();
            async move { Err(format!("failure {call}")) }
        })
        .await;
        assert_eq!(result, Err("failure 4".to_owned()));
        assert_eq!(started.elapsed(), Duration::from_millis(100 + 400 + 1_600));
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempts_means_one_and_there_is_no_wait_after_the_last() {
        for max_attempts in [0, 1] {
            let started = Instant::now();
            let result: Result<(), &str> = with_retry(max_attempts, || async { Err("no") }).await;
            assert_eq!((result, started.elapsed()), (Err("no"), Duration::ZERO));
        }
    }

    #[test]
    fn a_retry_that_would_begin_at_the_deadline_does_not_fit() {
        let now = Instant::now();
        let wait = wait_before_retry(1);
        assert!(!fits(wait, now, now + wait));
        assert!(fits(wait, now, now + wait + Duration::from_nanos(1)));
    }

    #[test]
    fn only_a_transient_failure_before_the_last_attempt_is_retried() {
        let (transient, lasting) = (PublishError::NoStream, PublishError::PermissionDenied);
        let retries = Retries::new(2);
        assert_eq!(
            retries.wait_after(0, &transient),
            Some(wait_before_retry(0))
        );
        assert_eq!(retries.wait_after(1, &transient), None);
        assert_eq!(retries.wait_after(0, &lasting), None);
        assert_eq!(Retries::none().wait_after(0, &transient), None);
    }

    #[test]
    fn waits_never_overflow() {
        assert_eq!(wait_before_retry(0), Duration::from_millis(100));
        assert_eq!(wait_before_retry(2), Duration::from_millis(1_600));
        assert_eq!(wait_before_retry(u32::MAX), Duration::from_secs(3_600));
    }
}
