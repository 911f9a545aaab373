//! The way of an event into the spool, and how long an emit waits to go straight again.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use super::Direct;
use crate::observe::spans;
use crate::outcome::{Delivery, EmitError, Known, SpoolError, SpoolFailed};
use crate::publisher::Publisher;
use crate::spool::{Room, Spool};

/// How long an emit may wait for the last spooled events of its subject to be stored, so that it can
/// go straight again. A subject with a steady load would never leave the spool otherwise.
pub(crate) const HAND_OVER: Duration = Duration::from_millis(250);

/// The most events that are worth waiting for.
pub(crate) const HAND_OVER_EVENTS: u64 = 64;

/// Puts an event into the spool, after what came of sending it, if that was tried.
pub(crate) async fn spool_event<P: Publisher>(
    spool: &Spool,
    room: Result<Room<'_>, SpoolError>,
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
        Ok(room) => {
            let span = spans::spool(room.envelope());
            let append = spool.append(room, above.as_ref(), deadline);
            (span.clone(), append.instrument(span).await)
        }
        Err(error) => (Span::none(), Err(error)),
    };
    let result = match spooled {
        Ok(()) => Ok(Delivery::Spooled),
        Err(error) => Err(EmitError::Spool(Box::new(SpoolFailed {
            error,
            direct: sent,
        }))),
    };
    spans::ended(&span, &result);
    result
}
