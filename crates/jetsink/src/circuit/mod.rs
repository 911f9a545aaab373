//! The circuit: one atomic word that says whether a publish may go out now.
//!
//! Pure: no I/O, no clock, no task. `now` comes in as an argument and what to do goes out as a
//! value; the callers (see `publish/admission`) enforce it.
//!
//! Invariants, each cited by the tests that hold it:
//!
//! 1. While [`State::Connected`], everyone is admitted, and admission writes nothing.
//! 2. While [`State::Reconnecting`] and `now < next_after`, everyone is rejected.
//! 3. From `next_after` on exactly one caller is admitted, as the probe; the rest are rejected
//!    until it is settled or released.
//! 4. Only an outcome of the current epoch moves the state: a late success does not close a circuit
//!    that opened meanwhile, a late failure does not open one that closed meanwhile.
//! 5. A released (cancelled) probe gives its place back: the next caller may probe at once.
//!
//! The word holds the phase and, by phase, an epoch or a due time:
//!
//! | phase | bits 62–63 | bits 46–61 | bits 0–45 |
//! | --- | --- | --- | --- |
//! | connected | 0 | epoch (high) | epoch (low) |
//! | waiting | 1 | attempt | due time, in ticks of 10 µs |
//! | probing | 2 | attempt | epoch |
//!
//! Epochs come from a counter that never goes back, so the epoch of an admission stands in the word
//! only as long as nothing has changed since. Waiting words carry none: no admission holds one.

pub mod backoff;

use std::time::Duration;

use tokio::time::Instant;

use crate::sync::{AtomicU64, Ordering};
use backoff::wait_after;

const PHASE_SHIFT: u32 = 62;
const ATTEMPT_SHIFT: u32 = 46;
const LOW_MASK: u64 = (1 << ATTEMPT_SHIFT) - 1;
const ATTEMPT_MASK: u64 = (1 << (PHASE_SHIFT - ATTEMPT_SHIFT)) - 1;
const TICK_NANOS: u128 = 10_000;

/// The highest attempt that a circuit shows; the count stays there (136 days of failing probes).
pub const HIGHEST_ATTEMPT: u32 = ATTEMPT_MASK as u32;

/// What a circuit knows, as seen at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The last publish that counted succeeded: publish directly.
    Connected,
    /// The last publish that counted failed: wait, then probe.
    Reconnecting {
        /// Failed probes since the circuit opened; 0 after the failure that opened it. Stays at
        /// [`HIGHEST_ATTEMPT`] when that is reached.
        attempt: u32,
        /// When the next probe is due. While a probe is under way this is the time of asking.
        next_after: Instant,
        /// Whether a probe is under way.
        probing: bool,
    },
}

/// Why a caller was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// As in [`State::Reconnecting`].
    pub attempt: u32,
    /// How long until the next probe is due; zero while one is under way.
    pub retry_after: Duration,
    /// Whether a probe is under way.
    pub probing: bool,
}

/// The right to publish once. Hand it back by [`Circuit::settle`] or [`Circuit::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an admission that is neither settled nor released may hold the probe's place for ever"]
pub struct Admission {
    word: u64,
}

impl Admission {
    /// Whether this admission is the probe of an open circuit: one attempt only.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        matches!(Word::unpack(self.word), Word::Probing { .. })
    }
}

/// What became of an admitted publish, as far as this circuit is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It went through.
    Success,
    /// It failed in a way that this circuit guards against.
    Failure,
}

/// A change of state that a call brought about; `None` where nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Connected → reconnecting.
    Opened,
    /// The probe failed; the next one is due after `wait`.
    ProbeFailed {
        /// The attempt now shown.
        attempt: u32,
        /// The wait until the next probe.
        wait: Duration,
    },
    /// The probe succeeded: reconnecting → connected.
    Closed,
    /// Evidence came that the broker is back: a probe is due at once.
    ProbeDue,
}

#[derive(Debug, Clone, Copy)]
enum Word {
    Connected { epoch: u64 },
    Waiting { attempt: u32, due: u64 },
    Probing { attempt: u32, epoch: u64 },
}

/// What a caller may do who asks at a certain moment.
enum Verdict {
    Publish,
    Probe { attempt: u32 },
    Reject(Rejected),
}

impl Word {
    fn pack(self) -> u64 {
        match self {
            Word::Connected { epoch } => epoch & !(3 << PHASE_SHIFT),
            Word::Waiting { attempt, due } => {
                1 << PHASE_SHIFT | u64::from(attempt) << ATTEMPT_SHIFT | due.min(LOW_MASK)
            }
            Word::Probing { attempt, epoch } => {
                2 << PHASE_SHIFT | u64::from(attempt) << ATTEMPT_SHIFT | epoch & LOW_MASK
            }
        }
    }

