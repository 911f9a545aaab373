//! The circuit against its invariants; the numbers are those of `circuit/mod.rs`. Whole histories and all
//! states are in `trials/`.

use std::time::Duration;

use tokio::time::Instant;

use crate::circuit::backoff::wait_after;
use crate::circuit::{Circuit, MAX_ATTEMPT, Outcome, State, Transition};

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
fn one_of_many_callers_probes() {
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
fn late_outcome_does_not_change_the_circuit() {
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
fn failure_of_an_earlier_connected_epoch_is_ignored() {
    let start = Instant::now();
    let circuit = Circuit::new(start);
    let mut now = start;
    let mut late = Vec::new();
    for _ in 0..3 {
        late.push(circuit.admit(now).unwrap());
        let opens = circuit.admit(now).unwrap();
        circuit.settle(now, opens, Outcome::Failure);
        now += 100 * MS;
        let probe = circuit.admit(now).unwrap();
        circuit.settle(now, probe, Outcome::Success);
    }
    for late in late {
        assert_eq!(circuit.settle(now, late, Outcome::Failure), None);
    }
    assert_eq!(circuit.state(now), State::Connected, "invariant 4");
}

#[test]
fn sign_of_life_makes_a_probe_due_and_restarts_the_schedule() {
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
fn sign_of_life_during_a_probe_resets_its_attempt() {
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
fn attempt_stays_at_its_maximum() {
    let start = Instant::now();
    let circuit = Circuit::opened(start);
    let mut now = start;
    for _ in 0..=MAX_ATTEMPT {
        now += wait_after(11);
        let probe = circuit.admit(now).unwrap();
        circuit.settle(now, probe, Outcome::Failure);
    }
    assert_eq!(
        due(&circuit, now).map(|(attempt, _)| attempt),
        Some(MAX_ATTEMPT)
    );
}

#[test]
fn lapsed_probe_lets_one_caller_probe_and_its_outcome_is_ignored() {
    let start = Instant::now();
    let circuit = Circuit::opened(start).with_max_probe(3_000 * MS);
    let due = start + 100 * MS;
    let lapsed = circuit.admit(due).unwrap();
    let last = due + 3_000 * MS;
    let rejected = circuit.admit(last).unwrap_err();
    assert!(rejected.probing);
    let now = last + 200 * MS;
    assert_eq!(circuit.rejection(now), None);
    assert!(matches!(
        circuit.state(now),
        State::Reconnecting { probing: false, .. }
    ));
    let probe = circuit.admit(now).unwrap();
    assert!(probe.is_probe());
    assert!(circuit.admit(now).is_err(), "invariant 3");
    assert_eq!(circuit.settle(now, lapsed, Outcome::Success), None);
    assert!(circuit.admit(now).is_err(), "invariant 4");
    assert_eq!(
        circuit.settle(now, probe, Outcome::Success),
        Some(Transition::Closed)
    );
}

#[test]
fn outcome_of_a_lapsed_probe_counts_until_another_one_begins() {
    let start = Instant::now();
    let circuit = Circuit::opened(start).with_max_probe(3_000 * MS);
    let late = circuit.admit(start + 100 * MS).unwrap();
    let now = start + 60_000 * MS;
    assert_eq!(
        circuit.settle(now, late, Outcome::Success),
        Some(Transition::Closed)
    );
}
