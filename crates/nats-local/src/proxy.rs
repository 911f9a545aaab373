//! A TCP proxy that impairs its connections.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::NatsLocalError;

/// The impairment of a [`TcpProxy`]. Bytes that are held back pass once the impairment ends, as TCP
/// would send them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Impairment {
    /// Everything passes.
    None,
    /// No byte passes and no connection ends, as if packets were dropped.
    BlackHole,
    /// Bytes from clients arrive at the server; no byte comes back.
    OnlyToServer,
    /// Bytes from the server arrive at clients; no byte reaches the server.
    OnlyToClients,
    /// Bytes from clients arrive at the server; those from the server are lost, and don't pass later.
    SwallowFromServer,
    /// Each 64 KiB or less takes this long.
    Slow(Duration),
    /// Each connection ends by a reset (RST), a new one at once.
    Reset,
}

/// The direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClients,
}

impl Impairment {
    fn passes(self, direction: Direction) -> bool {
        match self {
            Self::None | Self::Slow(_) | Self::SwallowFromServer => true,
            Self::BlackHole | Self::Reset => false,
            Self::OnlyToServer => direction == Direction::ToServer,
            Self::OnlyToClients => direction == Direction::ToClients,
        }
    }
}

/// A port on 127.0.0.1 whose connections lead to another port. It runs on the tokio runtime that made it.
/// Dropping it ends its connections.
///
/// ```no_run
/// use nats_local::{NatsServer, TcpProxy};
///
/// # async fn example() -> Result<(), nats_local::NatsLocalError> {
/// let server = NatsServer::start().await?;
/// let proxy = TcpProxy::to(server.port()).await?;
/// // Connect a client to proxy.port(), then:
/// proxy.cut();
/// proxy.heal();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    impairment: watch::Sender<Impairment>,
    acceptor: AbortHandle,
}

impl TcpProxy {
    /// Starts a proxy to a port of 127.0.0.1, without impairment.
    ///
    /// # Errors
    /// [`NatsLocalError::Io`] if no port can be bound.
    pub async fn to(port: u16) -> Result<Self, NatsLocalError> {
        let target = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(NatsLocalError::io("binding a proxy"))?;
        let address = listener.local_addr();
        let address = address.map_err(NatsLocalError::io("binding a proxy"))?;
        let (impairment, gate) = watch::channel(Impairment::None);
        let acceptor = tokio::spawn(accept(listener, target, gate)).abort_handle();
        Ok(Self {
            port: address.port(),
            impairment,
            acceptor,
        })
    }

    /// Returns the port on which the proxy listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Impairs open and new connections from now on.
    pub fn impair(&self, impairment: Impairment) {
        self.impairment.send_replace(impairment);
    }

    /// Lets no byte pass: [`Impairment::BlackHole`].
    pub fn cut(&self) {
        self.impair(Impairment::BlackHole);
    }

    /// Ends the impairment: [`Impairment::None`].
    pub fn heal(&self) {
        self.impair(Impairment::None);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// Owns the connections: they end with it.
async fn accept(listener: TcpListener, target: SocketAddr, gate: watch::Receiver<Impairment>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(connect(near, target, gate.clone()));
    }
}

async fn connect(mut near: TcpStream, target: SocketAddr, gate: watch::Receiver<Impairment>) {
    let mut resets = gate.clone();
    let ended = tokio::select! {
        ended = passed_on(&mut near, target, gate) => ended,
        // An error means that the proxy was dropped: its connections end.
        _ = resets.wait_for(|now| *now == Impairment::Reset) => None,
    };
    if ended.is_none() {
        // Otherwise the connection would end with FIN.
        let _ = near.set_zero_linger();
    }
}

/// `Some` if a side ended its connection with FIN.
async fn passed_on(
    near: &mut TcpStream,
    target: SocketAddr,
    mut gate: watch::Receiver<Impairment>,
) -> Option<()> {
    let reachable = |now: &Impairment| now.passes(Direction::ToServer);
    gate.wait_for(reachable).await.ok()?;
    let mut far = TcpStream::connect(target).await.ok()?;
    let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
    // If one side ends, both connections end.
    tokio::select! {
        () = pass(near_in, far_out, gate.clone(), Direction::ToServer) => {}
        () = pass(far_in, near_out, gate.clone(), Direction::ToClients) => {}
    }
    Some(())
}

async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut gate: watch::Receiver<Impairment>,
    direction: Direction,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        // Also before the end of a connection: an impairment holds it back, too.
        let Ok(now) = gate
            .wait_for(|now| now.passes(direction))
            .await
            .map(|now| *now)
        else {
            return;
        };
        if let Impairment::Slow(time) = now {
            tokio::time::sleep(time).await;
        }
        if now == Impairment::SwallowFromServer && direction == Direction::ToClients && read > 0 {
            continue;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends all bytes back.
    async fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        port
    }

    async fn echoed(stream: &mut TcpStream) -> std::io::Result<u8> {
        stream.write_all(b"x").await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn bytes_that_are_held_back_pass_once_the_proxy_is_healed() {
        let proxy = TcpProxy::to(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        assert_eq!(echoed(&mut stream).await.unwrap(), b'x');
        for impairment in [
            Impairment::BlackHole,
            Impairment::OnlyToServer,
            Impairment::OnlyToClients,
        ] {
            proxy.impair(impairment);
            let patience = Duration::from_millis(100);
            let held = tokio::time::timeout(patience, echoed(&mut stream)).await;
            assert!(held.is_err(), "{impairment:?}: {held:?}");
            proxy.heal();
            assert_eq!(stream.read_u8().await.unwrap(), b'x', "{impairment:?}");
        }
        proxy.impair(Impairment::Slow(Duration::from_millis(10)));
        assert_eq!(echoed(&mut stream).await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn swallowed_bytes_do_not_pass_after_the_proxy_is_healed() {
        let proxy = TcpProxy::to(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        assert_eq!(echoed(&mut stream).await.unwrap(), b'x');
        proxy.impair(Impairment::SwallowFromServer);
        let patience = Duration::from_millis(100);
        let lost = tokio::time::timeout(patience, echoed(&mut stream)).await;
        assert!(lost.is_err(), "{lost:?}");
        proxy.heal();
        stream.write_all(b"y").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'y');
    }

    #[tokio::test]
    async fn reset_ends_open_and_new_connections_with_an_error() {
        let proxy = TcpProxy::to(echo().await).await.unwrap();
        let mut old = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        assert_eq!(echoed(&mut old).await.unwrap(), b'x');
        proxy.impair(Impairment::Reset);
        let error = old.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        let mut new = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        assert!(echoed(&mut new).await.is_err());
        proxy.heal();
        let mut new = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        assert_eq!(echoed(&mut new).await.unwrap(), b'x');
    }
}
