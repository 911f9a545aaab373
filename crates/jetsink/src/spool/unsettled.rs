//! Of what may something be stored already?

use std::collections::HashMap;

use crate::subject::Subject;

/// The subjects of which something may be stored already.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unsettled {
    subjects: HashMap<Subject, Mark>,
    next_stamp: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    /// To tell what came in after a look at it.
    stamp: u64,
    /// The last event that was sent before it was spooled.
    last_sent: u64,
}

impl Unsettled {
    /// Left by a process that sent: it is not known of which of these.
    pub(super) fn left_by_another(subjects: impl Iterator<Item = Subject>) -> Self {
        let mut unsettled = Self::default();
        for subject in subjects {
            unsettled.insert(subject, u64::MAX);
        }
        unsettled
    }

    /// `index`: of an event that was sent before it was spooled; 0 for those that replay sent.
    pub(super) fn insert(&mut self, subject: Subject, index: u64) {
        self.next_stamp += 1;
        let stamp = self.next_stamp;
        let mark = self.subjects.entry(subject).or_insert(Mark {
            stamp,
            last_sent: index,
        });
        mark.stamp = stamp;
        mark.last_sent = mark.last_sent.max(index);
    }

    /// Takes a subject away, unless more of it came in since `before`.
    pub(super) fn remove(&mut self, subject: &Subject, before: &Self) {
        if self.subjects.get(subject) == before.subjects.get(subject) {
            self.subjects.remove(subject);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    pub(crate) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.subjects.keys()
    }

    /// Behind this index nothing of the subject was sent before it was spooled.
    pub(crate) fn last_sent(&self, subject: &Subject) -> u64 {
        self.subjects.get(subject).map_or(0, |mark| mark.last_sent)
    }

    pub(crate) fn contains(&self, subject: &Subject) -> bool {
        self.subjects.contains_key(subject)
    }
}
