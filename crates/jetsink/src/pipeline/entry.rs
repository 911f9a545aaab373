//! One envelope in a pipeline, from push to result.

use std::sync::Arc;

use tokio::time::Instant;

use crate::message::envelope::Envelope;
use crate::outcome::{Delivery, EmitError, FailedEmit, Known, PublishError, Scope};
use crate::publish::admission::ScopedAdmission;
use crate::publish::in_flight::InFlightGuard;

pub(super) struct Entry<'a> {
    pub(super) envelope: Arc<Envelope>,
    pub(super) state: State<'a>,
    pub(super) failures: u32,
    /// The time of the first attempt.
    pub(super) sent_at: Option<Instant>,
    /// Whether another event had its first message id.
    pub(super) id_was_taken: bool,
    /// The failure that left it unknown whether the envelope is stored.
    unknown: Option<Box<FailedEmit>>,
    /// The reason to spool it, once there is one.
    pub(super) for_spool: Option<EmitError>,
}

pub(super) enum State<'a> {
    Queued,
    InFlight {
        sent_at: Instant,
        admission: ScopedAdmission<'a>,
        _guard: Option<InFlightGuard<'a>>,
    },
    /// Being written to the spool.
    Spooling {
        _guard: Option<InFlightGuard<'a>>,
    },
    Settled(Result<Delivery, EmitError>),
}

impl<'a> Entry<'a> {
    #[inline]
    pub(super) fn new(envelope: Envelope) -> Self {
        Self {
            envelope: Arc::new(envelope),
            state: State::Queued,
            failures: 0,
            sent_at: None,
            id_was_taken: false,
            unknown: None,
            for_spool: None,
        }
    }

    #[inline]
    pub(super) fn is_queued(&self) -> bool {
        matches!(self.state, State::Queued)
    }

    /// Begins the flight of an entry that was admitted at `now`.
    #[inline]
    pub(super) fn begin_flight(
        &mut self,
        admission: ScopedAdmission<'a>,
        guard: Option<InFlightGuard<'a>>,
        now: Instant,
    ) {
        self.sent_at.get_or_insert(now);
        self.state = State::InFlight {
            sent_at: now,
            admission,
            _guard: guard,
        };
    }

    /// Ends the flight, if it is in flight: returns its admission and when it was sent.
    #[inline]
    pub(super) fn take_flight(&mut self) -> Option<(ScopedAdmission<'a>, Instant)> {
        match std::mem::replace(&mut self.state, State::Queued) {
            State::InFlight {
                admission, sent_at, ..
            } => Some((admission, sent_at)),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Whether the attempt that has just ended was the first one with this message id.
    #[inline]
    pub(super) fn is_first_attempt(&self) -> bool {
        self.failures == 0 && self.unknown.is_none()
    }

    pub(super) fn note_unknown(&mut self, error: &EmitError) {
        if let EmitError::Failed(failed) = error
            && failed.known == Known::OutcomeUnknown
        {
            self.unknown = Some(failed.clone());
        }
    }

    /// Settles it as not sent.
    pub(super) fn settle_unsent(&mut self) {
        let not_sent = FailedEmit {
            subject: self.envelope.subject().clone(),
            message_id: self.envelope.message_id().cloned(),
            attempts: self.failures,
            error: PublishError::Stopped,
            known: Known::NotSent,
        };
        self.settle_failed(EmitError::Failed(Box::new(not_sent)));
    }

    /// Settles it with its last error, unless an earlier one left it unknown whether it is stored. If the last
    /// error is the event's own fault, it explains the earlier one.
    pub(super) fn settle_failed(&mut self, last: EmitError) {
        let error = match (self.unknown.take(), last) {
            (Some(_), EmitError::Failed(mut failed)) if failed.error.scope() == Scope::Event => {
                failed.known = Known::OutcomeUnknown;
                EmitError::Failed(failed)
            }
            (Some(unknown), last) if last.known() != Known::OutcomeUnknown => {
                EmitError::Failed(unknown)
            }
            (_, last) => last,
        };
        self.state = State::Settled(Err(error));
    }
}
