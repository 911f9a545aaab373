//! The circuit breaker: decides from one atomic word whether a publish may go out now.
//!
//! Pure: no I/O, no clock, no task. The caller passes `now` in and enforces the decision
//! (`publish/admission.rs`).
//!
//! ```text
//!              failure, or the connection is lost
//!  Connected ─────────────────────────────────────► Reconnecting { attempt: 0, next_after }
//!      ▲                                                │ now ≥ next_after: one caller probes
//!      │                     success                    ▼
//!      └──────────────────────────────────────────── probing ──► failure: attempt + 1, longer wait
//!                                                       │
//!                                                       └──► lapsed: the next caller probes instead
//! ```
//!
//! Invariants, cited by the tests:
//!
//! 1. [`State::Connected`] admits every caller, and admission writes nothing.
//! 2. [`State::Reconnecting`] rejects every caller while `now < next_after`.
//! 3. From `next_after` on, exactly one caller is admitted, as the probe. All others are rejected
//!    until it is settled or released, or until it lapses.
//! 4. Only an outcome of the current epoch changes the state: a late success does not close a
//!    circuit that opened meanwhile, and a late failure does not open one that closed meanwhile.
//! 5. After a released (cancelled) or lapsed probe, the next caller may probe at once. The outcome of a lapsed
//!    probe counts until then.
//!
//! `state.rs` has the public values, `word.rs` the packing and the compare-and-swap loop,
//! [`backoff`] the waits.

pub(crate) mod backoff;
mod state;
mod word;

use std::time::Duration;

use tokio::time::Instant;

use backoff::wait_after;
pub use state::State;
pub(crate) use state::{Admission, Outcome, Rejected, Transition};
pub(crate) use word::MAX_ATTEMPT;
use word::{Packed, Phase, Word};

/// A circuit breaker with one probe at a time; the module docs have its diagram.
///
/// Lock-free: [`admit`](Self::admit) on a connected circuit, and every rejection, is one load.
#[derive(Debug)]
pub(crate) struct Circuit {
    word: Word,
    /// The time after which a probe lapses.
    max_probe: Duration,
}

