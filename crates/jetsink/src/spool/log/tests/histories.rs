//! Random histories: restarts, kills, failing calls, power cuts, a full disk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use trial::Trial;

use super::model::{Fate, Model, open};
use crate::spool::clock::Clock;
use crate::spool::log::marks::REUSED;
use crate::spool::log::writer::Log;
use crate::spool::tests::simulated_disk::{Failing, Fault, SimulatedDisk};

#[test]
fn events_survive_restarts_and_kills() {
    Trial::new("spool-log-restarts", 60).run(|dice| {
        let (disk, mut model) = (SimulatedDisk::default(), Model::default());
        for _ in 0..dice.index(8) {
            let (mut log, loss) = open(&disk).unwrap();
            assert!(loss.is_none(), "{loss:?}");
            model.check(&log);
            for _ in 0..dice.index(40) {
                assert!(model.act(&mut log, &disk, dice));
            }
            model.check(&log);
            if dice.coin() {
                log.close();
            }
        }
    });
}

#[test]
fn errors_are_true_when_any_call_fails() {
    Trial::new("spool-log-failing-calls", 100).run(|dice| {
        let (disk, mut model) = (SimulatedDisk::default(), Model::default());
        let (mut log, _) = open(&disk).unwrap();
        for _ in 0..3 {
            for _ in 0..dice.index(20) {
                model.act(&mut log, &disk, dice);
            }
            disk.fail(Some(Failing {
                from: disk.calls() + dice.below(60),
                fault: *dice.one_of(&[Fault::Device, Fault::Full, Fault::Short]),
                for_good: dice.coin(),
            }));
            for _ in 0..dice.index(30) {
                model.act(&mut log, &disk, dice);
            }
            disk.fail(None);
            // A restart or a power cut keeps the log's contents.
            let resolved = log.resolve_doubt();
            assert!(resolved.is_ok(), "{resolved:?}");
            if dice.coin() {
                drop(log);
                disk.dies_in(0);
                disk.power_returns(dice);
            }
            (log, _) = open(&disk).unwrap();
            model.check(&log);
        }
    });
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    Trial::new("spool-log-power-cuts", 100).run(|dice| {
        let (disk, mut model) = (SimulatedDisk::default(), Model::default());
        for _ in 0..6 {
            let opened = open(&disk);
            if let Ok((mut log, loss)) = opened {
                assert_eq!(loss.damaged, 0, "{loss:?}");
                model.check(&log);
                disk.dies_in(dice.below(120));
                while !disk.is_dead() {
                    model.act(&mut log, &disk, dice);
                }
            }
            if dice.once_in(3) {
                // While it opens.
                disk.power_returns(dice);
                disk.dies_in(dice.below(30));
                let _ = opening_dies(&disk);
            }
            disk.power_returns(dice);
        }
        let (log, _) = open(&disk).unwrap();
        model.check(&log);
    });
}

#[test]
fn event_after_a_restart_survives_a_power_cut_whatever_failed_before() {
    for step in 0..8 {
        for seed in 0..12 {
            let (disk, mut model) = (SimulatedDisk::default(), Model::default());
            let mut dice = trial::Dice::new(seed);
            let (mut log, _) = open(&disk).unwrap();
            // Later seals sync no folder. The next append begins a segment.
            assert!(model.append(&mut log, &disk, 1, &mut dice));
            log.seal().unwrap();
            log.finish();
            disk.fail(Some(Failing {
                from: disk.calls() + step,
                fault: Fault::Device,
                for_good: true,
            }));
            model.append(&mut log, &disk, 2, &mut dice);
            disk.fail(None);
            disk.process_is_killed();
            drop(log);
            let (mut log, _) = open(&disk).unwrap();
            model.check(&log);
            assert!(model.append(&mut log, &disk, 2, &mut dice));
            drop(log);
            disk.dies_in(0);
            disk.power_returns(&mut dice);
            let (log, _) = open(&disk).unwrap();
            model.check(&log);
        }
    }
}

/// The system's clock of the test below, in hours since the Unix epoch.
static HOURS: AtomicU64 = AtomicU64::new(0);

fn system_clock() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(3_600 * HOURS.load(Ordering::Relaxed))
}

