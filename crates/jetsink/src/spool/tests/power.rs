//! The power is cut at a random step, again and again: what was told Ok is there when it returns,
//! whatever the disk made of what was not synced.

use trial::{Dice, Trial};

use crate::spool::store::OpenError;
use crate::spool::tests::driver::{Act, Driver};
use crate::spool::tests::simulated_disk::SimulatedDisk;

const LIVES: u64 = 3;

/// A life of some acts, which the power cut ends: in the middle of an act, of opening or of closing.
/// Says whether the store was opened.
fn life(driver: &mut Driver, dice: &mut Dice) -> bool {
    let longest = *dice.one_of(&[20, 200, 1_000]);
    driver.disk.dies_in(dice.below(longest));
    let opened = driver.open();
    let was_opened = opened.is_ok();
    match opened {
        Ok(spool) => {
            for _ in 0..dice.below(60) {
                // An act that was under way has no answer that counts.
                let result = driver.act(&spool, Act::rolled(dice));
                if driver.disk.is_dead() {
                    break;
                }
                result.unwrap();
            }
            drop(spool);
        }
        Err(error) => assert!(driver.disk.is_dead(), "{error}"),
    }
    driver.disk.power_returns(dice);
    was_opened
}

fn check(driver: &mut Driver, was_ever_opened: bool) {
    match driver.disk.open() {
        Ok((store, _)) => driver.ledger.check(&store),
        // Half of a new file: it is set aside, and a new one is made.
        Err(OpenError::Damaged(_)) if !was_ever_opened => driver.disk = SimulatedDisk::default(),
        Err(OpenError::Damaged(reason)) => panic!("a power cut is no damage: {reason}"),
        Err(OpenError::Spool(error)) => panic!("{error}"),
    }
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_that_was_told_ok() {
    Trial::new("spool-power-cuts", 40).run(|dice| {
        let mut driver = Driver::new();
        let mut was_ever_opened = false;
        for _ in 0..LIVES {
            was_ever_opened |= life(&mut driver, dice);
            check(&mut driver, was_ever_opened);
        }
    });
}
