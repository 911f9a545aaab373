//! The NATS publisher: implements the port over one connection at a time.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::connect::{ConnectError, ConnectSettings};
use super::dial::{Dial, Tries};
use super::read::{stored_ids, stream_created};
use super::reconnect::keep_connected;
use super::shared::Shared;
use super::window::NatsWindow;
use crate::message::envelope::Envelope;
use crate::outcome::{Acknowledgement, PublishError};
use crate::publisher::baseline::Baselines;
use crate::publisher::look_up::{StoredId, StoredIds};
use crate::publisher::window::Window;
use crate::publisher::{ConnectionState, Publisher};

/// A [`Publisher`] over one NATS connection at a time.
///
/// - Passes no message to the client without a connection, and drops the client with its connection:
///   otherwise the client would keep unsent messages and send them late, out of order.
/// - When the connection ends, publishes in flight fail within 50 ms with
///   [`ConnectionLost`](PublishError::ConnectionLost), and the publisher reconnects, without a limit of
///   attempts.
/// - A publish that is given up leaves no entry, so memory does not grow in an outage.
/// - Moves to another known server if the current one keeps failing while it answers pings, for instance
///   because it is cut off from its cluster.
/// - When an answer is late, sends a request to the JetStream API. Its answer distinguishes a failing
///   subject from a failing broker.
///
/// Dropping the publisher closes the connection.
///
/// ```no_run
/// use jetsink::{ConnectSettings, NatsPublisher, Sink, SinkSettings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = ConnectSettings::new("nats://10.0.0.1,nats://10.0.0.2")?
///     .credentials_file("/etc/app/app.creds")
///     .start_disconnected(true);
/// let sink = Sink::new(NatsPublisher::connect(broker).await?, SinkSettings::default());
/// if let Some(error) = sink.publisher().connect_error() {
///     eprintln!("{error}"); // why there is no connection, so far
/// }
/// # Ok(())
/// # }
/// ```
pub struct NatsPublisher {
    shared: Arc<Shared>,
    reconnecting: AbortHandle,
}

impl NatsPublisher {
    /// Connects.
    ///
    /// Tries each server once, several at a time, within the connect timeout for each, unless
    /// [`start_disconnected`](ConnectSettings::start_disconnected) is set. Later it reconnects by itself,
    /// without a limit of attempts. Dropping the future gives up.
    ///
    /// # Errors
    /// [`ConnectError::File`] and [`ConnectError::Setting`] for problems of the settings, also if it starts
    /// disconnected; otherwise [`ConnectError::Refused`] if no server accepts the connection. The texts
    /// contain no credentials.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn connect(settings: ConnectSettings) -> Result<Self, ConnectError> {
        let shared = Arc::new(Shared::new(&settings));
        if settings.starts_disconnected() {
            // Problems of the settings are reported at once all the same.
            settings.options().await?;
        } else {
            let dial = Dial {
                settings: &settings,
                link: &shared.link,
                tries: Tries::Once,
                accept: &|_| true,
                failed: &|_, _, _| {},
            };
            let session = dial.first(settings.targets(&[], None)).await?;
            shared.set_session(Some(session));
        }
        let reconnecting = tokio::spawn(keep_connected(Arc::clone(&shared), settings));
        Ok(Self {
            shared,
            reconnecting: reconnecting.abort_handle(),
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns the reason why the last attempt to connect failed; `None` while connected. If the servers
    /// failed for different reasons, the reason is the last server's.
    #[must_use]
    pub fn connect_error(&self) -> Option<ConnectError> {
        self.shared.connect_error()
    }

    /// Returns the version of the connected server; `None` without a connection.
    #[must_use]
    pub fn server_version(&self) -> Option<String> {
        // A session outlasts its connection for a moment.
        let is_up = self.shared.link.subscribe().borrow().up;
        let session = self.shared.session().filter(|_| is_up)?;
        Some(session.client.server_info().version)
    }

    /// Returns the number of publishes that wait for an answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.link.answers.in_flight()
    }
}

impl Publisher for NatsPublisher {
    async fn publish(
        &self,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let session = self.shared.session().ok_or(PublishError::NotConnected)?;
        self.shared.publish_in(&session, envelope, deadline).await
    }

    fn enforces_deadline(&self) -> bool {
        true
    }

    fn window(&self, connection: Option<u64>) -> Box<dyn Window + '_> {
        let session = match connection {
            Some(number) => self.shared.session_of(number),
            None => self.shared.session(),
        };
        Box::new(NatsWindow::new(&self.shared, session))
    }

    async fn stored_ids(
        &self,
        events: &[Envelope],
        after: &Baselines,
        visit: &mut (dyn FnMut(StoredId<'_>) + Send),
    ) -> Result<StoredIds, PublishError> {
        let session = self.shared.session().ok_or(PublishError::NotConnected)?;
        stored_ids(&self.shared, &session, events, after, visit).await
    }

    async fn stream_created(
        &self,
        stream: &str,
        domain: Option<&str>,
    ) -> Result<Option<String>, PublishError> {
        let session = self.shared.session().ok_or(PublishError::NotConnected)?;
        stream_created(&self.shared, &session, stream, domain).await
    }

    fn request_failover(&self) {
        // Has no effect while it is connecting.
        self.shared.leave.notify_waiters();
    }

    fn connection(&self) -> Option<watch::Receiver<ConnectionState>> {
        Some(self.shared.link.subscribe())
    }
}

impl Drop for NatsPublisher {
    fn drop(&mut self) {
        self.reconnecting.abort();
    }
}

impl fmt::Debug for NatsPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsPublisher")
            .field("connection", &*self.shared.link.subscribe().borrow())
            .field("expected_stream", &self.shared.expected_stream())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
