//! Random histories of a circuit and its callers, compared with the plain circuit: one probe at a time, and a
//! cancelled caller blocks no other.

use trial::{Dice, Trial};

use crate::tests::trials::circuit_world::{MAX_WAIT, Step, World};
use crate::tests::trials::plain_circuit::Came;

const MAX_HISTORY: u64 = 200;

fn step(dice: &mut Dice) -> Step {
    match dice.weighted(&[10, 6, 2, 3, 4, 2, 2]) {
        0 => Step::Ask,
        1 => Step::Back {
            which: dice.index(1_000),
            came: *dice.one_of(&[Came::Through, Came::ToNothing, Came::ToNothing]),
        },
        2 => Step::Back {
            which: dice.index(1_000),
            came: Came::Back,
        },
        3 => {
            let longest = *dice.one_of(&[2, 10_000, MAX_WAIT + 2]);
            Step::Pass {
                ticks: dice.below(longest),
            }
        }
        4 => Step::PassToDue {
            just_before: dice.once_in(4),
        },
        5 => Step::Disconnected,
        _ => Step::SignOfLife,
    }
}

#[test]
fn every_history_matches_the_plain_circuit() {
    Trial::new("circuit-model", 10_000).run(|dice| {
        let mut world = World::new();
        for _ in 0..dice.below(MAX_HISTORY + 1) {
            world.take(step(dice));
        }
        world.end();
    });
}
