//! One connection, one client; and the task that opens the next when it ends.
//!
//! async-nats would reconnect by itself, but its queue survives the connection: what was handed over
//! in the moment of the disconnect leaves after the reconnect, before anything that is sent again, and
//! so out of order. Therefore a client here lives as long as its connection, and its queue dies with
//! it (docs/decisions/0004-one-client-per-connection.md).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ReconnectToServer, ServerAddr};
use futures_util::StreamExt as _;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::link::Link;
use super::publisher::Shared;
use crate::connect::{ConnectError, ConnectSettings, reconnect_delay};

pub(super) struct Session {
    /// No two sessions of a publisher share it.
    pub(super) number: u64,
    pub(super) client: Client,
    /// Where answers come in, with the dot at its end.
    pub(super) inbox: String,
    reader: AbortHandle,
}

impl Session {
    /// Tries each server once, those that the broker told of among them.
    pub(super) async fn open(
        settings: &ConnectSettings,
        discovered: &[ServerAddr],
        link: &Arc<Link>,
    ) -> Result<Arc<Self>, ConnectError> {
        let number = link.begin_session();
        let on_event = Arc::clone(link);
        let nowhere = nowhere(settings)?;
        let mut servers = vec![nowhere.clone()];
        servers.extend(settings.servers_to_try(discovered));
        // The first connection is chosen by the client; a second one there will not be: it is sent
        // nowhere until its attempts are used up, and then it ends.
        let connected_once = AtomicBool::new(false);
        let select = move |_, _| {
            let again = connected_once.swap(true, Ordering::AcqRel);
            let target = again.then(|| ReconnectToServer {
                addr: nowhere.clone(),
                delay: Some(Duration::ZERO),
            });
            std::future::ready(target)
        };
        let options = settings
            .options()
            .await?
            .retain_servers_order()
            .ignore_discovered_servers()
            .max_reconnects(servers.len())
            .reconnect_to_server_callback(select)
            .event_callback(move |event| {
                on_event.on_event(number, &event);
                std::future::ready(())
            });
        let client = timeout(
            settings.time_to_connect(servers.len()),
            options.connect(servers),
        )
        .await
        .map_err(|_| settings.timed_out())?
        .map_err(|error| settings.failed(&error))?;
        let inbox = format!("{}.", client.new_inbox());
        let mut answers = client
            .subscribe(format!("{inbox}*"))
            .await
            .map_err(|error| settings.inbox_failed(&error))?;
        let (prefix, answered) = (inbox.clone(), Arc::clone(link));
        let reader = tokio::spawn(async move {
            while let Some(message) = answers.next().await {
                let token = message.subject.strip_prefix(prefix.as_str());
                if let Some(Ok(token)) = token.map(str::parse) {
                    answered.arrived(token, message);
                }
            }
        });
        Ok(Arc::new(Self {
            number,
            client,
            inbox,
            reader: reader.abort_handle(),
        }))
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// The servers of the cluster that the broker told of.
    fn discovered(&self, settings: &ConnectSettings) -> Vec<ServerAddr> {
        let urls = self.client.server_info().connect_urls;
        urls.iter()
            .filter_map(|url| settings.discovered_server(url))
            .collect()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// An address that refuses at once: nothing can listen on port 0.
fn nowhere(settings: &ConnectSettings) -> Result<ServerAddr, ConnectError> {
    settings.parse_address("nats://127.0.0.1:0")
}

/// Watches over the session, and opens the next one when it ends; for ever.
pub(super) async fn keep_connected(shared: Arc<Shared>, settings: ConnectSettings) {
    let mut discovered = Vec::new();
    loop {
        if let Some(session) = shared.session() {
            let told = session.discovered(&settings);
            if !told.is_empty() {
                discovered = told;
            }
            shared.link.watch_over(&session.client).await;
            shared.set_session(None);
            warn!("the connection is lost, reconnecting");
        }
        let mut attempts = 0;
        loop {
            sleep(reconnect_delay(attempts)).await;
            attempts += 1;
            match Session::open(&settings, &discovered, &shared.link).await {
                Ok(session) => {
                    info!(attempts, "connected");
                    shared.set_session(Some(session));
                    break;
                }
                Err(error) => debug!(attempts, %error, "no connection yet"),
            }
        }
    }
}
