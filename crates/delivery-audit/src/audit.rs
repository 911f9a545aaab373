//! The comparison, message by message.

use std::collections::HashMap;
use std::mem;

use crate::index::{Index, Lookup};
use crate::ledger::{AliasCountError, Aliases, Ledger};
use crate::report::{Altered, Counts, Report};
use crate::state::{ANY, Events, Role, Seen, Subjects};

/// The finding about one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// An event may or must be stored here.
    Expected,
    /// A later event of the subject was observed before.
    OutOfOrder,
    /// The event was published to another subject.
    WrongSubject,
    /// Each event with this key already has its message.
    Duplicated,
    /// The publish returned an error that ruled out that the event is stored.
    StoredDespiteError,
    /// No event has this key.
    Unexpected,
    /// No event has this key, but an event has this identity: [`Audit::finish`] decides whether the
    /// message is an altered event or unexpected.
    Unmatched,
}

/// The part of a message by which it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a, K> {
    /// The key of an event.
    Key(&'a K),
    /// The alias of an event.
    Alias(&'a K),
    /// The message has neither, and matches no event.
    Unreadable,
}

/// One message of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a, K> {
    /// Its sequence number, which a [`Report`] names it by.
    pub sequence: u64,
    /// Its subject.
    pub subject: &'a str,
    /// Its key or alias.
    pub content: Content<'a, K>,
}

/// A comparison of a [`Ledger`] with a stream.
///
/// Pass all messages of the stream in their order, then call [`finish`](Self::finish).
///
/// ```
/// use delivery_audit::{Content, Event, Ledger, Message, Verdict};
///
/// // The key is the content, the identity is the id in it.
/// let mut ledger: Ledger<&str, u32> = Ledger::default();
/// ledger.add(Event::acknowledged("1: blue").identity(1));
///
/// let mut audit = ledger.seal();
/// let message = Message { sequence: 12, subject: "events", content: Content::Key(&"1: red") };
/// assert_eq!(audit.observe_identified(message, || Some(1)), Verdict::Unmatched);
///
/// let report = audit.finish();
/// let altered = report.altered().first().unwrap();
/// assert_eq!((altered.event, altered.sequence), (0, 12));
/// assert_eq!(report.lost().count(), 0);
/// ```
#[derive(Debug)]
pub struct Audit<K, I = ()> {
    events: Events,
    subjects: Subjects,
    keys: Index<K>,
    aliases: Option<Index<K>>,
    /// Whether pending copies were assigned by alias.
    pending_by_alias: bool,
    identities: Index<I>,
    /// Sequence numbers of messages that match no key, by identity; per identity at most as many as it
    /// has events.
    unmatched: HashMap<u32, Vec<u64>>,
    counts: Counts,
}

impl<K: Ord, I: Ord> Audit<K, I> {
    pub(crate) fn new(ledger: Ledger<K, I>, aliases: Option<Index<K>>) -> Self {
        let Ledger {
            events,
            subjects,
            keys,
            identities,
        } = ledger;
        Self {
            events,
            subjects,
            keys,
            pending_by_alias: aliases.is_some(),
            aliases,
            identities,
            unmatched: HashMap::new(),
            counts: Counts::default(),
        }
    }

    /// The number of events.
    #[must_use]
    pub fn events(&self) -> usize {
        self.events.len()
    }

    /// Whether the events have aliases.
    #[must_use]
    pub fn has_aliases(&self) -> bool {
        self.aliases.is_some()
    }

    /// Adds a second key for each event, for the messages from here on. Replaces earlier aliases.
    ///
    /// Pending copies are not assigned anew: a ledger with pending copies takes its aliases in
    /// [`Ledger::seal_with`].
    ///
    /// # Errors
    /// [`AliasCountError`] if there is not one alias per event. The audit is unchanged.
    pub fn set_aliases(&mut self, mut aliases: Aliases<K>) -> Result<(), AliasCountError> {
        aliases.check_count(self.events.len())?;
        aliases.0.sort(&self.events);
        self.aliases = Some(aliases.0);
        Ok(())
    }

    /// Compares the next message. Returns [`Verdict::Unexpected`] if no event has its key.
    pub fn observe(&mut self, subject: &str, key: &K) -> Verdict {
        let content = Content::Key(key);
        let verdict = self.compare(subject, content);
        self.count(verdict.unwrap_or(Verdict::Unexpected))
    }

    /// Compares the next message. Asks for its identity if no event has its key or alias.
    pub fn observe_identified(
        &mut self,
        message: Message<'_, K>,
        identity: impl FnOnce() -> Option<I>,
    ) -> Verdict {
        let verdict = self.compare(message.subject, message.content);
        let verdict = verdict.unwrap_or_else(|| self.keep_unmatched(message.sequence, identity()));
        self.count(verdict)
    }

