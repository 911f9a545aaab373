//! Tenant ids with a dot, which splits a subject token, and with a space, which no token may contain.

use std::time::Duration;

use tokio::time::sleep;

use super::large::text_of;
use super::{open, promise};
use crate::Result;
use crate::broker::{QUIET, settled, with_stream};
use crate::contender::Contender;
use crate::events::{event, event_of};
use crate::findings::Findings;
use crate::ledger::{Ledger, Returned};
use crate::load::{emit, in_turn};

const DOT: u64 = 1_001;
const SPACE: u64 = 1_002;
const GOOD: std::ops::Range<u64> = 1..101;

pub(super) async fn run(contender: Contender) -> Result<Findings> {
    let mut findings = Findings::default();
    if !contender.resolves_tenants() {
        // The caller derives the subject.
        findings.add("result of an event of tenant `a.b`", "not applicable");
        return Ok(findings);
    }
    let server = with_stream().await?;
    let sink = open(contender, &server).await?;
    let before = in_turn(&sink.client, 0, 1, Duration::from_secs(60)).await?;
    settled(&server, &before, QUIET).await?;

    let dot = emit(&sink.client, DOT, &event_of(DOT, "a.b", 0)?).await;
    // Any harm that this event does is over by then.
    sleep(Duration::from_secs(2)).await;
    let space = emit(&sink.client, SPACE, &event_of(SPACE, "a b", 0)?).await;
    let mut good = Ledger::default();
    for number in GOOD {
        let event = event(number)?;
        good.0.push(emit(&sink.client, number, &event).await);
        sleep(Duration::from_millis(5)).await;
    }
    let ledger = Ledger([&good.0[..], &[dot, space]].concat());
    let (tally, there) = settled(&server, &ledger, QUIET).await?;
    let lands = there.iter().find(|message| message.number == DOT);
    let lands = lands.map(|message| format!("`{}`", message.subject));
    let harmed = good.0.len() - good.returned(Returned::Ok).count();
    findings
        .add("result of an event of tenant `a.b`", text_of(dot.returned))
        .add(
            "its subject",
            lands.clone().unwrap_or_else(|| "no subject".to_owned()),
        )
        .add(
            "result of an event of tenant `a b`",
            text_of(space.returned),
        )
        .add(
            "errors among 100 events of tenant `acme` in the 0.5 s after it",
            harmed,
        )
        .add("returned Ok and lost, in total", tally.lost);
    promise(&mut findings, &tally, &ledger);
    findings
        .promise(lands.is_none(), "an event landed in another tenant's space")
        .promise(
            harmed == 0,
            format!("{harmed} events of a good tenant were harmed"),
        );
    Ok(findings)
}
