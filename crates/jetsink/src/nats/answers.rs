//! The pending answers of publishes, by token. Pure, except for the channels that wake the waiters.
//!
//! Every publish has an inbox subject of its own, `<inbox>.<token>`. This table owns the pending answers, so
//! that a cancelled publish leaves no entry (async-nats' own request map keeps one until the answer arrives,
//! nats.rs#1617), and so that the end of a connection fails all publishes in flight at once.
//!
//! Invariants:
//! 1. A publish is registered for the current session only. Over another session it would wait in vain, or
//!    be sent late.
//! 2. Going down fails every registered publish, in the same critical section.
//! 3. `highest_answered` never decreases. An answer to a higher token proves that the broker has processed
//!    every lower one, since it processes one connection in order.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Context;

use async_nats::Message;
use futures_util::task::AtomicWaker;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use crate::message::subject::Subject;
use crate::outcome::PublishError;
use crate::sync::lock;

/// The broker's message, or the reason why none will arrive.
pub(crate) type Answer = Result<Message, PublishError>;

#[derive(Debug)]
struct Waiting {
    subject: Arc<str>,
    to: Waiter,
}

#[derive(Debug)]
enum Waiter {
    One(oneshot::Sender<Answer>),
    /// A publish of a window, by its place in the window.
    OfWindow {
        arrivals: Arc<Arrivals>,
        place: u64,
    },
}

impl Waiter {
    fn answer(self, answer: Answer) {
        match self {
            // A waiter without its receiver was cancelled between our lock and its own `forget`.
            Self::One(waiter) => drop(waiter.send(answer)),
            Self::OfWindow { arrivals, place } => arrivals.push(place, answer),
        }
    }
}

/// The answers to a window's publishes, in their order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    answers: Mutex<Vec<(u64, Answer)>>,
    reader: AtomicWaker,
}

impl Arrivals {
    fn push(&self, place: u64, answer: Answer) {
        self.lock().push((place, answer));
        self.reader.wake();
    }

    /// Takes all answers; if there are none, registers the context's task for the next one.
    pub(crate) fn take(&self, context: &Context<'_>, into: &mut Vec<(u64, Answer)>) {
        std::mem::swap(&mut *self.lock(), into);
        if into.is_empty() {
            self.reader.register(context.waker());
            // An answer may have arrived before the registration.
            std::mem::swap(&mut *self.lock(), into);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Answer)>> {
        lock(&self.answers)
    }
}

#[derive(Debug, Default)]
struct Table {
    /// The number of the current session.
    session: Option<u64>,
    /// Tokens are this process's own counter, so a fast hash without a secret is safe.
    waiting: FxHashMap<u64, Waiting>,
    next_token: u64,
    highest_answered: u64,
    /// The token of the pending liveness check; a newer check replaces it.
    check: Option<u64>,
    /// Set while the broker refuses the subscription to the inbox: no answer can arrive.
    inbox_denied: Option<String>,
}

/// Whether an answer was still expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A publish or the liveness check was pending.
    Expected,
    /// The publish has been given up. A sign of life: the broker is slow, or has just returned.
    GivenUp,
}

#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<Table>);

impl Answers {
    /// Registers a publish to `subject` over `session`.
    ///
    /// # Errors
    /// [`PublishError::NotConnected`] unless `session` is the current one (invariant 1), and
    /// [`PublishError::InboxDenied`].
    pub(crate) fn register(
        &self,
        session: u64,
        subject: Arc<str>,
    ) -> Result<(u64, oneshot::Receiver<Answer>), PublishError> {
        let (sender, receiver) = oneshot::channel();
        let token = self.insert(session, subject, Waiter::One(sender))?;
        Ok((token, receiver))
    }

