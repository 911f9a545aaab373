//! Finds servers that join a cluster while a session is connected.
//!
//! A server sends a new list to its clients when its cluster changes, but async-nats drops each INFO after the
//! first. So this reads the greeting of the session's server again and again: a connection of its own, which
//! ends before the login.

use std::time::Duration;

use async_nats::{ServerAddr, ServerInfo};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::connect::ConnectSettings;
use super::session::Session;
use crate::random::random_byte;

/// The time between two looks. A random share of `SPREAD` is added.
const INTERVAL: Duration = Duration::from_secs(2);
const SPREAD: Duration = Duration::from_secs(1);

const GREETING_TIME: Duration = Duration::from_secs(1);

/// The maximum size of a greeting.
const MAX_GREETING: u64 = 1 << 20;

/// The servers of the cluster, as far as the broker has reported them.
#[derive(Debug, Default)]
pub(crate) struct Members(Vec<ServerAddr>);

impl Members {
    pub(crate) fn servers(&self) -> &[ServerAddr] {
        &self.0
    }

    /// Records a server's list. A server that is cut off from its cluster reports only itself; the earlier
    /// list stays then.
    pub(crate) fn reported(&mut self, settings: &ConnectSettings, urls: &[String]) {
        if settings.ignores_discovered() {
            return;
        }
        let reported: Vec<ServerAddr> = urls
            .iter()
            .filter_map(|url| settings.discovered_server(url))
            .collect();
        if reported.len() > 1 || self.0.is_empty() {
            self.0 = reported;
        }
    }

    /// Follows the changes of the session's cluster. Never returns.
    pub(crate) async fn follow(&mut self, settings: &ConnectSettings, session: &Session) {
        let info = session.client.server_info();
        self.reported(settings, &info.connect_urls);
        let address = &session.address;
        // A greeting inside TLS or a WebSocket would cost a handshake each time.
        let can_follow = info.cluster.is_some()
            && !settings.ignores_discovered()
            && !settings.is_tls_first()
            && !address.is_websocket();
        if !can_follow {
            return std::future::pending().await;
        }
        loop {
            sleep(INTERVAL + SPREAD * u32::from(random_byte()) / 256).await;
            if let Ok(Some(info)) = timeout(GREETING_TIME, greeting(address)).await {
                self.reported(settings, &info.connect_urls);
            }
        }
    }
}

/// Reads the first line that a server sends.
async fn greeting(address: &ServerAddr) -> Option<ServerInfo> {
    let host = address.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, address.port())).await.ok()?;
    let mut line = String::new();
    let mut reader = BufReader::new(stream.take(MAX_GREETING));
    reader.read_line(&mut line).await.ok()?;
    serde_json::from_str(line.strip_prefix("INFO ")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_an_isolated_server_does_not_replace_the_clusters() {
        let settings = ConnectSettings::new("nats://127.0.0.1").unwrap();
        let mut members = Members::default();
        let urls = |ports: &[u16]| -> Vec<String> {
            ports.iter().map(|p| format!("10.0.0.1:{p}")).collect()
        };
        members.reported(&settings, &urls(&[1]));
        members.reported(&settings, &urls(&[1, 2, 3]));
        members.reported(&settings, &urls(&[1]));
        assert_eq!(members.servers().len(), 3);
        members.reported(&settings, &urls(&[3, 4]));
        assert_eq!(members.servers().len(), 2);
        let mut none = Members::default();
        none.reported(&settings.ignore_discovered_servers(true), &urls(&[1, 2]));
        assert!(none.servers().is_empty());
    }
}
