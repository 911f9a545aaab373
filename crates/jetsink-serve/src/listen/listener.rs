//! A bound listener: TCP, a Unix socket, or a socket of systemd.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use super::{TlsSettings, unix};

/// The error of a listener that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// It cannot be bound.
    #[error("{at}: {error}")]
    Bind {
        /// The address or path.
        at: String,
        /// The system's error.
        error: io::Error,
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
    pub(super) socket: Socket,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener, Option<TlsSettings>),
    Unix {
        /// `None` for a socket of systemd. Dropped first: a new process may make the file once nothing listens.
        _file: Option<OwnSocket>,
        listener: UnixListener,
    },
}

/// A socket file that this process made, removed at the end.
#[derive(Debug)]
pub(super) struct OwnSocket(PathBuf);

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
        let socket = bound.map_err(|error| ListenError::Bind {
            at: address.to_string(),
            error,
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
        let socket = bound.map_err(|error| ListenError::Bind {
            at: path.display().to_string(),
            error,
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
            let failed = |error| ListenError::Bind {
                at: format!("socket {index} of systemd"),
                error,
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

    pub(super) fn tls(&self) -> Option<&TlsSettings> {
        match &self.socket {
            Socket::Tcp(_, tls) => tls.as_ref(),
            Socket::Unix { .. } => None,
        }
    }
}
