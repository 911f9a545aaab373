//! The result of an audit.

use std::fmt;

use crate::audit::Verdict;
use crate::index::Index;
use crate::state::{Events, Role, Seen};

/// An event that is stored with its identity and another content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Altered {
    /// The number of the event.
    pub event: u32,
    /// The sequence number of the message.
    pub sequence: u64,
}

/// The number of messages per verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// All messages.
    pub messages: u64,
    /// [`Verdict::OutOfOrder`].
    pub out_of_order: u64,
    /// [`Verdict::WrongSubject`].
    pub wrong_subject: u64,
    /// [`Verdict::Duplicated`]: the messages that are one too many.
    pub duplicated: u64,
    /// [`Verdict::StoredDespiteError`].
    pub stored_despite_error: u64,
    /// [`Verdict::Unexpected`], and unmatched messages that are no altered event.
    pub unexpected: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, verdict: Verdict) {
        self.messages += 1;
        match verdict {
            Verdict::Expected | Verdict::Unmatched => {}
            Verdict::OutOfOrder => self.out_of_order += 1,
            Verdict::WrongSubject => self.wrong_subject += 1,
            Verdict::Duplicated => self.duplicated += 1,
            Verdict::StoredDespiteError => self.stored_despite_error += 1,
            Verdict::Unexpected => self.unexpected += 1,
        }
    }

    fn is_clean(&self) -> bool {
        let of_messages_only = Self {
            messages: self.messages,
            ..Self::default()
        };
        *self == of_messages_only
    }
}

/// The result of an [`Audit`](crate::Audit).
///
/// Events are named by their number in the ledger, in ascending order.
#[derive(Debug)]
pub struct Report<K> {
    events: Events,
    keys: Index<K>,
    altered: Vec<Altered>,
    unexpected: Vec<u64>,
    counts: Counts,
}

impl<K> Report<K> {
    pub(crate) fn new(
        events: Events,
        keys: Index<K>,
        altered: Vec<Altered>,
        unexpected: Vec<u64>,
        counts: Counts,
    ) -> Self {
        Self {
            events,
            keys,
            altered,
            unexpected,
            counts,
        }
    }

    /// Whether the stream contains each event as it must, and nothing else.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.is_clean() && self.altered.is_empty() && self.lost().next().is_none()
    }

    /// Acknowledged events that are neither stored nor altered nor excused by a pending copy.
    pub fn lost(&self) -> impl Iterator<Item = u32> {
        let events = &self.events;
        events.matching(|state| state.role == Role::Acknowledged && state.seen == Seen::Never)
    }

    /// Events that are stored with another content.
    #[must_use]
    pub fn altered(&self) -> &[Altered] {
        &self.altered
    }

    /// Events that are stored more than once. Events with equal keys count as one: the first.
    pub fn duplicated(&self) -> impl Iterator<Item = u32> {
        self.events.matching(|state| state.seen == Seen::Repeatedly)
    }

    /// Events that are stored although an error ruled it out.
    pub fn stored_despite_error(&self) -> impl Iterator<Item = u32> {
        let events = &self.events;
        events.matching(|state| state.role == Role::NotStored && state.seen != Seen::Never)
    }

    /// Sequence numbers of [unmatched](Verdict::Unmatched) messages for which no event was left.
    /// [`Counts::unexpected`] includes them.
    #[must_use]
    pub fn unexpected(&self) -> &[u64] {
        &self.unexpected
    }

    /// The number of messages per verdict.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether a message was matched with the event. False for an altered event and for a number that
    /// the ledger does not have.
    #[must_use]
    pub fn is_stored(&self, event: u32) -> bool {
        let is_known = (event as usize) < self.events.len();
        is_known && matches!(self.events.state(event).seen, Seen::Once | Seen::Repeatedly)
    }

    /// Keys and numbers of the events, in the order of the keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&K, u32)> {
        self.keys.iter()
    }
}

impl<K: Ord> Report<K> {
    /// Whether the event was recorded with this key.
    #[must_use]
    pub fn has_key(&self, event: u32, key: &K) -> bool {
        self.keys.contains(key, event)
    }
}

/// `2 lost, 0 altered, 1 duplicated, 0 out of order, 0 unexpected`, and the other findings if there are
/// any.
impl<K> fmt::Display for Report<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            out_of_order,
            wrong_subject,
            duplicated,
            stored_despite_error,
            unexpected,
            ..
        } = self.counts;
        let (lost, altered) = (self.lost().count(), self.altered.len());
        write!(
            f,
            "{lost} lost, {altered} altered, {duplicated} duplicated, {out_of_order} out of order, \
             {unexpected} unexpected"
        )?;
        if wrong_subject > 0 {
            write!(f, ", {wrong_subject} on the wrong subject")?;
        }
        if stored_despite_error > 0 {
            write!(f, ", {stored_despite_error} stored despite an error")?;
        }
        Ok(())
    }
}
