//! Of what may something be stored already?

use std::collections::HashMap;

use crate::subject::Subject;

/// The subjects of which something may be stored already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unsettled {
    /// Left by a process that sent: it is not known of which subjects.
    everything: bool,
    /// With a stamp, to tell what came in after a look at it.
    subjects: HashMap<Subject, u64>,
    next_stamp: u64,
}

impl Unsettled {
    pub(super) fn left_by_another(everything: bool) -> Self {
        Self {
            everything,
            ..Self::default()
        }
    }

    pub(super) fn insert(&mut self, subject: Subject) {
        self.next_stamp += 1;
        self.subjects.insert(subject, self.next_stamp);
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

    pub(crate) fn contains(&self, subject: &Subject) -> bool {
        self.everything || self.subjects.contains_key(subject)
    }
}
