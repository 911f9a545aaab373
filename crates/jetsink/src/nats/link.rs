//! The state of the connection, as the client's events and the answers tell it.
//!
//! async-nats tells of a change by a callback whose queue drops when it is full, and keeps the state
//! in a place that can be read but not waited for. So the callback moves this state at once, and a
//! watchdog reads the client's own, in case a call was dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Event, ServerError};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tracing::{info, warn};

use super::answers::{Answers, Arrival};
use super::wire::{Violation, violation};
use crate::publisher::Connection;

/// Bounds the time from a disconnect to the failure of what is in flight, should its event be lost.
const WATCHDOG_ROUND: Duration = Duration::from_millis(25);

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) answers: Answers,
    connection: watch::Sender<Connection>,
    /// The session whose events and answers count; those of earlier ones come too late to matter.
    session: AtomicU64,
    /// How many sessions there were, those that never got ready among them.
    sessions: AtomicU64,
    /// Set while the watchdog sleeps because nothing is in flight.
    parked: AtomicBool,
    wake: Notify,
}

impl Link {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            answers: Answers::default(),
            connection: watch::Sender::default(),
            session: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            parked: AtomicBool::new(false),
            wake: Notify::new(),
        })
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    /// The number of a new session, which counts once it is [`up`](Self::up).
    pub(crate) fn number_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The callback of a session's client.
    pub(crate) fn on_event(&self, session: u64, event: &Event) {
        if session != self.session.load(Ordering::Acquire) {
            return;
        }
        match event {
            Event::Disconnected | Event::Closed => self.down(),
            Event::ServerError(ServerError::Other(text)) => match violation(text) {
                Some((subject, Violation::Publish)) => self.answers.publish_denied(subject),
                Some((subject, Violation::Subscribe)) => self.answers.inbox_denied(subject),
                None => warn!(error = %text.escape_debug(), "the broker reports an error"),
            },
            Event::ServerError(error) => warn!(%error, "the broker reports an error"),
            Event::LameDuckMode => info!("the broker is about to shut down (lame duck mode)"),
            Event::Connected | Event::Draining | Event::SlowConsumer(_) | Event::ClientError(_) => {
            }
        }
    }

    /// The session is ready.
    pub(crate) fn up(&self, session: u64) {
        self.session.store(session, Ordering::Release);
        self.answers.up(session);
        self.connection.send_modify(|connection| {
            connection.up = true;
            connection.number = session;
            connection.signs_of_life += 1;
        });
    }

    /// There is no connection.
    pub(crate) fn down(&self) {
        // Before the answers fail: whoever is failed by it must find the circuit's evidence there.
        self.connection
            .send_modify(|connection| connection.up = false);
        self.answers.down();
    }

    pub(crate) fn arrived(&self, session: u64, token: u64, message: async_nats::Message) {
        // The life of a server that was left is no sign for the one we are with.
        if session == self.session.load(Ordering::Acquire)
            && self.answers.arrived(token, message) == Arrival::GivenUp
        {
            self.connection
                .send_modify(|connection| connection.signs_of_life += 1);
        }
    }

    /// Wakes the watchdog if it sleeps. One load where it doesn't.
    pub(crate) fn in_use(&self) {
        if self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// Ends when the client has no connection any more, and says so.
    pub(crate) async fn watch_over(&self, client: &Client) {
        loop {
            if client.connection_state() != State::Connected {
                self.down();
            }
            if !self.connection.borrow().up {
                return;
            }
            if self.answers.in_flight() == 0 {
                self.park().await;
            }
            sleep(WATCHDOG_ROUND).await;
        }
    }

    /// Sleeps until something is in flight, or the connection is known to be gone.
    async fn park(&self) {
        let mut connection = self.subscribe();
        self.parked.store(true, Ordering::Release);
        tokio::select! {
            () = self.wake.notified() => {}
            _ = connection.wait_for(|connection| !connection.up) => {}
        }
        self.parked.store(false, Ordering::Release);
    }
}