    /// Registers a publish of a window, whose answer goes to `arrivals`.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub(crate) fn register_in(
        &self,
        session: u64,
        subject: &Subject,
        arrivals: &Arc<Arrivals>,
        place: u64,
    ) -> Result<u64, PublishError> {
        let arrivals = Arc::clone(arrivals);
        self.insert(
            session,
            subject.to_shared(),
            Waiter::OfWindow { arrivals, place },
        )
    }

    fn insert(&self, session: u64, subject: Arc<str>, to: Waiter) -> Result<u64, PublishError> {
        let mut table = self.lock();
        if table.session != Some(session) {
            return Err(PublishError::NotConnected);
        }
        if let Some(inbox) = &table.inbox_denied {
            return Err(PublishError::InboxDenied {
                inbox: inbox.clone(),
            });
        }
        table.next_token += 1;
        let token = table.next_token;
        table.waiting.insert(token, Waiting { subject, to });
        Ok(token)
    }

    /// Gives up waiting for `token`.
    pub(crate) fn forget(&self, token: u64) {
        self.lock().waiting.remove(&token);
    }

    /// Returns a token for a liveness check over `session`, unless a check sent after `token` is pending.
    pub(crate) fn begin_check(&self, session: u64, token: u64) -> Option<u64> {
        let mut table = self.lock();
        if table.session != Some(session) || table.check.is_some_and(|check| check > token) {
            return None;
        }
        table.next_token += 1;
        table.check = Some(table.next_token);
        table.check
    }

    /// Returns whether the broker answered a message that was sent after `token`.
    pub(crate) fn answered_since(&self, token: u64) -> bool {
        self.lock().highest_answered > token
    }

    /// Passes an answer to the waiter of `token`.
    pub(crate) fn arrived(&self, token: u64, message: Message) -> Arrival {
        let mut table = self.lock();
        table.highest_answered = table.highest_answered.max(token);
        if table.check.take_if(|check| *check == token).is_some() {
            return Arrival::Expected;
        }
        match table.waiting.remove(&token) {
            Some(waiting) => {
                waiting.to.answer(Ok(message));
                Arrival::Expected
            }
            None => Arrival::GivenUp,
        }
    }

    /// Accepts publishes of `session` from now on.
    pub(crate) fn up(&self, session: u64) {
        let mut table = self.lock();
        table.session = Some(session);
        table.inbox_denied = None;
    }

    /// Records the end of the connection: the outcome of publishes in flight is unknown (invariant 2).
    pub(crate) fn down(&self) {
        let mut table = self.lock();
        table.session = None;
        table.check = None;
        for (_, waiting) in table.waiting.drain() {
            waiting.to.answer(Err(PublishError::ConnectionLost));
        }
    }

    /// Fails the publishes to `subject`, which the broker refused.
    pub(crate) fn publish_denied(&self, subject: &str) {
        let mut table = self.lock();
        // The refusal is an answer without a token: it also answers a refused liveness check.
        if let Some(check) = table.check.take() {
            table.highest_answered = table.highest_answered.max(check);
        }
        let denied: Vec<u64> = table
            .waiting
            .iter()
            .filter(|(_, waiting)| &*waiting.subject == subject)
            .map(|(token, _)| *token)
            .collect();
        for token in denied {
            if let Some(waiting) = table.waiting.remove(&token) {
                waiting.to.answer(Err(PublishError::PermissionDenied));
            }
        }
    }

    /// Fails all publishes until the next connection: the broker refused the subscription to the inbox.
    pub(crate) fn inbox_denied(&self, inbox: &str) {
        let mut table = self.lock();
        table.inbox_denied = Some(inbox.to_owned());
        for (_, waiting) in table.waiting.drain() {
            waiting.to.answer(Err(PublishError::InboxDenied {
                inbox: inbox.to_owned(),
            }));
        }
    }

    /// Returns the number of publishes that wait for an answer.
    pub(crate) fn in_flight(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            subject: "inbox.1".into(),
            reply: None,
            payload: bytes::Bytes::new(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        }
    }

    fn connected() -> Answers {
        let answers = Answers::default();
        answers.up(1);
        answers
    }

    #[test]
    fn register_fails_without_a_connection_and_for_an_earlier_session() {
        let answers = Answers::default();
        assert_eq!(
            answers.register(1, "a".into()).err(),
            Some(PublishError::NotConnected)
        );
        answers.up(2);
        assert_eq!(
            answers.register(1, "a".into()).err(),
            Some(PublishError::NotConnected)
        );
        assert!(answers.register(2, "a".into()).is_ok());
    }

    #[test]
    fn down_fails_all_publishes_in_flight_and_drops_the_liveness_check() {
        let answers = connected();
        let (token, mut first) = answers.register(1, "a".into()).unwrap();
        let (_, mut second) = answers.register(1, "b".into()).unwrap();
        answers.begin_check(1, token);
        answers.down();
        for receiver in [&mut first, &mut second] {
            assert!(matches!(
                receiver.try_recv(),
                Ok(Err(PublishError::ConnectionLost))
            ));
        }
        assert_eq!(answers.in_flight(), 0);
    }

    #[test]
    fn answer_to_a_cancelled_publish_is_a_sign_of_life_and_leaves_no_entry() {
        let answers = connected();
        let (token, receiver) = answers.register(1, "a".into()).unwrap();
        drop(receiver);
        answers.forget(token);
        assert_eq!(answers.arrived(token, message()), Arrival::GivenUp);
        assert_eq!(answers.in_flight(), 0);
    }

    #[test]
    fn one_liveness_check_serves_all_publishes_sent_before_it() {
        let answers = connected();
        let (first, _r1) = answers.register(1, "a".into()).unwrap();
        let (second, _r2) = answers.register(1, "a".into()).unwrap();
        let check = answers.begin_check(1, first).unwrap();
        assert_eq!(answers.begin_check(1, second), None);
        assert!(!answers.answered_since(second));
        assert_eq!(answers.arrived(check, message()), Arrival::Expected);
        assert!(answers.answered_since(second));
    }

    #[test]
    fn denied_subject_fails_its_own_publishes_only() {
        let answers = connected();
        let (_, mut denied) = answers.register(1, "a".into()).unwrap();
        let (_, mut other) = answers.register(1, "b".into()).unwrap();
        answers.publish_denied("a");
        assert!(matches!(
            denied.try_recv(),
            Ok(Err(PublishError::PermissionDenied))
        ));
        assert!(other.try_recv().is_err());
        assert_eq!(answers.in_flight(), 1);
    }

    #[test]
    fn arrivals_collect_all_answers_of_a_window() {
        let answers = connected();
        let arrivals = Arc::new(Arrivals::default());
        let subject = Subject::new("a").unwrap();
        let first = answers.register_in(1, &subject, &arrivals, 0).unwrap();
        answers.register_in(1, &subject, &arrivals, 1).unwrap();
        let context = Context::from_waker(std::task::Waker::noop());
        let mut taken = Vec::new();
        arrivals.take(&context, &mut taken);
        assert!(taken.is_empty());
        assert_eq!(answers.arrived(first, message()), Arrival::Expected);
        answers.down();
        arrivals.take(&context, &mut taken);
        assert!(matches!(
            taken[..],
            [(0, Ok(_)), (1, Err(PublishError::ConnectionLost))]
        ));
    }
}
