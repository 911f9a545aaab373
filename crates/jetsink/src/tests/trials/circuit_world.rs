//! The circuit and the plain circuit, side by side: each call goes to both, and both must return the same.

use std::time::Duration;

use tokio::time::Instant;

use crate::circuit::{Admission, Circuit, Outcome, State, Transition};
use crate::tests::trials::plain_circuit::{
    Came, Change, MAX_PROBE, Phase, PlainCircuit, TICK_MICROS, Ticket,
};

/// No wait of the schedule is longer.
pub(super) const MAX_WAIT: u64 = 180_000_000 / TICK_MICROS;

/// The circuit may let a probe lapse up to 2^14 ticks later.
const NEAR: u64 = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Ask,
    /// One of those admitted comes back.
    Back {
        which: usize,
        came: Came,
    },
    Pass {
        ticks: u64,
    },
    /// To a tick before the next probe is due, or to that moment. During a probe: to [`NEAR`] before or after it
    /// lapses.
    PassToDue {
        just_before: bool,
    },
    Disconnected,
    SignOfLife,
}

pub(super) struct World {
    start: Instant,
    now: u64,
    circuit: Circuit,
    plain: PlainCircuit,
    out: Vec<(Admission, Ticket)>,
}

impl World {
    pub(super) fn new() -> Self {
        let start = Instant::now();
        let max_probe = Duration::from_micros(MAX_PROBE * TICK_MICROS);
        Self {
            start,
            now: 0,
            circuit: Circuit::new(start).with_max_probe(max_probe),
            plain: PlainCircuit::new(),
            out: Vec::new(),
        }
    }

    pub(super) fn out(&self) -> usize {
        self.out.len()
    }

    pub(super) fn take(&mut self, step: Step) {
        let now = self.instant();
        match step {
            Step::Ask => self.ask(now),
            Step::Back { which, came } => {
                if self.out.is_empty() {
                    return;
                }
                let (admission, ticket) = self.out.swap_remove(which % self.out.len());
                let real = match came {
                    Came::Through => self.circuit.settle(now, admission, Outcome::Success),
                    Came::ToNothing => self.circuit.settle(now, admission, Outcome::Failure),
                    Came::Back => {
                        self.circuit.release(admission);
                        None
                    }
                };
                assert_eq!(changed(real), self.plain.back(self.now, ticket, came));
            }
            Step::Pass { ticks } => {
                self.now += ticks;
                if let Phase::Probing { until, .. } = self.plain.phase
                    && self.now.abs_diff(until) < NEAR
                {
                    self.now = until + NEAR;
                }
            }
            Step::PassToDue { just_before } => {
                let then = match self.plain.phase {
                    Phase::Connected => self.now,
                    Phase::Waiting { due, .. } => due - u64::from(just_before && due > 0),
                    Phase::Probing { until, .. } if just_before => until - NEAR,
                    Phase::Probing { until, .. } => until + NEAR,
                };
                self.now = self.now.max(then);
            }
            Step::Disconnected => {
                let real = self.circuit.trip(now);
                assert_eq!(changed(real), self.plain.disconnected(self.now));
            }
            Step::SignOfLife => {
                let real = self.circuit.probe_due();
                assert_eq!(changed(real), self.plain.sign_of_life(self.now));
            }
        }
        assert_eq!(self.seen(), self.expected(), "after {step:?}");
        let era = self.plain.era;
        let current = self.out.iter().filter(|(_, ticket)| ticket.era == era);
        let probes = current.filter(|(a, _)| a.is_probe()).count();
        assert!(probes <= 1, "{probes} probes at once");
    }

    fn ask(&mut self, now: Instant) {
        let foretold = self.circuit.rejection(now);
        match (self.circuit.admit(now), self.plain.ask(self.now)) {
            (Ok(admission), Ok(ticket)) => {
                assert_eq!(foretold, None);
                assert_eq!(admission.is_probe(), ticket.probe);
                self.out.push((admission, ticket));
            }
            (Err(real), Err(plain)) => {
                assert_eq!(foretold, Some(real));
                let wait = real.retry_after.as_micros() as u64 / TICK_MICROS;
                assert_eq!((real.attempt, wait, real.probing), plain);
            }
            (real, plain) => panic!("{real:?}, where the plain one says {plain:?}"),
        }
    }

    /// Everybody goes away without a word: within the longest wait someone must be admitted.
    pub(super) fn end(mut self) {
        while self.out() > 0 {
            self.take(Step::Back {
                which: 0,
                came: Came::Back,
            });
        }
        self.take(Step::Pass { ticks: MAX_WAIT });
        self.take(Step::Ask);
        assert_eq!(self.out(), 1, "wedged: {:?}", self.circuit);
    }

    /// Returns the state that determines all later results: the time until a probe is due instead of its date,
    /// the current admissions without their numbers, and attempts up to the twelfth.
    pub(super) fn key(&self) -> Key {
        let mut out: Vec<(bool, bool)> = self
            .out
            .iter()
            .map(|(_, ticket)| (ticket.probe, ticket.era == self.plain.era))
            .collect();
        out.sort_unstable();
        let (at_once, lapses_in) = match self.plain.phase {
            Phase::Waiting { at_once, .. } => (at_once, 0),
            Phase::Probing { until, .. } => (false, (until + 1).saturating_sub(self.now)),
            Phase::Connected => (false, 0),
        };
        let circuit = self.seen().map(|(attempt, wait, probing)| {
            let attempt = attempt.min(12);
            (attempt, wait, probing, at_once)
        });
        Key {
            circuit,
            lapses_in,
            out,
        }
    }

    /// Attempt, ticks until a probe is due, and whether one is under way; none where connected.
    fn seen(&self) -> Option<(u32, u64, bool)> {
        let now = self.instant();
        match self.circuit.state(now) {
            State::Connected => None,
            State::Reconnecting {
                attempt,
                next_after,
                probing,
            } => {
                let wait = next_after.saturating_duration_since(now);
                Some((attempt, wait.as_micros() as u64 / TICK_MICROS, probing))
            }
        }
    }

    fn expected(&self) -> Option<(u32, u64, bool)> {
        match self.plain.phase {
            Phase::Connected => None,
            Phase::Waiting { attempt, due, .. } => {
                Some((attempt, due.saturating_sub(self.now), false))
            }
            Phase::Probing { attempt, until } => Some((attempt, 0, self.now <= until)),
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.now * TICK_MICROS)
    }
}

/// As [`World::key`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    circuit: Option<(u32, u64, bool, bool)>,
    /// The ticks until the probe lapses.
    lapses_in: u64,
    out: Vec<(bool, bool)>,
}

fn changed(transition: Option<Transition>) -> Option<Change> {
    transition.map(|transition| match transition {
        Transition::Opened => Change::Opened,
        Transition::Closed => Change::Closed,
        Transition::ProbeDue => Change::Due,
        Transition::ProbeFailed { attempt, wait } => Change::Failed {
            attempt,
            wait: wait.as_micros() as u64 / TICK_MICROS,
        },
    })
}
