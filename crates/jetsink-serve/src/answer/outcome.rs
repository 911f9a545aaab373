//! From the engine's outcome of an event to its answer: the table of `docs/serve/README.md`.

use std::time::Duration;

use jetsink::{BindingError, EmitError, Known, Scope, SpoolError};

use super::problem::{Problem, ProblemKind};

/// For a spool that takes no event until the gateway is restarted.
const RESTART: Duration = Duration::from_secs(10);

/// The problem of an event that is neither stored nor spooled.
pub(crate) fn of_emit(error: &EmitError) -> Problem {
    let kind = kind_of(error);
    let problem = Problem::new(kind, error.to_string());
    match (error.retry_after(), error) {
        _ if kind.status() != 503 => problem,
        (Some(time), _) => problem.retry_after(time),
        (None, EmitError::Spool(_)) => problem.retry_after(RESTART),
        (None, _) => problem,
    }
}

fn kind_of(error: &EmitError) -> ProblemKind {
    match error {
        EmitError::CircuitOpen(_) => ProblemKind::CircuitOpen,
        EmitError::Spool(failed) => match &failed.error {
            SpoolError::Full { .. } => ProblemKind::SpoolFull,
            SpoolError::Closed => ProblemKind::Stopping,
            // An earlier attempt to send it may have stored it.
            SpoolError::TooLarge { .. } if failed.known() == Known::OutcomeUnknown => {
                ProblemKind::OutcomeUnknown
            }
            SpoolError::TooLarge { .. } => ProblemKind::TooLarge,
            _ => ProblemKind::DiskFailed,
        },
        EmitError::Closed => ProblemKind::Stopping,
        error => match (error.known(), error.scope()) {
            // Also where the last attempt blames the event: an earlier one may have stored it.
            (Known::OutcomeUnknown, _) => ProblemKind::OutcomeUnknown,
            (Known::NotSent | Known::Refused, Scope::Event) => ProblemKind::EventRefused,
            // Never 422: senders drop the event at that code, and an operator can still fix these.
            (Known::NotSent | Known::Refused, Scope::Subject | Scope::Broker | Scope::Local) => {
                ProblemKind::NotStored
            }
        },
    }
}

/// The problem of an event that has no envelope.
pub(crate) fn of_binding(error: &BindingError) -> Problem {
    let kind = match error {
        BindingError::Event(_) | BindingError::BinaryEvent(_) => ProblemKind::InvalidEvent,
        _ => ProblemKind::EventRefused,
    };
    Problem::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    use jetsink::{FailedEmit, PublishError, Refusal, SpoolFailed, Subject};

    fn failed(error: PublishError, known: Known) -> ProblemKind {
        let mut failed = FailedEmit::new(Subject::new("e").unwrap(), error);
        failed.known = known;
        of_emit(&EmitError::Failed(Box::new(failed))).kind()
    }

    fn refused(code: u64, text: &str) -> PublishError {
        PublishError::Refused(Refusal::new(code, text))
    }

    #[test]
    fn only_the_events_own_fault_is_422() {
        let too_large = PublishError::TooLarge { bytes: 2, limit: 1 };
        assert_eq!(failed(too_large, Known::NotSent), ProblemKind::EventRefused);
        assert_eq!(
            failed(refused(10054, ""), Known::Refused),
            ProblemKind::EventRefused
        );
        for passing in [
            PublishError::NoStream,
            PublishError::PermissionDenied,
            refused(10077, "maximum messages exceeded"),
            refused(10047, ""),
            refused(99_999, ""),
        ] {
            assert_eq!(failed(passing, Known::Refused), ProblemKind::NotStored);
        }
        assert_eq!(
            failed(refused(10054, ""), Known::OutcomeUnknown),
            ProblemKind::OutcomeUnknown
        );
        let lost = PublishError::ConnectionLost;
        assert_eq!(
            failed(lost, Known::OutcomeUnknown),
            ProblemKind::OutcomeUnknown
        );
    }

    #[test]
    fn answer_has_the_time_of_the_engine_after_which_a_repeat_may_succeed() {
        let header = |error: &EmitError| {
            let response = of_emit(error).response(&[]);
            let header = response.headers().get("retry-after");
            header.map(|value| value.to_str().unwrap().to_owned())
        };
        let subject = || Subject::new("e").unwrap();
        let of = |error| {
            header(&EmitError::Failed(Box::new(FailedEmit::new(
                subject(),
                error,
            ))))
        };
        assert_eq!(of(PublishError::NoStream).as_deref(), Some("30"));
        assert_eq!(of(PublishError::NotImported).as_deref(), Some("30"));
        assert_eq!(of(PublishError::NoLeader).as_deref(), Some("1"));
        assert_eq!(of(PublishError::Expired), None, "422");
        let of = |error| {
            header(&EmitError::Spool(Box::new(SpoolFailed::new(
                subject(),
                error,
            ))))
        };
        let full = SpoolError::Full {
            used_bytes: 1,
            limit_bytes: 1,
        };
        for error in [full, SpoolError::Failed, SpoolError::Closed] {
            assert_eq!(of(error).as_deref(), Some("10"), "a restart takes time");
        }
        let too_large = SpoolError::TooLarge { bytes: 2, limit: 1 };
        assert_eq!(of(too_large), None, "413");
    }

    #[test]
    fn failures_of_the_spool_are_503_and_an_event_that_never_fits_is_413() {
        let of = |error| {
            let failed = SpoolFailed::new(Subject::new("e").unwrap(), error);
            of_emit(&EmitError::Spool(Box::new(failed))).kind()
        };
        let full = SpoolError::Full {
            used_bytes: 1,
            limit_bytes: 1,
        };
        assert_eq!(of(full), ProblemKind::SpoolFull);
        assert_eq!(of(SpoolError::Closed), ProblemKind::Stopping);
        let slow = SpoolError::TooSlow {
            waited: Duration::ZERO,
        };
        assert_eq!(of(slow), ProblemKind::DiskFailed);
        let too_large = SpoolError::TooLarge { bytes: 2, limit: 1 };
        assert_eq!(of(too_large.clone()), ProblemKind::TooLarge);
        let subject = || Subject::new("e").unwrap();
        let mut failed = SpoolFailed::new(subject(), too_large);
        let lost = FailedEmit::new(subject(), PublishError::ConnectionLost);
        failed.direct = Some(EmitError::Failed(Box::new(lost)));
        let kind = of_emit(&EmitError::Spool(Box::new(failed))).kind();
        assert_eq!(kind, ProblemKind::OutcomeUnknown, "it may be stored");
        assert_eq!(of_emit(&EmitError::Closed).kind(), ProblemKind::Stopping);
    }
}
