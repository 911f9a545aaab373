//! The highest sequence numbers acknowledged, as they were a while ago.
//!
//! When the outcome of an emit is unknown, it may be stored anywhere above what was acknowledged
//! before it began. No emit takes longer than the deadline, so a snapshot that is at least that old
//! was taken before any emit that is still under way.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::publisher::Acknowledgement;

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
    /// Taken at least one deadline before `turned`.
    old: Sequences,
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
                turned: now,
            }),
        }
    }

    pub(crate) fn note(&self, ack: &Acknowledgement, now: Instant) {
        let mut generations = self.turned(now);
        match generations.current.get_mut(&ack.stream) {
            Some(highest) => *highest = (*highest).max(ack.sequence),
            None => {
                let stream = ack.stream.clone();
                generations.current.insert(stream, ack.sequence);
            }
        }
    }

    /// What was acknowledged at least one deadline ago.
    pub(crate) fn before_emits(&self, now: Instant) -> Sequences {
        self.turned(now).old.clone()
    }

    fn turned(&self, now: Instant) -> MutexGuard<'_, Generations> {
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(generations.turned) > self.deadline {
            generations.old = std::mem::take(&mut generations.young);
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
        let before = |at| acknowledged.before_emits(at).get("S").copied();
        note(1, after(0));
        assert_eq!(before(after(50)), None);
        note(2, after(101)); // turns: 1 is young
        assert_eq!(before(after(150)), None);
        note(3, after(202)); // turns: 1 is old, 2 young
        assert_eq!(before(after(250)), Some(1));
        assert_eq!(before(after(303)), Some(2));
    }
}
