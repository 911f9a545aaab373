//! Events by their key, in as few bytes as they can be found by: a sorted list, not a map.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

use crate::state::{ANY, Events, Subjects};

/// In runs longer than this the first open event is remembered, so that a run of n equal events does not
/// cost n² steps.
const LONG_RUN: usize = 16;

#[derive(Debug)]
struct Entry<K> {
    key: K,
    event: u32,
}

/// Sorted by key, subject, role and number, once, by [`sort`](Self::sort).
#[derive(Debug)]
pub(crate) struct Index<K> {
    entries: Vec<Entry<K>>,
    /// In long runs, by their start: all entries before this one are matched.
    open_from: HashMap<usize, usize>,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            open_from: HashMap::new(),
        }
    }
}

/// The event for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// No event has the key.
    NoEvent,
    Open(u32),
    /// Each event with the key has its message; the first of them.
    AllMatched(u32),
}

impl<K> Index<K> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn add(&mut self, key: K, event: u32) {
        self.entries.push(Entry { key, event });
    }

    /// In the order of the keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, u32)> {
        self.entries.iter().map(|entry| (&entry.key, entry.event))
    }
}

impl<K: Ord> Index<K> {
    pub(crate) fn sort(&mut self, events: &Events) {
        let place = |entry: &Entry<K>| {
            let event = entry.event;
            (events.subject(event), events.state(event).role, event)
        };
        let order = |one: &Entry<K>, other: &Entry<K>| -> Ordering {
            let keys = one.key.cmp(&other.key);
            keys.then_with(|| place(one).cmp(&place(other)))
        };
        self.entries.sort_unstable_by(order);
    }

    /// Finds the event for a message with the key: invariant 2 of the crate.
    pub(crate) fn look_up(
        &mut self,
        key: &K,
        subject: &str,
        events: &Events,
        subjects: &Subjects,
    ) -> Lookup {
        let group = self.group(key);
        if group.is_empty() {
            return Lookup::NoEvent;
        }
        let subject = subjects.find(subject);
        let latest = |of_events: u32| {
            let compared = if of_events == ANY {
                subject
            } else {
                Some(of_events)
            };
            compared.and_then(|number| subjects.latest(number))
        };
        let first = self.entries[group.start].event;
        if !events.have_subjects() {
            let open = self.open_in(group, latest(ANY), events);
            return open.map_or(Lookup::AllMatched(first), Lookup::Open);
        }
        let mut matched = first;
        for wanted in [subject, Some(ANY)].into_iter().flatten() {
            let run = self.run_of(&group, wanted, events);
            if !run.is_empty() {
                matched = self.entries[run.start].event;
            }
            if let Some(event) = self.open_in(run, latest(wanted), events) {
                return Lookup::Open(event);
            }
        }
        let mut start = group.start;
        while start < group.end {
            let of_events = events.subject(self.entries[start].event);
            let run = self.run_of(&(start..group.end), of_events, events);
            start = run.end;
            if let Some(event) = self.open_in(run, latest(of_events), events) {
                return Lookup::Open(event);
            }
        }
        Lookup::AllMatched(matched)
    }

    /// The first open event of a run, unless it would be out of order behind `latest` and a later one
    /// would not: so a lost one of two equal events is reported as lost, not the other as late.
    fn open_in(&mut self, run: Range<usize>, latest: Option<u32>, events: &Events) -> Option<u32> {
        let Range { start, end } = run;
        let from = self.open_from.get(&start).copied().unwrap_or(start);
        let is_open = |entry: &Entry<K>| events.is_open(entry.event);
        let first = self.entries[from..end].iter().position(is_open);
        let first = first.map_or(end, |at| from + at);
        if end - start > LONG_RUN {
            self.open_from.insert(start, first);
        }
        let open = &self.entries[first..end];
        let event = open.first()?.event;
        let Some(latest) = latest.filter(|latest| event < *latest) else {
            return Some(event);
        };
        let role = events.state(event).role;
        let skip = open.partition_point(|entry| {
            events.state(entry.event).role == role && entry.event < latest
        });
        let in_order = open[skip..].iter().find(|entry| {
            let of_role = events.state(entry.event).role == role;
            of_role && entry.event >= latest && is_open(entry)
        });
        Some(in_order.map_or(event, |entry| entry.event))
    }

    /// Whether the event has the key.
    pub(crate) fn contains(&self, key: &K, event: u32) -> bool {
        let entries = &self.entries[self.group(key)];
        entries.iter().any(|entry| entry.event == event)
    }

    /// The events with a key, in the order in which they are matched.
    pub(crate) fn events_of(&self, key: &K) -> impl ExactSizeIterator<Item = u32> {
        let entries = &self.entries[self.group(key)];
        entries.iter().map(|entry| entry.event)
    }

    /// The events of each run of several with equal key and subject.
    pub(crate) fn runs(&self, events: &Events) -> impl Iterator<Item = impl Iterator<Item = u32>> {
        let is_equal = |one: &Entry<K>, other: &Entry<K>| {
            one.key == other.key && events.subject(one.event) == events.subject(other.event)
        };
        let runs = self.entries.chunk_by(is_equal);
        let several = runs.filter(|run| run.len() > 1);
        several.map(|run| run.iter().map(|entry| entry.event))
    }

    /// The events of each key, in the order in which they are matched.
    pub(crate) fn groups(&self) -> impl Iterator<Item = impl Iterator<Item = u32>> {
        let groups = self.entries.chunk_by(|one, other| one.key == other.key);
        groups.map(|group| group.iter().map(|entry| entry.event))
    }

    fn group(&self, key: &K) -> Range<usize> {
        let start = self.entries.partition_point(|entry| entry.key < *key);
        let rest = &self.entries[start..];
        let is_equal = |entry: Option<&Entry<K>>| entry.is_some_and(|entry| entry.key == *key);
        // Most keys are unique: two comparisons instead of another search.
        let length = match (is_equal(rest.first()), is_equal(rest.get(1))) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => rest.partition_point(|entry| entry.key <= *key),
        };
        start..start + length
    }

    fn run_of(&self, group: &Range<usize>, subject: u32, events: &Events) -> Range<usize> {
        let entries = &self.entries[group.clone()];
        let start = entries.partition_point(|entry| events.subject(entry.event) < subject);
        let end = entries.partition_point(|entry| events.subject(entry.event) <= subject);
        group.start + start..group.start + end
    }
}

#[cfg(test)]
pub(crate) fn entry_size<K>() -> usize {
    size_of::<Entry<K>>()
}
