//! The highest sequence numbers acknowledged, as they were a while ago.
//!
//! When the outcome of a publish is unknown, it may be stored anywhere above what was acknowledged
//! before it was sent. No emit takes longer than the deadline, so a snapshot that is at least that old
//! was taken before any emit that is still under way. A pipeline's publish can be older than that,
//! where its caller rests or waits for room; then no snapshot will do.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::outcome::Acknowledgement;

type Sequences = HashMap<String, u64>;

#[derive(Debug)]
pub(crate) struct Acknowledged {
    deadline: Duration,
    generations: Mutex<Generations>,
}

#[derive(Debug)]
struct Generations {
    current: Sequences,
    /// Taken at `turned`.
    young: Sequences,
    /// Taken at `old_taken`, at least one deadline before `turned`.
    old: Sequences,
    old_taken: Instant,
    turned: Instant,
}

impl Acknowledged {
    pub(crate) fn new(now: Instant, deadline: Duration) -> Self {
        Self {
            deadline,
            generations: Mutex::new(Generations {
                current: Sequences::new(),
                young: Sequences::new(),
                old: Sequences::new(),
                old_taken: now,
                turned: now,
            }),
        }
    }

    pub(crate) fn note(&self, ack: &Acknowledgement, now: Instant) {
        let mut generations = self.turned(now);
        let began_anew = generations
            .old
            .get(&ack.stream)
            .is_some_and(|old| !ack.duplicate && ack.sequence <= *old);
        if began_anew {
            // A stream of the same name was made anew: what is known of it is of the one before.
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

    /// What was acknowledged before something was sent, at `sent_at`; nothing, where that is not known.
    pub(crate) fn before(&self, sent_at: Instant, now: Instant) -> Sequences {
        let generations = self.turned(now);
        if generations.old_taken <= sent_at {
            generations.old.clone()
        } else {
            Sequences::new()
        }
    }

    fn turned(&self, now: Instant) -> MutexGuard<'_, Generations> {
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(generations.turned) > self.deadline {
            generations.old = std::mem::take(&mut generations.young);
            generations.old_taken = generations.turned;
            generations.young = generations.current.clone();
            generations.turned = now;
        }
        generations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_older_than_an_emit_can_be_counts() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let acknowledged = Acknowledged::new(start, Duration::from_millis(100));
        let note = |sequence, at| acknowledged.note(&Acknowledgement::new("S", sequence), at);
        let before = |at| acknowledged.before(at, at).get("S").copied();
        note(1, after(0));
        assert_eq!(before(after(50)), None);
        note(2, after(101)); // turns: 1 is young
        assert_eq!(before(after(150)), None);
        note(3, after(202)); // turns: 1 is old, 2 young
        assert_eq!(before(after(250)), Some(1));
        assert_eq!(before(after(303)), Some(2));
        // 2 was stored at 101, and so was perhaps what had been sent before.
        let long_ago = acknowledged.before(after(100), after(303));
        assert!(long_ago.is_empty());
    }

    #[test]
    fn a_stream_that_was_made_anew_counts_from_its_beginning() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let acknowledged = Acknowledged::new(start, Duration::from_millis(100));
        let mut ack = Acknowledgement::new("S", 1_000);
        acknowledged.note(&ack, after(0));
        for at in [101, 202, 303] {
            acknowledged.before(after(at), after(at));
        }
        // Known by its id: no word of how far the stream is.
        (ack.sequence, ack.duplicate) = (7, true);
        acknowledged.note(&ack, after(310));
        assert_eq!(acknowledged.before(after(311), after(311))["S"], 1_000);
        ack.duplicate = false;
        acknowledged.note(&ack, after(312));
        assert!(acknowledged.before(after(313), after(313)).is_empty());
        for at in [414, 515] {
            acknowledged.before(after(at), after(at));
        }
        assert_eq!(acknowledged.before(after(616), after(616))["S"], 7);
    }
}
