//! The task that watches over the session and opens the next one when it ends.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::ServerAddr;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::connect::{ConnectError, ConnectSettings, Target, reconnect_delay};
use super::dial::{Dial, Tries};
use super::members::Members;
use super::session::Session;
use super::shared::Shared;
use crate::sync::lock;

/// A session that ends sooner is a short one.
const SHORT: Duration = Duration::from_secs(1);

/// The longest wait after short sessions, so that delivery resumes within about a second.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// After this many short sessions, all servers are tried in random order.
const MAX_SHORT_WITH_ONE: usize = 8;

/// The part of reconnecting that outlives a session.
struct Reconnect {
    shared: Arc<Shared>,
    settings: ConnectSettings,
    members: Members,
    /// The server of the last session: it is tried first.
    last: Option<ServerAddr>,
    /// Short sessions since the last long one.
    short: usize,
}

/// Watches over the session and opens the next one when it ends. Never returns.
pub(crate) async fn keep_connected(shared: Arc<Shared>, settings: ConnectSettings) {
    let mut reconnect = Reconnect {
        shared,
        settings,
        members: Members::default(),
        last: None,
        short: 0,
    };
    loop {
        let next = match reconnect.shared.session() {
            Some(session) => reconnect.watch(&session).await,
            None => None,
        };
        let next = match next {
            Some(other) => other,
            None => reconnect.connect().await,
        };
        reconnect.shared.set_connect_error(None);
        reconnect.shared.set_session(Some(next));
    }
}

impl Reconnect {
    /// Waits for the end of the session. Returns the next session if it is with another server.
    async fn watch(&mut self, session: &Session) -> Option<Arc<Session>> {
        let started = Instant::now();
        self.last = Some(session.address.clone());
        let next = self.watch_until_end(session).await;
        // Publishes in flight fail, and no later one uses this session.
        self.shared.link.down();
        self.shared.set_session(None);
        if next.is_some() {
            session.close();
            self.short = 0;
            return next;
        }
        let reason = self.shared.link.last_error();
        if self.short > 0 {
            debug!(reason, "the connection is lost again, reconnecting");
        } else {
            warn!(reason, "the connection is lost, reconnecting");
        }
        self.short = if started.elapsed() < SHORT {
            self.short + 1
        } else {
            0
        };
        None
    }

    async fn watch_until_end(&mut self, session: &Session) -> Option<Arc<Session>> {
        let shared = Arc::clone(&self.shared);
        let mut ended = pin!(shared.link.watch_over(&session.client));
        loop {
            tokio::select! {
                () = &mut ended => return None,
                () = self.members.follow(&self.settings, session) => {}
                () = shared.leave.notified() => {}
            }
            tokio::select! {
                () = &mut ended => return None,
                other = self.connect_to_another_server(session) => if other.is_some() {
                    warn!("this server stores nothing, moving to another one");
                    return other;
                }
            }
        }
    }

    /// Opens a session with another server, while the current session continues.
    async fn connect_to_another_server(&self, session: &Session) -> Option<Arc<Session>> {
        let targets = self.settings.targets(self.members.servers(), None);
        if targets.len() < 2 {
            return None;
        }
        let here = session.server_id();
        let dial = Dial {
            settings: &self.settings,
            link: &self.shared.link,
            tries: Tries::Once,
            accept: &|other| other.server_id() != here,
            failed: &|target, attempts, error| {
                let server = target.address.as_url_str();
                debug!(server, attempts, %error, "no connection to another server");
            },
        };
        dial.first(targets).await.ok()
    }

    async fn connect(&self) -> Arc<Session> {
        sleep(self.wait()).await;
        let last = self.last.as_ref();
        let last = last.filter(|_| self.short <= MAX_SHORT_WITH_ONE);
        // An error of a server is logged when it changes.
        let logged: Mutex<HashMap<String, ConnectError>> = Mutex::default();
        let failed = |target: &Target, attempts: usize, error: &ConnectError| {
            let server = target.address.as_url_str();
            let before = lock(&logged).insert(server.to_owned(), error.clone());
            if before.as_ref() == Some(error) || self.short > 1 {
                debug!(server, attempts, %error, "still no connection");
            } else {
                warn!(server, attempts, %error, "no connection");
            }
            self.shared.set_connect_error(Some(error.clone()));
        };
        let dial = Dial {
            settings: &self.settings,
            link: &self.shared.link,
            tries: Tries::Endless,
            accept: &|_| true,
            failed: &failed,
        };
        loop {
            let targets = self.settings.targets(self.members.servers(), last);
            if let Ok(session) = dial.first(targets).await {
                let server = session.address.as_url_str();
                if self.short > 0 {
                    debug!(server, "connected again");
                } else {
                    info!(server, "connected");
                }
                return session;
            }
        }
    }

    /// The wait before the next connection: a server may accept connections and end them at once.
    fn wait(&self) -> Duration {
        match u32::try_from(self.short) {
            Ok(0 | 1) => Duration::ZERO,
            Ok(short @ 2..=4) => reconnect_delay(short as usize),
            Ok(short) => reconnect_delay(5)
                .saturating_mul(1 << (short - 4).min(8))
                .min(MAX_WAIT),
            Err(_) => MAX_WAIT,
        }
    }
}
