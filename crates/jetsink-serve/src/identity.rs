//! The identities that the gateway has seen: in flight, and answered within the window. Pure; time is an argument.
//!
//! 1. One identity has at most one emit in flight. A repeat waits for its result.
//! 2. An identity that was answered with success is answered from memory, without a second emit.
//! 3. An identity with other content is a conflict, for as long as it is remembered.
//! 4. A failed event that no emit has sent is forgotten: its repeat is a first.
//! 5. Memory is bounded. The oldest answered identities are forgotten first; events in flight never are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jetsink::{Acknowledgement, Delivery, EmitError, Known, MessageId};
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The start of a message id: 144 bits of a SHA-256.
pub(crate) type Key = [u8; 24];

/// A hash of an event's content.
pub(crate) type Digest = u64;

/// The result of an emit, for its request and the repeats that wait.
pub(crate) type Emitted = Result<Delivery, EmitError>;

/// Streams whose names are shared by the remembered answers. A gateway has few.
const MAX_SHARED_STREAMS: usize = 64;

/// Spooled events that one call gives another window: all requests wait for it.
const MAX_EXTENDED: usize = 256;

#[derive(Debug)]
enum State {
    InFlight {
        waiting: Vec<oneshot::Sender<Emitted>>,
        /// An earlier emit may have stored it.
        was_sent: bool,
    },
    /// Sent, and perhaps stored. Remembered for its content only.
    Unknown,
    Spooled,
    /// Without memory of its own: an entry lives for minutes among allocations that live for microseconds.
    Stored {
        stream: Arc<str>,
        sequence: u64,
    },
}

impl State {
    fn in_flight(was_sent: bool) -> Self {
        Self::InFlight {
            waiting: Vec::new(),
            was_sent,
        }
    }
}

#[derive(Debug)]
struct Entry {
    digest: Digest,
    state: State,
    /// Distinguishes this entry from an earlier one of its identity in `order`.
    number: u64,
}

/// The next step for an event.
#[derive(Debug)]
pub(crate) enum Begin {
    /// Emit it, then call [`Identities::settle`].
    First,
    /// The same event is in flight: wait for its result. The channel is closed if its emit ended without one.
    InFlight(oneshot::Receiver<Emitted>),
    /// The same event was answered with this.
    Repeat(Delivery),
    /// Another event has this identity.
    Conflict,
}

/// The identities within the window.
#[derive(Debug)]
pub(crate) struct Identities {
    entries: FxHashMap<Key, Entry>,
    /// Answered entries and those of unknown outcome, oldest first.
    order: VecDeque<(Instant, Key, u64)>,
    next_number: u64,
    streams: Vec<Arc<str>>,
    max: usize,
    window: Duration,
}

impl Identities {
    pub(crate) fn new(max: usize, window: Duration) -> Self {
        Self {
            entries: FxHashMap::default(),
            order: VecDeque::new(),
            next_number: 0,
            streams: Vec::new(),
            max,
            window,
        }
    }

    /// Begins an event, unless it is a repeat.
    pub(crate) fn begin(&mut self, key: Key, digest: Digest) -> Begin {
        let Some(entry) = self.entries.get_mut(&key) else {
            self.insert(key, digest, State::in_flight(false));
            return Begin::First;
        };
        if entry.digest != digest {
            return Begin::Conflict;
        }
        match &mut entry.state {
            State::Spooled => Begin::Repeat(Delivery::Spooled),
            State::Stored { stream, sequence } => {
                Begin::Repeat(Acknowledgement::new(&**stream, *sequence).into())
            }
            State::InFlight { waiting, .. } => {
                let (sender, receiver) = oneshot::channel();
                // Repeats whose clients went away.
                waiting.retain(|sender| !sender.is_closed());
                waiting.push(sender);
                Begin::InFlight(receiver)
            }
            State::Unknown => {
                self.insert(key, digest, State::in_flight(true));
                Begin::First
            }
        }
    }

