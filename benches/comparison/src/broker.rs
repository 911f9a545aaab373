//! The broker of a scenario, and the contents of its stream.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::stream::Config;
use nats_local::NatsServer;
use tokio::time::{Instant, sleep, timeout};

use crate::events;
use crate::ledger::{Ledger, Tally};
use crate::{Failed, Result};

pub(crate) const STREAM: &str = "CELLOS_EVENTS";

/// Long enough for a client that is connected. After an outage some clients wait before they try again.
pub(crate) const QUIET: Duration = Duration::from_secs(5);
pub(crate) const QUIET_AFTER_OUTAGE: Duration = Duration::from_secs(10);
/// The quiet time before the stream is read for the first time.
const BRIEFLY_QUIET: Duration = Duration::from_secs(1);

pub(crate) fn stream() -> Config {
    Config {
        name: STREAM.to_owned(),
        subjects: vec!["cellos.events.>".to_owned()],
        ..Config::default()
    }
}

pub(crate) async fn with_stream() -> Result<NatsServer> {
    let server = NatsServer::start().await?;
    server.create_stream_with(stream()).await?;
    Ok(server)
}

/// A message of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) number: u64,
    pub(crate) subject: String,
    pub(crate) at_unix_nanos: i128,
}

pub(crate) async fn count(server: &NatsServer) -> Result<u64> {
    let jetstream = server.jetstream().await?;
    Ok(jetstream
        .get_stream(STREAM)
        .await?
        .cached_info()
        .state
        .messages)
}

/// All messages of the stream, in its order.
pub(crate) async fn stored(server: &NatsServer) -> Result<Vec<Stored>> {
    use futures_util::StreamExt as _;
    let jetstream = server.jetstream().await?;
    let stream = jetstream.get_stream(STREAM).await?;
    let state = stream.cached_info().state.clone();
    let mut all = Vec::new();
    if state.messages == 0 {
        return Ok(all);
    }
    let consumer = stream.create_consumer(OrderedConfig::default()).await?;
    let mut messages = consumer.messages().await?;
    loop {
        let next = timeout(Duration::from_secs(10), messages.next()).await?;
        let message = next.ok_or_else(|| Failed::new("the stream's messages ended"))??;
        let info = message.info()?;
        let number = events::number(&message.payload);
        let (sequence, at_unix_nanos) =
            (info.stream_sequence, info.published.unix_timestamp_nanos());
        all.push(Stored {
            number: number.ok_or_else(|| Failed::new("a stored event without a number"))?,
            subject: message.subject.to_string(),
            at_unix_nanos,
        });
        if sequence >= state.last_sequence {
            return Ok(all);
        }
    }
}

/// Waits until all events whose emit returned `Ok` are stored, or until nothing has been stored for `quiet`.
pub(crate) async fn settled(
    server: &NatsServer,
    ledger: &Ledger,
    quiet: Duration,
) -> Result<(Tally, Vec<Stored>)> {
    let (mut last, mut since) = (count(server).await?, Instant::now());
    let mut looked = false;
    loop {
        sleep(Duration::from_millis(100)).await;
        let now = count(server).await?;
        if now != last {
            (last, since, looked) = (now, Instant::now(), false);
        }
        let over = since.elapsed() >= quiet;
        if over || (since.elapsed() >= BRIEFLY_QUIET && !looked) {
            looked = true;
            let there = stored(server).await?;
            let tally = ledger.against(there.iter().map(|message| message.number));
            if over || tally.lost == 0 {
                return Ok((tally, there));
            }
        }
    }
}

pub(crate) fn unix_nanos() -> i128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| {
        i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
    })
}
