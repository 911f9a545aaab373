//! Limits of connections, and the protection that events need off loopback.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::listener::ListenError;
use crate::access::Access;
use crate::settings::{GatewayError, GatewayLimit};

/// Limits of connections, and permissions off loopback. Defaults: 10,000 connections; 32 KiB of headers within
/// 30 s, which also ends idle connections; 10 s for a TLS handshake; neither plain text nor anonymous senders.
#[derive(Debug, Clone, Copy)]
pub struct ServerSettings {
    pub(crate) max_connections: usize,
    pub(crate) max_header_bytes: usize,
    pub(crate) header_time: Duration,
    pub(crate) handshake_time: Duration,
    pub(super) plaintext: bool,
    pub(super) anonymous: bool,
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
    /// The maximum number of connections on all listeners. Further ones wait to be accepted.
    ///
    /// # Errors
    /// [`GatewayError::Range`] for 0, and for more than the system can count.
    pub fn max_connections(mut self, connections: usize) -> Result<Self, GatewayError> {
        self.max_connections =
            GatewayLimit::Connections.check(connections, 1, Semaphore::MAX_PERMITS)?;
        Ok(self)
    }

    /// The maximum bytes of a request's headers.
    ///
    /// # Errors
    /// [`GatewayError::Range`] outside 8 KiB to 1 MiB.
    pub fn max_header_bytes(mut self, bytes: usize) -> Result<Self, GatewayError> {
        self.max_header_bytes = GatewayLimit::HeaderBytes.check(bytes, 8 << 10, 1 << 20)?;
        Ok(self)
    }

    /// The maximum time for a request's headers to arrive, counted from the end of the request before.
    ///
    /// # Errors
    /// [`GatewayError::Range`] outside 1 ms to 1 hour.
    pub fn header_time(mut self, time: Duration) -> Result<Self, GatewayError> {
        self.header_time = GatewayLimit::HeaderTime.check_time(time)?;
        Ok(self)
    }

    /// Sets whether plain text is allowed off loopback, for example behind a proxy that ends TLS. Default: no.
    #[must_use]
    pub fn allow_plaintext(mut self, allow: bool) -> Self {
        self.plaintext = allow;
        self
    }

    /// Sets whether senders without a credential are allowed off loopback. Default: no.
    #[must_use]
    pub fn allow_anonymous(mut self, allow: bool) -> Self {
        self.anonymous = allow;
        self
    }

    /// Checks that events are protected on this address, as [`Server::new`](crate::Server::new) does for each listener.
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
