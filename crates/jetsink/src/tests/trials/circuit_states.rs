//! Every state that a circuit with up to four callers can get into, to the last one: each step from
//! each state goes as in the plain circuit.

use std::collections::{HashSet, VecDeque};

use trial::Trial;

use crate::tests::trials::circuit_world::{Step, World};
use crate::tests::trials::plain_circuit::{Came, TICK_MICROS};

const CALLERS: usize = 4;

/// Some steps through the longest waits, and more than the shortest.
const SECONDS: u64 = 2_000_000 / TICK_MICROS;

fn steps(out: usize) -> Vec<Step> {
    let mut steps = vec![
        Step::PassToDue { just_before: true },
        Step::PassToDue { just_before: false },
        Step::Pass { ticks: SECONDS },
        Step::Disconnected,
        Step::SignOfLife,
    ];
    if out < CALLERS {
        steps.push(Step::Ask);
    }
    for which in 0..out {
        for came in [Came::Through, Came::ToNothing, Came::Back] {
            steps.push(Step::Back { which, came });
        }
    }
    steps
}

fn world_after(path: &[Step]) -> World {
    let mut world = World::new();
    for step in path {
        world.take(*step);
    }
    world
}

#[test]
fn every_reachable_state_matches_the_plain_circuit() {
    let mut known = HashSet::from([World::new().key()]);
    let mut paths = VecDeque::from([Vec::new()]);
    let mut taken = 0;
    // A state is known by its key; the path that led there makes it again.
    while let Some(path) = paths.pop_front() {
        for step in steps(world_after(&path).out()) {
            let mut longer = path.clone();
            longer.push(step);
            let world = world_after(&longer);
            taken += 1;
            if known.insert(world.key()) {
                paths.push_back(longer);
            }
            world.end();
        }
    }
    println!("{} states, {taken} steps from them", known.len());
    assert!(known.len() > 1_000, "{} states", known.len());
    Trial::new("circuit-states", 0).passed(known.len() as u64);
}
