//! Trial: a fault each 5 seconds for a long time, and nothing piles up: file descriptors, threads and
//! tasks are as many as after the warm-up, memory grows by less than 5 %.
//!
//! `JETSINK_TRIAL_COUNT=300 cargo test --release -p jetsink --test trial_soak -- --nocapture` for the
//! full 300 seconds, `JETSINK_TRIAL_COUNT=28800` for a night; `JETSINK_SEED` repeats the faults.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;
#[path = "common/faults.rs"]
mod faults;
#[path = "common/rounds.rs"]
mod rounds;

use std::fmt;
use std::time::Duration;

use common::memory::{resident, run_in_a_child};
use common::*;
use faults::{Fault, OneServer};
use rounds::Round;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use trial::{Dice, Trial};

const CHILD: &str = "JETSINK_SOAK_CHILD";
const BETWEEN_FAULTS: Duration = Duration::from_secs(5);
/// One round of each kind, so that every resource that is created once exists.
const WARM_UP: u64 = 13;
/// The time limit for background tasks to end, such as the connection of a check.
const PATIENCE: Duration = Duration::from_secs(10);

/// The resources of a process that must not grow.
#[derive(Debug, Clone, Copy)]
struct Held {
    descriptors: usize,
    threads: usize,
    tasks: usize,
    memory: u64,
}

impl Held {
    fn now() -> Self {
        let entries = |folder: &str| std::fs::read_dir(folder).unwrap().count();
        Self {
            descriptors: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
            tasks: Handle::current().metrics().num_alive_tasks(),
            memory: resident(),
        }
    }

    /// The most of each.
    fn max(self, other: Self) -> Self {
        Self {
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
            tasks: self.tasks.max(other.tasks),
            memory: self.memory.max(other.memory),
        }
    }

    fn is_within(&self, bound: &Self) -> bool {
        self.descriptors <= bound.descriptors
            && self.threads <= bound.threads
            && self.tasks <= bound.tasks
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            descriptors,
            threads,
            tasks,
            memory,
        } = self;
        write!(
            f,
            "{descriptors} descriptors, {threads} threads, {tasks} tasks, {memory} KiB"
        )
    }
}

#[test]
fn long_run_with_faults_leaks_no_resource() {
    run_in_a_child("the_child_soaks", CHILD);
}

/// Does nothing unless the test above starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_soaks() {
    if std::env::var_os(CHILD).is_some() {
        soak().await;
    }
}

async fn soak() {
    // With hardly any time to soak it only shows that one round leaves nothing behind.
    let trial = Trial::new("soak", 0);
    let time = Duration::from_secs(trial.count());
    let mut dice = Dice::new(trial.seed());
    let mut broker = OneServer::start().await;
    let mut all = Round::default();
    let quick = time < BETWEEN_FAULTS;
    let (warm_up, between) = if quick {
        (2, Duration::ZERO)
    } else {
        (WARM_UP, BETWEEN_FAULTS)
    };
    let mut warm: Option<Held> = None;
    let mut highest: Option<Held> = None;
    let started = Instant::now();
    for number in 0.. {
        let fault = Fault::of_round(number, &mut dice);
        let round = broker
            .run(between.saturating_sub(fault.time()), fault)
            .await;
        all.merge(&round);
        let bound = warm.filter(|_| number >= warm_up);
        let held = settled(bound.as_ref()).await;
        println!("round {number}: {fault:?}: {round}; {held}");
        let Some(bound) = bound else {
            warm = Some(warm.map_or(held, |warm| warm.max(held)));
            continue;
        };
        assert!(held.is_within(&bound), "{held}; in the warm-up {bound}");
        let memory = bound.memory + bound.memory / 20;
        // One round's memory says nothing.
        assert!(
            quick || held.memory <= memory,
            "{held}; in the warm-up {bound}"
        );
        highest = Some(highest.map_or(held, |highest| highest.max(held)));
        if let Some(highest) = highest
            && started.elapsed() >= time
        {
            println!("all: {all}; at the most {highest}, in the warm-up {bound}");
            trial.passed(started.elapsed().as_secs());
            return;
        }
    }
}

/// Returns the resources once background tasks have ended.
async fn settled(bound: Option<&Held>) -> Held {
    // Also for the first, by which the others are measured: a second is long for a task that ends.
    sleep(Duration::from_secs(1)).await;
    let give_up = Instant::now() + PATIENCE;
    loop {
        let held = Held::now();
        if bound.is_none_or(|bound| held.is_within(bound)) || Instant::now() > give_up {
            return held;
        }
        sleep(Duration::from_millis(50)).await;
    }
}
