//! Tracks the highest acknowledged sequence number of each stream, as it was before any emit in flight.
//!
//! An event whose outcome is unknown may be stored at any sequence number above those that were
//! acknowledged before it was sent. No emit takes longer than the deadline, so a snapshot of that age
//! is older than every emit in flight. An event in a pipeline can be older, if its caller pauses or
//! waits for room; then no snapshot is old enough.
//!
//! Invariant: an acknowledgement counts only once the creation time of its stream is known, and it was asked
//! for before the event was sent. Otherwise a number of a deleted stream could count for its successor.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::outcome::Acknowledgement;
use crate::publisher::baseline::{Baseline, Baselines};
use crate::sync::lock;

#[derive(Debug)]
pub(crate) struct HighWater {
    deadline: Duration,
    generations: Mutex<Generations>,
    /// Notified when a stream is to be identified.
    unidentified: Notify,
}

#[derive(Debug)]
struct Generations {
    current: Baselines,
    /// The snapshot of `rotated_at`.
    young: Baselines,
    /// The snapshot of `old_at`, at least one deadline before `rotated_at`.
    old: Baselines,
    old_at: Instant,
    rotated_at: Instant,
    /// Streams that acknowledged events and are not identified, with their domains.
    unidentified: HashMap<String, Option<String>>,
    /// Streams that were found to be others than before, or set back.
    replaced: Vec<String>,
}

impl Generations {
    fn forget(&mut self, stream: &str) -> bool {
        let snapshots = [&mut self.current, &mut self.young, &mut self.old];
        snapshots
            .into_iter()
            .filter_map(|snapshot| snapshot.remove(stream))
            .count()
            > 0
    }

    /// Whether an acknowledgement shows that the stream is not the one of the snapshots.
    fn is_replaced(&self, ack: &Acknowledgement, known: &Baseline) -> bool {
        let was_set_back = || {
            let old = self.old.get(&ack.stream);
            // The sequence number of a duplicate is not the stream's last one.
            !ack.duplicate && old.is_some_and(|old| ack.sequence <= old.sequence)
        };
        known.domain != ack.domain || was_set_back()
    }
}

impl HighWater {
    pub(crate) fn new(now: Instant, deadline: Duration) -> Self {
        Self {
            deadline,
            generations: Mutex::new(Generations {
                current: Baselines::new(),
                young: Baselines::new(),
                old: Baselines::new(),
                old_at: now,
                rotated_at: now,
                unidentified: HashMap::new(),
                replaced: Vec::new(),
            }),
            unidentified: Notify::new(),
        }
    }

    pub(crate) fn note(&self, ack: &Acknowledgement, now: Instant) {
        let mut generations = self.rotated(now);
        if let Some(known) = generations.current.get(&ack.stream) {
            if !generations.is_replaced(ack, known) {
                if let Some(highest) = generations.current.get_mut(&ack.stream) {
                    highest.sequence = highest.sequence.max(ack.sequence);
                }
                return;
            }
            generations.forget(&ack.stream);
            generations.replaced.push(ack.stream.clone());
        }
        let known = generations.unidentified.get(&ack.stream);
        if known.is_none_or(|domain| *domain != ack.domain) {
            let (stream, domain) = (ack.stream.clone(), ack.domain.clone());
            generations.unidentified.insert(stream, domain);
            self.unidentified.notify_one();
        }
    }

    /// Waits for streams to be identified; returns them with their domains. Cancellation-safe.
    pub(crate) async fn unidentified(&self) -> Vec<(String, Option<String>)> {
        loop {
            let streams: Vec<_> = {
                let generations = lock(&self.generations);
                let streams = generations.unidentified.iter();
                streams
                    .map(|(stream, domain)| (stream.clone(), domain.clone()))
                    .collect()
            };
            if !streams.is_empty() {
                return streams;
            }
            self.unidentified.notified().await;
        }
    }

    /// Whether every stream that acknowledged an event is identified.
    pub(crate) fn is_identified(&self) -> bool {
        lock(&self.generations).unidentified.is_empty()
    }

    /// Asks for the identity of all streams again: their server may be another one.
    pub(crate) fn identify_again(&self) {
        let mut generations = lock(&self.generations);
        let streams = generations.current.iter();
        let streams: Vec<_> = streams
            .map(|(stream, known)| (stream.clone(), known.domain.clone()))
            .collect();
        generations.unidentified.extend(streams);
        self.unidentified.notify_one();
    }

    /// A stream has this creation time; `None` if that can't be known. Its acknowledgements count from now on.
    pub(crate) fn identified(
        &self,
        stream: String,
        domain: Option<String>,
        created: Option<String>,
        now: Instant,
    ) {
        let mut generations = self.rotated(now);
        if generations.unidentified.get(&stream) != Some(&domain) {
            return;
        }
        generations.unidentified.remove(&stream);
        let identity = Baseline::new(0).with_domain(domain).with_created(created);
        let known = generations.current.get(&stream);
        if known.is_some_and(|known| known.is_of_same_stream(&identity)) {
            return;
        }
        if generations.forget(&stream) {
            generations.replaced.push(stream.clone());
        }
        generations.current.insert(stream, identity);
    }

