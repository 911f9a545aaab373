//! What the circuits went through: told to the log, to the metrics, and to whoever watches.

use std::fmt;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::metrics::CircuitMeters;
use crate::circuit::Transition;
use crate::message::subject::Subject;
use crate::outcome::{LastFailure, PublishError, Scope};
use crate::sync::lock;

pub(crate) struct History {
    told: Mutex<Told>,
    /// Counts changes.
    changes: watch::Sender<u64>,
    pub(crate) meters: CircuitMeters,
}

#[derive(Debug, Clone)]
struct Told {
    /// When the broker's circuit last opened or closed.
    since: Instant,
    last_failure: Option<LastFailure>,
}

impl History {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            told: Mutex::new(Told {
                since: now,
                last_failure: None,
            }),
            changes: watch::Sender::new(0),
            meters: CircuitMeters::new(),
        }
    }

    pub(crate) fn failed(&self, now: Instant, error: &PublishError, subject: Option<&Subject>) {
        let scope = error.scope();
        if scope == Scope::Event {
            return; // says nothing of anybody else
        }
        self.lock().last_failure = Some(LastFailure {
            error: error.clone(),
            scope,
            subject: subject.cloned(),
            at: now,
        });
    }

    pub(crate) fn moved(
        &self,
        now: Instant,
        scope: Scope,
        subject: Option<&Subject>,
        transition: Option<Transition>,
    ) {
        let Some(transition) = transition else { return };
        self.meters.changed(scope, transition);
        let subject = subject.map(Subject::as_str);
        match transition {
            Transition::Opened => warn!(%scope, subject, "circuit opened"),
            Transition::ProbeFailed { attempt, wait } => {
                let wait_ms = wait.as_millis() as u64;
                warn!(%scope, subject, attempt, wait_ms, "probe failed");
            }
            Transition::Closed => info!(%scope, subject, "circuit closed"),
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

    /// Wakes those who watch.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn told(&self) -> (Instant, Option<LastFailure>) {
        let told = self.lock();
        (told.since, told.last_failure.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        lock(&self.told)
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}
