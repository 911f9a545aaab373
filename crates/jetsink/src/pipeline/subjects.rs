//! What a pipeline knows of the subjects in it, so that nothing is found by going through the window
//! for each event.

use std::collections::{HashMap, HashSet};

use crate::message::subject::Subject;

/// How many there are of each subject.
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

    /// Whether it was the last of its subject.
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

/// Those of which something failed, as long as more of them is here.
#[derive(Debug, Default)]
pub(super) struct FailedSubjects {
    failed: HashSet<Subject>,
    /// What is here, of all subjects; counted only while one has failed.
    here: Counts,
}

impl FailedSubjects {
    /// `here` are the subjects of all that is here.
    pub(super) fn insert<'s>(
        &mut self,
        subject: &Subject,
        here: impl Iterator<Item = &'s Subject>,
    ) {
        if self.failed.is_empty() {
            self.here = Counts::of(here);
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
            self.here.add(subject);
        }
    }

    pub(super) fn left(&mut self, subject: &Subject) {
        if !self.failed.is_empty() && self.here.take(subject) {
            self.failed.remove(subject);
        }
    }
}
