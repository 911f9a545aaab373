//! Every interleaving of the atomics of the circuit and of the count of emits, with loom's in place of
//! the standard library's.
//!
//! Their source is compiled into this test a second time, with `crate::sync` below.

#![allow(dead_code, missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

#[path = "../src/circuit/mod.rs"]
mod circuit;
#[path = "../src/publish/in_flight.rs"]
mod in_flight;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}
mod outcome {
    pub(crate) use jetsink::{Delivery, EmitError, Known};
}

use std::time::Duration;

use circuit::{Admission, Circuit, Outcome, State, Transition};
use in_flight::InFlight;
use loom::sync::Arc;
use loom::thread;
use tokio::time::Instant;

fn open_and_due() -> (Arc<Circuit>, Instant) {
    let start = Instant::now();
    let due = start + Duration::from_millis(100);
    (Arc::new(Circuit::opened(start)), due)
}

fn caller<T: 'static>(
    circuit: &Arc<Circuit>,
    act: impl FnOnce(&Circuit) -> T + 'static,
) -> thread::JoinHandle<T> {
    let circuit = Arc::clone(circuit);
    thread::spawn(move || act(&circuit))
}

#[test]
fn one_of_three_callers_probes() {
    loom::model(|| {
        let (circuit, now) = open_and_due();
        let others = [(); 2].map(|()| caller(&circuit, move |c| c.admit(now).ok()));
        let own = circuit.admit(now).ok();
        let probes: Vec<Admission> = others
            .into_iter()
            .map(|c| c.join().unwrap())
            .chain([own])
            .flatten()
            .collect();
        assert_eq!(probes.len(), 1);
        assert!(probes[0].is_probe());
    });
}

#[test]
fn failure_of_a_probe_delays_the_next_one_for_all_callers() {
    // Three threads of two steps each: all interleavings with up to three preemptions.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (circuit, now) = open_and_due();
        let probe_and_fail = move |c: &Circuit| {
            let probe = c.admit(now).ok()?;
            c.settle(now, probe, Outcome::Failure)
        };
        let other = caller(&circuit, probe_and_fail);
        let asks = caller(&circuit, move |c| {
            c.admit(now).map(|probe| c.release(probe)).is_ok()
        });
        let own = probe_and_fail(&circuit);
        asks.join().unwrap();
        let failed = [own, other.join().unwrap()].into_iter().flatten().count();
        if failed == 1 {
            assert!(matches!(
                circuit.state(now),
                State::Reconnecting {
                    attempt: 1,
                    probing: false,
                    ..
                }
            ));
        } else {
            // The third caller held the probe while both of these asked, and gave it back.
            assert_eq!(failed, 0);
            assert!(circuit.admit(now).is_ok());
        }
    });
}

#[test]
fn cancelled_probe_lets_another_caller_probe() {
    loom::model(|| {
        let (circuit, now) = open_and_due();
        let probe = circuit.admit(now).unwrap();
        let cancels = caller(&circuit, move |c| c.release(probe));
        let others = caller(&circuit, move |c| {
            let probe = c.admit(now).ok()?;
            c.settle(now, probe, Outcome::Success)
        });
        let own = circuit.admit(now).map(|probe| circuit.release(probe));
        cancels.join().unwrap();
        match others.join().unwrap() {
            Some(Transition::Closed) => assert_eq!(circuit.state(now), State::Connected),
            _ => assert!(circuit.admit(now).is_ok(), "wedged, {own:?}"),
        }
    });
}

#[test]
fn one_of_three_callers_takes_over_a_lapsed_probe() {
    loom::model(|| {
        let start = Instant::now();
        let circuit = Circuit::opened(start).with_max_probe(Duration::from_secs(3));
        let circuit = Arc::new(circuit);
        let lapsed = circuit.admit(start + Duration::from_millis(100)).unwrap();
        let now = start + Duration::from_secs(4);
        let others = [(); 2].map(|()| caller(&circuit, move |c| c.admit(now).is_ok()));
        let closed = circuit.settle(now, lapsed, Outcome::Success).is_some();
        let admitted = others
            .into_iter()
            .filter_map(|c| c.join().unwrap().then_some(()));
        let admitted = admitted.count();
        // Either its success closed the circuit first, or one caller took its place.
        assert_eq!(admitted, if closed { 2 } else { 1 });
    });
}

