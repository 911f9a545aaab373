//! The state of the connection, from the client's events and from answers.
//!
//! async-nats reports a change through a callback whose queue drops events when it is full, and exposes its
//! own state for polling only. So the callback updates this state at once, and a watchdog polls the client's
//! state in case an event was dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Event, ServerError};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::answers::{Answers, Arrival, SessionEnd};
use super::suspects::Suspects;
use super::wire::{Violation, broken_limit, may_be_about_a_message, violation};
use crate::message::rules::OneLine;
use crate::publisher::ConnectionState;
use crate::sync::{lock, read, write};

/// The polling interval of the watchdog: if the disconnect event is lost, publishes in flight fail after this.
const WATCHDOG_ROUND: Duration = Duration::from_millis(25);

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) answers: Answers,
    connection: watch::Sender<ConnectionState>,
    /// The current session. Events and answers of earlier sessions are ignored.
    session: AtomicU64,
    /// The number of sessions so far, including those that never became ready.
    sessions: AtomicU64,
    /// Set while the watchdog sleeps because nothing is in flight.
    parked: AtomicBool,
    wake: Notify,
    errors: Mutex<Errors>,
    /// The process of the current session's server.
    server: RwLock<Arc<str>>,
    pub(crate) suspects: Suspects,
    /// One turn of a publish that must be alone in flight (`turn`).
    pub(super) turns: Semaphore,
    /// Whether a server has required TLS.
    pub(crate) requires_tls: AtomicBool,
}

/// The errors that the server reports beside its answers.
#[derive(Debug, Default)]
struct Errors {
    /// The last one over the current session: the reason if the server ends the connection.
    of_session: Option<String>,
    /// The last one in the log.
    logged: Option<String>,
    /// The sessions whose subscription to their answers was refused before they were the current one; the last
    /// refusal first. Several servers are dialled at a time.
    denied_early: Vec<(u64, String)>,
    /// Refused subscriptions of readers over the current session.
    denied_readers: Vec<String>,
}

/// The maximum number of refused subscriptions that are remembered, of readers and of sessions.
const MAX_DENIED: usize = 64;

