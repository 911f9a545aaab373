//! Three real nats-server processes that form one cluster, with a way between each two that can be cut.

use std::time::{Duration, Instant};

use async_nats::{ServerAddr, jetstream};

use crate::server::create_stream;
use crate::{NatsLocalError, NatsServer, NatsServerBuilder, ReservedPort, TcpProxy};

/// The time in which a cluster must agree: two elections, on a busy machine.
const TIME_TO_AGREE: Duration = Duration::from_secs(60);

/// Nothing listens there. Servers tell each other where they are reached, which would lead past the
/// ways that can be cut.
const NOWHERE: &str = "127.0.0.1:1";

/// Three servers with JetStream. Clients connect to [`urls`](Self::urls), through proxies.
#[derive(Debug)]
pub struct NatsCluster {
    nodes: Vec<Node>,
    _route_ports: Vec<ReservedPort>,
}

#[derive(Debug)]
struct Node {
    server: NatsServer,
    /// For clients.
    entrance: TcpProxy,
    /// For the routes that this node asks for, by the number of the other.
    routes: Vec<(usize, TcpProxy)>,
}

impl NatsCluster {
    /// The number of servers.
    pub const SIZE: usize = 3;

    /// Starts the servers and waits until they accept streams.
    ///
    /// # Errors
    /// [`NatsLocalError`] if a server does not answer, or if the three do not agree within a minute.
    pub async fn start() -> Result<Self, NatsLocalError> {
        Self::start_from(NatsServer::builder()).await
    }

    /// As [`start`](Self::start), with these settings for each server.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_from(builder: NatsServerBuilder) -> Result<Self, NatsLocalError> {
        let ports: Vec<ReservedPort> = (0..Self::SIZE)
            .map(|_| ReservedPort::new())
            .collect::<Result<_, _>>()?;
        let mut nodes = Vec::new();
        for number in 0..Self::SIZE {
            nodes.push(Node::new(&builder, number, &ports).await?);
        }
        let mut cluster = Self {
            nodes,
            _route_ports: ports,
        };
        for node in &mut cluster.nodes {
            node.server.launch()?;
        }
        for node in &mut cluster.nodes {
            node.server.wait_until_ready().await?;
        }
        let jetstream = cluster.jetstream().await?;
        agreed("a meta leader", async || {
            let account = jetstream.query_account().await;
            account.map(drop).map_err(|e| e.to_string())
        })
        .await?;
        Ok(cluster)
    }

    /// Returns the URLs of the three servers, separated by commas.
    #[must_use]
    pub fn urls(&self) -> String {
        let urls: Vec<String> = (0..Self::SIZE).map(|number| self.url(number)).collect();
        urls.join(",")
    }

    /// Returns the URL of one server.
    #[must_use]
    pub fn url(&self, number: usize) -> String {
        format!("nats://127.0.0.1:{}", self.nodes[number].entrance.port())
    }

    /// Returns one server, to kill, freeze or restart it.
    pub fn server(&mut self, number: usize) -> &mut NatsServer {
        &mut self.nodes[number].server
    }

    /// Cuts a server off from the other two. Its clients stay connected.
    pub fn partition(&self, number: usize) {
        self.routes_of(number).for_each(TcpProxy::cut);
    }

    /// Cuts a server off from the other two and from its clients.
    pub fn isolate(&self, number: usize) {
        self.partition(number);
        self.nodes[number].entrance.cut();
    }

    /// Undoes [`partition`](Self::partition) and [`isolate`](Self::isolate).
    pub fn heal(&self, number: usize) {
        self.routes_of(number).for_each(TcpProxy::heal);
        self.nodes[number].entrance.heal();
    }

    fn routes_of(&self, number: usize) -> impl Iterator<Item = &TcpProxy> {
        self.nodes.iter().enumerate().flat_map(move |(from, node)| {
            let routes = node.routes.iter();
            routes
                .filter(move |(to, _)| from == number || *to == number)
                .map(|(_, route)| route)
        })
    }

    /// Returns JetStream over a new client.
    ///
    /// # Errors
    /// [`NatsLocalError::Broker`].
    pub async fn jetstream(&self) -> Result<jetstream::Context, NatsLocalError> {
        const WHAT: &str = "connecting to the cluster";
        let servers = (0..Self::SIZE).map(|number| self.url(number).parse());
        let servers: Vec<ServerAddr> = servers
            .collect::<Result<_, _>>()
            .map_err(NatsLocalError::broker(WHAT))?;
        let client = async_nats::connect(servers)
            .await
            .map_err(NatsLocalError::broker(WHAT))?;
        Ok(jetstream::new(client))
    }

    /// Creates a stream in files with a replica on each server.
    ///
    /// # Errors
    /// [`NatsLocalError::Broker`].
    pub async fn create_stream(&self, name: &str, subjects: &[&str]) -> Result<(), NatsLocalError> {
        let config = jetstream::stream::Config {
            name: name.to_owned(),
            subjects: subjects.iter().map(|&subject| subject.to_owned()).collect(),
            num_replicas: Self::SIZE,
            ..jetstream::stream::Config::default()
        };
        self.create_stream_with(config).await?;
        self.await_replicas(name).await
    }

    /// Creates a stream.
    ///
    /// # Errors
    /// [`NatsLocalError::Broker`].
    pub async fn create_stream_with(
        &self,
        config: jetstream::stream::Config,
    ) -> Result<(), NatsLocalError> {
        create_stream(&self.jetstream().await?, config).await
    }

    /// Waits until a stream has a leader, and returns its number.
    ///
    /// # Errors
    /// [`NatsLocalError::Broker`] if there is no leader within a minute.
    pub async fn leader(&self, stream: &str) -> Result<usize, NatsLocalError> {
        let jetstream = self.jetstream().await?;
        agreed("a leader", async || {
            let name = cluster_info(&jetstream, stream).await?.leader;
            let place = |name: &String| self.nodes.iter().position(|n| n.server.name() == name);
            name.as_ref()
                .and_then(place)
                .ok_or_else(|| "none".to_owned())
        })
        .await
    }

    /// Waits until all replicas of a stream are online and current.
    ///
    /// # Errors
    /// [`NatsLocalError::Broker`] if they are not within a minute.
    pub async fn await_replicas(&self, stream: &str) -> Result<(), NatsLocalError> {
        let jetstream = self.jetstream().await?;
        agreed("replicas that are up to date", async || {
            let replicas = cluster_info(&jetstream, stream).await?.replicas;
            let current = replicas.iter().filter(|r| r.current && !r.offline).count();
            let all = current + 1 == Self::SIZE;
            all.then_some(()).ok_or_else(|| format!("{current} are"))
        })
        .await
    }
}

