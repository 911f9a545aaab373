//! Trial: one server, killed, frozen, cut off, its stream deleted and full, round after round, under a
//! load with and without a spool.
//!
//! `JETSINK_TRIAL_COUNT=260 cargo test --release -p jetsink --test trial_faults -- --nocapture` for the
//! full count; a seed repeats a run as far as the machine's
//! timing lets it.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;
#[path = "common/faults.rs"]
mod faults;
#[path = "common/rounds.rs"]
mod rounds;

use std::time::Duration;

use common::*;
use faults::{Fault, OneServer};
use rounds::Round;
use trial::{Dice, Trial};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rounds_of_faults_break_no_guarantee() {
    let trial = Trial::new("faults-of-one-server", 5);
    let mut dice = Dice::new(trial.seed());
    let mut broker = OneServer::start().await;
    let mut all = Round::default();
    for number in 0..trial.count() {
        let fault = Fault::of_round(number, &mut dice);
        // Printed before the round, so that a failed round is identified.
        println!("round {number}: {fault:?}");
        let round = broker.run(Duration::from_millis(400), fault).await;
        println!("    {round}");
        all.merge(&round);
    }
    println!("all: {all}");
    trial.passed_over(trial.count(), all.emitted);
}
