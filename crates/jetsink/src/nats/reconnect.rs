//! The task that watches over the session and opens the next one when it ends.

use std::pin::pin;
use std::sync::Arc;

use async_nats::ServerAddr;
use tokio::time::sleep;
use tracing::{Instrument as _, debug, info, warn};

use super::connect::{ConnectSettings, reconnect_delay};
use super::session::Session;
use super::shared::Shared;
use crate::observe::spans;

/// Watches over the session and opens the next one when it ends. Never returns.
pub(crate) async fn keep_connected(shared: Arc<Shared>, settings: ConnectSettings) {
    let mut discovered = Vec::new();
    loop {
        let mut next = None;
        if let Some(session) = shared.session() {
            // A server that is cut off from its cluster reports only itself; keep the earlier list then.
            let reported = session.discovered(&settings);
            if reported.len() > 1 || discovered.is_empty() {
                discovered = reported;
            }
            next = watch_session(&shared, &session, &settings, &discovered).await;
            // Publishes in flight fail, and no later one uses this session.
            shared.link.down();
            shared.set_session(None);
            if next.is_some() {
                session.close();
            }
        }
        let next = match next {
            Some(other) => other,
            None => reconnect(&shared, &settings, &discovered).await,
        };
        shared.set_connect_error(None);
        shared.set_session(Some(next));
    }
}

/// Waits for the end of the session. Returns the next session if it is with another server.
async fn watch_session(
    shared: &Shared,
    session: &Session,
    settings: &ConnectSettings,
    discovered: &[ServerAddr],
) -> Option<Arc<Session>> {
    let mut ended = pin!(shared.link.watch_over(&session.client));
    loop {
        tokio::select! {
            () = &mut ended => break,
            () = shared.leave.notified() => {}
        }
        tokio::select! {
            () = &mut ended => break,
            other = connect_to_another_server(shared, session, settings, discovered) => if other.is_some() {
                warn!("this server stores nothing, moving to another one");
                return other;
            }
        }
    }
    warn!("the connection is lost, reconnecting");
    None
}

/// Opens a session with another server, while the current session continues.
async fn connect_to_another_server(
    shared: &Shared,
    session: &Session,
    settings: &ConnectSettings,
    discovered: &[ServerAddr],
) -> Option<Arc<Session>> {
    let servers = settings.servers_to_try(discovered);
    if servers.len() < 2 {
        return None;
    }
    let here = session.client.server_info().server_id;
    for (attempts, server) in (1..).zip(servers) {
        let open = Session::open(settings, vec![server], &shared.link);
        match open.instrument(spans::connect(attempts)).await {
            Ok(other) if other.client.server_info().server_id != here => return Some(other),
            Ok(_) => {}
            Err(error) => debug!(attempts, %error, "no connection to another server"),
        }
    }
    None
}

async fn reconnect(
    shared: &Shared,
    settings: &ConnectSettings,
    discovered: &[ServerAddr],
) -> Arc<Session> {
    let mut attempts = 0;
    loop {
        sleep(reconnect_delay(attempts)).await;
        attempts += 1;
        let servers = settings.servers_to_try(discovered);
        let open = Session::open(settings, servers, &shared.link);
        match open.instrument(spans::connect(attempts)).await {
            Ok(session) => {
                info!(attempts, "connected");
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
    }
}