impl Node {
    async fn new(
        builder: &NatsServerBuilder,
        number: usize,
        ports: &[ReservedPort],
    ) -> Result<Self, NatsLocalError> {
        let mut server = builder.clone().prepare()?;
        let entrance = TcpProxy::to(server.port()).await?;
        let mut routes = Vec::new();
        for (other, port) in ports.iter().enumerate() {
            if other != number {
                routes.push((other, TcpProxy::to(port.number()).await?));
            }
        }
        let urls: Vec<String> = routes
            .iter()
            .map(|(_, route)| format!("\"nats://127.0.0.1:{}\"", route.port()))
            .collect();
        server.reconfigure(&format!(
            "client_advertise: \"127.0.0.1:{}\"\n\
             cluster {{ name: local, listen: \"127.0.0.1:{}\", advertise: \"{NOWHERE}\", \
             routes: [{}] }}",
            entrance.port(),
            ports[number].number(),
            urls.join(", "),
        ))?;
        Ok(Self {
            server,
            entrance,
            routes,
        })
    }
}

async fn cluster_info(
    jetstream: &jetstream::Context,
    stream: &str,
) -> Result<jetstream::stream::ClusterInfo, String> {
    let handle = jetstream.get_stream(stream).await;
    let handle = handle.map_err(|e| e.to_string())?;
    let info = handle.cached_info().cluster.clone();
    info.ok_or_else(|| "no cluster".to_owned())
}

/// Asks until there is an answer.
async fn agreed<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, NatsLocalError> {
    let give_up = Instant::now() + TIME_TO_AGREE;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(reason) if Instant::now() > give_up => {
                return Err(NatsLocalError::Broker {
                    what: format!("waiting for {what}"),
                    reason,
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
