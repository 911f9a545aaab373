//! The atomic word of a circuit: its packing, and the compare-and-swap loop that changes it.
//!
//! | phase | bits 62–63 | bits 46–61 | bits 0–45 |
//! | --- | --- | --- | --- |
//! | connected | 0 | epoch (high) | epoch (low) |
//! | waiting | 1 | attempt | due time, in ticks of 10 µs |
//! | probing | 2 | attempt | epoch |
//!
//! An epoch is the time of a change in ticks of 10 µs, with a count of changes as its low 14 bits. So it contains the
//! time when a probe began, and it repeats only after 16,384 changes within 0.16 s. An admission carries the word it was
//! granted under, so it is current only as long as nothing has changed since. A waiting word has no epoch, since no
//! admission carries one.

use std::time::Duration;

use tokio::time::Instant;

use crate::sync::{AtomicU64, Ordering};

const PHASE_SHIFT: u32 = 62;
const ATTEMPT_SHIFT: u32 = 46;
const LOW_MASK: u64 = (1 << ATTEMPT_SHIFT) - 1;
const ATTEMPT_MASK: u64 = (1 << (PHASE_SHIFT - ATTEMPT_SHIFT)) - 1;
const TICK_NANOS: u64 = 10_000;

/// The bits of an epoch that count changes.
const COUNT_MASK: u64 = (1 << 14) - 1;

/// The maximum attempt that a circuit counts, after 136 days of failing probes.
pub(crate) const MAX_ATTEMPT: u32 = ATTEMPT_MASK as u32;

/// The content of the word.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    Connected { epoch: u64 },
    Waiting { attempt: u32, due: Instant },
    Probing { attempt: u32, epoch: u64 },
}

/// A packed [`Phase`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed(u64);

impl Packed {
    pub(super) fn is_probing(self) -> bool {
        self.0 >> PHASE_SHIFT == 2
    }
}

/// The phase that [`Word::update`] found, and the word that it left.
pub(super) struct Found {
    pub(super) phase: Phase,
    pub(super) word: Packed,
}

#[derive(Debug)]
pub(super) struct Word {
    word: AtomicU64,
    changes: AtomicU64,
    /// Due times and epochs count from here.
    started: Instant,
}

impl Word {
    pub(super) fn connected(started: Instant) -> Self {
        Self {
            word: AtomicU64::new(0),
            changes: AtomicU64::new(1),
            started,
        }
    }

    /// A due time that has always passed.
    pub(super) fn at_once(&self) -> Instant {
        self.started
    }

    pub(super) fn load(&self) -> Packed {
        Packed(self.word.load(Ordering::Acquire))
    }

    pub(super) fn phase(&self) -> Phase {
        self.unpack(self.load())
    }

    /// Returns the epoch of a change at `now`.
    pub(super) fn next_epoch(&self, now: Instant) -> u64 {
        let count = self.changes.fetch_add(1, Ordering::Relaxed);
        self.ticks(now) & !COUNT_MASK | count & COUNT_MASK
    }

    /// Returns the time when `epoch` began, or up to 0.16 s later.
    pub(super) fn began(&self, epoch: u64) -> Instant {
        self.at(epoch | COUNT_MASK)
    }

    /// Replaces `seen` by `next`, unless another caller has changed the word since.
    ///
    /// # Errors
    /// The word as it is now.
    pub(super) fn replace(&self, seen: Packed, next: Phase) -> Result<Packed, Packed> {
        let next = self.pack(next);
        self.word
            .compare_exchange(seen.0, next.0, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| next)
            .map_err(Packed)
    }

    /// Replaces the phase by `next` of it, and decides again if another caller was faster.
    ///
    /// # Errors
    /// The phase for which `next` is `None`; nothing was written then.
    pub(super) fn update(&self, next: impl Fn(Phase) -> Option<Phase>) -> Result<Found, Found> {
        let mut word = self.load();
        loop {
            let phase = self.unpack(word);
            let Some(next) = next(phase) else {
                return Err(Found { phase, word });
            };
            match self.replace(word, next) {
                Ok(word) => return Ok(Found { phase, word }),
                Err(changed) => word = changed,
            }
        }
    }

    pub(super) fn unpack(&self, word: Packed) -> Phase {
        let attempt = (word.0 >> ATTEMPT_SHIFT & ATTEMPT_MASK) as u32;
        let low = word.0 & LOW_MASK;
        match word.0 >> PHASE_SHIFT {
            0 => Phase::Connected { epoch: word.0 },
            1 => Phase::Waiting {
                attempt,
                due: self.at(low),
            },
            _ => Phase::Probing {
                attempt,
                epoch: low,
            },
        }
    }

    fn pack(&self, phase: Phase) -> Packed {
        let (number, attempt, low) = match phase {
            Phase::Connected { epoch } => return Packed(epoch & !(3 << PHASE_SHIFT)),
            Phase::Waiting { attempt, due } => (1, attempt, self.ticks(due)),
            Phase::Probing { attempt, epoch } => (2, attempt, epoch & LOW_MASK),
        };
        Packed(number << PHASE_SHIFT | u64::from(attempt) << ATTEMPT_SHIFT | low)
    }

    fn at(&self, ticks: u64) -> Instant {
        self.started + Duration::from_nanos(ticks.saturating_mul(TICK_NANOS))
    }

    /// Rounds up, so that a probe is never early; at most 22 years.
    fn ticks(&self, due: Instant) -> u64 {
        let elapsed = due.saturating_duration_since(self.started);
        let ticks = elapsed.as_nanos().div_ceil(u128::from(TICK_NANOS));
        u64::try_from(ticks).unwrap_or(LOW_MASK).min(LOW_MASK)
    }
}