    fn insert(&mut self, key: Key, digest: Digest, state: State) {
        self.next_number += 1;
        let entry = Entry {
            digest,
            state,
            number: self.next_number,
        };
        self.entries.insert(key, entry);
    }

    /// Ends an event that [`begin`](Self::begin) let through. `spool_in_use` keeps spooled events beyond the window.
    /// Returns the number of identities that were forgotten before the window's end.
    pub(crate) fn settle(
        &mut self,
        key: Key,
        result: &Emitted,
        now: Instant,
        spool_in_use: impl Fn() -> bool,
    ) -> u64 {
        let next = match result {
            Ok(delivery) => Some(self.answered(delivery)),
            Err(error) => (error.known() == Known::OutcomeUnknown).then_some(State::Unknown),
        };
        for sender in self.end(key, now, next) {
            // A repeat whose client went away needs no answer.
            let _ = sender.send(result.clone());
        }
        self.forget(now, spool_in_use)
    }

    fn answered(&mut self, delivery: &Delivery) -> State {
        let Delivery::Stored {
            stream, sequence, ..
        } = delivery
        else {
            // A later kind of delivery is durable as well.
            return State::Spooled;
        };
        let shared = self.streams.iter().find(|shared| ***shared == **stream);
        let stream = shared.cloned().unwrap_or_else(|| {
            let stream: Arc<str> = stream.as_str().into();
            if self.streams.len() < MAX_SHARED_STREAMS {
                self.streams.push(Arc::clone(&stream));
            }
            stream
        });
        State::Stored {
            stream,
            sequence: *sequence,
        }
    }

    /// Remembers a spooled event of an earlier process, unless its identity is known. Returns the number of identities that
    /// were forgotten early, as [`settle`](Self::settle) does.
    pub(crate) fn recall(&mut self, key: Key, digest: Digest, now: Instant) -> u64 {
        if self.entries.contains_key(&key) {
            return 0;
        }
        self.insert(key, digest, State::Spooled);
        self.order.push_back((now, key, self.next_number));
        self.forget(now, || true)
    }

    /// Ends an event in flight whose emit ended without a result: it may have been sent. Its repeats get a closed
    /// channel.
    pub(crate) fn abandon(&mut self, key: Key, now: Instant) {
        let _closed = self.end(key, now, Some(State::Unknown));
    }

    /// Ends an event in flight; `None` if this emit did not send it. Returns the repeats that wait.
    fn end(
        &mut self,
        key: Key,
        now: Instant,
        next: Option<State>,
    ) -> Vec<oneshot::Sender<Emitted>> {
        let Some(entry) = self.entries.get_mut(&key) else {
            return Vec::new();
        };
        let State::InFlight { waiting, was_sent } = &mut entry.state else {
            return Vec::new();
        };
        let waiting = std::mem::take(waiting);
        // An earlier emit may have stored it: other content must not pass as the same event.
        let next = next.or(was_sent.then_some(State::Unknown));
        match next {
            Some(state) => {
                entry.state = state;
                self.order.push_back((now, key, entry.number));
            }
            None => {
                self.entries.remove(&key);
            }
        }
        waiting
    }

