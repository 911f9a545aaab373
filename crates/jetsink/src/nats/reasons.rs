//! The reasons why subjects have no responder, over one session: one request at a time per subject, shared by all its
//! publishes. Thousands of publishes in flight to a deleted stream would otherwise ask at once; a server drops its
//! whole queue of API requests, of other accounts too, once that is too long.
//!
//! A task of its own sends each request. So a publish that is not polled, as in a window whose caller is busy, keeps
//! no other from its reason.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
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
    requests: Arc<Semaphore>,
    /// The runtime of the connection, which the requests need.
    runtime: Handle,
}

#[derive(Debug)]
struct Known {
    by_subject: HashMap<Subject, watch::Sender<Reason>>,
    prune_at: usize,
}

#[derive(Debug)]
enum Reason {
    /// Its task asks for it.
    Asked,
    /// Its task has ended without it, because no publish waited for it.
    GivenUp,
    Known {
        at: Instant,
        error: PublishError,
    },
}

impl Reason {
    /// Whether it is known and may be used again.
    fn is_current(&self, now: Instant) -> bool {
        match self {
            Self::Known { at, .. } => now - *at < KEPT_FOR,
            Self::Asked | Self::GivenUp => false,
        }
    }

    fn is_asked(&self) -> bool {
        matches!(self, Self::Asked)
    }

    fn error(&self) -> Option<PublishError> {
        match self {
            Self::Known { error, .. } => Some(error.clone()),
            Self::Asked | Self::GivenUp => None,
        }
    }
}

impl Reasons {
    /// # Panics
    /// Outside the runtime of the connection.
    pub(super) fn new() -> Self {
        Self {
            known: Mutex::new(Known {
                by_subject: HashMap::new(),
                prune_at: PRUNE_AT,
            }),
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            runtime: Handle::current(),
        }
    }

    /// Returns the reason, by `ask` unless another publish asks or has just asked. At the deadline it is unknown:
    /// [`PublishError::NoResponders`]. A request ends when all publishes that wait for it are dropped or have passed
    /// their deadline: thousands of subjects may wait for their turn.
    pub(super) async fn of<F>(
        &self,
        subject: &Subject,
        deadline: Instant,
        ask: impl Fn() -> F,
    ) -> PublishError
    where
        F: Future<Output = PublishError> + Send + 'static,
    {
        let reason = async {
            loop {
                let mut reason = self.asked_for(subject, Instant::now(), &ask);
                // The sender stays in the table until no publish waits.
                let Ok(over) = reason.wait_for(|reason| !reason.is_asked()).await else {
                    return PublishError::NoResponders;
                };
                // Given up just before this publish began to wait: it asks again.
                if let Some(error) = over.error() {
                    return error;
                }
            }
        };
        let reason = timeout_at(deadline, reason).await;
        reason.unwrap_or(PublishError::NoResponders)
    }

    /// Returns the current reason of a subject; begins to ask for it if necessary.
    fn asked_for<F>(
        &self,
        subject: &Subject,
        now: Instant,
        ask: impl FnOnce() -> F,
    ) -> watch::Receiver<Reason>
    where
        F: Future<Output = PublishError> + Send + 'static,
    {
        let mut known = lock(&self.known);
        if let Some(reason) = known.by_subject.get(subject) {
            let receiver = reason.subscribe();
            let is_usable = {
                let reason = receiver.borrow();
                reason.is_asked() || reason.is_current(now)
            };
            if is_usable {
                return receiver;
            }
        }
        if known.by_subject.len() >= known.prune_at {
            known
                .by_subject
                .retain(|_, reason| reason.receiver_count() > 0 || reason.borrow().is_current(now));
            known.prune_at = PRUNE_AT.max(2 * known.by_subject.len());
        }
        let (reason, receiver) = watch::channel(Reason::Asked);
        known.by_subject.insert(subject.clone(), reason.clone());
        drop(known);
        let requests = Arc::clone(&self.requests);
        self.runtime.spawn(find(reason, requests, ask()));
        receiver
    }
}

