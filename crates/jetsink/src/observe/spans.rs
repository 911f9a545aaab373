//! The `tracing` spans, with names and fields that stay (docs/operating.md). Their target is
//! `jetsink`, wherever they are made.

use tracing::field::Empty;
use tracing::{Span, debug_span, info_span};

use crate::message::envelope::Envelope;
use crate::outcome::{Delivery, EmitError};

/// One event on its way to a stream, with all its attempts.
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

/// One event on its way to the disk.
pub(crate) fn spool(envelope: &Envelope) -> Span {
    debug_span!(
        target: "jetsink",
        "spool",
        subject = envelope.subject().as_str(),
        message_id = envelope.message_id().map(|id| id.as_str()),
        error = Empty,
    )
}

/// The spool being emptied, until it is empty or the broker fails.
pub(crate) fn replay(waiting: u64) -> Span {
    info_span!(target: "jetsink", "replay", waiting, replayed = Empty, dead = Empty)
}

/// Finding out which spooled events are stored already.
pub(crate) fn look_up(subjects: usize) -> Span {
    debug_span!(target: "jetsink", "look_up", subjects, found = Empty, error = Empty)
}

/// One try to connect to one of the servers.
pub(crate) fn connect(attempt: usize) -> Span {
    debug_span!(target: "jetsink", "connect", attempt)
}

/// What came of an event.
pub(crate) fn ended(span: &Span, result: &Result<Delivery, EmitError>) {
    if span.is_disabled() {
        return;
    }
    match result {
        Ok(Delivery::Spooled) => {}
        Ok(Delivery::Stored {
            stream,
            sequence,
            duplicate,
        }) => {
            span.record("stream", stream.as_str());
            span.record("sequence", sequence);
            span.record("duplicate", duplicate);
        }
        Err(error) => {
            span.record("error", tracing::field::display(error));
        }
    }
}
