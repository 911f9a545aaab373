//! Each call of the spool to its disk fails in turn, in each way, once and for good, and the power is cut at
//! the end: no event that was acknowledged is lost, and none that was refused turns up.

use trial::{Dice, Trial};

use crate::spool::tests::driver::{Act, Driver};
use crate::spool::tests::simulated_disk::{Failing, Fault, SimulatedDisk};

/// Histories, the same in every run.
const HISTORIES: u64 = 6;
const ACTS: usize = 40;

fn acts(history: u64) -> Vec<Act> {
    let mut dice = Dice::new(history);
    (0..ACTS).map(|_| Act::rolled(&mut dice)).collect()
}

/// Opens a spool, acts and closes it on a failing disk; ends with the disk repaired.
fn life(acts: &[Act], failing: Option<Failing>) -> Driver {
    let mut driver = Driver::new();
    driver.disk.fail(failing);
    let Ok(spool) = driver.open() else {
        assert!(failing.is_some());
        driver.disk = SimulatedDisk::default();
        return driver;
    };
    for act in acts {
        let _ = driver.act(&spool, *act);
    }
    if failing.is_none_or(|failing| !failing.for_good) {
        let last = Act::Append {
            subject: 0,
            sent_before: false,
        };
        let results = [(); 3].map(|()| driver.act(&spool, last));
        // One of them may be what met the fault.
        let failures = results.iter().filter(|result| result.is_err());
        assert!(failures.count() <= 1, "{results:?}");
    }
    drop(spool);
    driver.disk.fail(None);
    driver
}

#[test]
fn errors_are_true_whichever_call_fails() {
    let histories: Vec<Vec<Act>> = (0..HISTORIES).map(acts).collect();
    let faults = [Fault::Device, Fault::Full, Fault::Short];
    let mut sites = Vec::new();
    for (history, acts) in histories.iter().enumerate() {
        for from in 0..life(acts, None).disk.calls() {
            for fault in faults {
                for for_good in [false, true] {
                    let failing = Failing {
                        from,
                        fault,
                        for_good,
                    };
                    sites.push((history, failing));
                }
            }
        }
    }
    Trial::new("spool-failing-calls", 80).run_over(&sites, |(history, failing)| {
        let mut driver = life(&histories[*history], Some(*failing));
        driver.disk.power_returns(&mut Dice::new(failing.from));
        let spool = driver.open().unwrap();
        driver.ledger.check(&spool);
    });
}
