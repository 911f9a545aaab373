//! Counts the results of look-ups: events that are stored, obsolete, or that no look-up can resolve.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use crate::message::subject::Subject;
use crate::spool::LookUps;
use crate::sync::lock;

/// The maximum number of subjects whose warning is remembered.
const MAX_WARNED: usize = 65_536;

/// The subjects that no look-up can resolve. Counts all results in the spool's status.
#[derive(Debug)]
pub(super) struct Doubts<'a> {
    counts: &'a LookUps,
    held: Mutex<HashSet<Subject>>,
    warned: Mutex<HashSet<Subject>>,
}

impl<'a> Doubts<'a> {
    pub(super) fn new(counts: &'a LookUps) -> Self {
        Self {
            counts,
            held: Mutex::default(),
            warned: Mutex::default(),
        }
    }

    /// Events were found stored.
    pub(super) fn found(&self, events: u64) {
        self.counts
            .found_stored
            .fetch_add(events, Ordering::Relaxed);
    }

    /// Events were replaced by later ones of their subject.
    pub(super) fn were_replaced(&self, events: u64) {
        self.counts.obsolete.fetch_add(events, Ordering::Relaxed);
    }

    /// Events of `subject` are sent though they may be stored. Returns whether it is the first time.
    pub(super) fn delivered(&self, subject: &Subject, events: u64) -> bool {
        let duplicates = &self.counts.possible_duplicates;
        duplicates.fetch_add(events, Ordering::Relaxed);
        self.released(subject);
        let mut warned = lock(&self.warned);
        warned.len() < MAX_WARNED && warned.insert(subject.clone())
    }

    /// The events of `subject` are held. Returns whether they were not before.
    pub(super) fn held(&self, subject: &Subject) -> bool {
        let mut held = lock(&self.held);
        let is_new = held.insert(subject.clone());
        self.count_held(&held);
        is_new
    }

    /// The events of `subject` are no longer held.
    pub(super) fn released(&self, subject: &Subject) {
        let mut held = lock(&self.held);
        if held.remove(subject) {
            self.count_held(&held);
        }
    }

    fn count_held(&self, held: &HashSet<Subject>) {
        let count = &self.counts.held_subjects;
        count.store(held.len() as u64, Ordering::Relaxed);
    }
}
