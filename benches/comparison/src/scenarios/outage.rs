//! The broker goes away under a steady load, and comes back.

use std::sync::Arc;
use std::time::Duration;

use nats_local::NatsServer;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{longest, promise};
use crate::Result;
use crate::broker::{QUIET, QUIET_AFTER_OUTAGE, Stored, settled, unix_nanos, with_stream};
use crate::contender::Contender;
use crate::findings::Findings;
use crate::ledger::Ledger;
use crate::load::{Away, in_turn, steady};

/// The number of an event that checks the connection before the outage.
const BEFORE: u64 = 10_000_000;

pub(super) async fn killed(contender: Contender, outage: Duration) -> Result<Findings> {
    let mut server = with_stream().await?;
    let (client, _spool) = ready(contender, &server).await?;
    let (ledger, away) = steady(&client, async {
        server.kill()?;
        let (from, from_unix_nanos) = (Instant::now(), unix_nanos());
        sleep(outage).await;
        server.restart().await?;
        Ok(back(from, from_unix_nanos))
    })
    .await?;
    findings(&server, &ledger, &away, Duration::from_secs(1)).await
}

pub(super) async fn frozen(contender: Contender, outage: Duration) -> Result<Findings> {
    let server = with_stream().await?;
    let (client, _spool) = ready(contender, &server).await?;
    let (ledger, away) = steady(&client, async {
        server.freeze()?;
        let (from, from_unix_nanos) = (Instant::now(), unix_nanos());
        sleep(outage).await;
        server.thaw()?;
        Ok(back(from, from_unix_nanos))
    })
    .await?;
    // A probe that began just before the thaw may last a deadline.
    findings(&server, &ledger, &away, Duration::from_secs(2)).await
}

async fn ready(
    contender: Contender,
    server: &NatsServer,
) -> Result<(Arc<crate::contender::Client>, TempDir)> {
    let spool = TempDir::new()?;
    let client = contender.open(&server.url(), spool.path()).await?;
    let before = in_turn(&client, BEFORE, 1, Duration::from_secs(60)).await?;
    settled(server, &before, QUIET).await?;
    Ok((Arc::new(client), spool))
}

fn back(from: Instant, from_unix_nanos: i128) -> Away {
    Away {
        from,
        until: Instant::now(),
        from_unix_nanos,
        until_unix_nanos: unix_nanos(),
    }
}

async fn findings(
    server: &NatsServer,
    ledger: &Ledger,
    away: &Away,
    soon: Duration,
) -> Result<Findings> {
    let (tally, there) = settled(server, ledger, QUIET_AFTER_OUTAGE).await?;
    let numbers = || there.iter().map(|message| message.number);
    let meanwhile = ledger.ok_within(away.from, away.until).against(numbers());
    let first_stored = first_stored(&there, away);
    let mut findings = Findings::default();
    findings
        .add("events", ledger.0.len())
        .add("returned Ok", tally.ok)
        .add("returned Ok while the broker was away", meanwhile.ok)
        .add("lost among these", meanwhile.lost)
        .add("returned Ok and lost, in total", tally.lost)
        .add("stored twice", tally.duplicated)
        .add("stored without an Ok", tally.stored_without_ok)
        .add("longest emit", longest(ledger))
        .add("first event stored after the return", first_stored)
        .add(
            "first Ok for an event after the return",
            ledger.first_ok_after(away.until),
        );
    promise(&mut findings, &tally, ledger);
    let resumed = first_stored.is_some_and(|first| first < soon);
    findings.promise(resumed, format!("delivery did not resume within {soon:?}"));
    Ok(findings)
}

/// The time from the broker's return to the first stored event. While the broker is away nothing is stored,
/// so the first event after the outage began is the first after the return. Zero if the event was stored
/// before the return was noticed.
fn first_stored(there: &[Stored], away: &Away) -> Option<Duration> {
    let stored = there.iter().map(|message| message.at_unix_nanos);
    let first = stored.filter(|&at| at > away.from_unix_nanos).min()?;
    let nanos = u64::try_from((first - away.until_unix_nanos).max(0)).ok()?;
    Some(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_stored_after_an_outage_is_counted_from_the_return() {
        let now = Instant::now();
        let away = Away {
            from: now,
            until: now,
            from_unix_nanos: 100,
            until_unix_nanos: 200,
        };
        let stored = |at_unix_nanos| Stored {
            number: 0,
            subject: String::new(),
            at_unix_nanos,
        };
        let first = |times: &[i128]| {
            let there: Vec<Stored> = times.iter().copied().map(stored).collect();
            first_stored(&there, &away)
        };
        assert_eq!(first(&[50, 260, 230]), Some(Duration::from_nanos(30)));
        assert_eq!(first(&[50, 190]), Some(Duration::ZERO));
        assert_eq!(first(&[50]), None);
    }
}
