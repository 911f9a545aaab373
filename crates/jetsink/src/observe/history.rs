//! Reports each change of a circuit to the log, the metrics and the sink's watchers.

use std::fmt;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::field::display;
use tracing::{debug, info, warn};

use super::log_budget::{Line, LogBudget};
use super::logged_reason::LoggedReason;
use super::metrics::CircuitMeters;
use crate::circuit::Transition;
use crate::message::subject::Subject;
use crate::outcome::{LastFailure, PublishError, Scope};
use crate::sync::lock;

/// The target of the lines that end those of a failure: a log of warnings may include them.
const RECOVERY: &str = "jetsink::recovery";

pub(crate) struct History {
    latest: Mutex<Latest>,
    /// Counts changes.
    changes: watch::Sender<u64>,
    /// The reason of the broker's last failure.
    broker_reason: LoggedReason,
    /// Lines about subjects' circuits.
    subject_lines: LogBudget,
    pub(crate) meters: CircuitMeters,
}

#[derive(Debug, Clone)]
struct Latest {
    /// The time when the broker's circuit last opened or closed.
    since: Instant,
    last_failure: Option<LastFailure>,
}

impl History {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            latest: Mutex::new(Latest {
                since: now,
                last_failure: None,
            }),
            changes: watch::Sender::new(0),
            broker_reason: LoggedReason::default(),
            subject_lines: LogBudget::default(),
            meters: CircuitMeters::new(),
        }
    }

    pub(crate) fn failed(&self, now: Instant, error: &PublishError, subject: Option<&Subject>) {
        let scope = error.scope();
        if scope == Scope::Event {
            return; // concerns no other event
        }
        self.lock().last_failure = Some(LastFailure {
            error: error.clone(),
            scope,
            subject: subject.cloned(),
            at: now,
        });
    }

    /// Reports a transition of the broker's circuit, or of a subject's with the reason of its last failure.
    pub(crate) fn moved(
        &self,
        now: Instant,
        subject: Option<(&Subject, &LoggedReason)>,
        transition: Option<Transition>,
        error: Option<&PublishError>,
    ) {
        let Some(transition) = transition else { return };
        let (scope, reason) = match subject {
            None => (Scope::Broker, &self.broker_reason),
            Some((_, reason)) => (Scope::Subject, reason),
        };
        self.meters.changed(scope, transition);
        let is_new = error.is_some() && reason.changes_to(error);
        let subject = subject.map(|(subject, _)| subject.as_str());
        let error = error.map(display);
        match transition {
            Transition::ProbeFailed { attempt, wait } if !is_new => {
                let wait_ms = wait.as_millis() as u64;
                debug!(%scope, subject, attempt, wait_ms, error, "probe failed again");
            }
            _ if scope == Scope::Subject && !self.has_room(now) => {}
            Transition::Opened => warn!(%scope, subject, error, "circuit opened"),
            Transition::ProbeFailed { attempt, wait } => {
                let wait_ms = wait.as_millis() as u64;
                warn!(%scope, subject, attempt, wait_ms, error, "probe failed");
            }
            Transition::Closed => {
                info!(target: RECOVERY, %scope, subject, "circuit closed");
            }
            Transition::ProbeDue => info!(%scope, subject, "sign of life, probe due"),
        }
        match transition {
            Transition::Opened | Transition::Closed if scope == Scope::Broker => {
                self.lock().since = now;
            }
            Transition::Opened
            | Transition::Closed
            | Transition::ProbeFailed { .. }
            | Transition::ProbeDue => {}
        }
        self.changed();
    }

    /// Whether the log has room for a line about a subject. Reports the lines that were left out.
    fn has_room(&self, now: Instant) -> bool {
        let line = self.subject_lines.line(now);
        if let Line::LogAfter(left_out) = line {
            warn!(
                left_out,
                "more subjects failed or recovered than the log shows"
            );
        }
        line != Line::LeaveOut
    }

    /// Notifies the watchers.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns the time of the broker's circuit's last change, and the last failure.
    pub(crate) fn latest(&self) -> (Instant, Option<LastFailure>) {
        let latest = self.lock();
        (latest.since, latest.last_failure.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        lock(&self.latest)
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("latest", &self.latest)
            .finish_non_exhaustive()
    }
}