impl Link {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            answers: Answers::default(),
            connection: watch::Sender::default(),
            session: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            parked: AtomicBool::new(false),
            wake: Notify::new(),
            errors: Mutex::default(),
            server: RwLock::new("".into()),
            suspects: Suspects::default(),
            turns: Semaphore::new(1),
            requires_tls: AtomicBool::new(false),
        })
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<ConnectionState> {
        self.connection.subscribe()
    }

    /// Returns the number of a new session, which becomes the current one by [`up`](Self::up).
    pub(crate) fn number_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Handles an event of a session's client. `answers` is its subscription to answers.
    pub(crate) fn on_event(&self, session: u64, answers: &str, event: &Event) {
        if let Event::ServerError(ServerError::Other(text)) = event
            && let Some((subject, Violation::Subscribe)) = violation(text)
        {
            return self.subscription_denied(session, &subject, subject == answers);
        }
        if session != self.session.load(Ordering::Acquire) {
            return;
        }
        match event {
            Event::Disconnected | Event::Closed => self.down(),
            Event::ServerError(ServerError::Other(text)) => match violation(text) {
                Some((subject, Violation::Publish)) => {
                    self.answers.publish_denied(session, &subject)
                }
                Some((_, Violation::Subscribe)) => {} // handled above
                None => self.reported(OneLine(text).to_string()),
            },
            Event::ServerError(error) => self.reported(error.to_string()),
            Event::LameDuckMode => info!("the broker is about to shut down (lame duck mode)"),
            Event::Connected | Event::Draining | Event::SlowConsumer(_) | Event::ClientError(_) => {
            }
        }
    }

    /// Records a refused subscription: to the answers of all publishes, which fail, or of one reader. A session that
    /// is not the current one yet may become it.
    fn subscription_denied(&self, session: u64, subject: &str, to_answers: bool) {
        let mut errors = lock(&self.errors);
        let is_current = session == self.session.load(Ordering::Acquire);
        match (to_answers, is_current) {
            (true, true) => {
                drop(errors);
                // If another session is the current one by now, this has no effect.
                self.answers.inbox_denied(session, subject);
            }
            (true, false) => {
                let early = &mut errors.denied_early;
                early.truncate(MAX_DENIED - 1);
                early.insert(0, (session, subject.to_owned()));
            }
            (false, true) if errors.denied_readers.len() < MAX_DENIED => {
                errors.denied_readers.push(subject.to_owned());
            }
            (false, _) => {}
        }
    }

    /// Whether the server refused a reader's subscription over the current session.
    pub(crate) fn is_reader_denied(&self, inbox: &str) -> bool {
        let errors = lock(&self.errors);
        errors.denied_readers.iter().any(|denied| denied == inbox)
    }

    /// Makes a ready session the current one.
    pub(crate) fn up(&self, session: u64, server: Arc<str>) {
        self.suspects.connected(&server, Instant::now());
        *write(&self.server) = server;
        let denied = {
            // A refused subscription arrives before this or after it.
            let mut errors = lock(&self.errors);
            errors.of_session = None;
            errors.denied_readers.clear();
            self.session.store(session, Ordering::Release);
            self.answers.up(session);
            let mut early = errors.denied_early.iter();
            let denied = early.find(|(of, _)| *of == session).cloned();
            errors.denied_early.retain(|(of, _)| *of > session);
            denied
        };
        if let Some((_, inbox)) = denied {
            self.answers.inbox_denied(session, &inbox);
        }
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
        let now = Instant::now();
        let error = self.last_error();
        let is_explained = |error: &String| !may_be_about_a_message(error);
        let end = SessionEnd {
            at: now,
            is_explained: error.as_ref().is_some_and(is_explained),
        };
        let limit = error.as_deref().and_then(broken_limit);
        let length = self.answers.down(limit, end);
        if let (Some(limit), Some(length)) = (limit, length) {
            let server = read(&self.server).clone();
            self.suspects.learned(limit, length, server, now);
        }
    }

    /// Records an error that the server reported. Logs it unless it is the last one again.
    fn reported(&self, error: String) {
        let mut errors = lock(&self.errors);
        if errors.logged.as_ref() == Some(&error) {
            debug!(%error, "the broker reports an error again");
        } else {
            warn!(%error, "the broker reports an error");
            errors.logged = Some(error.clone());
        }
        errors.of_session = Some(error);
    }

    /// The server's last error over the current or the last session.
    pub(crate) fn last_error(&self) -> Option<String> {
        lock(&self.errors).of_session.clone()
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
                // Usually the event follows, after the server's reason if it named one.
                let mut connection = self.subscribe();
                let ended = connection.wait_for(|connection| !connection.up);
                let _ = timeout(WATCHDOG_ROUND, ended).await;
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

#[cfg(test)]
mod tests {
    use super::super::answers::Pending;
    use super::super::company::Company;
    use super::*;
    use crate::outcome::PublishError;

    #[test]
    fn refusals_over_several_sessions_that_are_dialled_are_remembered() {
        let link = Link::new();
        for session in 1..=3 {
            let inbox = format!("inbox.{session}.*");
            let text = format!("Permissions Violation for Subscription to \"{inbox}\"");
            let event = Event::ServerError(ServerError::Other(text));
            link.on_event(session, &inbox, &event);
        }
        let register = |session| {
            let publish = Pending {
                subject: "a".into(),
                bytes: 1,
                company: Company::Any,
            };
            link.answers.register(session, publish).map(drop)
        };
        for session in [1, 3] {
            link.up(session, "server".into());
            let inbox = format!("inbox.{session}.*");
            assert_eq!(register(session), Err(PublishError::InboxDenied { inbox }));
        }
        assert!(lock(&link.errors).denied_early.is_empty());
        link.up(4, "server".into());
        assert_eq!(register(4), Ok(()));
    }
}
