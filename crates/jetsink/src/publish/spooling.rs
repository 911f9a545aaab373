//! The spool as a stage of an event's path: when an event waits for the spool to drain, and how it is
//! spooled.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use super::Direct;
use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::observe::spans;
use crate::outcome::{Delivery, EmitError, Known, Scope, SpoolError, SpoolFailed};
use crate::publisher::Publisher;
use crate::spool::{Reservation, Spool};

/// When an event waits for the spooled events of its subject to be stored, so that it can be sent
/// directly, instead of queueing behind them. Without this a subject with a steady load would never
/// leave the spool (docs/decisions/0008).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HandOver {
    max_wait: Duration,
    /// The maximum number of spooled events to wait for; `None` for any number.
    max_events: Option<u64>,
}

impl HandOver {
    const MAX_WAIT: Duration = Duration::from_millis(250);

    /// A pipeline delays only itself, and may push faster than replay sends: any number of events.
    pub(crate) const PIPELINE: Self = Self {
        max_wait: Self::MAX_WAIT,
        max_events: None,
    };

    /// An emit waits at most half of its deadline, for few events.
    pub(crate) fn of_emit(deadline: Duration) -> Self {
        Self {
            max_wait: Self::MAX_WAIT.min(deadline / 2),
            max_events: Some(64),
        }
    }

    /// The time until which an event of `subject` that comes at `now` waits; `None` if it queues
    /// behind the spooled ones. It waits only while the circuits are closed, that is, while replay
    /// delivers.
    pub(crate) fn until<P: Publisher>(
        self,
        direct: &Direct<P>,
        spool: &Spool,
        subject: &Subject,
        now: Instant,
    ) -> Option<Instant> {
        let few = |max| spool.waiting(subject) <= max;
        let waits = direct.is_connected(subject) && self.max_events.is_none_or(few);
        waits.then(|| now + self.max_wait)
    }
}

/// Whether the spool takes an event after this error. An event at fault is returned to its caller.
pub(crate) fn may_be_spooled(error: &EmitError) -> bool {
    match error {
        EmitError::CircuitOpen(_) | EmitError::Failed(_) => error.scope() != Scope::Event,
        EmitError::Spool(_) | EmitError::Closed => false,
    }
}

/// Spools an event that has room, in its span. `sent` is the error of an attempt to send it at `sent_at`, if there was one.
pub(crate) async fn spool_event<P: Publisher>(
    spool: &Spool,
    envelope: &Envelope,
    room: Result<(Span, Reservation<'_>), SpoolError>,
    sent: Option<EmitError>,
    sent_at: Instant,
    direct: &Direct<P>,
    deadline: Instant,
) -> Result<Delivery, EmitError> {
    let may_be_stored = sent
        .as_ref()
        .is_some_and(|e| e.known() == Known::OutcomeUnknown);
    let above = may_be_stored.then(|| direct.acknowledged_before(sent_at));
    let (span, spooled) = match room {
        Ok((span, room)) => {
            let append = spool.append(room, above.as_ref(), deadline);
            (span.clone(), append.instrument(span).await)
        }
        Err(error) => (Span::none(), Err(error)),
    };
    let result = match spooled {
        Ok(()) => Ok(Delivery::Spooled),
        Err(error) => Err(EmitError::Spool(Box::new(SpoolFailed {
            subject: envelope.subject().clone(),
            message_id: envelope.message_id().cloned(),
            error,
            direct: sent,
        }))),
    };
    spans::ended(&span, &result);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MessageId;
    use crate::SinkSettings;
    use crate::tests::simulated_broker::Simulated;

    #[test]
    fn emit_waits_at_most_half_of_its_deadline() {
        let wait = |millis| HandOver::of_emit(Duration::from_millis(millis)).max_wait;
        assert_eq!(wait(100), Duration::from_millis(50));
        assert_eq!(wait(2_000), HandOver::MAX_WAIT);
    }

    #[tokio::test]
    async fn emit_waits_for_few_events_and_a_pipeline_for_any_number_while_connected() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), None).unwrap();
        let direct = Direct::new(Simulated::new(), SinkSettings::default(), true);
        let subject = Subject::new("a").unwrap();
        let now = Instant::now();
        let until = |policy: HandOver| policy.until(&direct, &spool, &subject, now);
        let emit = HandOver::of_emit(Duration::from_secs(2));
        let later = Some(now + HandOver::MAX_WAIT);
        let mut rooms = Vec::new();
        for number in 0..=64 {
            assert_eq!((until(emit), until(HandOver::PIPELINE)), (later, later));
            let id = MessageId::new(number.to_string()).unwrap();
            let event = Envelope::new(subject.clone(), "x".into()).with_message_id(id);
            rooms.push(spool.reserve(&event).unwrap());
        }
        assert_eq!((until(emit), until(HandOver::PIPELINE)), (None, later));
        direct.scopes().disconnected(now);
        assert_eq!(until(HandOver::PIPELINE), None);
    }
}
