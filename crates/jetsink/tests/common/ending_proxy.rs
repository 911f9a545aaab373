//! A proxy that ends a connection after certain bytes, as a server does for a message that it can't accept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// When a connection ends.
#[derive(Debug, Clone, Copy)]
pub enum Ends {
    /// Once the client sends these bytes; the server never gets them.
    Before(&'static str),
    /// After the server got these bytes; no byte of the server comes back from then on.
    After(&'static str),
    /// After 500 to 1,000 ms.
    AfterTime {
        /// The number of connections that end. Later ones last.
        connections: usize,
    },
}

pub struct EndingProxy {
    pub port: u16,
    connections: Arc<AtomicUsize>,
    endings: Arc<AtomicUsize>,
    acceptor: AbortHandle,
}

impl EndingProxy {
    pub async fn to(port: u16, ends: Ends) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near_port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let endings = Arc::new(AtomicUsize::new(0));
        let accepted = (Arc::clone(&connections), Arc::clone(&endings));
        let acceptor = tokio::spawn(async move {
            let (connections, endings) = accepted;
            while let Ok((near, _)) = listener.accept().await {
                let number = connections.fetch_add(1, Ordering::Relaxed);
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
                    continue;
                };
                let endings = Arc::clone(&endings);
                tokio::spawn(async move {
                    match ends {
                        Ends::AfterTime { connections } if number < connections => {
                            let millis = 500 + number as u64 * 137 % 500;
                            let time = Duration::from_millis(millis);
                            let _ = timeout(time, pass(near, far, ends, &endings)).await;
                            endings.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => pass(near, far, ends, &endings).await,
                    }
                });
            }
        });
        Self {
            port: near_port,
            connections,
            endings,
            acceptor: acceptor.abort_handle(),
        }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The number of connections that it ended.
    pub fn endings(&self) -> usize {
        self.endings.load(Ordering::Relaxed)
    }
}

impl Drop for EndingProxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn pass(mut near: TcpStream, mut far: TcpStream, ends: Ends, endings: &AtomicUsize) {
    let (mut from_client, mut from_server) = (vec![0; 1 << 20], vec![0; 1 << 16]);
    let mut sent = Vec::new();
    loop {
        tokio::select! {
            read = near.read(&mut from_client) => {
                let Ok(read @ 1..) = read else { return };
                let bytes = &from_client[..read];
                let (Ends::Before(text) | Ends::After(text)) = ends else {
                    if far.write_all(bytes).await.is_err() {
                        return;
                    }
                    continue;
                };
                sent.extend_from_slice(bytes);
                let found = sent.windows(text.len()).any(|part| part == text.as_bytes());
                match ends {
                    Ends::Before(_) if found => {
                        endings.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    Ends::Before(_) | Ends::After(_) | Ends::AfterTime { .. } => {
                        if far.write_all(bytes).await.is_err() {
                            return;
                        }
                    }
                }
                if found {
                    endings.fetch_add(1, Ordering::Relaxed);
                    // The server gets the rest of the message and handles it.
                    let rest = timeout(
                        Duration::from_millis(50),
                        tokio::io::copy(&mut near, &mut far),
                    );
                    let _ = rest.await;
                    return;
                }
                let keep = sent.len().saturating_sub(text.len());
                sent.drain(..keep);
            }
            read = far.read(&mut from_server) => {
                let Ok(read @ 1..) = read else { return };
                if near.write_all(&from_server[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}
