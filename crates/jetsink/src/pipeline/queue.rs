//! The entries of a pipeline in their order, and how far they have been looked at.
//!
//! Invariants:
//! 1. Entries have consecutive numbers, in the order of the pushes. Only settled entries leave, and
//!    only from the front.
//! 2. No entry with a number below `queued_from` is queued.
//! 3. No entry from `unseen_from` on has been looked at. A round starts there, so that a long window
//!    costs no look at each of its entries per round.

use std::collections::VecDeque;
use std::sync::Arc;

use super::entry::{Entry, State};
use super::subjects::FailedSubjects;
use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::outcome::{Delivery, EmitError, Scope};

#[derive(Default)]
pub(super) struct Queue<'a> {
    entries: VecDeque<Entry<'a>>,
    /// The number of the entry at the front.
    first: u64,
    queued_from: u64,
    unseen_from: u64,
    /// `None` unless the failure of an event holds those behind it of its subject.
    failed_subjects: Option<FailedSubjects>,
}

impl<'a> Queue<'a> {
    pub(super) fn hold_failed_subjects(&mut self) {
        self.failed_subjects = Some(FailedSubjects::default());
    }

    #[inline]
    pub(super) fn push(&mut self, envelope: Envelope) {
        if let Some(failed) = &mut self.failed_subjects {
            failed.came(envelope.subject());
        }
        self.entries.push_back(Entry::new(envelope));
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of the next entry to be pushed.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// An entry that has not left.
    #[inline]
    pub(super) fn entry(&self, number: u64) -> &Entry<'a> {
        &self.entries[(number - self.first) as usize]
    }

    /// An entry that has not left.
    #[inline]
    pub(super) fn entry_mut(&mut self, number: u64) -> &mut Entry<'a> {
        &mut self.entries[(number - self.first) as usize]
    }

    /// The entry with a number that a publisher returned, if there is one.
    #[inline]
    pub(super) fn find(&mut self, number: u64) -> Option<&mut Entry<'a>> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(index)
    }

    pub(super) fn subjects_in_flight(&self) -> impl Iterator<Item = &Subject> {
        let in_flight = |entry: &&Entry<'a>| matches!(entry.state, State::InFlight { .. });
        let entries = self.entries.iter().filter(in_flight);
        entries.map(|entry| entry.envelope.subject())
    }

    /// The number of entries that may be stored or spooled, and have no result that says so.
    pub(super) fn unknown(&self) -> u64 {
        let unknown = self.entries.iter().filter(|entry| entry.is_unknown());
        unknown.count() as u64
    }

    /// Takes the result of the entry at the front, if it is settled.
    #[inline]
    pub(super) fn take_settled(&mut self) -> Option<Result<Delivery, EmitError>> {
        match self.entries.front()?.state {
            State::Settled(_) => {}
            State::Queued | State::InFlight { .. } | State::Spooling { .. } => return None,
        }
        let entry = self.entries.pop_front()?;
        self.first += 1;
        if let Some(failed) = &mut self.failed_subjects {
            failed.left(entry.envelope.subject());
        }
        match entry.state {
            State::Settled(result) => Some(result),
            State::Queued | State::InFlight { .. } | State::Spooling { .. } => None,
        }
    }

    /// Begins a round over the entries that no round has looked at, and over the other queued ones, too, if
    /// `looks_again`. Returns the number of the first one. While entries are held back, `queued_from`
    /// stays.
    #[inline]
    pub(super) fn begin_round(&mut self, looks_again: bool, holds_back: bool) -> u64 {
        let end = self.end();
        if looks_again {
            self.unseen_from = self.unseen_from.min(self.queued_from);
        }
        if !holds_back {
            self.queued_from = end;
        }
        std::mem::replace(&mut self.unseen_from, end).max(self.first)
    }

    /// Ends a round early: the next one starts at this entry.
    pub(super) fn end_round_at(&mut self, number: u64) {
        self.stays_queued(number);
        self.unseen_from = number;
    }

    /// A round has looked at this entry and left it queued.
    pub(super) fn stays_queued(&mut self, number: u64) {
        self.queued_from = self.queued_from.min(number);
    }

    /// Queues an entry again that was on its way.
    pub(super) fn requeue(&mut self, number: u64) -> &mut Entry<'a> {
        self.stays_queued(number);
        let entry = self.entry_mut(number);
        entry.state = State::Queued;
        entry
    }

    /// Settles an entry with an error for good.
    pub(super) fn fail(&mut self, number: u64, error: EmitError) {
        let is_its_own_fault = error.scope() == Scope::Event;
        let entry = self.entry_mut(number);
        entry.settle_failed(error);
        let envelope = Arc::clone(&entry.envelope);
        if let Some(failed) = &mut self.failed_subjects
            && !is_its_own_fault
        {
            let present = self.entries.iter().map(|entry| entry.envelope.subject());
            failed.insert(envelope.subject(), present);
        }
    }

    /// Whether the events behind a failed one of their subject are held.
    pub(super) fn holds_failed_subjects(&self) -> bool {
        self.failed_subjects.is_some()
    }

    /// Whether an earlier event of this subject has failed, and events behind it are held.
    #[inline]
    pub(super) fn has_failed(&self, subject: &Subject) -> bool {
        let failed = self.failed_subjects.as_ref();
        failed.is_some_and(|failed| failed.contains(subject))
    }

    /// Settles all queued entries as not sent.
    pub(super) fn stop(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.is_queued()) {
            entry.settle_unsent();
        }
    }
}
