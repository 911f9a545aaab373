//! The reasons why subjects have no responder, over one session: one request at a time per subject, shared by all its
//! publishes. Thousands of publishes in flight to a deleted stream would otherwise ask at once; a server drops its
//! whole queue of API requests, of other accounts too, once that is too long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::message::subject::Subject;
use crate::outcome::PublishError;
use crate::sync::lock;

/// The time for which a reason is used again.
const KEPT_FOR: Duration = Duration::from_millis(500);

/// The maximum number of pending requests.
const MAX_REQUESTS: usize = 32;

/// The number of reasons at which outdated ones are removed.
const PRUNE_AT: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Reasons {
    known: Mutex<Known>,
    requests: Semaphore,
}

#[derive(Debug)]
struct Known {
    by_subject: HashMap<Subject, Arc<Reason>>,
    prune_at: usize,
}

/// The reason, and when it was learned; empty while it is asked for.
#[derive(Debug, Default)]
struct Reason(OnceCell<(Instant, PublishError)>);

impl Reason {
    fn is_outdated(&self, now: Instant) -> bool {
        let learned = self.0.get();
        learned.is_some_and(|(at, _)| now - *at >= KEPT_FOR)
    }

    /// Whether it is known and may be used again.
    fn is_current(&self, now: Instant) -> bool {
        self.0.get().is_some() && !self.is_outdated(now)
    }
}

impl Default for Reasons {
    fn default() -> Self {
        Self {
            known: Mutex::new(Known {
                by_subject: HashMap::new(),
                prune_at: PRUNE_AT,
            }),
            requests: Semaphore::new(MAX_REQUESTS),
        }
    }
}

impl Reasons {
    /// Returns the reason, by `ask` unless another publish asks or has just asked. If that one is dropped, the next
    /// one asks, unless its deadline has passed: thousands of publishes may have waited for the same request. At the
    /// deadline it is unknown: [`PublishError::NoResponders`].
    pub(super) async fn of<F>(
        &self,
        subject: &Subject,
        deadline: Instant,
        ask: impl FnOnce() -> F,
    ) -> PublishError
    where
        F: Future<Output = PublishError>,
    {
        let reason = self.current(subject, Instant::now());
        let ask = async || {
            // The semaphore is never closed.
            let _permit = self.requests.acquire().await;
            if deadline <= Instant::now() {
                return Err(PublishError::NoResponders);
            }
            let reason = ask().await;
            Ok((Instant::now(), reason))
        };
        match timeout_at(deadline, reason.0.get_or_try_init(ask)).await {
            Ok(Ok((_, reason))) => reason.clone(),
            Ok(Err(unknown)) => unknown,
            Err(_) => PublishError::NoResponders,
        }
    }

