//! Decides whether a stream may have removed an event: then its absence proves nothing. Pure.

use std::collections::{HashMap, HashSet};

use super::config::StreamConfig;
use crate::message::subject::Subject;
use crate::publisher::look_up::Moves;

/// The maximum number of other subjects that are counted. With more, each of them may have reached the limit.
const MAX_COUNTED: usize = 65_536;

/// Tracks the messages of a look-up: all messages above a baseline, or those of certain subjects.
pub(super) struct Removals<'a> {
    /// The subjects in question.
    pub(super) subjects: &'a HashSet<Subject>,
    /// The number of messages per subject that the stream keeps.
    kept: Option<u64>,
    /// Whether messages are stored under other subjects than those in question.
    stores_elsewhere: bool,
    /// The messages per stored subject.
    counts: HashMap<String, u64>,
    /// The highest sequence number so far, if all messages are seen.
    contiguous: Option<u64>,
    has_gap: bool,
}

impl<'a> Removals<'a> {
    /// `above` is the baseline, if all messages above it are seen.
    pub(super) fn of(
        subjects: &'a HashSet<Subject>,
        config: &StreamConfig,
        stores_elsewhere: bool,
        above: Option<u64>,
    ) -> Self {
        let kept = config.newest_per_subject();
        Self {
            subjects,
            kept,
            stores_elsewhere,
            counts: HashMap::new(),
            contiguous: above,
            has_gap: false,
        }
    }

    /// A message is stored; also one without an id.
    pub(super) fn seen(&mut self, subject: &str, sequence: u64) {
        if let Some(last) = &mut self.contiguous {
            self.has_gap |= sequence > *last + 1;
            *last = sequence.max(*last);
        }
        if self.kept.is_none() {
            return;
        }
        if let Some(count) = self.counts.get_mut(subject) {
            *count += 1;
        } else if self.counts.len() < MAX_COUNTED || self.subjects.contains(subject) {
            self.counts.insert(subject.to_owned(), 1);
        }
    }

    /// The last message was removed, or the server that was read lacks it. No limit per subject removes it.
    pub(super) fn lacks_the_last(&mut self) {
        self.has_gap = true;
    }

    /// All messages up to the sequence number `last` were seen.
    pub(super) fn ended(&mut self, last: u64) {
        self.has_gap |= self.contiguous.is_some_and(|seen| seen < last);
    }

    /// Whether messages above the baseline are missing, however they were removed; `None` if not all were seen.
    pub(super) fn are_some_missing(&self) -> Option<bool> {
        let sees_all = self.contiguous.is_some();
        (sees_all || self.has_gap).then_some(self.has_gap)
    }

    /// Divides the subjects: the limit per subject may have removed events of the first part, nothing but another
    /// cause those of the second part. `moves` has the stored subjects of events that were found under another subject
    /// than their own.
    pub(super) fn by_limit(&self, moves: &Moves) -> (Vec<Subject>, Vec<Subject>) {
        let is_full = |subject: &Subject| {
            let Some(kept) = self.kept else { return false };
            let reached = |count: &u64| *count >= kept;
            let are_all_counted = self.counts.len() < MAX_COUNTED;
            if self.stores_elsewhere {
                !are_all_counted || self.counts.values().any(reached)
            } else {
                let is_full = |name: &str| self.counts.get(name).is_some_and(reached);
                is_full(subject.as_str())
                    || moves.any(subject, |name| !are_all_counted || is_full(name))
            }
        };
        self.subjects.iter().cloned().partition(is_full)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subjects(names: &[&str]) -> HashSet<Subject> {
        names
            .iter()
            .map(|name| Subject::new(*name).unwrap())
            .collect()
    }

    fn keeping(kept: i64) -> StreamConfig {
        serde_json::from_value(json!({ "max_msgs_per_subject": kept })).unwrap()
    }

    /// The names of both parts.
    fn by_limit(removals: &Removals<'_>) -> [Vec<String>; 2] {
        let (full, others) = removals.by_limit(&Moves::default());
        [full, others].map(|subjects| {
            let mut names: Vec<String> = subjects.iter().map(Subject::to_string).collect();
            names.sort();
            names
        })
    }

    fn named(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn subject_that_has_not_reached_the_limit_has_lost_no_event_by_it() {
        let subjects = subjects(&["a", "b"]);
        let mut removals = Removals::of(&subjects, &keeping(2), false, None);
        for (subject, sequence) in [("a", 5), ("a", 6), ("b", 7), ("c", 8), ("c", 9)] {
            removals.seen(subject, sequence);
        }
        assert_eq!(by_limit(&removals), [named(&["a"]), named(&["b"])]);
        assert_eq!(removals.are_some_missing(), None);
    }

    #[test]
    fn stored_subject_at_its_limit_concerns_every_subject_that_may_be_stored_there() {
        let subjects = subjects(&["a", "b"]);
        let by_limit = |messages: &[(&str, u64)]| {
            let mut removals = Removals::of(&subjects, &keeping(2), true, Some(4));
            for (subject, sequence) in messages {
                removals.seen(subject, *sequence);
            }
            by_limit(&removals)
        };
        let all = named(&["a", "b"]);
        assert_eq!(by_limit(&[("x.a", 5), ("x.b", 6)]), [vec![], all.clone()]);
        assert_eq!(by_limit(&[("x.a", 5), ("x.a", 7)]), [all, vec![]]);
    }

    #[test]
    fn missing_sequence_number_is_a_removed_message() {
        let subjects = subjects(&["a"]);
        for config in [StreamConfig::default(), keeping(9)] {
            for (above, sequences, are_missing) in [
                (Some(4), &[5, 6][..], Some(false)),
                (Some(4), &[6], Some(true)),
                (Some(4), &[5, 7], Some(true)),
                (Some(4), &[], Some(true)),
                (None, &[9], None),
            ] {
                let mut removals = Removals::of(&subjects, &config, false, above);
                for sequence in sequences {
                    removals.seen("b", *sequence);
                }
                removals.ended(sequences.last().copied().unwrap_or(5));
                assert_eq!(removals.are_some_missing(), are_missing, "{sequences:?}");
            }
        }
    }
}
