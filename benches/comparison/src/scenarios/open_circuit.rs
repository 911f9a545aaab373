//! Emits while the broker has been down for 1 s: their time and their result.

use std::time::Duration;

use tokio::time::sleep;

use super::{longest, open};
use crate::Result;
use crate::broker::{QUIET, QUIET_AFTER_OUTAGE, settled, with_stream};
use crate::contender::Contender;
use crate::events::event_of;
use crate::findings::{Findings, Value};
use crate::ledger::{Ledger, Returned};
use crate::load::{emit, in_turn};

const EMITS: u64 = 1_000;
const AT_MOST: Duration = Duration::from_secs(10);

pub(super) async fn run(contender: Contender) -> Result<Findings> {
    let mut server = with_stream().await?;
    let sink = open(contender, &server).await?;
    let before = in_turn(&sink.client, 0, 1, Duration::from_secs(60)).await?;
    settled(&server, &before, QUIET).await?;
    server.kill()?;
    sleep(Duration::from_secs(1)).await;
    let away = in_turn(&sink.client, 1, EMITS, AT_MOST).await?;
    server.restart().await?;
    let (tally, _) = settled(&server, &away, QUIET_AFTER_OUTAGE).await?;
    let mut findings = Findings::default();
    findings
        .add("emits within 10 s, at most 1,000", away.0.len())
        .add("returned Ok", tally.ok)
        .add("median emit", median(&away))
        .add("longest emit", longest(&away))
        .add("returned Ok and lost", tally.lost);
    match contender {
        Contender::Jetsink => {
            findings.add("median Err of the open circuit", refused(&away));
        }
        Contender::JetsinkSpool => {
            findings.add("median Err of the open circuit", "none: to the spool");
        }
        Contender::Published => {
            let otherwise = opened_by_a_tenant(contender).await?;
            findings.add("median Err of the open circuit", otherwise);
        }
        Contender::NatsAcked | Contender::NatsCore => {
            findings.add("median Err of the open circuit", "has none");
        }
    }
    super::promise(&mut findings, &tally, &away);
    Ok(findings)
}

/// An outage does not open the published crate's circuit so soon; a tenant id with a space does.
async fn opened_by_a_tenant(contender: Contender) -> Result<Value> {
    let server = with_stream().await?;
    let sink = open(contender, &server).await?;
    in_turn(&sink.client, 0, 1, Duration::from_secs(60)).await?;
    emit(&sink.client, EMITS, &event_of(EMITS, "a b", 0)?).await;
    let open = in_turn(&sink.client, 1, EMITS - 1, Duration::from_millis(50)).await?;
    Ok(refused(&open))
}

fn median(ledger: &Ledger) -> Value {
    let times = ledger.times();
    times.get(times.len() / 2).copied().into()
}

fn refused(ledger: &Ledger) -> Value {
    median(&Ledger(ledger.returned(Returned::Err).copied().collect()))
}