    fn unpack(word: u64) -> Self {
        let attempt = (word >> ATTEMPT_SHIFT & ATTEMPT_MASK) as u32;
        match word >> PHASE_SHIFT {
            0 => Word::Connected { epoch: word },
            1 => Word::Waiting {
                attempt,
                due: word & LOW_MASK,
            },
            _ => Word::Probing {
                attempt,
                epoch: word & LOW_MASK,
            },
        }
    }
}

/// A circuit breaker with one probe at a time. See the crate docs for its diagram.
///
/// Lock-free: [`admit`](Self::admit) on a connected circuit, and every rejection, is one load.
///
/// ```
/// use std::time::Duration;
/// use jetsink::circuit::{Circuit, Outcome};
/// use tokio::time::Instant;
///
/// let now = Instant::now();
/// let circuit = Circuit::new(now);
/// let admission = circuit.admit(now).expect("a new circuit is connected");
/// circuit.settle(now, admission, Outcome::Failure);
///
/// let rejected = circuit.admit(now).expect_err("open");
/// assert_eq!((rejected.attempt, rejected.retry_after), (0, Duration::from_millis(100)));
///
/// let later = now + Duration::from_millis(100);
/// let probe = circuit.admit(later).expect("the wait has elapsed");
/// assert!(probe.is_probe());
/// assert!(circuit.admit(later).is_err(), "one probe at a time");
/// circuit.settle(later, probe, Outcome::Success);
/// assert!(circuit.admit(later).is_ok());
/// ```
#[derive(Debug)]
pub struct Circuit {
    word: AtomicU64,
    next_epoch: AtomicU64,
    started: Instant,
}

