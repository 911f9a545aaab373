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
//!    every lower one of the same session, since it processes one connection in order. An answer over a later session
//!    proves nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Context;

use async_nats::Message;
use futures_util::task::AtomicWaker;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::company::{Company, Places};
use super::given_up::{GivenUp, Lengths};
use super::suspects::ends_connection;
use super::wire::Limit;
use crate::message::subject::Subject;
use crate::outcome::PublishError;
use crate::sync::lock;

/// The broker's message, or the reason why none will arrive.
pub(crate) type Answer = Result<Message, PublishError>;

/// The number of ended sessions whose last answer is remembered.
const MAX_ENDED: usize = 16;

/// The end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionEnd {
    pub(crate) at: Instant,
    /// Whether the server named a reason that is no message.
    pub(crate) is_explained: bool,
}

/// A session before the last one: its publishes may learn of its end late.
#[derive(Debug)]
struct EndedSession {
    end: SessionEnd,
    /// Its tokens are greater than this.
    after: u64,
    last_token: u64,
    highest_answered: u64,
}

#[derive(Debug)]
struct Waiting {
    subject: Arc<str>,
    /// Payload and headers.
    bytes: usize,
    company: Company,
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

#[derive(Debug)]
struct LivenessCheck {
    token: u64,
    subject: String,
}

#[derive(Debug, Default)]
struct Table {
    /// The number of the current session.
    session: Option<u64>,
    /// Tokens are this process's own counter, so a fast hash without a secret is safe.
    waiting: FxHashMap<u64, Waiting>,
    next_token: u64,
    highest_answered: u64,
    /// The tokens of the last session are greater than this.
    session_after: u64,
    /// The end of the last session; `None` while it lasts.
    end: Option<SessionEnd>,
    /// Earlier sessions, the last one at the end.
    ended: VecDeque<EndedSession>,
    /// The pending liveness check; a newer one replaces it.
    check: Option<LivenessCheck>,
    /// Set while the broker refuses the subscription to the inbox: no answer can arrive.
    inbox_denied: Option<String>,
    places: Places,
    /// Publishes of the current session that were given up.
    given_up: GivenUp,
}

/// A publish to register.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) subject: Arc<str>,
    /// Payload and headers.
    pub(crate) bytes: usize,
    pub(crate) company: Company,
}

impl Table {
    /// Whether a publish may be registered now.
    #[inline]
    fn has_place(&mut self, company: Company) -> bool {
        // Messages that the server has processed without an answer are no reason for an end (invariant 3), and
        // neither are checks: those of two messages that wait would keep both from their places.
        let (waiting, processed) = (&self.waiting, self.highest_answered);
        let all_processed = || {
            let mut waiting = waiting.iter();
            waiting.all(|(token, of)| *token < processed || of.company == Company::Check)
        };
        self.places.has_place(company, all_processed)
    }

    /// The session of `token`, if it is an earlier one that is remembered.
    fn ended_session(&self, token: u64) -> Option<&EndedSession> {
        let mut ended = self.ended.iter().rev();
        ended.find(|session| session.after < token && token <= session.last_token)
    }

    /// Refuses the largest publish, by the length that `limit` concerns. Returns that length.
    fn refuse_largest(&mut self, limit: Limit) -> Option<usize> {
        let lengths = self.waiting.iter();
        let largest = lengths.map(|(token, w)| (w.lengths().of(limit), *token));
        let largest = largest.max();
        let given_up = self.given_up.longest(limit, self.highest_answered);
        match largest {
            Some((length, token)) if given_up.is_none_or(|given_up| given_up < length) => {
                let waiting = self.waiting.remove(&token)?;
                let error = ends_connection(waiting.bytes, limit.into());
                waiting.to.answer(Err(error));
                Some(length)
            }
            _ => given_up,
        }
    }

    /// Records that the server has processed all publishes up to this one.
    #[inline]
    fn processed(&mut self, token: u64) {
        self.highest_answered = self.highest_answered.max(token);
        self.places.processed(token);
    }
}

impl Waiting {
    fn lengths(&self) -> Lengths {
        Lengths {
            bytes: self.bytes,
            subject: self.subject.len(),
        }
    }
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
    /// Registers a publish over `session`. `None` if it must wait: another publish has to be alone in
    /// flight, or others are in flight and this one has to be alone, or its turn is over.
    ///
    /// # Errors
    /// [`PublishError::NotConnected`] unless `session` is the current one (invariant 1), and
    /// [`PublishError::InboxDenied`].
    pub(crate) fn register(
        &self,
        session: u64,
        publish: Pending,
    ) -> Result<Option<(u64, oneshot::Receiver<Answer>)>, PublishError> {
        let (sender, receiver) = oneshot::channel();
        let token = self.insert(session, publish, Waiter::One(sender))?;
        Ok(token.map(|token| (token, receiver)))
    }

