//! Counts the results of look-ups: events that are stored, obsolete, or that no look-up can resolve.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::message::subject::Subject;
use crate::sync::lock;

/// The maximum number of subjects whose warning is remembered.
const MAX_WARNED: usize = 65_536;

/// The results of look-ups since the spool was opened.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    found_stored: AtomicU64,
    obsolete: AtomicU64,
    possible_duplicates: AtomicU64,
    held: Mutex<HashSet<Subject>>,
    warned: Mutex<HashSet<Subject>>,
}

impl Doubts {
    /// Events were found stored.
    pub(crate) fn found(&self, events: u64) {
        self.found_stored.fetch_add(events, Ordering::Relaxed);
    }

    /// Events were replaced by later ones of their subject.
    pub(crate) fn were_replaced(&self, events: u64) {
        self.obsolete.fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn found_stored(&self) -> u64 {
        self.found_stored.load(Ordering::Relaxed)
    }

    pub(crate) fn obsolete(&self) -> u64 {
        self.obsolete.load(Ordering::Relaxed)
    }

    /// Events of `subject` are sent though they may be stored. Returns whether it is the first time.
    pub(crate) fn delivered(&self, subject: &Subject, events: u64) -> bool {
        self.possible_duplicates
            .fetch_add(events, Ordering::Relaxed);
        self.released(subject);
        let mut warned = lock(&self.warned);
        warned.len() < MAX_WARNED && warned.insert(subject.clone())
    }

    /// The events of `subject` are held. Returns whether they were not before.
    pub(crate) fn held(&self, subject: &Subject) -> bool {
        lock(&self.held).insert(subject.clone())
    }

    /// The events of `subject` are no longer held.
    pub(crate) fn released(&self, subject: &Subject) {
        lock(&self.held).remove(subject);
    }

    pub(crate) fn possible_duplicates(&self) -> u64 {
        self.possible_duplicates.load(Ordering::Relaxed)
    }

    pub(crate) fn held_subjects(&self) -> u64 {
        lock(&self.held).len() as u64
    }
}
