//! Accepts connections on all listeners until a stop, then waits for requests in flight.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jetsink::Publisher;
use metrics::Gauge;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::connection::{Connection, Open};
use super::stop::Stop;
use super::{Answer, Client, TlsSettings, unix};
use crate::access::Access;
use crate::gateway::Gateway;
use crate::settings::{GatewayError, Limit};

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

/// The error of a listener that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// It cannot be bound.
    #[error("{at}: {source}")]
    Bind {
        /// The address or path.
        at: String,
        /// The system's error.
        source: io::Error,
    },
    /// Events would travel in plain text off loopback.
    #[error("{0} is not a loopback address and has no TLS; add a certificate, or allow plain text")]
    Plaintext(SocketAddr),
    /// Every host that reaches the address could send events.
    #[error(
        "{0} is not a loopback address and senders need no credential; require one, or allow anonymous senders"
    )]
    Anonymous(SocketAddr),
}

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener, Option<TlsSettings>),
    Unix {
        /// `None` for a socket of systemd. Dropped first: a new process may make the file once nothing listens.
        _file: Option<OwnSocket>,
        listener: UnixListener,
    },
}

/// A socket file that this process made, removed at the end.
#[derive(Debug)]
struct OwnSocket(PathBuf);

impl Drop for OwnSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Listens on a TCP address, with TLS or without.
    ///
    /// # Errors
    /// [`ListenError::Bind`].
    pub async fn tcp(address: SocketAddr, tls: Option<TlsSettings>) -> Result<Self, ListenError> {
        let bound = TcpListener::bind(address).await;
        let socket = bound.map_err(|source| ListenError::Bind {
            at: address.to_string(),
            source,
        })?;
        Ok(Self {
            socket: Socket::Tcp(socket, tls),
        })
    }

    /// Listens on a Unix socket with this mode, such as `0o660`. A socket without a listening process is replaced; the
    /// file is removed with the listener.
    ///
    /// # Errors
    /// [`ListenError::Bind`], also if another process listens, or another file is in the way.
    pub async fn unix(path: &Path, mode: u32) -> Result<Self, ListenError> {
        let bound = unix::bind(path, mode).await;
        let socket = bound.map_err(|source| ListenError::Bind {
            at: path.display().to_string(),
            source,
        })?;
        Ok(Self {
            socket: Socket::Unix {
                listener: socket,
                _file: Some(OwnSocket(path.to_owned())),
            },
        })
    }

    /// Takes the sockets that systemd passes to this process (`LISTEN_FDS`), TCP and Unix. Call it once.
    ///
    /// # Errors
    /// [`ListenError::Bind`] for a socket of another kind.
    pub fn from_systemd(tls: Option<&TlsSettings>) -> Result<Vec<Self>, ListenError> {
        let mut passed = listenfd::ListenFd::from_env();
        let mut listeners = Vec::new();
        for index in 0..passed.len() {
            let failed = |source| ListenError::Bind {
                at: format!("socket {index} of systemd"),
                source,
            };
            let socket = match passed.take_tcp_listener(index) {
                Ok(Some(tcp)) => {
                    tcp.set_nonblocking(true).map_err(failed)?;
                    let tcp = TcpListener::from_std(tcp).map_err(failed)?;
                    Socket::Tcp(tcp, tls.cloned())
                }
                Ok(None) => continue,
                Err(_) => match passed.take_unix_listener(index).map_err(failed)? {
                    None => continue,
                    Some(unix) => {
                        unix.set_nonblocking(true).map_err(failed)?;
                        Socket::Unix {
                            listener: UnixListener::from_std(unix).map_err(failed)?,
                            _file: None,
                        }
                    }
                },
            };
            listeners.push(Self { socket });
        }
        Ok(listeners)
    }

    /// The TCP address, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket, _) => socket.local_addr().ok(),
            Socket::Unix { .. } => None,
        }
    }

    fn tls(&self) -> Option<&TlsSettings> {
        match &self.socket {
            Socket::Tcp(_, tls) => tls.as_ref(),
            Socket::Unix { .. } => None,
        }
    }
}

/// Limits of connections, and permissions off loopback. Defaults: 10,000 connections; 32 KiB of headers within
/// 30 s, which also ends idle connections; 10 s for a TLS handshake; neither plain text nor anonymous senders.
#[derive(Debug, Clone, Copy)]
pub struct ServerSettings {
    pub(crate) max_connections: usize,
    pub(crate) max_header_bytes: usize,
    pub(crate) header_time: Duration,
    pub(crate) handshake_time: Duration,
    plaintext: bool,
    anonymous: bool,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_header_bytes: 32 << 10,
            header_time: Duration::from_secs(30),
            handshake_time: Duration::from_secs(10),
            plaintext: false,
            anonymous: false,
        }
    }
}

impl ServerSettings {
    /// The maximum number of connections on all listeners, at least 1. Further ones wait to be accepted.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// The maximum bytes of a request's headers.
    ///
    /// # Errors
    /// [`GatewayError::Range`] outside 8 KiB to 1 MiB.
    pub fn max_header_bytes(mut self, bytes: usize) -> Result<Self, GatewayError> {
        self.max_header_bytes = Limit::HeaderBytes.check(bytes, 8 << 10, 1 << 20)?;
        Ok(self)
    }

    /// The maximum time for a request's headers to arrive, counted from the end of the request before.
    ///
    /// # Errors
    /// [`GatewayError::Range`] outside 1 ms to 1 hour.
    pub fn header_time(mut self, time: Duration) -> Result<Self, GatewayError> {
        self.header_time = Limit::HeaderTime.check_time(time)?;
        Ok(self)
    }

    /// Allows plain text off loopback, for example behind a proxy that ends TLS.
    #[must_use]
    pub fn allow_plaintext(mut self) -> Self {
        self.plaintext = true;
        self
    }

    /// Allows senders without a credential off loopback.
    #[must_use]
    pub fn allow_anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// Checks that events are protected on this address, as [`Server::new`] does for each listener.
    ///
    /// # Errors
    /// [`ListenError::Plaintext`] and [`ListenError::Anonymous`] off loopback, unless the settings allow it.
    pub fn check(
        &self,
        address: SocketAddr,
        has_tls: bool,
        access: &Access,
    ) -> Result<(), ListenError> {
        if address.ip().is_loopback() {
            return Ok(());
        }
        if !has_tls && !self.plaintext {
            return Err(ListenError::Plaintext(address));
        }
        if !access.is_required() && !self.anonymous {
            return Err(ListenError::Anonymous(address));
        }
        Ok(())
    }
}

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
