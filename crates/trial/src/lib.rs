//! The frame of every trial: the number of histories, their seeds and threads, and the line that a trial
//! ends with.
//!
//! A trial is an ordinary `#[test]` with a small number of histories. `cargo xtask trials` runs the same
//! test with more, set by the environment:
//!
//! | variable | |
//! | --- | --- |
//! | `JETSINK_TRIAL_COUNT` | the number of histories |
//! | `JETSINK_SEED` | the seed of the first history; each next seed is one higher |
//! | `JETSINK_TRIAL_THREADS` | the number of threads; 1 by default |
//!
//! A failed history is repeated alone by its own seed and a count of 1.

mod dice;

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use dice::Dice;

/// The seed of the first history, where none is given: every run of the tests is the same.
const USUAL_SEED: u64 = 1;

/// The number of failures after which a trial ends early.
const ENOUGH_FAILURES: usize = 10;

/// One trial: a name, how much of it to run, and from which seed.
#[derive(Debug)]
pub struct Trial {
    name: &'static str,
    count: u64,
    seed: u64,
    threads: u64,
}

impl Trial {
    /// A trial of `usual` histories, unless the environment asks for another number.
    #[must_use]
    pub fn new(name: &'static str, usual: u64) -> Self {
        Self {
            name,
            count: variable("JETSINK_TRIAL_COUNT").unwrap_or(usual),
            seed: variable("JETSINK_SEED").unwrap_or(USUAL_SEED),
            threads: variable("JETSINK_TRIAL_THREADS").unwrap_or(1).max(1),
        }
    }

    /// How many histories, rounds or sites.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The seed of the first history.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Runs the histories, each with dice of its own; one that panics has failed. Ends with the
    /// trial's line.
    ///
    /// # Panics
    /// Once all have run, if any failed.
    pub fn run(&self, history: impl Fn(&mut Dice) + Sync) {
        let seed_of = |number| self.seed.wrapping_add(number);
        self.run_each(self.count, None, seed_of, |seed| {
            history(&mut Dice::new(seed))
        });
    }

    /// Runs `site` on as many of `sites` as the count says, spread evenly. The seed of a site is its index:
    /// a count of 1 runs the site of the trial's seed.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_over<T: Sync + Debug>(&self, sites: &[T], site: impl Fn(&T) + Sync) {
        let all = sites.len() as u64;
        let count = self.count.min(all);
        let place = |number: u64| match count {
            1 => self.seed % all,
            _ => number * all / count,
        };
        self.run_each(count, Some(all), place, |place| {
            let at = &sites[place as usize];
            println!("site {place}: {at:?}");
            site(at);
        });
    }

    fn run_each(
        &self,
        count: u64,
        all: Option<u64>,
        seed_of: impl Fn(u64) -> u64 + Sync,
        history: impl Fn(u64) + Sync,
    ) {
        let next = AtomicU64::new(0);
        let enough = AtomicBool::new(false);
        let failed = Mutex::new(Vec::new());
        let run = || {
            while !enough.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                let seed = seed_of(number);
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| history(seed))) {
                    let mut failed = failed.lock().unwrap_or_else(|e| e.into_inner());
                    failed.push((seed, reason(panic.as_ref())));
                    enough.store(failed.len() >= ENOUGH_FAILURES, Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.min(count) {
                scope.spawn(run);
            }
            run();
        });
        let failed = failed.into_inner().unwrap_or_else(|e| e.into_inner());
        for (seed, reason) in &failed {
            eprintln!(
                "\n{name}: the history of seed {seed} failed: {reason}\n\
                 again: cargo xtask trials --only {name} --seed {seed}",
                name = self.name
            );
        }
        let of = all.map_or_else(String::new, |all| format!(" of={all}"));
        self.end(next.into_inner().min(count), failed.len() as u64, &of);
    }

    /// Ends a trial that ran its `count` rounds itself and panics on a failure.
    pub fn passed(&self, count: u64) {
        self.end(count, 0, "");
    }

    /// As [`passed`](Self::passed), with the number of events that were checked.
    pub fn passed_over(&self, count: u64, events: usize) {
        self.end(count, 0, &format!(" events={events}"));
    }

    fn end(&self, count: u64, failures: u64, more: &str) {
        let (name, seed) = (self.name, self.seed);
        // A test's own output may stand before it on the line.
        println!("\ntrial {name} count={count} failures={failures} seed={seed}{more}");
        assert!(failures == 0, "{failures} of {count} failed in {name}");
    }
}

fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}

/// Reads a number from the environment.
///
/// # Panics
/// If it is not a number: a trial with another count would be another trial.
#[must_use]
pub fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    match text.replace('_', "").parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{name} is {text:?}, and must be a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(count: u64, threads: u64) -> Trial {
        Trial {
            name: "of-the-trials",
            count,
            seed: 40,
            threads,
        }
    }

    #[test]
    fn each_history_runs_once_with_its_own_seed() {
        for threads in [1, 3] {
            let rolled = Mutex::new(Vec::new());
            trial(5, threads).run(|dice| rolled.lock().unwrap().push(dice.next()));
            let mut rolled = rolled.into_inner().unwrap();
            let mut expected: Vec<u64> = (40..45).map(|seed| Dice::new(seed).next()).collect();
            rolled.sort_unstable();
            expected.sort_unstable();
            assert_eq!(rolled, expected);
        }
    }

    #[test]
    fn one_history_that_fails_fails_the_trial_after_the_rest() {
        let ran = AtomicU64::new(0);
        let failing = catch_unwind(AssertUnwindSafe(|| {
            trial(5, 1).run(|_| assert!(ran.fetch_add(1, Ordering::Relaxed) != 2, "the third"));
        }));
        assert_eq!(
            reason(failing.unwrap_err().as_ref()),
            "1 of 5 failed in of-the-trials"
        );
        assert_eq!(ran.into_inner(), 5);
    }

    #[test]
    fn sites_are_spread_evenly_and_a_single_case_runs_the_site_of_its_seed() {
        let ran = |count| {
            let ran = Mutex::new(Vec::new());
            let sites: Vec<u64> = (0..100).collect();
            trial(count, 1).run_over(&sites, |site| ran.lock().unwrap().push(*site));
            ran.into_inner().unwrap()
        };
        assert_eq!(ran(4), [0, 25, 50, 75]);
        assert_eq!(ran(1), [40]);
        assert_eq!(ran(1_000), (0..100).collect::<Vec<_>>());
    }
}
