//! Emits one event unless it is a repeat.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jetsink::{Delivery, EmitError, Known, MessageId, Publisher, Sink, SpoolError};
use tokio::time::{Instant, timeout_at};

use super::{Outcome, Ready, still_in_flight};
use crate::answer::outcome::of_emit;
use crate::answer::problem::{Kind, Problem};
use crate::gateway::Readiness;
use crate::identity::{Begin, Identities, Shared};
use crate::meters::Meters;

/// The sink behind the memory of identities.
pub(crate) struct Once<P> {
    pub(crate) sink: Arc<Sink<P>>,
    identities: Mutex<Identities>,
    meters: Arc<Meters>,
    disk_failure: Mutex<Option<(Instant, Readiness)>>,
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

    /// Emits the event, or returns the outcome of the same event.
    pub(super) async fn emit(&self, event: Ready, deadline: Instant) -> Outcome {
        let Ready { envelope, digest } = event;
        // The gateway's bindings make one for each event.
        let Some(id) = envelope.message_id().cloned() else {
            return outcome_of(Arc::new(self.sink.emit(envelope).await), false);
        };
        loop {
            let begin = self.identities().begin(&id, digest);
            let waiting = match begin {
                Begin::First => break,
                Begin::Repeat(result) => {
                    self.meters.repeat();
                    return outcome_of(result, true);
                }
                Begin::Conflict => return Outcome::Failed(conflict()),
                Begin::InFlight(waiting) => waiting,
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
        let mut in_flight = InFlight {
            once: self,
            id,
            is_settled: false,
        };
        let result: Shared = Arc::new(self.sink.emit(envelope).await);
        self.note_disk(&result);
        in_flight.settle(&result);
        outcome_of(result, false)
    }
}

/// An event whose emit has begun. A drop without a result forgets it.
struct InFlight<'a, P: Publisher> {
    once: &'a Once<P>,
    id: MessageId,
    is_settled: bool,
}

impl<P: Publisher> InFlight<'_, P> {
    fn settle(&mut self, result: &Shared) {
        self.is_settled = true;
        let in_use = || {
            let spool = self.once.sink.spool_status();
            spool.is_some_and(|spool| spool.events > 0)
        };
        let now = Instant::now();
        let early = self.once.identities().settle(&self.id, result, now, in_use);
        if early > 0 {
            self.once.meters.forgotten_early(early);
        }
    }
}

impl<P: Publisher> Drop for InFlight<'_, P> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.once.identities().abandon(&self.id);
        }
    }
}

fn was_not_sent(result: &Shared) -> bool {
    matches!(&**result, Err(error) if error.known() == Known::NotSent)
}

fn outcome_of(result: Shared, is_repeat: bool) -> Outcome {
    match &*result {
        Ok(_) => Outcome::Durable { result, is_repeat },
        Err(error) => Outcome::Failed(of_emit(error)),
    }
}

fn conflict() -> Problem {
    let detail = "an event with the same subject, source and id had other content; give each event its own id";
    Problem::new(Kind::IdentityConflict, detail)
}
