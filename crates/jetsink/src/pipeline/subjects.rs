//! Counts the subjects in a pipeline, so that no event costs a look at the whole window.

use std::collections::{HashMap, HashSet};

use crate::message::subject::Subject;

/// The number of entries per subject.
#[derive(Debug, Default)]
pub(super) struct Counts(HashMap<Subject, usize>);

impl Counts {
    pub(super) fn of<'s>(subjects: impl Iterator<Item = &'s Subject>) -> Self {
        let mut counts = Self::default();
        for subject in subjects {
            counts.add(subject);
        }
        counts
    }

    pub(super) fn add(&mut self, subject: &Subject) {
        match self.0.get_mut(subject) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(subject.clone(), 1);
            }
        }
    }

    /// Removes one entry; returns whether it was the last of its subject.
    pub(super) fn take(&mut self, subject: &Subject) -> bool {
        match self.0.get_mut(subject) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => self.0.remove(subject).is_some(),
        }
    }

    pub(super) fn contains(&self, subject: &Subject) -> bool {
        self.0.contains_key(subject)
    }
}

/// Subjects with a failed event, as long as the pipeline has entries of them.
#[derive(Debug, Default)]
pub(super) struct FailedSubjects {
    failed: HashSet<Subject>,
    /// Entries of all subjects; counted only while a subject has failed.
    present: Counts,
}

impl FailedSubjects {
    /// `present` are the subjects of all entries.
    pub(super) fn insert<'s>(
        &mut self,
        subject: &Subject,
        present: impl Iterator<Item = &'s Subject>,
    ) {
        if self.failed.is_empty() {
            self.present = Counts::of(present);
        }
        if !self.failed.contains(subject) {
            self.failed.insert(subject.clone());
        }
    }

    pub(super) fn contains(&self, subject: &Subject) -> bool {
        self.failed.contains(subject)
    }

    pub(super) fn came(&mut self, subject: &Subject) {
        if !self.failed.is_empty() {
            self.present.add(subject);
        }
    }

    pub(super) fn left(&mut self, subject: &Subject) {
        if !self.failed.is_empty() && self.present.take(subject) {
            self.failed.remove(subject);
        }
    }
}