    fn forget(&mut self, now: Instant, spool_in_use: impl Fn() -> bool) -> u64 {
        let mut early = 0;
        let mut may_be_spooled = None;
        let mut extended = 0;
        while let Some((since, key, number)) = self.order.front().copied() {
            let current = self
                .entries
                .get(&key)
                .filter(|entry| entry.number == number);
            let is_spooled = current.is_some_and(|entry| matches!(entry.state, State::Spooled));
            let is_over = now.saturating_duration_since(since) >= self.window;
            let is_full = self.order.len() > self.max;
            if current.is_some() && !is_full {
                if !is_over {
                    break;
                }
                if is_spooled && *may_be_spooled.get_or_insert_with(&spool_in_use) {
                    if extended == MAX_EXTENDED {
                        break; // later calls go on
                    }
                    extended += 1;
                    // It may still be in the spool: another window.
                    self.order.pop_front();
                    self.order.push_back((now, key, number));
                    continue;
                }
            }
            self.order.pop_front();
            if current.is_some() {
                early += u64::from(!is_over);
                self.entries.remove(&key);
            }
        }
        early
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

pub(crate) fn key(id: &MessageId) -> Key {
    let mut key = Key::default();
    let bytes = id.as_str().as_bytes();
    let length = bytes.len().min(key.len());
    key[..length].copy_from_slice(&bytes[..length]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use jetsink::{FailedEmit, PublishError};

    const WINDOW: Duration = Duration::from_secs(600);

    fn id(text: &str) -> Key {
        key(&MessageId::new(text).unwrap())
    }

    fn stored() -> Emitted {
        Ok(stored_at(7))
    }

    fn stored_at(sequence: u64) -> Delivery {
        let acknowledgement = jetsink::Acknowledgement::new("S", sequence);
        Delivery::from(acknowledgement)
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn repeat_of_an_answered_event_gets_the_same_answer_until_the_window_ends() {
        let start = Instant::now();
        let mut identities = Identities::new(100, WINDOW);
        assert!(matches!(identities.begin(id("a"), 1), Begin::First));
        identities.settle(id("a"), &stored(), start, || false);
        let again = identities.begin(id("a"), 1);
        assert!(matches!(again, Begin::Repeat(result) if result == stored_at(7)));
        assert!(matches!(identities.begin(id("a"), 2), Begin::Conflict));
        identities.begin(id("b"), 1);
        identities.settle(id("b"), &stored(), at(start, 600), || false);
        assert!(
            matches!(identities.begin(id("a"), 2), Begin::First),
            "forgotten"
        );
    }

    #[tokio::test]
    async fn repeat_in_flight_waits_for_the_result() {
        let mut identities = Identities::new(100, WINDOW);
        identities.begin(id("a"), 1);
        let Begin::InFlight(waiting) = identities.begin(id("a"), 1) else {
            panic!("not in flight");
        };
        assert!(matches!(identities.begin(id("a"), 2), Begin::Conflict));
        identities.settle(id("a"), &stored(), Instant::now(), || false);
        assert_eq!(waiting.await.unwrap(), Ok(stored_at(7)));
    }

    #[tokio::test]
    async fn event_that_was_not_sent_is_forgotten_and_its_repeat_is_a_first() {
        let mut identities = Identities::new(100, WINDOW);
        identities.begin(id("a"), 1);
        let Begin::InFlight(waiting) = identities.begin(id("a"), 1) else {
            panic!("not in flight");
        };
        identities.settle(id("a"), &Err(EmitError::Closed), Instant::now(), || false);
        assert!(waiting.await.unwrap().is_err());
        assert!(matches!(identities.begin(id("a"), 2), Begin::First));
    }

    #[tokio::test]
    async fn abandoned_event_releases_its_repeats() {
        let mut identities = Identities::new(100, WINDOW);
        identities.begin(id("a"), 1);
        let Begin::InFlight(waiting) = identities.begin(id("a"), 1) else {
            panic!("not in flight");
        };
        identities.abandon(id("a"), Instant::now());
        assert!(waiting.await.is_err());
        assert!(matches!(identities.begin(id("a"), 2), Begin::Conflict));
        assert!(matches!(identities.begin(id("a"), 1), Begin::First));
    }

    // A reviewer's finding: the second emit forgot the content, and other bytes passed as the same event.
    #[test]
    fn event_that_was_not_sent_after_an_unknown_outcome_keeps_its_content() {
        let start = Instant::now();
        let mut identities = Identities::new(100, WINDOW);
        let unknown = EmitError::Failed(Box::new(FailedEmit {
            subject: jetsink::Subject::new("e").unwrap(),
            message_id: None,
            attempts: 1,
            error: PublishError::ConnectionLost,
            known: Known::OutcomeUnknown,
        }));
        for error in [unknown, EmitError::Closed, EmitError::Closed] {
            assert!(matches!(identities.begin(id("a"), 1), Begin::First));
            identities.settle(id("a"), &Err(error), start, || false);
            assert!(matches!(identities.begin(id("a"), 2), Begin::Conflict));
        }
        identities.begin(id("b"), 1);
        identities.settle(id("b"), &stored(), at(start, 600), || false);
        assert!(
            matches!(identities.begin(id("a"), 2), Begin::First),
            "forgotten after the window"
        );
    }

    #[test]
    fn spooled_event_is_remembered_while_the_spool_is_in_use() {
        let start = Instant::now();
        let mut identities = Identities::new(100, WINDOW);
        identities.begin(id("a"), 1);
        identities.settle(id("a"), &Ok(Delivery::Spooled), start, || true);
        let tick = |identities: &mut Identities, name: &str, seconds, in_use| {
            identities.begin(id(name), 1);
            identities.settle(id(name), &stored(), at(start, seconds), || in_use);
        };
        tick(&mut identities, "b", 700, true);
        let again = identities.begin(id("a"), 1);
        assert!(matches!(again, Begin::Repeat(result) if result == Delivery::Spooled));
        tick(&mut identities, "c", 1_400, false);
        assert!(matches!(identities.begin(id("a"), 1), Begin::First));
    }

    #[test]
    fn call_asks_for_the_spool_once_and_extends_a_bounded_number() {
        let start = Instant::now();
        let count = 3 * MAX_EXTENDED;
        let mut identities = Identities::new(2 * count, WINDOW);
        for number in 0..count {
            identities.recall(id(&number.to_string()), 1, start);
        }
        let extended = |identities: &Identities| {
            let later = |(since, ..): &&(Instant, Key, u64)| *since > start;
            identities.order.iter().filter(later).count()
        };
        for call in 1..=4 {
            let asked = std::cell::Cell::new(0);
            let name = id(&format!("call {call}"));
            identities.begin(name, 1);
            identities.settle(name, &stored(), at(start, 600), || {
                asked.set(asked.get() + 1);
                true
            });
            assert_eq!(asked.get(), usize::from(call <= 3));
            let stored = call;
            let expected = stored + (call * MAX_EXTENDED).min(count);
            assert_eq!(extended(&identities), expected);
        }
        assert!(matches!(identities.begin(id("0"), 1), Begin::Repeat(_)));
    }

    #[test]
    fn recalled_event_is_a_repeat_and_never_replaces_a_known_one() {
        let start = Instant::now();
        let mut identities = Identities::new(2, WINDOW);
        identities.begin(id("flying"), 1);
        assert_eq!(identities.recall(id("flying"), 2, start), 0);
        assert!(matches!(
            identities.begin(id("flying"), 1),
            Begin::InFlight(_)
        ));
        identities.recall(id("a"), 1, start);
        assert!(
            matches!(identities.begin(id("a"), 1), Begin::Repeat(result) if result == Delivery::Spooled)
        );
        assert!(matches!(identities.begin(id("a"), 2), Begin::Conflict));
        assert_eq!(identities.recall(id("b"), 1, start), 0);
        assert_eq!(identities.recall(id("c"), 1, start), 1, "bounded");
    }

    #[test]
    fn bound_forgets_the_oldest_early_and_never_an_event_in_flight() {
        let start = Instant::now();
        let mut identities = Identities::new(2, WINDOW);
        identities.begin(id("flying"), 0);
        let mut early = 0;
        for name in ["a", "b", "c", "d"] {
            identities.begin(id(name), 0);
            early += identities.settle(id(name), &stored(), start, || true);
        }
        assert_eq!((early, identities.len()), (2, 3));
        assert!(matches!(
            identities.begin(id("flying"), 0),
            Begin::InFlight(_)
        ));
        assert!(matches!(identities.begin(id("a"), 0), Begin::First));
        assert!(matches!(identities.begin(id("d"), 0), Begin::Repeat(_)));
    }
}
