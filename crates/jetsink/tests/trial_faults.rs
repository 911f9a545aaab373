//! Trial: one server, killed, frozen, cut off, its stream deleted and full, round after round, under a
//! load with and without a spool.
//!
//! `JETSINK_TRIAL_COUNT=260 cargo test --release -p jetsink --test trial_faults -- --nocapture` for the
//! full count; `JETSINK_SEED` repeats a run as far as the machine's timing lets it.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;
#[path = "common/rounds.rs"]
mod rounds;

use std::time::Duration;

use common::*;
use rounds::{Dice, Fault, Rounds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn round_after_round_of_faults_breaks_no_promise() {
    let count = variable("JETSINK_TRIAL_COUNT").unwrap_or(5);
    let seed = variable("JETSINK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("{count} rounds, JETSINK_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut rounds = Rounds::start().await;
    let (mut emitted, mut ok, mut unknown) = (0, 0, 0);
    let (mut longest, mut recovered) = (Duration::ZERO, Duration::ZERO);
    for number in 0..count {
        let fault = Fault::of_round(number, &mut dice);
        // Told before, so that a round that fails can be read.
        println!("round {number}: {fault:?}");
        let round = Box::pin(rounds.run(fault)).await;
        println!("    {round}");
        emitted += round.emitted;
        ok += round.ok;
        unknown += round.unknown;
        longest = longest.max(round.longest);
        recovered = recovered.max(round.recovered);
    }
    println!(
        "{emitted} emitted, {ok} Ok, {unknown} unknown, none lost, doubled or out of order; longest emit \
         {longest:?}, delivered again after {recovered:?} at the most"
    );
    println!("trial faults-of-one-server count={count} failures=0 seed={seed}");
}