    /// Takes the streams that were found to be others than before, or set back.
    pub(crate) fn take_replaced(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.generations).replaced)
    }

    /// The highest acknowledged sequence numbers.
    pub(crate) fn now(&self) -> Baselines {
        lock(&self.generations).current.clone()
    }

    /// Sequence numbers acknowledged before `sent_at`; empty if unknown.
    pub(crate) fn before(&self, sent_at: Instant, now: Instant) -> Baselines {
        let generations = self.rotated(now);
        if generations.old_at <= sent_at {
            generations.old.clone()
        } else {
            Baselines::new()
        }
    }

    fn rotated(&self, now: Instant) -> MutexGuard<'_, Generations> {
        let mut generations = lock(&self.generations);
        if now.saturating_duration_since(generations.rotated_at) > self.deadline {
            generations.old = std::mem::take(&mut generations.young);
            generations.old_at = generations.rotated_at;
            generations.young = generations.current.clone();
            generations.rotated_at = now;
        }
        generations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_millis(100);

    fn identify(high_water: &HighWater, created: &str, at: Instant) {
        high_water.identified("S".to_owned(), None, Some(created.to_owned()), at);
    }

    #[test]
    fn only_acknowledgements_older_than_any_emit_count() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let high_water = HighWater::new(start, DEADLINE);
        let note = |sequence, at| high_water.note(&Acknowledgement::new("S", sequence), at);
        let before = |at| Some(high_water.before(at, at).get("S")?.sequence);
        note(1, after(0));
        identify(&high_water, "then", after(0));
        note(1, after(0));
        assert_eq!(before(after(50)), None);
        note(2, after(101)); // rotates: 1 is young
        assert_eq!(before(after(150)), None);
        note(3, after(202)); // rotates: 1 is old, 2 young
        assert_eq!(before(after(250)), Some(1));
        assert_eq!(before(after(303)), Some(2));
        // 2 was stored at 101; an earlier event may have been stored then too.
        let long_ago = high_water.before(after(100), after(303));
        assert!(long_ago.is_empty());
    }

    #[test]
    fn recreated_stream_counts_from_its_beginning_once_it_is_identified() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let high_water = HighWater::new(start, DEADLINE);
        let mut ack = Acknowledgement::new("S", 1_000);
        high_water.note(&ack, after(0));
        identify(&high_water, "then", after(0));
        high_water.note(&ack, after(0));
        for at in [101, 202, 303] {
            high_water.before(after(at), after(at));
        }
        let before = |at| high_water.before(after(at), after(at)).get("S").cloned();
        // The sequence number of a duplicate is not the stream's last one.
        (ack.sequence, ack.duplicate) = (7, true);
        high_water.note(&ack, after(310));
        assert_eq!(before(311).unwrap().sequence, 1_000);
        assert!(high_water.take_replaced().is_empty());
        ack.duplicate = false;
        high_water.note(&ack, after(312));
        assert_eq!(high_water.take_replaced(), ["S"]);
        ack.sequence = 8;
        high_water.note(&ack, after(313));
        assert_eq!(high_water.now().get("S"), None, "not identified");
        identify(&high_water, "now", after(313));
        high_water.note(&ack, after(313));
        for at in [414, 515] {
            high_water.before(after(at), after(at));
        }
        let expected = Baseline::new(8).with_created(Some("now".to_owned()));
        assert_eq!(before(616), Some(expected));
    }

    #[test]
    fn stream_with_another_creation_time_or_domain_is_another_stream() {
        let start = Instant::now();
        let high_water = HighWater::new(start, DEADLINE);
        let mut ack = Acknowledgement::new("S", 5);
        high_water.note(&ack, start);
        identify(&high_water, "then", start);
        high_water.note(&ack, start);
        high_water.identify_again();
        identify(&high_water, "then", start);
        assert_eq!(high_water.now()["S"].sequence, 5);
        high_water.identify_again();
        identify(&high_water, "now", start);
        assert_eq!(high_water.now()["S"].sequence, 0);
        assert_eq!(high_water.take_replaced(), ["S"]);
        high_water.note(&ack, start);
        ack.domain = Some("hub".to_owned());
        high_water.note(&ack, start);
        assert!(high_water.now().is_empty());
        // The answer for the other domain came late.
        identify(&high_water, "now", start);
        assert!(high_water.now().is_empty());
        high_water.identified("S".to_owned(), ack.domain.clone(), None, start);
        high_water.note(&ack, start);
        assert_eq!(high_water.now()["S"].sequence, 5);
    }
}
