//! The contenders: each takes an event and returns `Ok` or an error.

use std::path::Path;

use async_nats::jetstream;
use cellos_core::CloudEventV1;
use cellos_core::ports::EventSink as _;
use clap::ValueEnum;
use ours::{ConnectSettings, SpoolSettings};
use serde::{Deserialize, Serialize};

use crate::events::{TEMPLATE, tenant};
use crate::{Failed, Result};

/// A way to hand an event to JetStream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// Ours, without a spool
    Jetsink,
    /// Ours, with a spool
    JetsinkSpool,
    /// cellos-sink-jetstream as published on crates.io
    Published,
    /// async-nats: publish to JetStream, await the ack
    NatsAcked,
    /// async-nats: core publish
    NatsCore,
}

impl Contender {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Jetsink => "jetsink",
            Self::JetsinkSpool => "jetsink, spool",
            Self::Published => "published 0.5.1",
            Self::NatsAcked => "async-nats, acked",
            Self::NatsCore => "async-nats, core",
        }
    }

    /// Whether a promise that it breaks makes the command fail.
    pub(crate) fn is_ours(self) -> bool {
        match self {
            Self::Jetsink | Self::JetsinkSpool => true,
            Self::Published | Self::NatsAcked | Self::NatsCore => false,
        }
    }

    /// Whether it derives the subject from the tenant itself.
    pub(crate) fn resolves_tenants(self) -> bool {
        match self {
            Self::Jetsink | Self::JetsinkSpool | Self::Published => true,
            Self::NatsAcked | Self::NatsCore => false,
        }
    }

    /// Connects with the defaults. Only the contender with a spool uses `spool`.
    pub(crate) async fn open(self, url: &str, spool: &Path) -> Result<Client> {
        Ok(match self {
            Self::Jetsink => Client::Ours(ours::JetStreamEventSink::connect(url, TEMPLATE).await?),
            Self::JetsinkSpool => {
                let settings = ConnectSettings::new(url)?;
                let builder = ours::JetStreamEventSink::builder(settings, TEMPLATE);
                Client::Ours(builder.spool(SpoolSettings::new(spool)).connect().await?)
            }
            Self::Published => {
                Client::Published(published::JetStreamEventSink::connect(url, TEMPLATE).await?)
            }
            Self::NatsAcked => Client::Acked(jetstream::new(async_nats::connect(url).await?)),
            Self::NatsCore => Client::Core(async_nats::connect(url).await?),
        })
    }
}

/// A connected contender.
pub(crate) enum Client {
    Ours(ours::JetStreamEventSink),
    Published(published::JetStreamEventSink),
    Acked(jetstream::Context),
    Core(async_nats::Client),
}

impl Client {
    /// Publishes one event, as a service that uses only this contender does.
    pub(crate) async fn emit(&self, event: &CloudEventV1) -> Result<()> {
        match self {
            Self::Ours(sink) => sink.emit(event).await?,
            Self::Published(sink) => sink.emit(event).await?,
            Self::Acked(jetstream) => {
                let payload = serde_json::to_vec(event)?;
                let sent = jetstream.publish(subject(event)?, payload.into());
                sent.await?.await?;
            }
            Self::Core(client) => {
                let payload = serde_json::to_vec(event)?;
                client.publish(subject(event)?, payload.into()).await?;
            }
        }
        Ok(())
    }
}

/// The subject as a caller without a sink derives it; for valid tenants only.
fn subject(event: &CloudEventV1) -> Result<String> {
    let tenant = tenant(event).ok_or_else(|| Failed::new("the event has no tenant"))?;
    Ok(format!("cellos.events.{tenant}"))
}
