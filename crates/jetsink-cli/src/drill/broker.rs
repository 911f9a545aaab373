//! The drill's own broker and its faults.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use nats_local::{
    NatsCluster, NatsLocalError, NatsServer, nats_server_binary_in, nats_server_installed,
};
use tokio::time::{sleep, timeout};

use super::script::FaultKind;
use crate::failure::Failure;

/// The longest wait for the acknowledgement of a probe.
const TIME_TO_ANSWER: Duration = Duration::from_secs(1);
/// The longest wait for a stream to store again.
const PATIENCE: Duration = Duration::from_secs(60);

/// One server or three on loopback; they end with the drill.
pub(super) struct Broker {
    servers: Servers,
    /// One per contender.
    streams: Vec<Config>,
    /// Whether a fault changed the streams.
    streams_changed: bool,
}

enum Servers {
    One(Box<NatsServer>),
    Three(NatsCluster),
}

/// The stream of a contender.
pub(super) fn stream_name(contender: usize) -> String {
    format!("DRILL_{contender}")
}

/// The subject of a contender's events.
pub(super) fn subject(contender: usize) -> String {
    format!("drill.{contender}.events")
}

impl Broker {
    /// Finds or fetches nats-server, starts it, and creates a stream per contender.
    pub(super) async fn start(cluster: bool, contenders: usize) -> Result<Self, Failure> {
        // Fetching blocks.
        let binary = tokio::task::spawn_blocking(|| match cache_folder() {
            Some(folder) => nats_server_binary_in(&folder),
            None => nats_server_installed()?.ok_or_else(|| {
                let text = "neither XDG_CACHE_HOME nor HOME names a folder to fetch one into";
                NatsLocalError::NoBinary(text.to_owned())
            }),
        });
        let binary = match binary.await {
            Ok(binary) => binary?,
            Err(error) => return Err(Failure::Usage(format!("fetching nats-server: {error}"))),
        };
        let builder = NatsServer::builder().binary(binary);
        let servers = match cluster {
            false => Servers::One(Box::new(builder.start().await?)),
            true => Servers::Three(NatsCluster::start_from(builder).await?),
        };
        let streams = (0..contenders).map(|contender| Config {
            name: stream_name(contender),
            subjects: vec![format!("drill.{contender}.>")],
            discard: DiscardPolicy::New,
            num_replicas: if cluster { NatsCluster::SIZE } else { 1 },
            ..Config::default()
        });
        let broker = Self {
            servers,
            streams: streams.collect(),
            streams_changed: false,
        };
        let jetstream = broker.jetstream().await?;
        for stream in &broker.streams {
            let created = jetstream.create_stream(stream.clone()).await;
            created.map_err(refused("creating a stream"))?;
        }
        if let Servers::Three(cluster) = &broker.servers {
            for stream in &broker.streams {
                cluster.await_replicas(&stream.name).await?;
            }
        }
        Ok(broker)
    }

    /// Separated by commas.
    pub(super) fn urls(&self) -> String {
        match &self.servers {
            Servers::One(server) => server.url(),
            Servers::Three(cluster) => cluster.urls(),
        }
    }

    pub(super) fn size(&self) -> usize {
        match &self.servers {
            Servers::One(_) => 1,
            Servers::Three(_) => NatsCluster::SIZE,
        }
    }

    /// JetStream over a new client.
    pub(super) async fn jetstream(&self) -> Result<Context, NatsLocalError> {
        match &self.servers {
            Servers::One(server) => server.jetstream().await,
            Servers::Three(cluster) => cluster.jetstream().await,
        }
    }

    pub(super) async fn version(&self) -> Result<String, NatsLocalError> {
        let jetstream = self.jetstream().await?;
        Ok(jetstream.client().server_info().version)
    }

