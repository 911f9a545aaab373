//! Decides whether a stream may have removed an event: then its absence proves nothing. Pure.

use std::collections::{HashMap, HashSet};

use super::config::StreamConfig;
use crate::message::subject::Subject;
use crate::publisher::look_up::{Gap, GapReason, Moves};

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
            // A stream that keeps the newest messages of each subject has gaps at any time.
            contiguous: above.filter(|_| kept.is_none()),
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

    /// Whether each message above the baseline that was not visited is a gap, however it was removed.
    pub(super) fn sees_every_gap(&self) -> bool {
        self.contiguous.is_some()
    }

    /// Returns the subjects whose events may be removed, with the reason. `has_removed` if messages above the
    /// baseline were removed by another limit, or by hand. `moves` has the stored subjects of events that were found
    /// under another subject than their own.
    pub(super) fn gaps(self, has_removed: bool, moves: &Moves) -> Vec<Gap> {
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
        let all = self.subjects.iter().cloned();
        let (full, others): (Vec<_>, Vec<_>) = all.partition(is_full);
        let mut gaps = Vec::new();
        if let Some(kept) = self.kept.filter(|_| !full.is_empty()) {
            gaps.push(Gap::new(full, GapReason::Newest(kept)));
        }
        if (has_removed || self.has_gap) && !others.is_empty() {
            gaps.push(Gap::new(others, GapReason::Removed));
        }
        gaps
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

    /// The subjects of each gap, by its reason.
    fn gaps(removals: Removals<'_>, has_removed: bool) -> Vec<(GapReason, Vec<String>)> {
        let gaps = removals.gaps(has_removed, &Moves::default()).into_iter();
        let sorted = gaps.map(|gap| {
            let mut names: Vec<String> = gap.subjects.iter().map(Subject::to_string).collect();
            names.sort();
            (gap.reason, names)
        });
        sorted.collect()
    }

    fn named(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn subject_that_has_not_reached_the_limit_may_have_lost_events_by_another_one() {
        let subjects = subjects(&["a", "b"]);
        let removals = || {
            let mut removals = Removals::of(&subjects, &keeping(2), false, None);
            for (subject, sequence) in [("a", 5), ("a", 6), ("b", 7), ("c", 8), ("c", 9)] {
                removals.seen(subject, sequence);
            }
            removals
        };
        let full = (GapReason::Newest(2), named(&["a"]));
        assert_eq!(gaps(removals(), false), std::slice::from_ref(&full));
        let removed = (GapReason::Removed, named(&["b"]));
        assert_eq!(gaps(removals(), true), [full, removed]);
    }

    #[test]
    fn stored_subject_at_its_limit_concerns_every_subject_that_may_be_stored_there() {
        let subjects = subjects(&["a", "b"]);
        let removals = |messages: &[(&str, u64)]| {
            let mut removals = Removals::of(&subjects, &keeping(2), true, Some(4));
            for (subject, sequence) in messages {
                removals.seen(subject, *sequence);
            }
            removals
        };
        assert!(gaps(removals(&[("x.a", 5), ("x.b", 6)]), false).is_empty());
        let all = (GapReason::Newest(2), named(&["a", "b"]));
        assert_eq!(gaps(removals(&[("x.a", 5), ("x.a", 7)]), false), [all]);
    }

    #[test]
    fn missing_sequence_number_is_a_removed_message_unless_the_stream_keeps_the_newest() {
        let subjects = subjects(&["a"]);
        let all = StreamConfig::default();
        for (config, above, sequences, is_gap) in [
            (&all, Some(4), &[5, 6][..], false),
            (&all, Some(4), &[6], true),
            (&all, Some(4), &[5, 7], true),
            (&all, Some(4), &[], true),
            (&all, None, &[9], false),
            (&keeping(9), Some(4), &[9], false),
        ] {
            let mut removals = Removals::of(&subjects, config, false, above);
            for sequence in sequences {
                removals.seen("b", *sequence);
            }
            removals.ended(sequences.last().copied().unwrap_or(5));
            assert_eq!(!gaps(removals, false).is_empty(), is_gap, "{sequences:?}");
        }
    }
}
