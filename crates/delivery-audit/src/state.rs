//! The state of each event during an audit, in 3 bytes, and the subjects.

use std::collections::HashMap;

use crate::Outcome;

/// The part of an event in the comparison. Declared in the order in which equal events are matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Acknowledged,
    Unknown,
    /// A copy without an equal acknowledged event, once the ledger is sealed.
    Pending,
    /// A copy that excuses an acknowledged event.
    Excuse,
    NotStored,
}

/// The messages that were observed of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Never,
    Once,
    Repeatedly,
    /// One with the event's identity and another key.
    Altered,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    pub(crate) role: Role,
    pub(crate) seen: Seen,
    pub(crate) is_ordered: bool,
}

/// The subject of an event without one.
pub(crate) const ANY: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(crate) struct Events {
    states: Vec<State>,
    /// Empty as long as no event has a subject.
    subjects: Vec<u32>,
}

impl Events {
    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    pub(crate) fn push(&mut self, outcome: Outcome, is_ordered: bool, subject: u32) {
        let role = match outcome {
            Outcome::Acknowledged => Role::Acknowledged,
            Outcome::Unknown => Role::Unknown,
            Outcome::NotStored => Role::NotStored,
            Outcome::Pending => Role::Pending,
        };
        if self.subjects.is_empty() && subject != ANY {
            self.subjects.resize(self.states.len(), ANY);
            self.subjects.push(subject);
        } else if !self.subjects.is_empty() {
            self.subjects.push(subject);
        }
        self.states.push(State {
            role,
            seen: Seen::Never,
            is_ordered,
        });
    }

    pub(crate) fn state(&self, event: u32) -> State {
        self.states[event as usize]
    }

    pub(crate) fn state_mut(&mut self, event: u32) -> &mut State {
        &mut self.states[event as usize]
    }

    /// [`ANY`] for an event without a subject.
    pub(crate) fn subject(&self, event: u32) -> u32 {
        let subject = self.subjects.get(event as usize);
        subject.copied().unwrap_or(ANY)
    }

    pub(crate) fn have_subjects(&self) -> bool {
        !self.subjects.is_empty()
    }

    /// Whether a message can still be matched with the event.
    pub(crate) fn is_open(&self, event: u32) -> bool {
        let State { role, seen, .. } = self.state(event);
        match role {
            Role::Acknowledged | Role::Unknown | Role::Pending | Role::NotStored => {
                seen == Seen::Never
            }
            Role::Excuse => false,
        }
    }

    /// Ascending numbers of the events whose state fits.
    pub(crate) fn matching(&self, fits: impl Fn(State) -> bool) -> impl Iterator<Item = u32> {
        let numbered = (0..).zip(&self.states);
        numbered.filter_map(move |(event, state)| fits(*state).then_some(event))
    }
}

/// The texts of the subjects, and the latest event that was observed on each.
#[derive(Debug, Default)]
pub(crate) struct Subjects {
    numbers: HashMap<Box<str>, u32>,
    latest: Vec<Option<u32>>,
}

impl Subjects {
    pub(crate) fn find(&self, subject: &str) -> Option<u32> {
        self.numbers.get(subject).copied()
    }

    pub(crate) fn number(&mut self, subject: &str) -> u32 {
        if let Some(number) = self.find(subject) {
            return number;
        }
        // Fewer than events, which have numbers below `ANY`.
        let number = self.latest.len() as u32;
        self.numbers.insert(subject.into(), number);
        self.latest.push(None);
        number
    }

    pub(crate) fn latest(&self, number: u32) -> Option<u32> {
        self.latest.get(number as usize).copied().flatten()
    }

    pub(crate) fn set_latest(&mut self, number: u32, event: u32) {
        self.latest[number as usize] = Some(event);
    }
}