    fn current(&self, subject: &Subject, now: Instant) -> Arc<Reason> {
        let mut known = lock(&self.known);
        if known.by_subject.len() >= known.prune_at {
            // An empty one without a publish was given up.
            known
                .by_subject
                .retain(|_, reason| Arc::strong_count(reason) > 1 || reason.is_current(now));
            known.prune_at = PRUNE_AT.max(2 * known.by_subject.len());
        }
        let reason = known.by_subject.entry(subject.clone()).or_default();
        if reason.is_outdated(now) {
            *reason = Arc::default();
        }
        Arc::clone(reason)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::time::{sleep, timeout};

    use super::*;

    const ANSWER: Duration = Duration::from_millis(10);

    /// Counts requests, and how many are pending.
    #[derive(Default)]
    struct Broker {
        pending: AtomicUsize,
        most_pending: AtomicUsize,
        requests: AtomicUsize,
    }

    impl Broker {
        async fn ask(&self) -> PublishError {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let pending = self.pending.fetch_add(1, Ordering::Relaxed) + 1;
            self.most_pending.fetch_max(pending, Ordering::Relaxed);
            sleep(ANSWER).await;
            self.pending.fetch_sub(1, Ordering::Relaxed);
            PublishError::NoLeader
        }

        fn requests(&self) -> usize {
            self.requests.load(Ordering::Relaxed)
        }
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn subject(text: &str) -> Subject {
        Subject::new(text).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn publishes_of_a_subject_share_one_request_for_half_a_second() {
        let (reasons, broker, a) = (Reasons::default(), Broker::default(), subject("a"));
        for requests in 1..=2 {
            let all = (0..4_096).map(|_| reasons.of(&a, later(), || broker.ask()));
            let answers = join_all(all).await;
            assert!(
                answers
                    .iter()
                    .all(|reason| *reason == PublishError::NoLeader)
            );
            assert_eq!(broker.requests(), requests);
            sleep(KEPT_FOR - Duration::from_millis(1)).await;
            reasons.of(&a, later(), || broker.ask()).await;
            assert_eq!(broker.requests(), requests);
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_for_many_subjects_are_bounded_and_their_reasons_are_removed() {
        let (reasons, broker) = (Reasons::default(), Broker::default());
        let subjects: Vec<Subject> = (0..3_000).map(|n| subject(&n.to_string())).collect();
        join_all(
            subjects
                .iter()
                .map(|subject| reasons.of(subject, later(), || broker.ask())),
        )
        .await;
        assert_eq!(broker.requests(), 3_000);
        assert_eq!(broker.most_pending.load(Ordering::Relaxed), MAX_REQUESTS);
        sleep(KEPT_FOR).await;
        let given_up = (3_000..7_000).map(|number| subject(&number.to_string()));
        for subject in given_up {
            reasons.current(&subject, Instant::now());
        }
        let known = lock(&reasons.known).by_subject.len();
        assert!(known <= PRUNE_AT, "{known}");
        let asking: Vec<_> = (7_000..9_000)
            .map(|number| reasons.current(&subject(&number.to_string()), Instant::now()))
            .collect();
        let known = lock(&reasons.known).by_subject.len();
        assert!(known >= asking.len(), "{known}");
    }

    #[tokio::test(start_paused = true)]
    async fn next_publish_asks_if_the_asking_one_is_dropped() {
        let (reasons, broker, a) = (Reasons::default(), Broker::default(), subject("a"));
        let first = timeout(ANSWER / 2, reasons.of(&a, later(), || broker.ask()));
        let second = reasons.of(&a, later(), || broker.ask());
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_err());
        assert_eq!(second, PublishError::NoLeader);
        assert_eq!(broker.requests(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn publishes_that_gave_up_with_the_asking_one_send_no_request() {
        let (reasons, broker, a) = (Reasons::default(), Broker::default(), subject("a"));
        let deadline = Instant::now() + ANSWER / 2;
        let late = |_| reasons.of(&a, deadline, || broker.ask());
        let patient = reasons.of(&a, later(), || broker.ask());
        let (late, patient) = tokio::join!(join_all((0..100).map(late)), patient);
        for reason in late {
            assert_eq!(reason, PublishError::NoResponders);
        }
        // The refusal to ask is no reason for a publish that has time.
        assert_eq!(patient, PublishError::NoLeader);
        assert_eq!(broker.requests(), 2);
    }

    /// They were reported as subjects without a leader, though the API answered for each that was asked for.
    #[tokio::test(start_paused = true)]
    async fn subjects_that_are_not_asked_for_in_time_have_an_unknown_reason() {
        const SUBJECTS: usize = 1_000;
        let (reasons, deadline) = (Reasons::default(), Instant::now() + 20 * ANSWER);
        let reason = async |number: usize| {
            let ask = async || {
                sleep(ANSWER).await;
                PublishError::NoStream
            };
            reasons
                .of(&subject(&number.to_string()), deadline, ask)
                .await
        };
        let answers = join_all((0..SUBJECTS).map(reason)).await;
        let count = |reason| answers.iter().filter(|of| **of == reason).count();
        let asked = count(PublishError::NoStream);
        assert!((19..=20).contains(&(asked / MAX_REQUESTS)), "{asked}");
        assert_eq!(count(PublishError::NoResponders), SUBJECTS - asked);
    }
}
