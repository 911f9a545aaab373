//! One envelope on its way through a pipeline.

use std::sync::Arc;

use tokio::time::Instant;

use crate::message::envelope::Envelope;
use crate::outcome::{Delivery, EmitError, FailedEmit, Known, PublishError, Scope};
use crate::publish::admission::ScopedAdmission;
use crate::publish::in_flight::UnderWay;

pub(super) struct Entry<'a> {
    pub(super) envelope: Arc<Envelope>,
    pub(super) state: State<'a>,
    pub(super) failures: u32,
    /// When it was sent first.
    pub(super) sent_at: Option<Instant>,
    /// The failure after which nobody can say whether the envelope is stored.
    pub(super) unknown: Option<Box<FailedEmit>>,
    /// Why it goes to the spool, once that is clear.
    pub(super) for_spool: Option<EmitError>,
}

pub(super) enum State<'a> {
    Queued,
    InFlight {
        sent_at: Instant,
        admission: ScopedAdmission<'a>,
        _under_way: Option<UnderWay<'a>>,
    },
    /// On its way into the spool.
    Spooling {
        _under_way: Option<UnderWay<'a>>,
    },
    Settled(Result<Delivery, EmitError>),
}

impl Entry<'_> {
    pub(super) fn note_unknown(&mut self, error: &EmitError) {
        if let EmitError::Failed(failed) = error
            && failed.known == Known::OutcomeUnknown
        {
            self.unknown = Some(failed.clone());
        }
    }

    pub(super) fn not_sent(&mut self) -> EmitError {
        let not_sent = FailedEmit {
            subject: self.envelope.subject().clone(),
            message_id: self.envelope.message_id().cloned(),
            attempts: self.failures,
            error: PublishError::Stopped,
            known: Known::NotSent,
        };
        self.verdict(EmitError::Failed(Box::new(not_sent)))
    }

    /// The last error, unless an earlier one leaves it open whether the envelope is stored.
    pub(super) fn verdict(&mut self, last: EmitError) -> EmitError {
        match self.unknown.take() {
            Some(unknown) if last.known() != Known::OutcomeUnknown => EmitError::Failed(unknown),
            Some(_) | None => last,
        }
    }
}

/// Whether the spool would be of help. An event that nobody takes stays its caller's.
pub(super) fn may_be_spooled(error: &EmitError) -> bool {
    match error {
        EmitError::CircuitOpen(_) | EmitError::Failed(_) => error.scope() != Scope::Event,
        EmitError::Spool(_) | EmitError::Closed => false,
    }
}
