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
    /// Those of the failures that its subject caused, apart from outages.
    pub(super) subject_failures: u32,
    /// Whether its first attempt was a probe, which is not retried.
    pub(super) is_probe: bool,
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
            subject_failures: 0,
            is_probe: false,
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

    /// Whether it may be stored or spooled, and no result says that it is.
    pub(super) fn is_unknown(&self) -> bool {
        match &self.state {
            State::Queued => self.unknown.is_some(),
            State::InFlight { .. } | State::Spooling { .. } => true,
            State::Settled(result) => {
                (result.as_ref()).is_err_and(|error| error.known() == Known::OutcomeUnknown)
            }
        }
    }

    pub(super) fn count_failure(&mut self, error: &PublishError) {
        self.failures += 1;
        if concerns_its_subject(error) && !error.is_stream_outage() {
            self.subject_failures += 1;
        }
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

    /// Settles it with its last error, unless an earlier one left it unknown whether it is stored. Then the last one
    /// is the result only if it concerns the event or its subject: the broker has answered since.
    pub(super) fn settle_failed(&mut self, last: EmitError) {
        let error = match (self.unknown.take(), last) {
            (Some(_), EmitError::Failed(mut failed)) if concerns_its_subject(&failed.error) => {
                failed.known = Known::OutcomeUnknown;
                EmitError::Failed(failed)
            }
            (Some(mut unknown), EmitError::CircuitOpen(open)) if open.scope == Scope::Subject => {
                unknown.error = PublishError::Other {
                    text: format!("{}, and now its subject fails", unknown.error),
                    scope: Scope::Subject,
                    known: Known::OutcomeUnknown,
                };
                EmitError::Failed(unknown)
            }
            (Some(unknown), last) if last.known() != Known::OutcomeUnknown => {
                EmitError::Failed(unknown)
            }
            (_, last) => last,
        };
        self.state = State::Settled(Err(error));
    }
}

/// Whether an error concerns the event or its subject.
fn concerns_its_subject(error: &PublishError) -> bool {
    match error.scope() {
        Scope::Event | Scope::Subject => true,
        Scope::Broker | Scope::Local => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Subject;
    use crate::outcome::CircuitOpen;

    /// The result of an event that was in flight when the connection ended, and then failed otherwise.
    fn settled(last: EmitError) -> EmitError {
        let subject = Subject::new("a").unwrap();
        let mut entry = Entry::new(Envelope::new(subject.clone(), "x".into()));
        entry.note_unknown(&EmitError::Failed(Box::new(FailedEmit {
            subject,
            message_id: None,
            attempts: 1,
            error: PublishError::ConnectionLost,
            known: Known::OutcomeUnknown,
        })));
        entry.settle_failed(last);
        match entry.state {
            State::Settled(Err(error)) => error,
            _ => panic!("it is settled"),
        }
    }

    fn open(scope: Scope) -> EmitError {
        EmitError::CircuitOpen(CircuitOpen {
            scope,
            attempt: 1,
            retry_after: std::time::Duration::ZERO,
            probing: false,
        })
    }

    fn failed(error: PublishError) -> EmitError {
        EmitError::Failed(Box::new(FailedEmit {
            subject: Subject::new("a").unwrap(),
            message_id: None,
            attempts: 2,
            known: error.known(),
            error,
        }))
    }

    #[test]
    fn failing_subject_after_a_lost_connection_is_no_failure_of_the_broker() {
        for (last, scope) in [
            (failed(PublishError::NoStream), Scope::Subject),
            (failed(PublishError::Expired), Scope::Event),
            (failed(PublishError::NotConnected), Scope::Broker),
            (failed(PublishError::Stopped), Scope::Broker),
            (open(Scope::Subject), Scope::Subject),
            (open(Scope::Broker), Scope::Broker),
        ] {
            let error = settled(last);
            assert_eq!(error.scope(), scope, "{error}");
            assert_eq!(error.known(), Known::OutcomeUnknown, "{error}");
        }
    }
}
