//! The circuit as one would write it without a thought for atomics, from its description alone: it
//! shares no code with `circuit/`, nor the table of waits with `circuit/backoff.rs`.

/// The unit of time here, as fine as the circuit's own.
pub(super) const TICK_MICROS: u64 = 10;

const MILLISECOND: u64 = 1_000 / TICK_MICROS;

/// From the first failure on; after these, for ever the last.
const WAITS_IN_MS: [u64; 12] = [
    100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 180_000,
];

/// The ticks for which a probe is waited for.
pub(super) const MAX_PROBE: u64 = 3_000 * MILLISECOND;

pub(super) fn wait(attempt: u32) -> u64 {
    let row = (attempt as usize).min(WAITS_IN_MS.len() - 1);
    WAITS_IN_MS[row] * MILLISECOND
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Connected,
    Waiting {
        attempt: u32,
        due: u64,
        /// Due by a sign of life or a cancelled probe, not by the schedule.
        at_once: bool,
    },
    Probing {
        attempt: u32,
        /// The last tick before it lapses.
        until: u64,
    },
}

/// An admission: whether it probes, and the number of changes of the circuit before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) probe: bool,
    pub(super) era: u64,
}

/// The outcome of an admitted publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    Through,
    ToNothing,
    /// It was dropped.
    Back,
}

/// The change that a call made, and returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Failed { attempt: u32, wait: u64 },
    Closed,
    Due,
}

#[derive(Debug, Clone)]
pub(super) struct PlainCircuit {
    pub(super) phase: Phase,
    pub(super) era: u64,
}

impl PlainCircuit {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Connected,
            era: 0,
        }
    }

    /// A ticket, or how long to wait and whether someone probes.
    pub(super) fn ask(&mut self, now: u64) -> Result<Ticket, (u32, u64, bool)> {
        match self.phase {
            Phase::Connected => Ok(self.ticket(false)),
            Phase::Probing { attempt, until } if now <= until => Err((attempt, 0, true)),
            Phase::Waiting { attempt, due, .. } if now < due => Err((attempt, due - now, false)),
            Phase::Waiting { attempt, .. } | Phase::Probing { attempt, .. } => {
                let until = now + MAX_PROBE;
                self.becomes(Phase::Probing { attempt, until });
                Ok(self.ticket(true))
            }
        }
    }

    pub(super) fn back(&mut self, now: u64, ticket: Ticket, came: Came) -> Option<Change> {
        if ticket.era != self.era {
            return None;
        }
        match (self.phase, came) {
            (Phase::Connected, Came::Through | Came::Back) | (Phase::Waiting { .. }, _) => None,
            (Phase::Connected, Came::ToNothing) => self.opens(now),
            (Phase::Probing { .. }, Came::Through) => {
                self.becomes(Phase::Connected);
                Some(Change::Closed)
            }
            (Phase::Probing { attempt, .. }, Came::ToNothing) => {
                let attempt = attempt + 1;
                self.waits(now, attempt);
                let wait = wait(attempt);
                Some(Change::Failed { attempt, wait })
            }
            (Phase::Probing { attempt, .. }, Came::Back) => {
                self.becomes(Phase::Waiting {
                    attempt,
                    due: now,
                    at_once: true,
                });
                None
            }
        }
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self, now: u64) -> Option<Change> {
        match self.phase {
            Phase::Connected => self.opens(now),
            Phase::Waiting { .. } | Phase::Probing { .. } => None,
        }
    }

    /// The broker gave a sign of life.
    pub(super) fn sign_of_life(&mut self, now: u64) -> Option<Change> {
        match &mut self.phase {
            Phase::Connected => None,
            Phase::Probing { attempt, .. } => (std::mem::take(attempt) > 0).then_some(Change::Due),
            Phase::Waiting {
                attempt: 0,
                at_once: true,
                ..
            } => None,
            waiting @ Phase::Waiting { .. } => {
                *waiting = Phase::Waiting {
                    attempt: 0,
                    due: now,
                    at_once: true,
                };
                Some(Change::Due)
            }
        }
    }

    fn opens(&mut self, now: u64) -> Option<Change> {
        self.waits(now, 0);
        Some(Change::Opened)
    }

    fn waits(&mut self, now: u64, attempt: u32) {
        self.becomes(Phase::Waiting {
            attempt,
            due: now + wait(attempt),
            at_once: false,
        });
    }

    fn becomes(&mut self, phase: Phase) {
        self.phase = phase;
        self.era += 1;
    }

    fn ticket(&self, probe: bool) -> Ticket {
        Ticket {
            probe,
            era: self.era,
        }
    }
}
