//! From the engine's outcome of an event to its answer: the table of `docs/serve/README.md`.

use std::time::Duration;

use jetsink::{BindingError, EmitError, Known, PublishError, Scope, SpoolError};

use super::problem::{Kind, Problem};

/// For problems that only an operator can fix.
const OPERATOR: Duration = Duration::from_secs(30);

/// A spool empties as fast as the broker stores.
const SPOOL: Duration = Duration::from_secs(10);

/// The problem of an event that is neither stored nor spooled.
pub(crate) fn of_emit(error: &EmitError) -> Problem {
    let kind = kind_of(error);
    let problem = Problem::new(kind, error.to_string());
    match error {
        EmitError::CircuitOpen(open) => problem.retry_after(open.retry_after),
        EmitError::Failed(failed) if is_for_operators(&failed.error) && kind.is_passing() => {
            problem.retry_after(OPERATOR)
        }
        EmitError::Spool(_) => problem.retry_after(SPOOL),
        _ => problem,
    }
}

fn kind_of(error: &EmitError) -> Kind {
    match error {
        EmitError::CircuitOpen(_) => Kind::CircuitOpen,
        EmitError::Spool(failed) => match &failed.error {
            SpoolError::Full { .. } => Kind::SpoolFull,
            SpoolError::Closed => Kind::Stopping,
            _ => Kind::DiskFailed,
        },
        EmitError::Closed => Kind::Stopping,
        error => match (error.known(), error.scope()) {
            // Also where the last attempt blames the event: an earlier one may have stored it.
            (Known::OutcomeUnknown, _) => Kind::OutcomeUnknown,
            (Known::NotSent | Known::Refused, Scope::Event) => Kind::EventRefused,
            // Never 422: senders drop the event at that code, and an operator can still fix these.
            (Known::NotSent | Known::Refused, Scope::Subject | Scope::Broker) => Kind::NotStored,
        },
    }
}

fn is_for_operators(error: &PublishError) -> bool {
    matches!(
        error,
        PublishError::NoStream | PublishError::PermissionDenied
    )
}

/// The problem of an event that has no envelope.
pub(crate) fn of_binding(error: &BindingError) -> Problem {
    let kind = match error {
        BindingError::Event(_) | BindingError::BinaryEvent(_) => Kind::InvalidEvent,
        _ => Kind::EventRefused,
    };
    Problem::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jetsink::{FailedEmit, Refusal, SpoolFailed, Subject};

    fn failed(error: PublishError, known: Known) -> Kind {
        let failed = FailedEmit {
            subject: Subject::new("e").unwrap(),
            message_id: None,
            attempts: 1,
            error,
            known,
        };
        of_emit(&EmitError::Failed(Box::new(failed))).kind()
    }

    fn refused(code: u64, text: &str) -> PublishError {
        PublishError::Refused(Refusal {
            code,
            text: text.to_owned(),
        })
    }

    #[test]
    fn only_the_events_own_fault_is_422() {
        let too_large = PublishError::TooLarge { bytes: 2, limit: 1 };
        assert_eq!(failed(too_large, Known::NotSent), Kind::EventRefused);
        assert_eq!(
            failed(refused(10054, ""), Known::Refused),
            Kind::EventRefused
        );
        for passing in [
            PublishError::NoStream,
            PublishError::PermissionDenied,
            refused(10077, "maximum messages exceeded"),
            refused(10047, ""),
            refused(99_999, ""),
        ] {
            assert_eq!(failed(passing, Known::Refused), Kind::NotStored);
        }
        assert_eq!(
            failed(refused(10054, ""), Known::OutcomeUnknown),
            Kind::OutcomeUnknown
        );
        let lost = PublishError::ConnectionLost;
        assert_eq!(failed(lost, Known::OutcomeUnknown), Kind::OutcomeUnknown);
    }

    #[test]
    fn failures_of_the_spool_are_503() {
        let of = |error| {
            let failed = SpoolFailed {
                error,
                direct: None,
            };
            of_emit(&EmitError::Spool(Box::new(failed))).kind()
        };
        let full = SpoolError::Full {
            used_bytes: 1,
            limit_bytes: 1,
        };
        assert_eq!(of(full), Kind::SpoolFull);
        assert_eq!(of(SpoolError::Closed), Kind::Stopping);
        let slow = SpoolError::TooSlow {
            waited: Duration::ZERO,
        };
        assert_eq!(of(slow), Kind::DiskFailed);
        assert_eq!(of_emit(&EmitError::Closed).kind(), Kind::Stopping);
    }
}
