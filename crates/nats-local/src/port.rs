//! Ports that stay with their server while it is down.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

use crate::NatsLocalError;

/// A TCP port on 127.0.0.1 that the system assigns to no other program until this value is dropped.
///
/// A socket is bound to the port and never listens. The system then chooses another port for each program
/// that asks for any, while a server that asks for this one with `SO_REUSEADDR`, as Go and Rust do by
/// default, can listen there. Without it, a port that is free while its server is down may be taken by
/// another test's server, and the return of the first one fails.
#[derive(Debug)]
pub struct ReservedPort {
    address: SocketAddr,
    _socket: TcpSocket,
}

impl ReservedPort {
    /// Reserves a port that the system chooses.
    ///
    /// # Errors
    /// [`NatsLocalError::Io`] if the system has no port left.
    pub fn new() -> Result<Self, NatsLocalError> {
        let reserve = || {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
            let address = socket.local_addr()?;
            Ok(Self {
                address,
                _socket: socket,
            })
        };
        reserve().map_err(NatsLocalError::io("reserving a port"))
    }

    /// The number of the port.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.address.port()
    }

    /// The port with its host: `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a panic is how a test fails

    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn reserved_port_is_unique_and_free_to_listen_at() {
        let reserved = ReservedPort::new().unwrap();
        assert!(TcpStream::connect(reserved.address()).is_err());
        for _ in 0..2 {
            let server = TcpListener::bind(reserved.address()).unwrap();
            let client = TcpStream::connect(reserved.address()).unwrap();
            drop((server.accept().unwrap(), client));
        }
        let others: Vec<_> = (0..500)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports = others.iter().map(|other| other.local_addr().unwrap());
        assert_eq!(
            ports.filter(|port| *port == reserved.address()).count(),
            0,
            "given to another"
        );
    }
}
