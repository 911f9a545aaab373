//! The circuit against its invariants; the numbers are those of `circuit.rs`.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use crate::backoff::wait_after;
use crate::circuit::{Admission, Circuit, HIGHEST_ATTEMPT, Outcome, State, Transition};

const MS: Duration = Duration::from_millis(1);

fn due(circuit: &Circuit, now: Instant) -> Option<(u32, Instant)> {
    match circuit.state(now) {
        State::Connected => None,
        State::Reconnecting {
            attempt,
            next_after,
            ..
        } => Some((attempt, next_after)),
    }
}

#[test]
fn the_wait_doubles_from_100_ms_and_stays_at_180_s() {
    let start = Instant::now();
    let circuit = Circuit::new(start);
    let mut now = start;
    let first = circuit.admit(now).unwrap();
    assert_eq!(
        circuit.settle(now, first, Outcome::Failure),
        Some(Transition::Opened)
    );
    for attempt in 0..40 {
        let millis = if attempt < 11 {
            100 << attempt
        } else {
            180_000
        };
        let wait = Duration::from_millis(millis);
        assert_eq!(due(&circuit, now), Some((attempt, now + wait)));
        assert!(circuit.admit(now + wait - MS).is_err(), "invariant 2");
        now += wait;
        let probe = circuit.admit(now).unwrap();
        let transition = circuit.settle(now, probe, Outcome::Failure);
        let (attempt, wait) = (attempt + 1, wait_after(attempt + 1));
        assert_eq!(transition, Some(Transition::ProbeFailed { attempt, wait }));
    }
    now += wait_after(40);
    let probe = circuit.admit(now).unwrap();
    assert_eq!(
        circuit.settle(now, probe, Outcome::Success),
        Some(Transition::Closed)
    );
    assert_eq!(circuit.state(now), State::Connected);
    let next = circuit.admit(now).unwrap();
    circuit.settle(now, next, Outcome::Failure);
    assert_eq!(
        due(&circuit, now),
        Some((0, now + 100 * MS)),
        "back to attempt 0"
    );
}

#[test]
fn the_wait_table_holds_for_every_attempt() {
    let table = [
        100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400,
    ];
    for (attempt, millis) in (0..).zip(table) {
        assert_eq!(wait_after(attempt), Duration::from_millis(millis));
    }
    let large = (11..100_000).chain((0..32).map(|bit| u32::MAX >> bit).filter(|a| *a > 10));
    for attempt in large {
        assert_eq!(
            wait_after(attempt),
            Duration::from_secs(180),
            "attempt {attempt}"
        );
    }
}

#[test]
fn of_many_callers_one_probes() {
    let start = Instant::now();
    let circuit = Circuit::opened(start);
    let now = start + 100 * MS;
    let probe = circuit.admit(now).unwrap();
    assert!(probe.is_probe());
    for _ in 0..1_000 {
        let rejected = circuit.admit(now).unwrap_err();
        assert!(rejected.probing, "invariant 3");
    }
    circuit.release(probe);
    assert!(circuit.admit(now).unwrap().is_probe(), "invariant 5");
}

#[test]
fn a_late_outcome_does_not_move_a_circuit_that_has_changed() {
    let start = Instant::now();
    let circuit = Circuit::new(start);
    let [late_success, late_failure, opens] = [(); 3].map(|()| circuit.admit(start).unwrap());
    circuit.settle(start, opens, Outcome::Failure);
    assert_eq!(circuit.settle(start, late_success, Outcome::Success), None);
    assert_eq!(due(&circuit, start), Some((0, start + 100 * MS)));
    let now = start + 100 * MS;
    let probe = circuit.admit(now).unwrap();
    circuit.settle(now, probe, Outcome::Success);
    assert_eq!(circuit.settle(now, late_failure, Outcome::Failure), None);
    assert_eq!(circuit.state(now), State::Connected, "invariant 4");
}

#[test]
fn a_sign_of_life_makes_a_probe_due_and_starts_the_schedule_again() {
    let start = Instant::now();
    let circuit = Circuit::opened(start);
    let mut now = start;
    for attempt in 0..8 {
        now += wait_after(attempt);
        let probe = circuit.admit(now).unwrap();
        circuit.settle(now, probe, Outcome::Failure);
    }
    assert!(circuit.admit(now).is_err());
    assert_eq!(circuit.probe_due(), Some(Transition::ProbeDue));
    let probe = circuit.admit(now).unwrap();
    circuit.settle(now, probe, Outcome::Failure);
    assert_eq!(due(&circuit, now), Some((1, now + 200 * MS)));
}

#[test]
fn a_sign_of_life_during_a_probe_is_not_lost_in_a_long_wait() {
    let start = Instant::now();
    let circuit = Circuit::opened(start);
    let mut now = start;
    for attempt in 0..8 {
        now += wait_after(attempt);
        let probe = circuit.admit(now).unwrap();
        circuit.settle(now, probe, Outcome::Failure);
    }
    now += wait_after(8);
    let probe = circuit.admit(now).unwrap();
    circuit.probe_due();
    assert!(circuit.admit(now).is_err(), "still one probe at a time");
    circuit.settle(now, probe, Outcome::Failure);
    assert_eq!(due(&circuit, now), Some((1, now + 200 * MS)));
}

