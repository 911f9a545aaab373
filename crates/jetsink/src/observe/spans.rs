//! The `tracing` spans, with stable names and fields (docs/operate/metrics.md). Their target is always `jetsink`.

use tracing::field::Empty;
use tracing::{Span, debug_span, info_span};

use crate::message::envelope::Envelope;
use crate::outcome::{Delivery, EmitError};

/// A span for publishing one event, with all attempts.
pub(crate) fn publish(envelope: &Envelope) -> Span {
    debug_span!(
        target: "jetsink",
        "publish",
        subject = envelope.subject().as_str(),
        message_id = envelope.message_id().map(|id| id.as_str()),
        stream = Empty,
        sequence = Empty,
        duplicate = Empty,
        error = Empty,
    )
}

/// A span for spooling one event.
pub(crate) fn spool(envelope: &Envelope) -> Span {
    debug_span!(
        target: "jetsink",
        "spool",
        subject = envelope.subject().as_str(),
        message_id = envelope.message_id().map(|id| id.as_str()),
        error = Empty,
    )
}

/// A span for a replay, until the spool is empty or the broker fails.
pub(crate) fn replay(pending: u64) -> Span {
    info_span!(target: "jetsink", "replay", pending, replayed = Empty, dead = Empty)
}

/// A span for finding out which spooled events are stored already.
pub(crate) fn look_up(subjects: usize) -> Span {
    debug_span!(target: "jetsink", "look_up", subjects, found = Empty, error = Empty)
}

/// A span for one connection attempt.
pub(crate) fn connect(attempt: usize) -> Span {
    debug_span!(target: "jetsink", "connect", attempt)
}

/// Records the result of an event in its span.
pub(crate) fn ended(span: &Span, result: &Result<Delivery, EmitError>) {
    if span.is_disabled() {
        return;
    }
    match result {
        Ok(Delivery::Spooled) => {}
        Ok(Delivery::Stored(ack)) => {
            span.record("stream", ack.stream.as_str());
            span.record("sequence", ack.sequence);
            span.record("duplicate", ack.duplicate);
        }
        Err(error) => {
            span.record("error", tracing::field::display(error));
        }
    }
}
