//! Each call of the store to its disk fails in turn, in each way, once and for good, and the power is cut at
//! the end: nothing that was told Ok is lost, nothing that was refused turns up, and after a failed sync nothing more is written.

use trial::{Dice, Trial};

use crate::outcome::SpoolError;
use crate::spool::tests::driver::{Act, Driver};
use crate::spool::tests::simulated_disk::{Failing, Fault, SimulatedDisk};

/// Histories, the same in every run.
const HISTORIES: u64 = 6;
const ACTS: usize = 40;

fn acts(history: u64) -> Vec<Act> {
    let mut dice = Dice::new(history);
    (0..ACTS).map(|_| Act::rolled(&mut dice)).collect()
}

/// From opening to closing, on a disk that fails as told; ends with the disk mended.
fn life(acts: &[Act], failing: Option<Failing>) -> Driver {
    let mut driver = Driver::new();
    driver.disk.fail(failing);
    let Ok(spool) = driver.open() else {
        // A new file that was not made is no spool yet; it is set aside, and another one made.
        assert!(failing.is_some());
        driver.disk = SimulatedDisk::default();
        return driver;
    };
    let mut poisoned = false;
    for act in acts {
        let result = driver.act(&spool, *act);
        let appended = matches!(act, Act::Append { .. }) && result.is_ok();
        assert!(!(poisoned && appended), "it goes on after a failed sync");
        poisoned |= matches!(
            result,
            Err(SpoolError::HalfWritten { .. } | SpoolError::Poisoned { .. })
        );
    }
    let for_a_while = failing.is_none_or(|failing| !failing.for_good);
    let last = Act::Append {
        subject: 0,
        sent_before: false,
    };
    let results = [(); 3].map(|()| driver.act(&spool, last));
    let is_half = |result: &Result<(), _>| matches!(result, Err(SpoolError::HalfWritten { .. }));
    poisoned |= results.iter().any(is_half);
    if for_a_while && !poisoned {
        // One of them may be what met the fault.
        assert!(
            results.iter().filter(|r| r.is_err()).count() <= 1,
            "{results:?}"
        );
    }
    drop(spool);
    assert_eq!(
        driver.disk.after_failed_sync(),
        0,
        "written after a failed sync"
    );
    driver.disk.fail(None);
    driver
}

#[test]
fn whichever_call_fails_what_was_told_ok_is_there_and_what_was_refused_is_not() {
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
        // What was told Ok was synced before that: a power cut now takes none of it.
        driver.disk.power_returns(&mut Dice::new(failing.from));
        match driver.disk.open() {
            Ok((store, _)) => driver.ledger.check(&store),
            Err(error) => panic!("not mended: {error}"),
        }
    });
}