impl Circuit {
    /// A connected circuit. Times before `now` count as `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            word: AtomicU64::new(Word::Connected { epoch: 0 }.pack()),
            next_epoch: AtomicU64::new(1),
            started: now,
        }
    }

    /// A circuit whose first failure has just happened: reconnecting at attempt 0.
    #[must_use]
    pub fn opened(now: Instant) -> Self {
        let circuit = Self::new(now);
        circuit.trip(now);
        circuit
    }

    /// What the circuit knows at `now`.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        match self.load() {
            Word::Connected { .. } => State::Connected,
            Word::Waiting { attempt, due } => State::Reconnecting {
                attempt,
                next_after: self.instant(due),
                probing: false,
            },
            Word::Probing { attempt, .. } => State::Reconnecting {
                attempt,
                next_after: now,
                probing: true,
            },
        }
    }

    /// Why [`admit`](Self::admit) would not admit a caller at `now`; takes no place.
    #[must_use]
    pub fn rejection(&self, now: Instant) -> Option<Rejected> {
        match self.verdict(self.load(), now) {
            Verdict::Reject(rejected) => Some(rejected),
            Verdict::Publish | Verdict::Probe { .. } => None,
        }
    }

    /// Asks to publish at `now`.
    ///
    /// # Errors
    /// [`Rejected`] while the circuit is open and it is not this caller's turn to probe.
    pub fn admit(&self, now: Instant) -> Result<Admission, Rejected> {
        let mut current = self.word.load(Ordering::Acquire);
        loop {
            let attempt = match self.verdict(Word::unpack(current), now) {
                Verdict::Publish => return Ok(Admission { word: current }),
                Verdict::Reject(rejected) => return Err(rejected),
                Verdict::Probe { attempt } => attempt,
            };
            let probing = Word::Probing {
                attempt,
                epoch: self.mint_epoch(),
            };
            match self.swap(current, probing) {
                Ok(word) => return Ok(Admission { word }),
                Err(changed) => current = changed,
            }
        }
    }

    fn verdict(&self, word: Word, now: Instant) -> Verdict {
        match word {
            Word::Connected { .. } => Verdict::Publish,
            Word::Probing { attempt, .. } => Verdict::Reject(Rejected {
                attempt,
                retry_after: Duration::ZERO,
                probing: true,
            }),
            Word::Waiting { attempt, due } => {
                let due = self.instant(due);
                if now >= due {
                    return Verdict::Probe { attempt };
                }
                Verdict::Reject(Rejected {
                    attempt,
                    retry_after: due - now,
                    probing: false,
                })
            }
        }
    }

    /// Says what became of an admitted publish. Ignored where the circuit has changed since.
    pub fn settle(
        &self,
        now: Instant,
        admission: Admission,
        outcome: Outcome,
    ) -> Option<Transition> {
        match (Word::unpack(admission.word), outcome) {
            // The steady path: nothing to write.
            (Word::Connected { .. }, Outcome::Success) => None,
            (Word::Connected { .. }, Outcome::Failure) => self
                .swap(admission.word, self.waiting(now, 0))
                .ok()
                .map(|_| Transition::Opened),
            (Word::Probing { epoch, .. }, Outcome::Success) => {
                let next = Word::Connected {
                    epoch: self.mint_epoch(),
                };
                self.end_probe(epoch, |_| next).map(|_| Transition::Closed)
            }
            (Word::Probing { epoch, .. }, Outcome::Failure) => self
                .end_probe(epoch, |attempt| {
                    self.waiting(now, (attempt + 1).min(HIGHEST_ATTEMPT))
                })
                .map(|attempt| {
                    let attempt = (attempt + 1).min(HIGHEST_ATTEMPT);
                    let wait = wait_after(attempt);
                    Transition::ProbeFailed { attempt, wait }
                }),
            (Word::Waiting { .. }, _) => None, // no admission carries a waiting word
        }
    }

    /// Gives an admission back unused: its publish was cancelled, or says nothing of this circuit.
    pub fn release(&self, admission: Admission) {
        if let Word::Probing { epoch, .. } = Word::unpack(admission.word) {
            // Due since the circuit's start, that is: at once.
            self.end_probe(epoch, |attempt| Word::Waiting { attempt, due: 0 });
        }
    }

    /// Opens a connected circuit on evidence from elsewhere: the connection is gone.
    pub fn trip(&self, now: Instant) -> Option<Transition> {
        let current = self.word.load(Ordering::Acquire);
        match Word::unpack(current) {
            // Losing the race is fine: whoever won has opened it, or closed it on newer evidence.
            Word::Connected { .. } => self
                .swap(current, self.waiting(now, 0))
                .ok()
                .map(|_| Transition::Opened),
            Word::Waiting { .. } | Word::Probing { .. } => None,
        }
    }

    /// Makes a probe due at once and starts the schedule again at attempt 0, on evidence that the
    /// broker is back: a new connection, or an answer to something sent long ago.
    ///
    /// A probe that is under way keeps its turn and its outcome counts; only its attempt is set
    /// back, so that evidence that comes just before its failure is not lost in a long wait.
    pub fn probe_due(&self) -> Option<Transition> {
        let mut current = self.word.load(Ordering::Acquire);
        loop {
            let next = match Word::unpack(current) {
                Word::Connected { .. }
                | Word::Waiting { attempt: 0, due: 0 }
                | Word::Probing { attempt: 0, .. } => return None,
                Word::Waiting { .. } => Word::Waiting { attempt: 0, due: 0 },
                Word::Probing { epoch, .. } => Word::Probing { attempt: 0, epoch },
            };
            match self.swap(current, next) {
                Ok(_) => return Some(Transition::ProbeDue),
                Err(changed) => current = changed,
            }
        }
    }

    /// Ends the probe of `epoch` if it is still the one under way; gives the attempt it had.
    fn end_probe(&self, epoch: u64, next: impl Fn(u32) -> Word) -> Option<u32> {
        let mut current = self.word.load(Ordering::Acquire);
        loop {
            match Word::unpack(current) {
                Word::Probing {
                    attempt,
                    epoch: now,
                } if now == epoch => match self.swap(current, next(attempt)) {
                    Ok(_) => return Some(attempt),
                    Err(changed) => current = changed,
                },
                Word::Connected { .. } | Word::Waiting { .. } | Word::Probing { .. } => {
                    return None;
                }
            }
        }
    }

    fn load(&self) -> Word {
        Word::unpack(self.word.load(Ordering::Acquire))
    }

    fn swap(&self, current: u64, next: Word) -> Result<u64, u64> {
        let next = next.pack();
        self.word
            .compare_exchange(current, next, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| next)
    }

    fn mint_epoch(&self) -> u64 {
        self.next_epoch.fetch_add(1, Ordering::Relaxed)
    }

    fn waiting(&self, now: Instant, attempt: u32) -> Word {
        let due = now.saturating_duration_since(self.started) + wait_after(attempt);
        // Rounded up, so that a probe is never early.
        let ticks = due.as_nanos().div_ceil(TICK_NANOS);
        Word::Waiting {
            attempt,
            due: u64::try_from(ticks).unwrap_or(LOW_MASK).min(LOW_MASK),
        }
    }

    fn instant(&self, ticks: u64) -> Instant {
        self.started + Duration::from_nanos(ticks.saturating_mul(TICK_NANOS as u64))
    }
}
