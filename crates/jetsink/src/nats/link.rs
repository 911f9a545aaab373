//! The state of the connection, as the client's events and the answers tell it.
//!
//! async-nats tells of a change by a callback whose queue drops when it is full, and keeps the state
//! in a place that can be read but not waited for. So the callback moves this state at once, and a
//! watchdog compares it with what can be read, in case a call was dropped.

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

/// Two rounds of this bound the time from a disconnect to the failure of what is in flight (50 ms),
/// should its event be lost.
const WATCHDOG_ROUND: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Link {
    pub(super) answers: Answers,
    connection: watch::Sender<Connection>,
    /// `Connected` events seen, to compare with the client's count.
    connects: AtomicU64,
    /// Set while the watchdog sleeps because nothing is in flight.
    parked: AtomicBool,
    wake: Notify,
}

impl Link {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            answers: Answers::default(),
            connection: watch::Sender::default(),
            connects: AtomicU64::new(0),
            parked: AtomicBool::new(false),
            wake: Notify::new(),
        })
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    /// The client's callback.
    pub(super) fn on_event(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.connects.fetch_add(1, Ordering::AcqRel);
                self.up();
            }
            Event::Disconnected | Event::Closed => self.down(),
            Event::ServerError(ServerError::Other(text)) => match violation(text) {
                Some((subject, Violation::Publish)) => self.answers.publish_denied(subject),
                Some((subject, Violation::Subscribe)) => self.answers.inbox_denied(subject),
                None => warn!(error = %text.escape_debug(), "the broker reports an error"),
            },
            Event::ServerError(error) => warn!(%error, "the broker reports an error"),
            Event::LameDuckMode => info!("the broker is about to shut down (lame duck mode)"),
            Event::Draining | Event::SlowConsumer(_) | Event::ClientError(_) => {}
        }
    }

    /// There is a connection.
    pub(super) fn up(&self) {
        self.answers.up();
        self.connection.send_modify(|connection| {
            connection.up = true;
            connection.signs_of_life += 1;
        });
    }

    /// There is none.
    pub(super) fn down(&self) {
        // Before the answers fail: whoever is failed by it must find the circuit's evidence there.
        self.connection
            .send_modify(|connection| connection.up = false);
        self.answers.down();
    }

    pub(super) fn arrived(&self, token: u64, message: async_nats::Message) {
        if self.answers.arrived(token, message) == Arrival::GivenUp {
            self.connection
                .send_modify(|connection| connection.signs_of_life += 1);
        }
    }

    /// Wakes the watchdog if it sleeps. One load where it doesn't.
    pub(super) fn in_use(&self) {
        if self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// Corrects this state by the client's own, for ever.
    pub(super) async fn watch_over(self: Arc<Self>, client: Client) {
        let mut suspicious = false;
        loop {
            let up = self.connection.borrow().up;
            if up && self.answers.in_flight() == 0 {
                self.parked.store(true, Ordering::Release);
                self.wake.notified().await;
            }
            sleep(WATCHDOG_ROUND).await;
            let connects = client.statistics().connects.load(Ordering::Acquire);
            let missed = connects.saturating_sub(self.connects.load(Ordering::Acquire));
            let connected = client.connection_state() == State::Connected;
            let differs = missed > 0 || connected != self.connection.borrow().up;
            // An event may just be under way; what differs twice in a row was lost.
            if differs && suspicious {
                self.connects.fetch_add(missed, Ordering::AcqRel);
                self.down();
                if connected {
                    self.up();
                }
            }
            suspicious = differs && !suspicious;
        }
    }
}
