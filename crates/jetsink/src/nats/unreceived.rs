//! The publishes of a window that nothing received, until the reason is known.
//!
//! Meanwhile the window sends no other event of their subject: a stream that comes, or a leader that is elected, would
//! store it before those that failed. It shares their failure, and the caller sends all of them again in their order.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::message::subject::Subject;
use crate::outcome::PublishError;
use crate::publisher::window::WindowResult;

type Asking<'a> = Pin<Box<dyn Future<Output = (Subject, PublishError)> + Send + 'a>>;

#[derive(Default)]
pub(super) struct Unreceived<'a> {
    /// The publishes without a reason, by subject.
    numbers: HashMap<Subject, Vec<u64>>,
    /// One per subject.
    asking: FuturesUnordered<Asking<'a>>,
}

impl<'a> Unreceived<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Adds a publish that nothing received. `reason` is asked for if it is the first one of its subject.
    pub(super) fn add<F>(&mut self, subject: &Subject, number: u64, reason: impl FnOnce() -> F)
    where
        F: Future<Output = PublishError> + Send + 'a,
    {
        if self.add_behind(subject, number) {
            return;
        }
        let (of, reason) = (subject.clone(), reason());
        self.numbers.insert(subject.clone(), vec![number]);
        self.asking
            .push(Box::pin(async move { (of, reason.await) }));
    }

    /// Adds a publish that was not sent, if the reason of its subject is asked for. Returns whether it is.
    #[inline]
    pub(super) fn add_behind(&mut self, subject: &Subject, number: u64) -> bool {
        if self.numbers.is_empty() {
            return false;
        }
        match self.numbers.get_mut(subject) {
            Some(numbers) => numbers.push(number),
            None => return false,
        }
        true
    }

    /// Moves the publishes whose reason is known to `results`.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, results: &mut VecDeque<WindowResult>) {
        while let Poll::Ready(Some((subject, reason))) = self.asking.poll_next_unpin(context) {
            let numbers = self.numbers.remove(&subject).into_iter().flatten();
            results.extend(numbers.map(|number| (number, Err(reason.clone()))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::sync::oneshot;

    use super::*;

    fn subject(text: &str) -> Subject {
        Subject::new(text).unwrap()
    }

    #[test]
    fn publishes_of_a_subject_share_its_reason_in_their_order() {
        let (a, b) = (subject("a"), subject("b"));
        let (answer, answered) = oneshot::channel();
        let mut unreceived = Unreceived::default();
        assert!(!unreceived.add_behind(&a, 0));
        unreceived.add(&a, 1, || async { answered.await.unwrap() });
        unreceived.add(&b, 2, || async { PublishError::NoStream });
        unreceived.add(&a, 3, || async { unreachable!("it is asked for once") });
        assert!(unreceived.add_behind(&a, 4));
        let mut poll = || {
            let mut results = VecDeque::new();
            unreceived.poll(&mut Context::from_waker(Waker::noop()), &mut results);
            Vec::from(results)
        };
        assert_eq!(poll(), [(2, Err(PublishError::NoStream))]);
        answer.send(PublishError::NoLeader).unwrap();
        let expected = [1, 3, 4].map(|number| (number, Err(PublishError::NoLeader)));
        assert_eq!(poll(), expected);
        assert!(unreceived.is_empty());
        assert!(!unreceived.add_behind(&a, 5), "it is sent");
    }
}
