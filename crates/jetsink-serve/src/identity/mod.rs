//! The identities that the gateway has seen: in flight, and answered within the window. Time is an argument. `file` keeps those of
//! spooled events on the disk.
//!
//! 1. One identity has at most one emit in flight. A repeat waits for its result.
//! 2. An identity that was answered with success is answered from memory, without a second emit.
//! 3. An identity with other content is a conflict, for as long as it is remembered.
//! 4. A failed event that no emit has sent is forgotten: its repeat is a first.
//! 5. Memory is bounded. The oldest answered identities are forgotten first; events in flight never are.

mod file;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jetsink::{Acknowledgement, Delivery, EmitError, Known};
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(crate) use file::{IdentityFile, Kept};

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
    Spooled {
        /// It may still be in the spool, so that it is remembered beyond the window.
        may_wait: bool,
    },
    /// Without memory of its own: an entry lives for minutes among allocations that live for microseconds.
    Stored { stream: Arc<str>, sequence: u64 },
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
            State::Spooled { .. } => Begin::Repeat(Delivery::Spooled),
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
        let Delivery::Stored(ack) = delivery else {
            // A later kind of delivery is durable as well.
            return State::Spooled { may_wait: true };
        };
        let shared = self.streams.iter().find(|shared| ***shared == *ack.stream);
        let stream = shared.cloned().unwrap_or_else(|| {
            let stream: Arc<str> = ack.stream.as_str().into();
            if self.streams.len() < MAX_SHARED_STREAMS {
                self.streams.push(Arc::clone(&stream));
            }
            stream
        });
        State::Stored {
            stream,
            sequence: ack.sequence,
        }
    }

    /// Remembers an event that an earlier process spooled at `since`, unless its identity is known. It may have left the
    /// spool, so that it is forgotten after the window. Returns the number of identities that were forgotten early, as
    /// [`settle`](Self::settle) does.
    pub(crate) fn recall(&mut self, key: Key, digest: Digest, since: Instant, now: Instant) -> u64 {
        self.recall_as(State::Spooled { may_wait: false }, key, digest, since, now)
    }

    /// Remembers an event that is in the spool, as [`recall`](Self::recall) does, and for as long as the spool is in use.
    pub(crate) fn recall_waiting(&mut self, key: Key, digest: Digest, now: Instant) -> u64 {
        if let Some(entry) = self.entries.get_mut(&key)
            && entry.digest == digest
            && let State::Spooled { may_wait } = &mut entry.state
        {
            *may_wait = true;
        }
        self.recall_as(State::Spooled { may_wait: true }, key, digest, now, now)
    }

    fn recall_as(
        &mut self,
        state: State,
        key: Key,
        digest: Digest,
        since: Instant,
        now: Instant,
    ) -> u64 {
        if self.entries.contains_key(&key) {
            return 0;
        }
        self.insert(key, digest, state);
        self.order.push_back((since, key, self.next_number));
        self.forget(now, || true)
    }

    /// The content of an event that is in flight or remembered.
    pub(crate) fn digest(&self, key: &Key) -> Option<Digest> {
        self.entries.get(key).map(|entry| entry.digest)
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
            let may_wait = current
                .is_some_and(|entry| matches!(entry.state, State::Spooled { may_wait: true }));
            let is_over = now.saturating_duration_since(since) >= self.window;
            let is_full = self.order.len() > self.max;
            if current.is_some() && !is_full {
                if !is_over {
                    break;
                }
                if may_wait && *may_be_spooled.get_or_insert_with(&spool_in_use) {
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

pub(crate) fn key(id: &str) -> Key {
    let mut key = Key::default();
    let bytes = id.as_bytes();
    let length = bytes.len().min(key.len());
    key[..length].copy_from_slice(&bytes[..length]);
    key
}

#[cfg(test)]
mod tests;
