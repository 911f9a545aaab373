//! A proxy that ends a connection after certain bytes, as a server does for a message that it can't accept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// When a connection ends.
#[derive(Debug, Clone, Copy)]
pub enum Ends {
    /// Once the client sends these bytes; the server never gets them.
    Before(&'static str),
    /// After the server got these bytes; no byte of the server comes back from then on.
    After(&'static str),
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
                connections.fetch_add(1, Ordering::Relaxed);
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
                    continue;
                };
                tokio::spawn(pass(near, far, ends, Arc::clone(&endings)));
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

async fn pass(mut near: TcpStream, mut far: TcpStream, ends: Ends, endings: Arc<AtomicUsize>) {
    let (mut from_client, mut from_server) = (vec![0; 1 << 20], vec![0; 1 << 16]);
    let mut sent = Vec::new();
    loop {
        tokio::select! {
            read = near.read(&mut from_client) => {
                let Ok(read @ 1..) = read else { return };
                let bytes = &from_client[..read];
                sent.extend_from_slice(bytes);
                let (Ends::Before(text) | Ends::After(text)) = ends;
                let found = sent.windows(text.len()).any(|part| part == text.as_bytes());
                match ends {
                    Ends::Before(_) if found => {
                        endings.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    Ends::Before(_) | Ends::After(_) => {
                        if far.write_all(bytes).await.is_err() {
                            return;
                        }
                    }
                }
                if found {
                    endings.fetch_add(1, Ordering::Relaxed);
                    // The server gets the rest of the message and handles it.
                    let rest = tokio::time::timeout(
                        std::time::Duration::from_millis(50),
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
