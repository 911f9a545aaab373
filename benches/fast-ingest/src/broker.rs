//! A server of its own for each measurement, so that none inherits the other's heap, ids or files.

use std::time::Instant;

use async_nats::jetstream::stream::Config;
use nats_local::NatsServer;

use crate::Result;
use crate::report::{Sample, cpu_time};

pub(crate) const PAYLOAD_BYTES: usize = 574;
pub(crate) const STREAM: &str = "EVENTS";

pub(crate) struct Broker {
    pub(crate) server: NatsServer,
    process: String,
}

/// In files, with the server's defaults; takes every way of publishing.
pub(crate) fn stream() -> Config {
    Config {
        name: STREAM.to_owned(),
        subjects: vec!["events.>".to_owned()],
        allow_atomic_publish: true,
        allow_batch_publish: true,
        ..Config::default()
    }
}

impl Broker {
    pub(crate) async fn start(lines: &str, stream: Config) -> Result<Self> {
        let server = NatsServer::builder().config(lines).start().await?;
        server.create_stream_with(stream).await?;
        let process = server.pid().ok_or("the server is not running")?.to_string();
        Ok(Self { server, process })
    }

    pub(crate) async fn stored(&self) -> Result<u64> {
        let stream = self.server.jetstream().await?.get_stream(STREAM).await?;
        Ok(stream.cached_info().state.messages)
    }

    pub(crate) async fn expect_stored(&self, events: u64, who: &str) -> Result<()> {
        match self.stored().await? {
            stored if stored == events => Ok(()),
            stored => Err(format!("{who}: {stored} stored, not {events}").into()),
        }
    }

    pub(crate) fn watch(&self) -> Result<Watch> {
        Ok(Watch {
            client: cpu_time("self")?,
            server: cpu_time(&self.process)?,
            process: self.process.clone(),
            begun: Instant::now(),
        })
    }
}

pub(crate) struct Watch {
    process: String,
    client: std::time::Duration,
    server: std::time::Duration,
    begun: Instant,
}

impl Watch {
    pub(crate) fn stop(self, events: u64) -> Result<Sample> {
        let took = self.begun.elapsed();
        let each = |now: std::time::Duration, before| {
            (now.saturating_sub(before)).as_secs_f64() * 1e6 / events as f64
        };
        Ok(Sample {
            rate: events as f64 / took.as_secs_f64(),
            client: each(cpu_time("self")?, self.client),
            server: each(cpu_time(&self.process)?, self.server),
        })
    }
}
