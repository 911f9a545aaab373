//! Accepts connections on all listeners until a stop, then waits for requests in flight.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use jetsink::Publisher;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::connection::{Connection, Open};
use super::{Client, TlsSettings, unix};
use crate::gateway::Gateway;
use crate::meters::Meters;

/// The pause after an accept that failed, for example without file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Connections of operators' tools.
const ADMIN_CONNECTIONS: usize = 32;

/// The maximum time for the headers of an operator's request.
const ADMIN_HEADER_TIME: Duration = Duration::from_secs(5);

/// Why a listener cannot be used.
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

    /// The maximum bytes of a request's headers, from 8 KiB to 1 MiB.
    #[must_use]
    pub fn max_header_bytes(mut self, bytes: usize) -> Self {
        self.max_header_bytes = bytes.clamp(8 << 10, 1 << 20);
        self
    }

    /// The maximum time for a request's headers to arrive, counted from the end of the request before.
    #[must_use]
    pub fn header_time(mut self, time: Duration) -> Self {
        self.header_time = time;
        self
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
            let Some(address) = listener
                .address()
                .filter(|address| !address.ip().is_loopback())
            else {
                continue;
            };
            if listener.tls().is_none() && !settings.plaintext {
                return Err(ListenError::Plaintext(address));
            }
            if !gateway.access().is_required() && !settings.anonymous {
                return Err(ListenError::Anonymous(address));
            }
        }
        Ok(Self {
            listeners,
            settings,
        })
    }

    /// Accepts connections until `stop` completes, then closes the listeners and waits at most `patience` for requests
    /// in flight. Returns whether all of them have ended.
    ///
    /// A drop of the future ends all connections at once; their events are still delivered.
    pub async fn serve<P: Publisher + 'static>(
        self,
        gateway: &Gateway<P>,
        stop: impl Future<Output = ()>,
        patience: Duration,
    ) -> bool {
        let graceful = Arc::new(GracefulShutdown::new());
        let mut accepting = JoinSet::new();
        let mut connections = Connections {
            router: gateway.router(),
            settings: self.settings,
            slots: Arc::new(Semaphore::new(self.settings.max_connections)),
            meters: Arc::clone(gateway.meters()),
            graceful: Arc::clone(&graceful),
            client: Client::default(),
        };
        for listener in self.listeners {
            let address = listener.address();
            connections.client.is_loopback =
                address.is_some_and(|address| address.ip().is_loopback());
            accepting.spawn(connections.clone().accept(listener.socket));
        }
        drop(connections);
        stop.await;
        // This closes the listeners. Connections are tasks of their own.
        accepting.shutdown().await;
        match Arc::into_inner(graceful) {
            Some(graceful) => timeout(patience, graceful.shutdown()).await.is_ok(),
            None => false, // no clone outlives the tasks above
        }
    }
}

/// Serves the pages for operators on a listener of their own, with few connections and short waits. Never returns.
///
/// `router` is that of [`Gateway::admin_router`].
pub async fn serve_admin<P: Publisher + 'static>(
    gateway: &Gateway<P>,
    listener: Listener,
    router: Router,
) {
    let settings = ServerSettings::default().header_time(ADMIN_HEADER_TIME);
    let address = listener.address();
    let connections = Connections {
        router,
        settings,
        slots: Arc::new(Semaphore::new(ADMIN_CONNECTIONS)),
        meters: Arc::clone(gateway.meters()),
        graceful: Arc::new(GracefulShutdown::new()),
        client: Client {
            is_loopback: address.is_some_and(|address| address.ip().is_loopback()),
            ..Client::default()
        },
    };
    connections.accept(listener.socket).await;
}

/// The parts that the connections of a listener share.
#[derive(Clone)]
struct Connections {
    router: Router,
    settings: ServerSettings,
    slots: Arc<Semaphore>,
    meters: Arc<Meters>,
    graceful: Arc<GracefulShutdown>,
    client: Client,
}

impl Connections {
    /// Accepts connections; never returns.
    async fn accept(self, socket: Socket) {
        loop {
            let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
                return; // never closed
            };
            let accepted = match &socket {
                Socket::Tcp(listener, tls) => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(self.connection(slot).tcp(stream, tls.clone()));
                }),
                Socket::Unix { listener, .. } => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(self.connection(slot).unix(stream));
                }),
            };
            if let Err(error) = accepted {
                debug!(%error, "a connection was not accepted");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }

    fn connection(&self, slot: OwnedSemaphorePermit) -> Connection {
        self.meters.connected();
        Connection {
            router: self.router.clone(),
            settings: self.settings,
            watcher: self.graceful.watcher(),
            client: self.client.clone(),
            _open: Open {
                meters: Arc::clone(&self.meters),
                _slot: slot,
            },
        }
    }
}