    /// Begins a fault.
    pub(super) async fn begin(&mut self, fault: FaultKind) -> Result<(), Failure> {
        match fault {
            FaultKind::Full | FaultKind::Delete => {
                let jetstream = self.jetstream().await?;
                self.streams_changed = true;
                for stream in &self.streams {
                    if fault == FaultKind::Delete {
                        let deleted = jetstream.delete_stream(&stream.name).await;
                        deleted.map_err(refused("deleting a stream"))?;
                    } else {
                        let full = Config {
                            max_messages: 1,
                            ..stream.clone()
                        };
                        let updated = jetstream.update_stream(full).await;
                        updated.map_err(refused("limiting a stream"))?;
                    }
                }
            }
            FaultKind::Kill
            | FaultKind::Freeze
            | FaultKind::Restart
            | FaultKind::Partition
            | FaultKind::Quorum => {
                self.begin_at_servers(fault).await?;
            }
        }
        Ok(())
    }

    async fn begin_at_servers(&mut self, fault: FaultKind) -> Result<(), Failure> {
        let first = self
            .streams
            .first()
            .map(|stream| stream.name.clone())
            .unwrap_or_default();
        match &mut self.servers {
            Servers::One(server) => match fault {
                FaultKind::Freeze => server.freeze()?,
                FaultKind::Restart => {
                    server.stop()?;
                    server.restart().await?;
                }
                // Scripts for one server contain no other fault.
                _ => server.kill()?,
            },
            Servers::Three(cluster) => {
                let leader = cluster.leader(&first).await?;
                match fault {
                    FaultKind::Freeze => cluster.server(leader).freeze()?,
                    FaultKind::Partition => cluster.partition(leader),
                    FaultKind::Quorum => {
                        cluster.server(leader).kill()?;
                        cluster.server((leader + 1) % NatsCluster::SIZE).kill()?;
                    }
                    FaultKind::Restart => {
                        for number in 0..NatsCluster::SIZE {
                            cluster.server(number).stop()?;
                            cluster.server(number).restart().await?;
                            cluster.await_replicas(&first).await?;
                        }
                    }
                    _ => cluster.server(leader).kill()?,
                }
            }
        }
        Ok(())
    }

    /// Heals all faults. In a cluster, waits until each stream stores a message of another client.
    pub(super) async fn heal(&mut self) -> Result<(), Failure> {
        match &mut self.servers {
            Servers::One(server) => heal(server).await?,
            Servers::Three(cluster) => {
                for number in 0..NatsCluster::SIZE {
                    cluster.heal(number);
                    heal(cluster.server(number)).await?;
                }
            }
        }
        if self.streams_changed {
            let jetstream = self.jetstream().await?;
            for stream in &self.streams {
                let created = jetstream.create_or_update_stream(stream.clone()).await;
                created.map_err(refused("creating a stream again"))?;
            }
            self.streams_changed = false;
        }
        if self.size() > 1 {
            for contender in 0..self.streams.len() {
                self.wait_until_stored(contender).await?;
            }
        }
        Ok(())
    }

    /// Waits until a stream of a cluster stores a probe, which is not an event of the drill.
    async fn wait_until_stored(&self, contender: usize) -> Result<(), Failure> {
        let stored = async || {
            let jetstream = self.jetstream().await.ok()?;
            let subject = format!("drill.{contender}.probe");
            let published = jetstream.publish(subject, "probe".into()).await.ok()?;
            published.await.ok()
        };
        let stored = async {
            while !matches!(timeout(TIME_TO_ANSWER, stored()).await, Ok(Some(_))) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, stored).await.map_err(|_| {
            Failure::Broker(NatsLocalError::Broker {
                what: format!("waiting for {} to store again", stream_name(contender)),
                reason: format!("it does not within {} s", PATIENCE.as_secs()),
            })
        })
    }
}

async fn heal(server: &mut NatsServer) -> Result<(), NatsLocalError> {
    if server.pid().is_none() {
        return server.restart().await;
    }
    server.thaw()
}

fn refused<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Failure {
    let what = what.to_owned();
    move |error| {
        Failure::Broker(NatsLocalError::Broker {
            what,
            reason: error.to_string(),
        })
    }
}

/// The folder that keeps a fetched nats-server. Other users can't write to it, since the drill executes
/// the file.
fn cache_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache")));
    Some(cache?.join("jetsink"))
}