#[test]
fn the_attempt_shown_stays_at_its_highest() {
    let start = Instant::now();
    let circuit = Circuit::opened(start);
    let mut now = start;
    for _ in 0..=HIGHEST_ATTEMPT {
        now += wait_after(11);
        let probe = circuit.admit(now).unwrap();
        circuit.settle(now, probe, Outcome::Failure);
    }
    assert_eq!(
        due(&circuit, now).map(|(attempt, _)| attempt),
        Some(HIGHEST_ATTEMPT)
    );
}

/// The circuit as one would write it without a thought for atomics: plain fields, and a list of
/// what each admission has seen.
#[derive(Debug)]
struct Model {
    state: ModelState,
    changes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum ModelState {
    Connected,
    Waiting { attempt: u32, due: Instant },
    Probing { attempt: u32 },
}

#[derive(Debug, Clone, Copy)]
struct ModelAdmission {
    probe: bool,
    changes: u64,
}

impl Model {
    fn change(&mut self, state: ModelState) {
        self.state = state;
        self.changes += 1;
    }

    fn admit(&mut self, now: Instant) -> Option<ModelAdmission> {
        match self.state {
            ModelState::Waiting { attempt, due } if now >= due => {
                self.change(ModelState::Probing { attempt });
                Some(ModelAdmission {
                    probe: true,
                    changes: self.changes,
                })
            }
            ModelState::Connected => Some(ModelAdmission {
                probe: false,
                changes: self.changes,
            }),
            ModelState::Waiting { .. } | ModelState::Probing { .. } => None,
        }
    }

    fn settle(&mut self, now: Instant, admission: ModelAdmission, success: Option<bool>) {
        if admission.changes != self.changes {
            return;
        }
        let waiting = |attempt| ModelState::Waiting {
            attempt,
            due: now + wait_after(attempt),
        };
        match (self.state, success) {
            (ModelState::Connected, Some(false)) => self.change(waiting(0)),
            (ModelState::Connected, _) | (ModelState::Waiting { .. }, _) => {}
            (ModelState::Probing { .. }, Some(true)) => self.change(ModelState::Connected),
            (ModelState::Probing { attempt }, Some(false)) => self.change(waiting(attempt + 1)),
            (ModelState::Probing { attempt }, None) => {
                self.change(ModelState::Waiting { attempt, due: now });
            }
        }
    }

    fn sign_of_life(&mut self, now: Instant) {
        match &mut self.state {
            ModelState::Connected => {}
            ModelState::Waiting { attempt, due } => (*attempt, *due) = (0, (*due).min(now)),
            ModelState::Probing { attempt } => *attempt = 0,
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Admit,
    Settle { which: usize, success: bool },
    Cancel { which: usize },
    Pass { millis: u64 },
    Disconnected,
    SignOfLife,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => Just(Step::Admit),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(which, success)| Step::Settle { which, success }),
        1 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        3 => prop_oneof![Just(0_u64), Just(1), Just(99), Just(100), 0..200_000_u64].prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::Disconnected),
        1 => Just(Step::SignOfLife),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn every_history_goes_as_in_the_plain_model(steps in steps()) {
        let mut now = Instant::now();
        let circuit = Circuit::new(now);
        let mut model = Model { state: ModelState::Connected, changes: 0 };
        let mut out: Vec<(Admission, ModelAdmission)> = Vec::new();
        for step in steps {
            match step {
                Step::Admit => match (circuit.admit(now), model.admit(now)) {
                    (Ok(real), Some(modelled)) => {
                        prop_assert_eq!(real.is_probe(), modelled.probe);
                        out.push((real, modelled));
                    }
                    (Err(_), None) => {}
                    (real, modelled) => prop_assert!(false, "{real:?} but {modelled:?}"),
                },
                Step::Settle { which, success } if !out.is_empty() => {
                    let (real, modelled) = out.swap_remove(which % out.len());
                    let outcome = if success { Outcome::Success } else { Outcome::Failure };
                    circuit.settle(now, real, outcome);
                    model.settle(now, modelled, Some(success));
                }
                Step::Cancel { which } if !out.is_empty() => {
                    let (real, modelled) = out.swap_remove(which % out.len());
                    circuit.release(real);
                    model.settle(now, modelled, None);
                }
                Step::Settle { .. } | Step::Cancel { .. } => {}
                Step::Pass { millis } => now += Duration::from_millis(millis),
                Step::Disconnected => {
                    circuit.trip(now);
                    if model.state == ModelState::Connected {
                        model.change(ModelState::Waiting { attempt: 0, due: now + wait_after(0) });
                    }
                }
                Step::SignOfLife => {
                    circuit.probe_due();
                    model.sign_of_life(now);
                }
            }
            let modelled = match model.state {
                ModelState::Connected => None,
                ModelState::Waiting { attempt, due } => Some((attempt, due.max(now), false)),
                ModelState::Probing { attempt } => Some((attempt, now, true)),
            };
            let real = match circuit.state(now) {
                State::Connected => None,
                State::Reconnecting { attempt, next_after, probing } => {
                    Some((attempt, next_after.max(now), probing))
                }
            };
            prop_assert_eq!(real, modelled);
        }
    }
}
