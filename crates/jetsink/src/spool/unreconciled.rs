//! Tracks the subjects with events that may be stored already.

use std::collections::HashMap;

use crate::message::subject::Subject;

/// The subjects with events that may be stored already.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unreconciled {
    subjects: HashMap<Subject, Sent>,
    next_stamp: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    /// Distinguishes events that came in after a look at it.
    stamp: u64,
    /// The last event that was sent.
    last_sent: u64,
}

impl Unreconciled {
    /// `index` belongs to an event that was sent.
    pub(super) fn insert(&mut self, subject: Subject, index: u64) {
        self.next_stamp += 1;
        let stamp = self.next_stamp;
        let mark = self.subjects.entry(subject).or_insert(Sent {
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

    /// No event of the subject behind this index was sent.
    pub(crate) fn last_sent(&self, subject: &Subject) -> u64 {
        self.subjects.get(subject).map_or(0, |mark| mark.last_sent)
    }

    pub(crate) fn contains(&self, subject: &Subject) -> bool {
        self.subjects.contains_key(subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::tests::subject;

    #[test]
    fn a_subject_is_settled_unless_more_of_it_came_in_since() {
        let (a, b) = (subject("a"), subject("b"));
        let mut unreconciled = Unreconciled::default();
        unreconciled.insert(a.clone(), 5);
        let before = unreconciled.clone();
        // The same event once more is more, too.
        unreconciled.insert(a.clone(), 5);
        unreconciled.remove(&a, &before);
        assert!(unreconciled.contains(&a) && !unreconciled.is_empty());
        let before = unreconciled.clone();
        unreconciled.remove(&b, &before);
        assert!(unreconciled.contains(&a));
        unreconciled.remove(&a, &before);
        assert!(!unreconciled.contains(&a) && unreconciled.is_empty());
    }

    #[test]
    fn the_last_that_was_sent_is_the_highest_of_its_subject() {
        let (a, b) = (subject("a"), subject("b"));
        let mut unreconciled = Unreconciled::default();
        for (index, last) in [(3, 3), (7, 7), (0, 7)] {
            unreconciled.insert(a.clone(), index);
            assert_eq!(unreconciled.last_sent(&a), last);
        }
        assert_eq!(unreconciled.last_sent(&b), 0);
        assert_eq!(unreconciled.subjects().collect::<Vec<_>>(), [&a]);
    }
}
