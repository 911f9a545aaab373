//! Turns of the events that must be alone in flight, one at a time, in the order of their requests.
//!
//! A task of its own keeps each turn, so that a turn ends in time although the publish that has it is not polled. After
//! a turn in which others found no place, they go first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::link::Link;
use super::suspects::MAX_TIME_TO_END;
use crate::outcome::PublishError;

/// The longest turn: the server processes the messages in flight, then the event.
pub(super) const MAX_TURN: Duration = MAX_TIME_TO_END.saturating_mul(2);

/// The time for which others go first after a turn. They try once per millisecond.
pub(super) const OTHERS_FIRST: Duration = Duration::from_millis(10);

/// Keeps other messages away until it is dropped, for at most [`MAX_TURN`].
pub(super) struct Turn {
    pub(super) number: u64,
    /// Dropped to end the turn.
    _end: oneshot::Sender<()>,
}

impl Turn {
    /// Waits for a turn.
    ///
    /// # Errors
    /// [`PublishError::HeldBack`] if others have theirs until the deadline.
    pub(super) async fn begin(link: &Arc<Link>, deadline: Instant) -> Result<Self, PublishError> {
        let (begun, number) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        tokio::spawn(keep(Arc::clone(link), begun, ended));
        match timeout_at(deadline, number).await {
            Ok(Ok(number)) => Ok(Self { number, _end: end }),
            // The task ends early only with its runtime.
            Ok(Err(_)) | Err(_) => Err(PublishError::HeldBack),
        }
    }
}

/// Keeps a turn, once it is its time, until `ended` is closed.
async fn keep(link: Arc<Link>, mut begun: oneshot::Sender<u64>, ended: oneshot::Receiver<()>) {
    // The semaphore is never closed.
    let _permit = tokio::select! {
        permit = link.turns.acquire() => permit,
        () = begun.closed() => return,
    };
    let turn = link.answers.begin_turn();
    if begun.send(turn).is_ok() {
        let _ = timeout(MAX_TURN, ended).await;
    }
    if link.answers.end_turn(turn) {
        sleep(OTHERS_FIRST).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::task::yield_now;

    use super::super::answers::Pending;
    use super::super::company::Company;
    use super::*;

    fn connected() -> Arc<Link> {
        let link = Link::new();
        link.up(1, "server".into());
        link
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(100)
    }

    /// Whether a message finds a place beside those in flight.
    fn has_place(link: &Link) -> bool {
        let publish = Pending {
            subject: "a".into(),
            bytes: 1,
            company: Company::Any,
        };
        let registered = link.answers.register(1, publish).unwrap();
        let token = registered.map(|(token, _)| token);
        if let Some(token) = token {
            link.answers.forget(token);
        }
        token.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn turn_ends_by_time_though_its_publish_is_not_polled() {
        let link = connected();
        let first = Turn::begin(&link, soon()).await.unwrap();
        assert!(!has_place(&link));
        let next = Turn::begin(&link, soon()).await;
        assert_eq!(next.err(), Some(PublishError::HeldBack));
        sleep(MAX_TURN).await;
        assert!(has_place(&link));
        let second = Turn::begin(&link, soon()).await.unwrap();
        assert!(!has_place(&link));
        drop(first);
        yield_now().await;
        assert!(!has_place(&link), "it ended the turn of another");
        drop(second);
        yield_now().await;
        assert!(has_place(&link));
    }

    #[tokio::test(start_paused = true)]
    async fn others_that_found_no_place_go_before_the_next_turn() {
        let link = connected();
        let started = Instant::now();
        for others_wait in [true, false] {
            let turn = Turn::begin(&link, soon()).await.unwrap();
            assert!(!others_wait || !has_place(&link));
            let next = Turn::begin(&link, soon());
            let first = async {
                yield_now().await;
                drop(turn);
                yield_now().await;
                yield_now().await;
                has_place(&link)
            };
            let (next, first) = tokio::join!(next, first);
            assert_eq!(first, others_wait);
            drop(next);
        }
        assert_eq!(started.elapsed(), OTHERS_FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_the_order_of_their_requests_and_those_given_up_take_no_time() {
        let link = connected();
        let first = Turn::begin(&link, soon()).await.unwrap();
        let (order, started) = (AtomicUsize::new(0), Instant::now());
        let given_up = (0..100).map(|_| Turn::begin(&link, Instant::now()));
        assert!(join_all(given_up).await.iter().all(Result::is_err));
        let waiting = (0..100).map(async |number| {
            let turn = Turn::begin(&link, soon()).await.unwrap();
            assert_eq!(order.fetch_add(1, Ordering::Relaxed), number);
            drop(turn);
        });
        let end = async { drop(first) };
        tokio::join!(join_all(waiting), end);
        assert!(started.elapsed() < OTHERS_FIRST, "{:?}", started.elapsed());
    }
}
