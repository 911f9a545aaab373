//! One connection, one client.
//!
//! async-nats would reconnect by itself, but its queue survives the connection: what was handed over
//! in the moment of the disconnect leaves after the reconnect, before anything that is sent again, and
//! so out of order. Therefore a client here lives as long as its connection, and its queue dies with
//! it (docs/decisions/0004-one-client-per-connection.md).

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ReconnectToServer, ServerAddr};
use futures_util::StreamExt as _;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::connect::{ConnectError, ConnectSettings};
use super::link::Link;

/// The longest that telling a client to end may take.
const TIME_TO_HANG_UP: Duration = Duration::from_secs(5);

/// What comes in for a subscription and is not taken yet; past it the client drops. The server sends a
/// consumer's messages up to 32 MiB ahead of its flow control, and none has less than 60 bytes: the
/// client's usual 65,536 were too few for small ones.
const MOST_UNREAD: usize = 1 << 20;

pub(crate) struct Session {
    /// No two sessions of a publisher share it.
    pub(crate) number: u64,
    pub(crate) client: Client,
    /// Where answers come in, with the dot at its end.
    inbox: String,
    reader: AbortHandle,
}

impl Session {
    /// Tries each server once, in their order.
    pub(crate) async fn open(
        settings: &ConnectSettings,
        servers_to_try: Vec<ServerAddr>,
        link: &Arc<Link>,
    ) -> Result<Arc<Self>, ConnectError> {
        let number = link.number_session();
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
            // A `Subject` is one; the API's and the inboxes are ours.
            .skip_subject_validation(true)
            .ignore_discovered_servers()
            .subscription_capacity(MOST_UNREAD)
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
                    answered.arrived(number, token, message);
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

    /// Where the answer for `token` comes in. Of its exact size, since the client would copy it otherwise.
    pub(crate) fn reply(&self, token: u64) -> async_nats::Subject {
        let digits = token.checked_ilog10().unwrap_or(0) as usize + 1;
        let mut reply = String::with_capacity(self.inbox.len() + digits);
        // Writing to a String can't fail.
        let _ = write!(reply, "{}{token}", self.inbox);
        reply.into()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Ends a connection that is there, also where a pipeline at rest still holds the session.
    pub(crate) fn hang_up(&self) {
        let client = self.client.clone();
        tokio::spawn(async move {
            // A queue that is full for so long goes to nobody: the connection ends with its holders.
            let _ = timeout(TIME_TO_HANG_UP, client.drain()).await;
        });
    }

    /// The servers of the cluster that the broker told of.
    pub(crate) fn discovered(&self, settings: &ConnectSettings) -> Vec<ServerAddr> {
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
