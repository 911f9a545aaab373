//! The state of the connection, from the client's events and from answers.
//!
//! async-nats reports a change through a callback whose queue drops events when it is full, and exposes its
//! own state for polling only. So the callback updates this state at once, and a watchdog polls the client's
//! state in case an event was dropped.

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

/// The polling interval of the watchdog: if the disconnect event is lost, publishes in flight fail after this.
const WATCHDOG_ROUND: Duration = Duration::from_millis(25);

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) answers: Answers,
    connection: watch::Sender<Connection>,
    /// The current session. Events and answers of earlier sessions are ignored.
    session: AtomicU64,
    /// The number of sessions so far, including those that never became ready.
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

    /// Returns the number of a new session, which becomes the current one by [`up`](Self::up).
    pub(crate) fn number_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Handles an event of a session's client.
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

    /// Makes a ready session the current one.
    pub(crate) fn up(&self, session: u64) {
        self.session.store(session, Ordering::Release);
        self.answers.up(session);
        self.connection.send_modify(|connection| {
            connection.up = true;
            connection.number = session;
            connection.signs_of_life += 1;
        });
    }

    /// Records the end of the connection, and fails the publishes in flight.
    pub(crate) fn down(&self) {
        // Before the answers fail: a caller whose publish fails must find the connection down.
        self.connection
            .send_modify(|connection| connection.up = false);
        self.answers.down();
    }

    pub(crate) fn arrived(&self, session: u64, token: u64, message: async_nats::Message) {
        // An answer of an earlier server is no sign of life of the current one.
        if session == self.session.load(Ordering::Acquire)
            && self.answers.arrived(token, message) == Arrival::GivenUp
        {
            self.connection
                .send_modify(|connection| connection.signs_of_life += 1);
        }
    }

    /// Wakes the watchdog if it sleeps; otherwise one atomic load.
    pub(crate) fn in_use(&self) {
        if self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// Waits until the client has lost its connection, and records that.
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

    /// Sleeps until a publish is in flight or the connection has ended.
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
