//! The power is cut at random steps. Acknowledged events survive, whichever unsynced writes the disk lost,
//! tore or reordered.

use trial::{Dice, Trial};

use crate::spool::tests::driver::{Act, Driver};

const LIVES: u64 = 3;

/// A life of some acts, which the power cut ends: during an act, the opening or the closing.
fn life(driver: &mut Driver, dice: &mut Dice) {
    let longest = *dice.one_of(&[20, 200, 1_000]);
    driver.disk.dies_in(dice.below(longest));
    match driver.open() {
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
}

#[test]
fn power_cut_at_any_step_loses_no_event_that_was_acknowledged() {
    Trial::new("spool-power-cuts", 40).run(|dice| {
        let mut driver = Driver::new();
        for _ in 0..LIVES {
            life(&mut driver, dice);
            let spool = driver.open().unwrap();
            driver.ledger.check(&spool);
        }
    });
}
