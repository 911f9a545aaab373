//! One connection, one client; and the task that opens the next when it ends.
//!
//! async-nats would reconnect by itself, but its queue survives the connection: what was handed over
//! in the moment of the disconnect leaves after the reconnect, before anything that is sent again, and
//! so out of order. Therefore a client here lives as long as its connection, and its queue dies with
//! it (docs/decisions/0004-one-client-per-connection.md).

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ReconnectToServer, ServerAddr};
use futures_util::StreamExt as _;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::{Instrument as _, debug, info, warn};

use super::link::Link;
use super::publisher::Shared;
use crate::connect::{ConnectError, ConnectSettings, reconnect_delay};
use crate::spans;

pub(super) struct Session {
    /// No two sessions of a publisher share it.
    pub(super) number: u64,
    pub(super) client: Client,
    /// Where answers come in, with the dot at its end.
    pub(super) inbox: String,
    reader: AbortHandle,
}

impl Session {
    /// Tries each server once, in their order.
    pub(super) async fn open(
        settings: &ConnectSettings,
        servers_to_try: Vec<ServerAddr>,
        link: &Arc<Link>,
    ) -> Result<Arc<Self>, ConnectError> {
        let number = link.begin_session();
        let on_event = Arc::clone(link);
        let nowhere = nowhere(settings)?;
        let mut servers = vec![nowhere.clone()];
        servers.extend(servers_to_try);
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
        let mut left = None;
        if let Some(session) = shared.session() {
            left = stay(&shared, &session, &settings).await;
            // What it said last: servers come and go.
            let told = session.discovered(&settings);
            if !told.is_empty() {
                discovered = told;
            }
            shared.set_session(None);
            match left {
                None => warn!("the connection is lost, reconnecting"),
                Some(_) => warn!("the broker keeps failing, trying another of its servers"),
            }
        }
        shared.set_session(Some(reconnect(&shared, &settings, &discovered, left).await));
    }
}

/// Ends with the session; where it was left for another server, gives the id of its own.
async fn stay(shared: &Shared, session: &Session, settings: &ConnectSettings) -> Option<String> {
    let ended = shared.link.watch_over(&session.client);
    let mut ended = pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => return None,
            () = shared.leave.notified() => {}
        }
        let known = settings.servers_to_try(&session.discovered(settings));
        if known.len() > 1 {
            // Nothing is registered for this session from here on; it ends with those who hold it.
            shared.link.down();
            return Some(session.client.server_info().server_id);
        }
    }
}

/// Opens a session, with another server than the one that was `left` where there is one.
async fn reconnect(
    shared: &Shared,
    settings: &ConnectSettings,
    discovered: &[ServerAddr],
    left: Option<String>,
) -> Arc<Session> {
    let mut servers = settings.servers_to_try(discovered);
    let mut attempts = 0;
    loop {
        sleep(reconnect_delay(attempts)).await;
        attempts += 1;
        let open = Session::open(settings, servers.clone(), &shared.link);
        match open.instrument(spans::connect(attempts)).await {
            Ok(session)
                if attempts < servers.len()
                    && left.as_ref() == Some(&session.client.server_info().server_id) => {}
            Ok(session) => {
                info!(attempts, "connected");
                shared.set_connect_error(None);
                return session;
            }
            Err(error) if shared.connect_error().as_ref() == Some(&error) => {
                debug!(attempts, %error, "still no connection");
            }
            Err(error) => {
                warn!(attempts, %error, "no connection");
                shared.set_connect_error(Some(error));
            }
        }
        servers.rotate_left(1);
    }
}
