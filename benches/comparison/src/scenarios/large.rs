//! One event is larger than the broker takes; ordinary ones follow.

use std::time::Duration;

use super::{longest, open, promise};
use crate::Result;
use crate::broker::{QUIET, settled, with_stream};
use crate::contender::Contender;
use crate::events::{GOOD_TENANT, event_of};
use crate::findings::Findings;
use crate::ledger::{Ledger, Returned};
use crate::load::{emit, in_turn};

const LARGE: u64 = 1_000;
const ORDINARY: u64 = 10;

pub(super) async fn run(contender: Contender) -> Result<Findings> {
    let server = with_stream().await?;
    let sink = open(contender, &server).await?;
    // Connects, and uses the connection once.
    let before = in_turn(&sink.client, 0, 1, Duration::from_secs(60)).await?;
    settled(&server, &before, QUIET).await?;
    let large = event_of(LARGE, GOOD_TENANT, 2 << 20)?;
    let large = emit(&sink.client, LARGE, &large).await;
    let after = in_turn(&sink.client, 1, ORDINARY, Duration::from_secs(60)).await?;
    let ledger = Ledger([&after.0[..], &[large]].concat());
    let (tally, there) = settled(&server, &ledger, QUIET).await?;
    let ordinary = after.returned(Returned::Ok).count();
    let mut findings = Findings::default();
    findings
        .add("result of the large event", text_of(large.returned))
        .add(
            "the large event is stored",
            if stored(&there, LARGE) { "yes" } else { "no" },
        )
        .add("returned Ok, of the 10 after it", ordinary)
        .add("returned Ok and lost, in total", tally.lost)
        .add("longest emit", longest(&ledger));
    promise(&mut findings, &tally, &ledger);
    findings.promise(
        large.returned == Returned::Err && after.returned(Returned::Ok).count() == after.0.len(),
        "the large event was not refused, or harmed others",
    );
    Ok(findings)
}

fn stored(there: &[crate::broker::Stored], number: u64) -> bool {
    there.iter().any(|message| message.number == number)
}

pub(super) fn text_of(returned: Returned) -> &'static str {
    match returned {
        Returned::Ok => "Ok",
        Returned::Err => "Err",
        Returned::Nothing => "nothing",
    }
}