#[test]
fn corrected_system_clock_ages_no_event_and_a_restart_adds_its_difference() {
    let disk = SimulatedDisk::default();
    let hours = |log: &Log| log.clock.millis() / 3_600_000;
    let mut dice = trial::Dice::new(1);
    let (mut log, _) = open(&disk).unwrap();
    log.clock = Clock::start(None, system_clock);
    // It starts wrong, and is corrected while events wait.
    assert!(Model::default().append(&mut log, &disk, 3, &mut dice));
    log.seal().unwrap();
    HOURS.store(500_000, Ordering::Relaxed);
    log.seal().unwrap();
    assert_eq!(hours(&log), 0);
    disk.process_is_killed();
    drop(log);
    let (seal, now) = {
        let mut seals = crate::spool::log::seal::Seals::default();
        seals.read(&*disk.open()).unwrap();
        (seals.last.unwrap(), 500_003)
    };
    HOURS.store(now, Ordering::Relaxed);
    let clock = Clock::start(Some(seal.clock), system_clock);
    assert_eq!(clock.millis() / 3_600_000, 3);
    HOURS.store(7, Ordering::Relaxed);
    let clock = Clock::start(Some(seal.clock), system_clock);
    assert_eq!(clock.millis() / 3_600_000, 0, "never negative");
    // An opening continues it: the system's clock has shown more since 1970.
    assert!(hours(&open(&disk).unwrap().0) < 300_000);
}

#[test]
fn used_bytes_before_the_scan_are_those_of_records() {
    let disk = SimulatedDisk::default();
    let (mut log, _) = open(&disk).unwrap();
    let (mut model, mut dice) = (Model::default(), trial::Dice::new(2));
    for _ in 0..20 {
        assert!(model.append(&mut log, &disk, 10, &mut dice));
    }
    for from in 0..3 {
        assert!(model.leave(&mut log, from, 60));
    }
    // Begins a segment, which notes the others' bytes.
    log.finish();
    assert!(model.append(&mut log, &disk, 1, &mut dice));
    disk.process_is_killed();
    drop(log);
    let (log, mut backlog) =
        crate::spool::log::opening::open(disk.open(), super::model::ACCESS).unwrap();
    assert!(backlog.unscanned.len() > 2);
    let bytes = log.index.lock().unwrap().used_bytes;
    backlog.scan();
    assert_eq!(bytes, log.index.lock().unwrap().used_bytes);
}

/// Opens a disk that may die meanwhile.
fn opening_dies(disk: &SimulatedDisk) -> Option<()> {
    let (_, mut backlog) =
        crate::spool::log::opening::open(disk.open(), super::model::ACCESS).ok()?;
    backlog.scan();
    Some(())
}

#[test]
fn a_full_disk_refuses_events_and_takes_as_many_again_once_it_was_drained() {
    Trial::new("spool-log-full-disk", 3).run(|dice| {
        let (disk, mut model) = (SimulatedDisk::default(), Model::default());
        disk.set_capacity(Some(600 << 10));
        let (mut log, _) = open(&disk).unwrap();
        let mut accepted = Vec::new();
        for _ in 0..10 {
            let mut count = 0;
            while model.append(&mut log, &disk, 1, dice) {
                count += 1;
            }
            // It is full for good, and says so of each.
            for _ in 0..50 {
                model.append(&mut log, &disk, 3, dice);
            }
            accepted.push(count);
            for from in 0..3 {
                while super::model::read(&log)
                    .events
                    .iter()
                    .any(|(_, r)| *r.envelope.subject() == super::model::subject(from))
                {
                    model.leave(&mut log, from, 20);
                }
            }
            log.drop_drained(REUSED);
            model.check(&log);
        }
        for (number, (_, fate)) in &model.events {
            assert!(
                matches!(fate, Fate::Gone | Fate::Refused | Fate::Going),
                "{number}: {fate:?}"
            );
        }
        let first = accepted[0];
        assert!(first > 200, "{accepted:?}");
        assert!(
            accepted.iter().all(|count| *count * 10 >= first * 9),
            "{accepted:?}"
        );
        log.close();
        assert_eq!(disk.used(), 0, "{:?}", disk.files().keys());
    });
}