/// Asks for a reason once it is its turn, unless no publish waits for it any more.
async fn find(
    reason: watch::Sender<Reason>,
    requests: Arc<Semaphore>,
    ask: impl Future<Output = PublishError>,
) {
    let answer = async {
        // The semaphore is never closed.
        let _permit = requests.acquire().await;
        ask.await
    };
    let found = tokio::select! {
        biased;
        () = reason.closed() => Reason::GivenUp,
        error = answer => Reason::Known { at: Instant::now(), error },
    };
    reason.send_replace(found);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
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
        fn ask(self: &Arc<Self>) -> impl Future<Output = PublishError> + Send + use<> {
            let broker = Arc::clone(self);
            async move {
                broker.requests.fetch_add(1, Ordering::Relaxed);
                let pending = broker.pending.fetch_add(1, Ordering::Relaxed) + 1;
                broker.most_pending.fetch_max(pending, Ordering::Relaxed);
                sleep(ANSWER).await;
                broker.pending.fetch_sub(1, Ordering::Relaxed);
                PublishError::NoLeader
            }
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
        let (reasons, broker, a) = (Reasons::new(), Arc::<Broker>::default(), subject("a"));
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
        let (reasons, broker) = (Reasons::new(), Arc::<Broker>::default());
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
        let asked_for = |number: i32| {
            reasons.asked_for(&subject(&number.to_string()), Instant::now(), || {
                broker.ask()
            })
        };
        for number in 3_000..7_000 {
            drop(asked_for(number));
        }
        let known = lock(&reasons.known).by_subject.len();
        assert!(known <= PRUNE_AT, "{known}");
        let asking: Vec<_> = (7_000..9_000).map(asked_for).collect();
        let known = lock(&reasons.known).by_subject.len();
        assert!(known >= asking.len(), "{known}");
    }

    /// Those of a pipeline that was not polled kept the requests, and each that asked kept all others of its subject.
    #[tokio::test(start_paused = true)]
    async fn publishes_that_are_not_polled_keep_no_other_from_its_reason() {
        let (reasons, broker) = (Reasons::new(), Arc::<Broker>::default());
        let subjects: Vec<Subject> = (0..=2 * MAX_REQUESTS)
            .map(|number| subject(&number.to_string()))
            .collect();
        let of = |subject| reasons.of(subject, later(), || broker.ask());
        // Half of them wait for their turn.
        let idle = &subjects[..2 * MAX_REQUESTS];
        let mut idle: Vec<_> = idle.iter().map(|subject| Box::pin(of(subject))).collect();
        for publish in &mut idle {
            assert_eq!(publish.as_mut().now_or_never(), None);
        }
        let all = timeout(10 * ANSWER, join_all(subjects.iter().map(of)));
        let reasons = all.await.expect("the reasons");
        assert!(
            reasons
                .iter()
                .all(|reason| *reason == PublishError::NoLeader)
        );
        assert_eq!(broker.requests(), subjects.len());
    }

    #[tokio::test(start_paused = true)]
    async fn request_is_shared_though_the_publish_that_began_it_is_dropped() {
        let (reasons, broker, a) = (Reasons::new(), Arc::<Broker>::default(), subject("a"));
        let first = timeout(ANSWER / 2, reasons.of(&a, later(), || broker.ask()));
        let second = reasons.of(&a, later(), || broker.ask());
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_err());
        assert_eq!(second, PublishError::NoLeader);
        assert_eq!(broker.requests(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn request_ends_with_the_last_publish_that_waits_and_the_next_one_asks_again() {
        let (reasons, broker) = (Reasons::new(), Arc::<Broker>::default());
        let deadline = Instant::now() + ANSWER / 2;
        let subjects: Vec<Subject> = (0..100).map(|n| subject(&n.to_string())).collect();
        let late = subjects
            .iter()
            .map(|subject| reasons.of(subject, deadline, || broker.ask()));
        for reason in join_all(late).await {
            assert_eq!(reason, PublishError::NoResponders);
        }
        sleep(ANSWER).await;
        assert_eq!(broker.requests(), MAX_REQUESTS, "the others had no turn");
        assert_eq!(reasons.requests.available_permits(), MAX_REQUESTS);
        let patient = reasons.of(&subjects[0], later(), || broker.ask());
        assert_eq!(patient.await, PublishError::NoLeader);
        assert_eq!(broker.requests(), MAX_REQUESTS + 1);
    }

    /// They were reported as subjects without a leader, though the API answered for each that was asked for.
    #[tokio::test(start_paused = true)]
    async fn subjects_that_are_not_asked_for_in_time_have_an_unknown_reason() {
        const SUBJECTS: usize = 1_000;
        let (reasons, deadline) = (Reasons::new(), Instant::now() + 20 * ANSWER);
        let reason = async |number: usize| {
            let ask = || async {
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