    /// Registers a publish of a window, whose answer goes to `arrivals`.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub(crate) fn register_in(
        &self,
        session: u64,
        subject: &Subject,
        bytes: usize,
        arrivals: &Arc<Arrivals>,
        place: u64,
    ) -> Result<Option<u64>, PublishError> {
        let arrivals = Arc::clone(arrivals);
        let publish = Pending {
            subject: subject.to_shared(),
            bytes,
            company: Company::Any,
        };
        self.insert(session, publish, Waiter::OfWindow { arrivals, place })
    }

    fn insert(
        &self,
        session: u64,
        publish: Pending,
        to: Waiter,
    ) -> Result<Option<u64>, PublishError> {
        let mut table = self.lock();
        if table.session != Some(session) {
            return Err(PublishError::NotConnected);
        }
        if let Some(inbox) = &table.inbox_denied {
            return Err(PublishError::InboxDenied {
                inbox: inbox.clone(),
            });
        }
        if !table.has_place(publish.company) {
            return Ok(None);
        }
        table.next_token += 1;
        let token = table.next_token;
        if let Company::Alone { .. } = publish.company {
            table.places.begin_alone(token);
        }
        let Pending {
            subject,
            bytes,
            company,
        } = publish;
        let waiting = Waiting {
            subject,
            bytes,
            company,
            to,
        };
        table.waiting.insert(token, waiting);
        Ok(Some(token))
    }

    /// Gives up waiting for `token`.
    pub(crate) fn forget(&self, token: u64) {
        let mut table = self.lock();
        if let Some(waiting) = table.waiting.remove(&token) {
            let answered = table.highest_answered;
            table.given_up.add(token, waiting.lengths(), answered);
        }
    }

    /// Begins a turn of a publish that must be alone in flight. Others wait until it ends, or the server has processed
    /// that publish.
    pub(super) fn begin_turn(&self) -> u64 {
        self.lock().places.begin_turn()
    }

    /// Ends a turn. Returns whether others found no place in it.
    pub(super) fn end_turn(&self, turn: u64) -> bool {
        self.lock().places.end_turn(turn)
    }

    /// Returns a token for a liveness check of this subject over `session`, unless a check sent after `token` is
    /// pending.
    pub(crate) fn begin_check(&self, session: u64, token: u64, subject: &str) -> Option<u64> {
        let mut table = self.lock();
        let check = table.check.as_ref();
        if table.session != Some(session) || check.is_some_and(|check| check.token > token) {
            return None;
        }
        table.next_token += 1;
        let token = table.next_token;
        let subject = subject.to_owned();
        table.check = Some(LivenessCheck { token, subject });
        Some(token)
    }

    /// Returns whether the broker answered a message that was sent after `token` over the same session.
    pub(crate) fn answered_since(&self, token: u64) -> bool {
        let table = self.lock();
        match table.ended_session(token) {
            Some(ended) => ended.highest_answered > token,
            None => table.highest_answered > token && token > table.session_after,
        }
    }

    /// Returns the end of the session of `token`. `None` if it lasts, or ended long ago.
    pub(crate) fn end_of_session(&self, token: u64) -> Option<SessionEnd> {
        let table = self.lock();
        match table.ended_session(token) {
            Some(ended) => Some(ended.end),
            None => table.end.filter(|_| token > table.session_after),
        }
    }

    /// Passes an answer to the waiter of `token`.
    pub(crate) fn arrived(&self, token: u64, message: Message) -> Arrival {
        let mut table = self.lock();
        table.processed(token);
        if table.check.take_if(|check| check.token == token).is_some() {
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
        let (after, last_token) = (table.session_after, table.next_token);
        table.session_after = last_token;
        if let Some(end) = table.end.take() {
            if table.ended.len() == MAX_ENDED {
                table.ended.pop_front();
            }
            let highest_answered = table.highest_answered;
            table.ended.push_back(EndedSession {
                end,
                after,
                last_token,
                highest_answered,
            });
        }
        table.session = Some(session);
        table.inbox_denied = None;
        table.given_up.clear();
    }

    /// Records the end of the connection: the outcome of publishes in flight is unknown (invariant 2).
    ///
    /// If the server ended it because of a limit, the largest publish that it has not accepted breaks this limit. It
    /// is refused, unless it has been given up. Returns its length, to be compared with the limit.
    pub(crate) fn down(&self, broken: Option<Limit>, end: SessionEnd) -> Option<usize> {
        let mut table = self.lock();
        if table.session.take().is_some() {
            table.end = Some(end);
        }
        table.check = None;
        table.places.let_others_in();
        let refused = broken.and_then(|limit| table.refuse_largest(limit));
        table.given_up.clear();
        for (_, waiting) in table.waiting.drain() {
            waiting.to.answer(Err(PublishError::ConnectionLost));
        }
        refused
    }

    /// Fails the publishes to `subject`, which the broker refused over `session`.
    pub(crate) fn publish_denied(&self, session: u64, subject: &str) {
        let mut table = self.lock();
        if table.session != Some(session) {
            return;
        }
        // The refusal is an answer without a token: it also answers a liveness check.
        if let Some(check) = table.check.take_if(|check| check.subject == subject) {
            table.processed(check.token);
        }
        let denied: Vec<u64> = table
            .waiting
            .iter()
            .filter(|(_, waiting)| &*waiting.subject == subject)
            .map(|(token, _)| *token)
            .collect();
        // It answers the oldest of them at least.
        let oldest = denied.iter().copied().min().unwrap_or(0);
        table.processed(oldest);
        for token in denied {
            if let Some(waiting) = table.waiting.remove(&token) {
                waiting.to.answer(Err(PublishError::PermissionDenied));
            }
        }
    }

    /// Fails all publishes until the next connection: the broker refused the subscription to the inbox over `session`.
    pub(crate) fn inbox_denied(&self, session: u64, inbox: &str) {
        let mut table = self.lock();
        if table.session != Some(session) {
            return;
        }
        table.inbox_denied = Some(inbox.to_owned());
        table.places.let_others_in();
        let answered = table.highest_answered;
        for (token, waiting) in std::mem::take(&mut table.waiting) {
            table.given_up.add(token, waiting.lengths(), answered);
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
#[path = "../tests/answers.rs"]
mod tests;