#[test]
fn a_late_success_does_not_close_and_a_late_failure_does_not_open() {
    loom::model(|| {
        let start = Instant::now();
        let circuit = Arc::new(Circuit::new(start));
        let [late_success, late_failure, opens] = [(); 3].map(|()| circuit.admit(start).unwrap());
        circuit.settle(start, opens, Outcome::Failure);
        let now = start + Duration::from_millis(100);
        let probe = circuit.admit(now).unwrap();
        let late = {
            let circuit = Arc::clone(&circuit);
            thread::spawn(move || circuit.settle(now, late_success, Outcome::Success))
        };
        let later = {
            let circuit = Arc::clone(&circuit);
            thread::spawn(move || circuit.settle(now, late_failure, Outcome::Failure))
        };
        assert_eq!(
            circuit.settle(now, probe, Outcome::Success),
            Some(Transition::Closed)
        );
        assert_eq!(late.join().unwrap(), None);
        assert_eq!(later.join().unwrap(), None);
        assert_eq!(circuit.state(now), State::Connected);
    });
}

#[test]
fn trip_concurrent_with_a_failure_and_a_success_opens_once() {
    loom::model(|| {
        let start = Instant::now();
        let circuit = Arc::new(Circuit::new(start));
        let [fails, succeeds] = [(); 2].map(|()| circuit.admit(start).unwrap());
        let failure = {
            let circuit = Arc::clone(&circuit);
            thread::spawn(move || circuit.settle(start, fails, Outcome::Failure))
        };
        let success = {
            let circuit = Arc::clone(&circuit);
            thread::spawn(move || circuit.settle(start, succeeds, Outcome::Success))
        };
        let tripped = circuit.trip(start);
        let opened = [failure.join().unwrap(), success.join().unwrap(), tripped];
        assert_eq!(opened.iter().flatten().count(), 1);
        assert!(matches!(
            circuit.state(start),
            State::Reconnecting { attempt: 0, .. }
        ));
    });
}

#[test]
fn sign_of_life_concurrent_with_a_failing_probe_is_never_lost() {
    loom::model(|| {
        let start = Instant::now();
        let circuit = Arc::new(Circuit::opened(start));
        let mut now = start;
        for attempt in 0..5 {
            now += circuit::backoff::wait_after(attempt);
            let probe = circuit.admit(now).unwrap();
            circuit.settle(now, probe, Outcome::Failure);
        }
        now += circuit::backoff::wait_after(5);
        let probe = circuit.admit(now).unwrap();
        let sign = {
            let circuit = Arc::clone(&circuit);
            thread::spawn(move || circuit.probe_due())
        };
        let asks = {
            let circuit = Arc::clone(&circuit);
            thread::spawn(move || {
                circuit
                    .admit(now)
                    .map(|admission| circuit.release(admission))
                    .is_ok()
            })
        };
        circuit.settle(now, probe, Outcome::Failure);
        sign.join().unwrap();
        let _ = asks.join().unwrap();
        // Before or after the failure: the next probe is due within the schedule's first steps.
        assert!(circuit.admit(now + Duration::from_millis(200)).is_ok());
    });
}

#[test]
fn shutdown_waits_for_every_admitted_emit() {
    loom::model(|| {
        let emits = Arc::new(InFlight::default());
        let stored = Arc::new(loom::sync::atomic::AtomicBool::new(false));
        let emit = {
            let (emits, stored) = (Arc::clone(&emits), Arc::clone(&stored));
            thread::spawn(move || {
                let under_way = emits.begin();
                if under_way.is_some() {
                    stored.store(true, loom::sync::atomic::Ordering::Relaxed);
                }
                under_way.is_some()
            })
        };
        emits.close();
        // The condition under which `idle` returns at once.
        let went_on = emits.is_idle();
        let seen = stored.load(loom::sync::atomic::Ordering::Relaxed);
        let got_in = emit.join().unwrap();
        assert!(
            !(went_on && got_in) || seen,
            "closed over an emit under way"
        );
    });
}
