//! The record of all events and their outcomes.

use crate::audit::Audit;
use crate::event::Event;
use crate::index::Index;
use crate::state::{ANY, Events, Role, Subjects};

/// More events than a ledger has numbers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a ledger takes at most 4,294,967,294 events; split the audit by subject or time")]
pub struct TooManyEvents;

/// [`Aliases`] were not added one per event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{aliases} aliases were added for {events} events; add one per event, in the same order")]
pub struct AliasCountError {
    /// The number of aliases.
    pub aliases: usize,
    /// The number of events.
    pub events: usize,
}

/// The record of all events and the outcomes of their publishes, in the order of the publishes.
///
/// Events are numbered from 0 in the order in which they are added. `K` is the key, `I` the
/// identity by which altered events are recognised; `()` if they are not.
#[derive(Debug)]
pub struct Ledger<K, I = ()> {
    pub(crate) events: Events,
    pub(crate) subjects: Subjects,
    pub(crate) keys: Index<K>,
    pub(crate) identities: Index<I>,
}

impl<K, I> Default for Ledger<K, I> {
    fn default() -> Self {
        Self {
            events: Events::default(),
            subjects: Subjects::default(),
            keys: Index::default(),
            identities: Index::default(),
        }
    }
}

impl<K> Ledger<K> {
    /// An empty ledger of events without identities. With identities: [`Ledger::default`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<K: Ord, I: Ord> Ledger<K, I> {
    /// Adds an event and returns its number.
    ///
    /// # Panics
    /// If the ledger has 4,294,967,294 events: see [`try_add`](Self::try_add).
    pub fn add(&mut self, event: Event<'_, K, I>) -> u32 {
        match self.try_add(event) {
            Ok(number) => number,
            Err(error) => panic!("{error}"),
        }
    }

    /// Adds an event and returns its number.
    ///
    /// # Errors
    /// [`TooManyEvents`]. The ledger is unchanged.
    pub fn try_add(&mut self, event: Event<'_, K, I>) -> Result<u32, TooManyEvents> {
        let number = u32::try_from(self.events.len()).ok();
        let number = number.filter(|number| *number < ANY).ok_or(TooManyEvents)?;
        let Event {
            key,
            outcome,
            is_ordered,
            subject,
            identity,
        } = event;
        let subject = subject.map_or(ANY, |subject| self.subjects.number(subject));
        self.events.push(outcome, is_ordered, subject);
        self.keys.add(key, number);
        if let Some(identity) = identity {
            self.identities.add(identity, number);
        }
        Ok(number)
    }

    /// The number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether no event was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the recording and starts the audit.
    #[must_use]
    pub fn seal(mut self) -> Audit<K, I> {
        self.keys.sort(&self.events);
        self.identities.sort(&self.events);
        assign_pending(&self.keys, &mut self.events);
        Audit::new(self, None)
    }

    /// Ends the recording and starts the audit, with a second key for each event. Pending copies excuse
    /// events with the same alias.
    ///
    /// # Errors
    /// [`AliasCountError`] if there is not one alias per event.
    pub fn seal_with(mut self, mut aliases: Aliases<K>) -> Result<Audit<K, I>, AliasCountError> {
        aliases.check_count(self.len())?;
        self.keys.sort(&self.events);
        self.identities.sort(&self.events);
        aliases.0.sort(&self.events);
        assign_pending(&aliases.0, &mut self.events);
        Ok(Audit::new(self, Some(aliases.0)))
    }
}

/// A pending copy excuses one equal event that must be stored, if there is one; else it may be stored
/// itself.
fn assign_pending<K: Ord>(index: &Index<K>, events: &mut Events) {
    let mut excuses = Vec::new();
    for run in index.runs(events) {
        let (mut acknowledged, mut pending) = (0, Vec::new());
        for event in run {
            match events.state(event).role {
                Role::Acknowledged => acknowledged += 1,
                Role::Pending => pending.push(event),
                Role::Unknown | Role::Excuse | Role::NotStored => {}
            }
        }
        excuses.extend(pending.into_iter().take(acknowledged));
    }
    for event in excuses {
        events.state_mut(event).role = Role::Excuse;
    }
}

/// A second key for each event, added in the order of the events.
///
/// A message is matched by one of the two: [`Content::Key`](crate::Content::Key) or
/// [`Content::Alias`](crate::Content::Alias).
#[derive(Debug)]
pub struct Aliases<K>(pub(crate) Index<K>);

impl<K> Default for Aliases<K> {
    fn default() -> Self {
        Self(Index::default())
    }
}

impl<K> Aliases<K> {
    /// Adds the alias of the next event.
    ///
    /// # Errors
    /// [`TooManyEvents`]: no ledger has as many events.
    pub fn try_add(&mut self, alias: K) -> Result<(), TooManyEvents> {
        let event = u32::try_from(self.0.len()).map_err(|_| TooManyEvents)?;
        self.0.add(alias, event);
        Ok(())
    }

    pub(crate) fn check_count(&self, events: usize) -> Result<(), AliasCountError> {
        match self.0.len() {
            aliases if aliases == events => Ok(()),
            aliases => Err(AliasCountError { aliases, events }),
        }
    }
}
