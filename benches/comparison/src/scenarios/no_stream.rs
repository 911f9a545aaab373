//! No stream captures the subject; later the stream is created.

use std::time::Duration;

use nats_local::NatsServer;

use super::{longest, open, promise};
use crate::Result;
use crate::broker::{QUIET, settled, stream};
use crate::contender::Contender;
use crate::findings::Findings;
use crate::load::in_turn;

const EVENTS: u64 = 200;

pub(super) async fn run(contender: Contender) -> Result<Findings> {
    let server = NatsServer::start().await?;
    let sink = open(contender, &server).await?;
    let ledger = in_turn(&sink.client, 0, EVENTS, Duration::from_secs(120)).await?;
    server.create_stream_with(stream()).await?;
    let (tally, there) = settled(&server, &ledger, QUIET).await?;
    let mut findings = Findings::default();
    findings
        .add("returned Ok", tally.ok)
        .add("stored after the stream is created", there.len())
        .add("returned Ok and lost", tally.lost)
        .add("longest emit", longest(&ledger));
    promise(&mut findings, &tally, &ledger);
    Ok(findings)
}
