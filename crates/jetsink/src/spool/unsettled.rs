//! Of what may something be stored already?

use std::collections::HashMap;

use crate::subject::Subject;

/// The subjects of which something may be stored already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unsettled {
    /// Left by a process that sent: it is not known of which subjects.
    everything: bool,
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
    pub(super) fn left_by_another(everything: bool) -> Self {
        Self {
            everything,
            ..Self::default()
        }
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

    /// Takes away what stood in `before`; what came in since then stays.
    pub(super) fn remove(&mut self, before: &Self) {
        self.everything &= !before.everything;
        self.subjects
            .retain(|subject, stamp| before.subjects.get(subject) != Some(stamp));
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.everything && self.subjects.is_empty()
    }

    /// Behind this index nothing of the subject was sent before it was spooled.
    pub(crate) fn last_sent(&self, subject: &Subject) -> u64 {
        if self.everything {
            return u64::MAX;
        }
        self.subjects.get(subject).map_or(0, |mark| mark.last_sent)
    }

    pub(crate) fn contains(&self, subject: &Subject) -> bool {
        self.everything || self.subjects.contains_key(subject)
    }
}
