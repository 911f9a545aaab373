//! A way between two processes that can be cut.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::FixtureError;

/// A port on 127.0.0.1 whose connections lead to another one. While it is cut, no byte passes and no
/// connection ends, as where packets are dropped on their way; what was held back passes once it is
/// mended, as TCP would send it again. Dropping it ends its connections. It runs on the tokio runtime
/// that made it.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    cut: watch::Sender<bool>,
    acceptor: AbortHandle,
}

impl TcpProxy {
    /// Leads to a port of 127.0.0.1.
    ///
    /// # Errors
    /// [`FixtureError::Io`] where there is no port for it.
    pub async fn to(port: u16) -> Result<Self, FixtureError> {
        let target = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(FixtureError::io("binding a proxy"))?;
        let address = listener.local_addr();
        let address = address.map_err(FixtureError::io("binding a proxy"))?;
        let (cut, gate) = watch::channel(false);
        let acceptor = tokio::spawn(accept(listener, target, gate)).abort_handle();
        Ok(Self {
            port: address.port(),
            cut,
            acceptor,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets nothing pass any more.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Lets everything pass again.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// The connections are its own, and end with it.
async fn accept(listener: TcpListener, target: SocketAddr, gate: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let mut gate = gate.clone();
        connections.spawn(async move {
            gate.wait_for(|cut| !cut).await.ok()?;
            let far = TcpStream::connect(target).await.ok()?;
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            // Whichever side ends, both halves go, and with them the connections.
            tokio::select! {
                () = pass(near_in, far_out, gate.clone()) => {}
                () = pass(far_in, near_out, gate.clone()) => {}
            }
            Some(())
        });
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        // Also before an end is told: it would not come through either.
        if gate.wait_for(|cut| !cut).await.is_err()
            || read == 0
            || to.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}
