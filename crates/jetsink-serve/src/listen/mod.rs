//! Listeners: TCP, TLS, Unix sockets, and sockets of systemd. Each request carries its [`Client`].

mod connection;
mod idle;
mod server;
mod tls;
mod unix;

use std::sync::Arc;

pub use server::{ListenError, Listener, Server, ServerSettings, serve_admin};
pub use tls::{TlsError, TlsSettings};

/// The other end of a connection, as far as the connection shows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    /// The listener's own address is a loopback one.
    pub(crate) is_loopback: bool,
    /// The names of a verified certificate: `dns:…`, `uri:…`, `email:…`, `ip:…`.
    pub(crate) names: Arc<[String]>,
    /// The user at the other end of a Unix socket.
    pub(crate) uid: Option<u32>,
}