    fn count(&mut self, verdict: Verdict) -> Verdict {
        self.counts.add(verdict);
        verdict
    }

    /// `None` if no event has the key or alias.
    fn compare(&mut self, subject: &str, content: Content<'_, K>) -> Option<Verdict> {
        let (events, subjects) = (&self.events, &self.subjects);
        let found = match content {
            Content::Key(key) => self.keys.look_up(key, subject, events, subjects),
            Content::Alias(alias) => {
                let aliases = self.aliases.as_mut()?;
                aliases.look_up(alias, subject, events, subjects)
            }
            Content::Unreadable => Lookup::NoEvent,
        };
        match found {
            Lookup::NoEvent => None,
            Lookup::AllMatched(event) => {
                self.events.state_mut(event).seen = Seen::Repeatedly;
                Some(Verdict::Duplicated)
            }
            Lookup::Open(event) => Some(self.matched(event, subject)),
        }
    }

    fn matched(&mut self, event: u32, subject: &str) -> Verdict {
        let state = self.events.state_mut(event);
        state.seen = Seen::Once;
        let (role, is_ordered) = (state.role, state.is_ordered);
        if role == Role::NotStored {
            return Verdict::StoredDespiteError;
        }
        let own = self.events.subject(event);
        let is_late = is_ordered && self.is_late(event, own, subject);
        if own != ANY && self.subjects.find(subject) != Some(own) {
            return Verdict::WrongSubject;
        }
        match is_late {
            true => Verdict::OutOfOrder,
            false => Verdict::Expected,
        }
    }

    /// Whether a later event of the subject was observed before; if not, this is the latest. The
    /// subject is the event's own, if it has one.
    fn is_late(&mut self, event: u32, own: u32, subject: &str) -> bool {
        let compared = match own {
            ANY => self.subjects.number(subject),
            own => own,
        };
        let latest = self.subjects.latest(compared);
        if latest.is_some_and(|latest| event < latest) {
            return true;
        }
        self.subjects.set_latest(compared, event);
        false
    }

    fn keep_unmatched(&mut self, sequence: u64, identity: Option<I>) -> Verdict {
        let Some(identity) = identity else {
            return Verdict::Unexpected;
        };
        let mut events = self.identities.events_of(&identity);
        let count = events.len();
        let Some(first) = events.next() else {
            return Verdict::Unexpected;
        };
        let unmatched = self.unmatched.entry(first).or_default();
        // The first in the stream is taken first.
        if unmatched.len() >= count {
            return Verdict::Unexpected;
        }
        unmatched.push(sequence);
        Verdict::Unmatched
    }

    /// Ends the audit: all messages were observed.
    #[must_use]
    pub fn finish(mut self) -> Report<K> {
        self.excuse_pending();
        let mut altered = Vec::new();
        let mut unexpected = Vec::new();
        let mut unmatched = mem::take(&mut self.unmatched);
        for events in self.identities.groups() {
            let mut events = events.peekable();
            let first = events.peek().copied();
            let Some(sequences) = first.and_then(|first| unmatched.remove(&first)) else {
                continue;
            };
            let mut sequences = sequences.into_iter();
            for event in events {
                let can_be_altered =
                    self.events.is_open(event) && self.events.state(event).role != Role::NotStored;
                if !can_be_altered {
                    continue;
                }
                let Some(sequence) = sequences.next() else {
                    break;
                };
                self.events.state_mut(event).seen = Seen::Altered;
                altered.push(Altered { event, sequence });
            }
            unexpected.extend(sequences);
        }
        altered.sort_unstable();
        unexpected.sort_unstable();
        self.counts.unexpected += unexpected.len() as u64;
        Report::new(self.events, self.keys, altered, unexpected, self.counts)
    }

    /// For each pending copy its last equal event without a message need not be stored.
    fn excuse_pending(&mut self) {
        let by_alias = self.aliases.as_ref().filter(|_| self.pending_by_alias);
        let index = by_alias.unwrap_or(&self.keys);
        let mut excused = Vec::new();
        for run in index.runs(&self.events) {
            let (mut excuses, mut missing) = (0, Vec::new());
            for event in run {
                let state = self.events.state(event);
                match (state.role, state.seen) {
                    (Role::Acknowledged, Seen::Never) => missing.push(event),
                    (Role::Excuse, _) => excuses += 1,
                    _ => {}
                }
            }
            excused.extend(missing.into_iter().rev().take(excuses));
        }
        for event in excused {
            self.events.state_mut(event).role = Role::Unknown;
        }
    }
}

#[cfg(test)]
#[path = "tests/audit.rs"]
mod tests;
