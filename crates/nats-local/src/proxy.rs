//! A way between two processes that can be cut, or made worse.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::NatsLocalError;

/// What becomes of the bytes on a [`TcpProxy`]'s way. What is held back passes once the way lets it, as
/// TCP would send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Everything passes.
    Open,
    /// No byte passes and no connection ends, as where packets are dropped on their way.
    BlackHole,
    /// What clients send arrives; nothing comes back.
    OnlyToServer,
    /// What the server sends arrives; nothing goes out.
    OnlyToClients,
    /// Each 64 KiB at the most take this long.
    Slow(Duration),
    /// Each connection ends by a reset (RST), a new one at once.
    Reset,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClients,
}

impl Way {
    fn is_open(self, direction: Direction) -> bool {
        match self {
            Self::Open | Self::Slow(_) => true,
            Self::BlackHole | Self::Reset => false,
            Self::OnlyToServer => direction == Direction::ToServer,
            Self::OnlyToClients => direction == Direction::ToClients,
        }
    }
}

/// A port on 127.0.0.1 whose connections lead to another one. Dropping it ends its connections. It
/// runs on the tokio runtime that made it.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    way: watch::Sender<Way>,
    acceptor: AbortHandle,
}

impl TcpProxy {
    /// Leads to a port of 127.0.0.1.
    ///
    /// # Errors
    /// [`NatsLocalError::Io`] where there is no port for it.
    pub async fn to(port: u16) -> Result<Self, NatsLocalError> {
        let target = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(NatsLocalError::io("binding a proxy"))?;
        let address = listener.local_addr();
        let address = address.map_err(NatsLocalError::io("binding a proxy"))?;
        let (way, gate) = watch::channel(Way::Open);
        let acceptor = tokio::spawn(accept(listener, target, gate)).abort_handle();
        Ok(Self {
            port: address.port(),
            way,
            acceptor,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, for the connections there are and for new ones.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Lets nothing pass any more: [`Way::BlackHole`].
    pub fn cut(&self) {
        self.set(Way::BlackHole);
    }

    /// Lets everything pass again: [`Way::Open`].
    pub fn mend(&self) {
        self.set(Way::Open);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// The connections are its own, and end with it.
async fn accept(listener: TcpListener, target: SocketAddr, gate: watch::Receiver<Way>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(connect(near, target, gate.clone()));
    }
}

async fn connect(mut near: TcpStream, target: SocketAddr, gate: watch::Receiver<Way>) {
    let mut resets = gate.clone();
    let ended = tokio::select! {
        ended = passed_on(&mut near, target, gate) => ended,
        // An error means that the proxy is gone, and everything of it ends.
        _ = resets.wait_for(|way| *way == Way::Reset) => None,
    };
    if ended.is_none() {
        // Without it, the end would be told in good order.
        let _ = near.set_zero_linger();
    }
}

/// Something once a side has ended its connection in good order.
async fn passed_on(
    near: &mut TcpStream,
    target: SocketAddr,
    mut gate: watch::Receiver<Way>,
) -> Option<()> {
    let reachable = |way: &Way| way.is_open(Direction::ToServer);
    gate.wait_for(reachable).await.ok()?;
    let mut far = TcpStream::connect(target).await.ok()?;
    let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
    // Whichever side ends, both halves go, and with them the connections.
    tokio::select! {
        () = pass(near_in, far_out, gate.clone(), Direction::ToServer) => {}
        () = pass(far_in, near_out, gate.clone(), Direction::ToClients) => {}
    }
    Some(())
}

async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut gate: watch::Receiver<Way>,
    direction: Direction,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        // Also before an end is told: it would not come through either.
        let Ok(way) = gate
            .wait_for(|way| way.is_open(direction))
            .await
            .map(|way| *way)
        else {
            return;
        };
        if let Way::Slow(time) = way {
            tokio::time::sleep(time).await;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
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
    async fn what_is_held_back_passes_once_the_way_is_open() {
        let proxy = TcpProxy::to(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        assert_eq!(echoed(&mut stream).await.unwrap(), b'x');
        for way in [Way::BlackHole, Way::OnlyToServer, Way::OnlyToClients] {
            proxy.set(way);
            let patience = Duration::from_millis(100);
            let held = tokio::time::timeout(patience, echoed(&mut stream)).await;
            assert!(held.is_err(), "{way:?}: {held:?}");
            proxy.mend();
            assert_eq!(stream.read_u8().await.unwrap(), b'x', "{way:?}");
        }
        proxy.set(Way::Slow(Duration::from_millis(10)));
        assert_eq!(echoed(&mut stream).await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn a_reset_is_no_end_in_good_order_and_concerns_new_connections_too() {
        let proxy = TcpProxy::to(echo().await).await.unwrap();
        let mut old = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        assert_eq!(echoed(&mut old).await.unwrap(), b'x');
        proxy.set(Way::Reset);
        let error = old.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        let mut new = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        assert!(echoed(&mut new).await.is_err());
        proxy.mend();
        let mut new = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        assert_eq!(echoed(&mut new).await.unwrap(), b'x');
    }
}
