//! Emits one event unless it is a repeat.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jetsink::{Delivery, Envelope, Known, Publisher, Sink, SpoolError};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::memory::Memory;
use super::{Outcome, Ready, still_in_flight};
use crate::answer::outcome::of_emit;
use crate::answer::problem::{Problem, ProblemKind};
use crate::identity::{Begin, Emitted, Key};
use crate::meters::Meters;
use crate::readiness::SpoolFailure;

/// The sink behind the memory of identities.
pub(crate) struct Once<P> {
    pub(crate) sink: Arc<Sink<P>>,
    memory: Arc<Memory>,
    meters: Arc<Meters>,
    spool_failure: Mutex<Option<SpoolFailure>>,
}

/// The next step for an event.
pub(super) enum Turn<P: Publisher> {
    /// Emit it.
    First(InFlight<P>),
    /// The same event is in flight: its result comes, or a closed channel.
    InFlight(oneshot::Receiver<Emitted>),
    /// It needs no emit.
    Ended(Outcome),
}

impl<P: Publisher> Once<P> {
    pub(crate) fn new(sink: Arc<Sink<P>>, memory: Arc<Memory>, meters: Arc<Meters>) -> Self {
        Self {
            sink,
            memory,
            meters,
            spool_failure: Mutex::new(None),
        }
    }

    /// The failure of the last event that was to be spooled.
    pub(crate) fn spool_failure(&self) -> Option<SpoolFailure> {
        *self.lock_spool_failure()
    }

    fn lock_spool_failure(&self) -> MutexGuard<'_, Option<SpoolFailure>> {
        self.spool_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn note_spool(&self, result: &Emitted, now: Instant) {
        // Not the lock for each event that is stored.
        if !matches!(result, Ok(Delivery::Stored(_))) {
            SpoolFailure::note(&mut self.lock_spool_failure(), result, now);
        }
    }

    /// Remembers the events that earlier processes have spooled.
    pub(crate) async fn recall_spooled(&self) -> Result<(), SpoolError> {
        self.memory.recall(&self.sink).await
    }

    pub(super) fn begin(self: &Arc<Self>, event: &Ready) -> Turn<P> {
        match self.memory.begin(event.key, event.digest) {
            Begin::First => Turn::First(InFlight {
                once: Arc::clone(self),
                key: event.key,
                is_settled: false,
            }),
            Begin::InFlight(waiting) => Turn::InFlight(waiting),
            Begin::Repeat(delivery) => {
                self.meters.repeat();
                Turn::Ended(outcome_of(Ok(delivery), true))
            }
            Begin::Conflict => Turn::Ended(Outcome::Failed(conflict())),
        }
    }

    /// Emits the event, or returns the outcome of the same event. Begins no emit after the deadline.
    pub(super) async fn emit(self: &Arc<Self>, event: Ready, deadline: Instant) -> Outcome {
        loop {
            let waiting = match self.begin(&event) {
                Turn::First(in_flight) => {
                    let result = in_flight.emit(event.envelope).await;
                    return in_flight.settle(result);
                }
                Turn::Ended(outcome) => return outcome,
                Turn::InFlight(waiting) => waiting,
            };
            match timeout_at(deadline, waiting).await {
                Err(_) => return Outcome::Failed(still_in_flight()),
                // Not sent, so this one is the first now.
                Ok(Ok(result)) if was_not_sent(&result) => {}
                Ok(Ok(result)) => {
                    self.meters.repeat();
                    return outcome_of(result, true);
                }
                Ok(Err(_)) => {}
            }
        }
    }
}

/// An event whose emit begins. A drop without a result ends it with an unknown outcome.
pub(super) struct InFlight<P: Publisher> {
    once: Arc<Once<P>>,
    key: Key,
    is_settled: bool,
}

impl<P: Publisher> InFlight<P> {
    /// The sink's own future, with `self` beside it: a future around it would be copied once more.
    pub(super) fn emit(&self, envelope: Envelope) -> impl Future<Output = Emitted> + Send {
        self.once.sink.emit(envelope)
    }

    /// Ends the emit with its result.
    pub(super) fn settle(mut self, result: Emitted) -> Outcome {
        self.is_settled = true;
        let now = Instant::now();
        self.once.note_spool(&result, now);
        let in_use = || {
            let spool = self.once.sink.spool();
            spool.is_some_and(|spool| spool.status().events > 0)
        };
        self.once.memory.settle(self.key, &result, now, in_use);
        outcome_of(result, false)
    }
}

impl<P: Publisher> Drop for InFlight<P> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.once.memory.abandon(self.key, Instant::now());
        }
    }
}

fn was_not_sent(result: &Emitted) -> bool {
    matches!(result, Err(error) if error.known() == Known::NotSent)
}

fn outcome_of(result: Emitted, is_repeat: bool) -> Outcome {
    match result {
        Ok(delivery) => Outcome::Durable {
            delivery,
            is_repeat,
        },
        Err(error) => Outcome::Failed(of_emit(&error)),
    }
}

fn conflict() -> Problem {
    let detail = "an event with the same subject, source and id had other content; give each event its own id";
    Problem::new(ProblemKind::IdentityConflict, detail)
}
