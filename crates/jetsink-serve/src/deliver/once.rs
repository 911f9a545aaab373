//! Emits one event unless it is a repeat.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jetsink::{Delivery, EmitError, Envelope, Known, Publisher, Sink, SpoolError};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Digests, Outcome, Ready, still_in_flight};
use crate::answer::outcome::of_emit;
use crate::answer::problem::{Kind, Problem};
use crate::gateway::Readiness;
use crate::identity::{self, Begin, Emitted, Identities, Key};
use crate::meters::Meters;

/// The sink behind the memory of identities.
pub(crate) struct Once<P> {
    pub(crate) sink: Arc<Sink<P>>,
    identities: Mutex<Identities>,
    meters: Arc<Meters>,
    disk_failure: Mutex<Option<(Instant, Readiness)>>,
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

/// The time for which a failure of the spool makes the gateway unready. Without traffic nothing else would end it.
const DISK_FAILURE: Duration = Duration::from_secs(10);

impl<P: Publisher> Once<P> {
    pub(crate) fn new(sink: Arc<Sink<P>>, identities: Identities, meters: Arc<Meters>) -> Self {
        Self {
            sink,
            identities: Mutex::new(identities),
            meters,
            disk_failure: Mutex::new(None),
        }
    }

    /// A failure of the spool that is recent at `now`.
    pub(crate) fn recent_disk_failure(&self, now: Instant) -> Option<Readiness> {
        let failure = *self
            .disk_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let recent = |at: Instant| now.saturating_duration_since(at) < DISK_FAILURE;
        failure
            .filter(|(at, _)| recent(*at))
            .map(|(_, failure)| failure)
    }

    fn note_disk(&self, result: &Result<Delivery, EmitError>) {
        let failure = match result {
            Err(EmitError::Spool(failed)) => match &failed.error {
                SpoolError::Closed => return,
                SpoolError::Full { .. } => Some((Instant::now(), Readiness::SpoolFull)),
                _ => Some((Instant::now(), Readiness::DiskFailed)),
            },
            Ok(Delivery::Spooled) => None,
            _ => return,
        };
        let mut noted = self
            .disk_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *noted != failure {
            *noted = failure;
        }
    }

    fn identities(&self) -> MutexGuard<'_, Identities> {
        self.identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the events that are in the spool.
    pub(crate) async fn recall_spooled(&self, digests: &Digests) -> Result<(), SpoolError> {
        let now = Instant::now();
        let mut early = 0;
        let recall = |envelope: &Envelope| {
            if let Some(id) = envelope.message_id() {
                let (key, digest) = (identity::key(id), digests.of(envelope));
                early += self.identities().recall(key, digest, now);
            }
        };
        let visited = self.sink.visit_spooled(recall).await;
        self.meters.forgotten_early(early);
        visited
    }

    pub(super) fn begin(self: &Arc<Self>, event: &Ready) -> Turn<P> {
        match self.identities().begin(event.key, event.digest) {
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
        self.once.note_disk(&result);
        let in_use = || {
            let spool = self.once.sink.spool_status();
            spool.is_some_and(|spool| spool.events > 0)
        };
        let now = Instant::now();
        let early = self
            .once
            .identities()
            .settle(self.key, &result, now, in_use);
        if early > 0 {
            self.once.meters.forgotten_early(early);
        }
        outcome_of(result, false)
    }
}

impl<P: Publisher> Drop for InFlight<P> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.once.identities().abandon(self.key, Instant::now());
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
    Problem::new(Kind::IdentityConflict, detail)
}
