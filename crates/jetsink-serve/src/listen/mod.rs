//! Listeners: TCP, TLS, Unix sockets, and sockets of systemd. Each request carries its [`Client`].

mod connection;
mod idle;
mod listener;
mod sent;
mod server;
mod server_settings;
mod stop;
mod tls;
mod unix;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;

use crate::intake::unread::Drains;

pub use listener::{ListenError, Listener};
pub use server::Server;
pub(crate) use server::serve_pages;
pub use server_settings::ServerSettings;
pub use tls::{TlsError, TlsSettings};

/// Answers the requests of connections.
pub(crate) trait Answer: Clone + Send + Sync + 'static {
    fn answer(
        &self,
        client: &Client,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// Counts a request whose head cannot be parsed. hyper has answered it.
    fn unreadable(&self) {}
}

/// The other end of a connection, as far as the connection shows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    /// The maximum bytes of a request's head; `None` for requests of other listeners.
    pub(crate) max_header_bytes: Option<usize>,
    /// Whether the `Host` header must name this host: a web page may have sent the request.
    pub(crate) needs_own_host: bool,
    /// The names of a verified certificate: `dns:…`, `uri:…`, `email:…`, `ip:…`.
    pub(crate) names: Arc<[String]>,
    /// The user at the other end of a Unix socket.
    pub(crate) uid: Option<u32>,
    /// The bodies of the connection that are read after their answers.
    pub(crate) drains: Drains,
}
