//! Tracks the highest acknowledged sequence number of each stream, as it was before any emit in flight.
//!
//! An event whose outcome is unknown may be stored at any sequence number above those that were
//! acknowledged before it was sent. No emit takes longer than the deadline, so a snapshot of that age
//! is older than every emit in flight. An event in a pipeline can be older, if its caller pauses or
//! waits for room; then no snapshot is old enough.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::outcome::Acknowledgement;
use crate::sync::lock;

type Sequences = HashMap<String, u64>;

#[derive(Debug)]
pub(crate) struct HighWater {
    deadline: Duration,
    generations: Mutex<Generations>,
}

#[derive(Debug)]
struct Generations {
    current: Sequences,
    /// The snapshot of `rotated_at`.
    young: Sequences,
    /// The snapshot of `old_at`, at least one deadline before `rotated_at`.
    old: Sequences,
    old_at: Instant,
    rotated_at: Instant,
}

impl HighWater {
    pub(crate) fn new(now: Instant, deadline: Duration) -> Self {
        Self {
            deadline,
            generations: Mutex::new(Generations {
                current: Sequences::new(),
                young: Sequences::new(),
                old: Sequences::new(),
                old_at: now,
                rotated_at: now,
            }),
        }
    }

    pub(crate) fn note(&self, ack: &Acknowledgement, now: Instant) {
        let mut generations = self.rotated(now);
        let was_recreated = generations
            .old
            .get(&ack.stream)
            .is_some_and(|old| !ack.duplicate && ack.sequence <= *old);
        if was_recreated {
            // The stream was deleted and created again: the snapshots describe its predecessor.
            let Generations {
                current,
                young,
                old,
                ..
            } = &mut *generations;
            for snapshot in [current, young, old] {
                snapshot.remove(&ack.stream);
            }
        }
        match generations.current.get_mut(&ack.stream) {
            Some(highest) => *highest = (*highest).max(ack.sequence),
            None => {
                let stream = ack.stream.clone();
                generations.current.insert(stream, ack.sequence);
            }
        }
    }

    /// Sequences acknowledged before `sent_at`; empty if unknown.
    pub(crate) fn before(&self, sent_at: Instant, now: Instant) -> Sequences {
        let generations = self.rotated(now);
        if generations.old_at <= sent_at {
            generations.old.clone()
        } else {
            Sequences::new()
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

    #[test]
    fn only_acknowledgements_older_than_any_emit_count() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let high_water = HighWater::new(start, Duration::from_millis(100));
        let note = |sequence, at| high_water.note(&Acknowledgement::new("S", sequence), at);
        let before = |at| high_water.before(at, at).get("S").copied();
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
    fn recreated_stream_counts_from_its_beginning() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let high_water = HighWater::new(start, Duration::from_millis(100));
        let mut ack = Acknowledgement::new("S", 1_000);
        high_water.note(&ack, after(0));
        for at in [101, 202, 303] {
            high_water.before(after(at), after(at));
        }
        // The sequence number of a duplicate is not the stream's last one.
        (ack.sequence, ack.duplicate) = (7, true);
        high_water.note(&ack, after(310));
        assert_eq!(high_water.before(after(311), after(311))["S"], 1_000);
        ack.duplicate = false;
        high_water.note(&ack, after(312));
        assert!(high_water.before(after(313), after(313)).is_empty());
        for at in [414, 515] {
            high_water.before(after(at), after(at));
        }
        assert_eq!(high_water.before(after(616), after(616))["S"], 7);
    }
}