impl Circuit {
    /// Returns a connected circuit. Times before `now` count as `now`.
    #[must_use]
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            word: Word::connected(now),
            max_probe: Duration::MAX,
        }
    }

    /// Sets the time after which an unsettled probe lapses: the next caller may probe then. The outcome of the lapsed
    /// probe counts until that caller does, and is ignored from then on. It may lapse up to 0.16 s later. Default: never.
    /// Keep it above the time limit of a publish.
    #[must_use]
    pub(crate) fn with_max_probe(mut self, max_probe: Duration) -> Self {
        self.max_probe = max_probe;
        self
    }

    /// Returns a circuit whose first failure has just happened: reconnecting at attempt 0.
    #[must_use]
    pub(crate) fn opened(now: Instant) -> Self {
        let circuit = Self::new(now);
        circuit.trip(now);
        circuit
    }

    /// Returns the state at `now`.
    #[must_use]
    pub(crate) fn state(&self, now: Instant) -> State {
        match self.word.phase() {
            Phase::Connected { .. } => State::Connected,
            Phase::Waiting { attempt, due } => State::Reconnecting {
                attempt,
                next_after: due,
                probing: false,
            },
            Phase::Probing { attempt, epoch } => State::Reconnecting {
                attempt,
                next_after: now,
                probing: !self.has_lapsed(epoch, now),
            },
        }
    }

    /// Returns the rejection that [`admit`](Self::admit) would return at `now`. Never starts a probe.
    #[must_use]
    pub(crate) fn rejection(&self, now: Instant) -> Option<Rejected> {
        self.reject(self.word.phase(), now)
    }

    /// Asks to publish at `now`.
    ///
    /// # Errors
    /// [`Rejected`] while the circuit is open, unless this caller gets to probe.
    pub(crate) fn admit(&self, now: Instant) -> Result<Admission, Rejected> {
        let word = self.word.load();
        let phase = self.word.unpack(word);
        match (self.reject(phase, now), phase) {
            (Some(rejected), _) => Err(rejected),
            (None, Phase::Connected { .. }) => Ok(Admission { word }),
            (None, Phase::Waiting { .. } | Phase::Probing { .. }) => self.probe(now),
        }
    }

    /// Begins a probe, unless another caller is faster.
    #[cold]
    fn probe(&self, now: Instant) -> Result<Admission, Rejected> {
        let begun = self.word.update(|phase| match phase {
            Phase::Connected { .. } => None,
            Phase::Waiting { attempt, .. } | Phase::Probing { attempt, .. } => {
                self.reject(phase, now).is_none().then(|| Phase::Probing {
                    attempt,
                    epoch: self.word.next_epoch(now),
                })
            }
        });
        let found = match begun {
            Ok(found) => found,
            Err(found) => match self.reject(found.phase, now) {
                Some(rejected) => return Err(rejected),
                // It was closed meanwhile.
                None => found,
            },
        };
        Ok(Admission { word: found.word })
    }

    /// Records the outcome of an admitted publish. Ignored if the circuit has changed since.
    pub(crate) fn settle(
        &self,
        now: Instant,
        admission: Admission,
        outcome: Outcome,
    ) -> Option<Transition> {
        match (self.word.unpack(admission.word), outcome) {
            // The steady path writes nothing.
            (Phase::Connected { .. }, Outcome::Success) => None,
            (Phase::Connected { .. }, Outcome::Failure) => self.open(admission.word, now),
            (Phase::Probing { epoch, .. }, Outcome::Success) => {
                let epoch_after = self.word.next_epoch(now);
                let ended = self.end_probe(epoch, |_| Phase::Connected { epoch: epoch_after });
                ended.map(|_| Transition::Closed)
            }
            (Phase::Probing { epoch, .. }, Outcome::Failure) => {
                let attempt_after = |attempt: u32| (attempt + 1).min(MAX_ATTEMPT);
                let ended = self.end_probe(epoch, |probe| self.waiting(now, attempt_after(probe)));
                ended.map(|probe| Transition::ProbeFailed {
                    attempt: attempt_after(probe),
                    wait: wait_after(attempt_after(probe)),
                })
            }
            // No admission carries a waiting word.
            (Phase::Waiting { .. }, Outcome::Success | Outcome::Failure) => None,
        }
    }

    /// Returns an admission unused: its publish was cancelled, or proves nothing about this circuit.
    pub(crate) fn release(&self, admission: Admission) {
        match self.word.unpack(admission.word) {
            Phase::Probing { epoch, .. } => {
                let due = self.word.at_once();
                self.end_probe(epoch, |attempt| Phase::Waiting { attempt, due });
            }
            Phase::Connected { .. } | Phase::Waiting { .. } => {}
        }
    }

    /// Opens a connected circuit on evidence from elsewhere: the connection is lost.
    pub(crate) fn trip(&self, now: Instant) -> Option<Transition> {
        let word = self.word.load();
        match self.word.unpack(word) {
            Phase::Connected { .. } => self.open(word, now),
            Phase::Waiting { .. } | Phase::Probing { .. } => None,
        }
    }

    /// Makes a probe due at once and restarts the schedule at attempt 0, on evidence that the broker
    /// is back: a new connection, or a late answer.
    ///
    /// A probe in flight keeps its place and its outcome counts. Only its attempt returns to 0, so
    /// that its failure does not hide the evidence behind a long wait.
    pub(crate) fn probe_due(&self) -> Option<Transition> {
        let due = self.word.at_once();
        let moved = self.word.update(|phase| match phase {
            Phase::Waiting { attempt: 0, due: d } if d == due => None,
            Phase::Connected { .. } | Phase::Probing { attempt: 0, .. } => None,
            Phase::Waiting { .. } => Some(Phase::Waiting { attempt: 0, due }),
            Phase::Probing { epoch, .. } => Some(Phase::Probing { attempt: 0, epoch }),
        });
        moved.is_ok().then_some(Transition::ProbeDue)
    }

    /// Opens the circuit, unless it has changed since `seen`: by another failure, or by newer evidence.
    fn open(&self, seen: Packed, now: Instant) -> Option<Transition> {
        let opened = self.word.replace(seen, self.waiting(now, 0));
        opened.is_ok().then_some(Transition::Opened)
    }

    /// Ends the probe of `epoch` if it is still in flight, and returns its attempt.
    fn end_probe(&self, epoch: u64, next: impl Fn(u32) -> Phase) -> Option<u32> {
        let ended = self.word.update(|phase| match phase {
            Phase::Probing { attempt, epoch: e } if e == epoch => Some(next(attempt)),
            Phase::Connected { .. } | Phase::Waiting { .. } | Phase::Probing { .. } => None,
        });
        match ended.ok()?.phase {
            Phase::Probing { attempt, .. } => Some(attempt),
            Phase::Connected { .. } | Phase::Waiting { .. } => None,
        }
    }

    fn waiting(&self, now: Instant, attempt: u32) -> Phase {
        let due = now.max(self.word.at_once()) + wait_after(attempt);
        Phase::Waiting { attempt, due }
    }
    /// Whether the probe of `epoch` has lapsed: an epoch contains the time when it began.
    fn has_lapsed(&self, epoch: u64, now: Instant) -> bool {
        now.saturating_duration_since(self.word.began(epoch)) > self.max_probe
    }

    /// Returns `None` if the phase lets a caller publish or probe at `now`.
    fn reject(&self, phase: Phase, now: Instant) -> Option<Rejected> {
        match phase {
            Phase::Connected { .. } => None,
            Phase::Waiting { attempt, due } => (now < due).then(|| Rejected {
                attempt,
                retry_after: due - now,
                probing: false,
            }),
            Phase::Probing { attempt, epoch } => {
                (!self.has_lapsed(epoch, now)).then_some(Rejected {
                    attempt,
                    retry_after: Duration::ZERO,
                    probing: true,
                })
            }
        }
    }
}
