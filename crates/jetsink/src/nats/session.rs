//! One connection, one client.
//!
//! async-nats would reconnect by itself, but its queue survives the connection: a message queued at the
//! moment of the disconnect would be sent after the reconnect, before the retries, and so out of order.
//! Therefore a client here lives as long as its connection, and its queue is dropped with it
//! (docs/decisions/0004-one-client-per-connection.md).

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ReconnectToServer, ServerAddr};
use futures_util::StreamExt as _;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::connect::{ConnectError, ConnectSettings, Target};
use super::link::Link;
use super::reasons::Reasons;
use crate::random::random_id;

/// The time limit for passing the request to end to a client.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The capacity of a subscription in messages; the client drops further ones. The server sends a consumer's
/// messages up to 32 MiB ahead of its flow control, and a message has at least 60 bytes: 65,536, the
/// client's default, is too small for small messages.
const MAX_UNREAD: usize = 1 << 20;

pub(crate) struct Session {
    /// Unique among the sessions of a publisher.
    pub(crate) number: u64,
    pub(crate) client: Client,
    /// The server's address, as it was dialled.
    pub(crate) address: ServerAddr,
    inbox_prefix: String,
    /// The prefix of reply subjects, with the dot at its end.
    inbox: String,
    pub(super) reasons: Reasons,
    reader: AbortHandle,
}

impl Session {
    /// Connects to one server.
    pub(crate) async fn open(
        settings: &ConnectSettings,
        target: &Target,
        link: &Arc<Link>,
    ) -> Result<Arc<Self>, ConnectError> {
        let number = link.number_session();
        let on_event = Arc::clone(link);
        let inbox_prefix = settings.inbox_prefix_text().to_owned();
        let inbox = format!("{inbox_prefix}.{}.", random_id());
        let all_answers = format!("{inbox}*");
        let ours = all_answers.clone();
        let nowhere = nowhere(settings)?;
        let servers = vec![nowhere.clone(), target.address.clone()];
        // The client chooses the server of the first connection. A reconnect must not succeed: its attempts
        // go to an address that refuses, until they are used up and the client ends.
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
            .options_for(target, link.requires_tls.load(Ordering::Relaxed))
            .await?
            .retain_servers_order()
            // A `Subject` is checked already; the subjects of the API and the inboxes are built here.
            .skip_subject_validation(true)
            .ignore_discovered_servers()
            .subscription_capacity(MAX_UNREAD)
            .max_reconnects(servers.len())
            .reconnect_to_server_callback(select)
            .event_callback(move |event| {
                on_event.on_event(number, &ours, &event);
                std::future::ready(())
            });
        let connecting = timeout(settings.time_to_connect(), options.connect(servers));
        let client = match connecting.await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(settings.failed(&error).await),
            Err(_) => return Err(settings.timed_out()),
        };
        if client.server_info().tls_required {
            link.requires_tls.store(true, Ordering::Relaxed);
        }
        let mut answers = client
            .subscribe(all_answers)
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
            address: target.address.clone(),
            inbox_prefix,
            inbox,
            reasons: Reasons::new(),
            reader: reader.abort_handle(),
        }))
    }

    /// Returns an inbox of its own. The client's inboxes continue a state that processes share after a fork. It has
    /// as many tokens as the inbox of acknowledgements: a user may be allowed to subscribe to `_INBOX.*.*` only.
    pub(crate) fn new_inbox(&self) -> String {
        format!("{}.{}.r", self.inbox_prefix, random_id())
    }

    /// Returns the reply subject of `token`, with the exact capacity: the client would copy it otherwise.
    pub(crate) fn reply(&self, token: u64) -> async_nats::Subject {
        let digits = token.checked_ilog10().unwrap_or(0) as usize + 1;
        let mut reply = String::with_capacity(self.inbox.len() + digits);
        // Writing to a String can't fail.
        let _ = write!(reply, "{}{token}", self.inbox);
        reply.into()
    }

    /// The server's process: a server that is started again has another id.
    pub(crate) fn server_id(&self) -> Arc<str> {
        self.client.server_info().server_id.into()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Closes the connection, even if an idle pipeline still holds the session.
    pub(crate) fn close(&self) {
        let client = self.client.clone();
        tokio::spawn(async move {
            // If the client's queue stays full, the connection ends when the last holder drops the session.
            let _ = timeout(CLOSE_TIMEOUT, client.drain()).await;
        });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Returns an address that refuses at once: no process can listen on port 0.
fn nowhere(settings: &ConnectSettings) -> Result<ServerAddr, ConnectError> {
    settings.parse_address("nats://127.0.0.1:0")
}
