//! The stream is full; later its limit is raised.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use nats_local::NatsServer;

use super::{longest, open, promise};
use crate::Result;
use crate::broker::{QUIET, count, settled, stream};
use crate::contender::Contender;
use crate::findings::Findings;
use crate::load::in_turn;

const EVENTS: u64 = 50;
const ROOM: i64 = 10;

pub(super) async fn run(contender: Contender) -> Result<Findings> {
    let server = NatsServer::start().await?;
    let full = Config {
        max_messages: ROOM,
        discard: DiscardPolicy::New,
        ..stream()
    };
    server.create_stream_with(full).await?;
    let sink = open(contender, &server).await?;
    let ledger = in_turn(&sink.client, 0, EVENTS, Duration::from_secs(120)).await?;
    // Events in flight arrive before the limit is raised.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let while_full = usize::try_from(count(&server).await?)?;
    server.jetstream().await?.update_stream(stream()).await?;
    let (tally, there) = settled(&server, &ledger, QUIET).await?;
    let mut findings = Findings::default();
    findings
        .add("returned Ok", tally.ok)
        .add("stored while it is full", while_full)
        .add("stored after the limit is raised", there.len())
        .add("returned Ok and lost", tally.lost)
        .add("longest emit", longest(&ledger));
    promise(&mut findings, &tally, &ledger);
    Ok(findings)
}
