//! Accepts connections on all listeners until a stop, then waits for requests in flight.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jetsink::Publisher;
use metrics::Gauge;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::connection::{Connection, Open};
use super::listener::{ListenError, Listener, Socket};
use super::server_settings::ServerSettings;
use super::stop::Stop;
use super::{Answer, Client};
use crate::gateway::Gateway;

/// The pause after an accept that failed, for example without file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The interval between two warnings about accepts that failed.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// The time that a start waits for the identities of the events in the spool.
const RECALL_WAIT: Duration = Duration::from_secs(1);

/// Connections of operators' tools.
const ADMIN_CONNECTIONS: usize = 32;

/// The maximum time for the headers of an operator's request.
const ADMIN_HEADER_TIME: Duration = Duration::from_secs(5);

/// The listeners of a gateway.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    settings: ServerSettings,
}

impl Server {
    /// Checks that events are protected off loopback.
    ///
    /// # Errors
    /// [`ListenError::Plaintext`] and [`ListenError::Anonymous`], unless the settings allow it.
    pub fn new<P: Publisher + 'static>(
        gateway: &Gateway<P>,
        listeners: Vec<Listener>,
        settings: ServerSettings,
    ) -> Result<Self, ListenError> {
        for listener in &listeners {
            let Some(address) = listener.address() else {
                continue;
            };
            settings.check(address, listener.tls().is_some(), gateway.access())?;
        }
        Ok(Self {
            listeners,
            settings,
        })
    }

    /// [Recalls](Gateway::recall_spooled) the events in the spool, and waits at most 1 s for that; it goes on meanwhile
    /// for a larger spool. Accepts connections until `stop` completes, then closes the listeners and waits at most
    /// `patience` for requests in flight. A connection without one ends within a second, whatever its client does.
    /// Returns whether all requests were answered.
    ///
    /// A drop of the future ends all connections at once; their events are still delivered.
    pub async fn serve<P: Publisher + 'static>(
        self,
        gateway: &Gateway<P>,
        stop: impl Future<Output = ()>,
        patience: Duration,
    ) -> bool {
        let stopping = Arc::new(Stop::new());
        let mut accepting = JoinSet::new();
        let connections = Connections {
            answers: gateway.clone(),
            settings: self.settings,
            slots: Arc::new(Semaphore::new(self.settings.max_connections)),
            gauge: gateway.meters().connections.clone(),
            stop: Arc::clone(&stopping),
            // Without its token a web page can send nothing.
            loopback_needs_own_host: !gateway.access().is_required(),
        };
        recall_spooled(gateway).await;
        for listener in self.listeners {
            accepting.spawn(connections.clone().accept(listener));
        }
        drop(connections);
        stop.await;
        // This closes the listeners. Connections are tasks of their own.
        accepting.shutdown().await;
        stopping.end(patience).await
    }
}

/// In a task of its own, which may outlast the wait.
async fn recall_spooled<P: Publisher + 'static>(gateway: &Gateway<P>) {
    let gateway = gateway.clone();
    let recalling = tokio::spawn(async move {
        match gateway.recall_spooled().await {
            Ok(()) => info!("identities of events in the spool are known"),
            Err(error) => {
                warn!(%error, "identities of events in the spool are not known: repeats of them are spooled again");
            }
        }
    });
    let _ = timeout(RECALL_WAIT, recalling).await;
}

/// Serves pages for operators on a listener of their own, with few connections and short waits. Never returns.
pub(crate) async fn serve_pages(pages: impl Answer, listener: Listener) {
    let connections = Connections {
        answers: pages,
        settings: ServerSettings {
            header_time: ADMIN_HEADER_TIME,
            ..ServerSettings::default()
        },
        slots: Arc::new(Semaphore::new(ADMIN_CONNECTIONS)),
        // The metric counts connections of senders.
        gauge: Gauge::noop(),
        stop: Arc::new(Stop::new()),
        loopback_needs_own_host: true,
    };
    connections.accept(listener).await;
}

/// The parts that the connections of a listener share.
#[derive(Clone)]
struct Connections<A> {
    answers: A,
    settings: ServerSettings,
    slots: Arc<Semaphore>,
    /// Counts open connections.
    gauge: Gauge,
    stop: Arc<Stop>,
    /// Whether requests that come in over loopback must name this host, also if the listener has all addresses.
    loopback_needs_own_host: bool,
}

impl<A: Answer> Connections<A> {
    /// Accepts connections; never returns.
    async fn accept(self, listener: Listener) {
        let bound = listener.address();
        let mut warned: Option<Instant> = None;
        loop {
            let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
                return; // never closed
            };
            let accepted = match &listener.socket {
                Socket::Tcp(listener, tls) => listener.accept().await.map(|(stream, _)| {
                    let client = Client {
                        needs_own_host: self.needs_own_host(bound, &stream),
                        ..self.client()
                    };
                    tokio::spawn(self.connection(slot, client).tcp(stream, tls.clone()));
                }),
                Socket::Unix { listener, .. } => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(self.connection(slot, self.client()).unix(stream));
                }),
            };
            if let Err(error) = accepted {
                if warned.is_none_or(|warned| warned.elapsed() >= WARN_AGAIN) {
                    warn!(%error, "connections are not accepted");
                    warned = Some(Instant::now());
                }
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }

    /// A listener of all addresses also gets connections over loopback, from web pages of this host's users.
    fn needs_own_host(&self, bound: Option<SocketAddr>, stream: &TcpStream) -> bool {
        let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
        let comes_by_loopback = || stream.local_addr().is_ok_and(is_loopback);
        bound.is_some_and(is_loopback) || self.loopback_needs_own_host && comes_by_loopback()
    }

    fn client(&self) -> Client {
        Client {
            max_header_bytes: Some(self.settings.max_header_bytes),
            ..Client::default()
        }
    }

    fn connection(&self, slot: OwnedSemaphorePermit, client: Client) -> Connection<A> {
        self.gauge.increment(1);
        Connection {
            answers: self.answers.clone(),
            settings: self.settings,
            stop: self.stop.signal(),
            client,
            _open: Open {
                gauge: self.gauge.clone(),
                _slot: slot,
            },
        }
    }
}
