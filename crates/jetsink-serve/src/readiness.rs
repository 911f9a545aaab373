//! Whether a gateway should receive requests. Pure; time is an argument.

use std::time::Duration;

use jetsink::{Delivery, EmitError, SpoolError};
use tokio::time::Instant;

/// The time for which a failure of the disk makes the gateway unready. Without traffic nothing else would end it.
const DISK_FAILURE: Duration = Duration::from_secs(10);

/// Whether a gateway should receive requests. `Display` is a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// It should.
    Ready,
    /// It is stopping.
    Stopping,
    /// The broker is away and its spool is full: no event has left it since one found no room.
    SpoolFull,
    /// Its spool's disk failed within the last 10 s.
    DiskFailed,
    /// Its spool has failed until the process is restarted.
    SpoolFailed,
}

impl std::fmt::Display for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::SpoolFull => "the spool is full",
            Self::DiskFailed => "the spool's disk failed less than 10 s ago",
            Self::SpoolFailed => "the spool has failed; restart the process",
        })
    }
}

impl Readiness {
    /// The readiness of a gateway that is not stopping; `is_full` if the broker is away and the spool is full.
    pub(crate) fn of(failure: Option<SpoolFailure>, is_full: bool, now: Instant) -> Self {
        match failure {
            Some(SpoolFailure::ForGood) => Self::SpoolFailed,
            Some(SpoolFailure::Disk { at }) if now.saturating_duration_since(at) < DISK_FAILURE => {
                Self::DiskFailed
            }
            // Until something leaves the spool, the next event may find no room either.
            _ if is_full => Self::SpoolFull,
            _ => Self::Ready,
        }
    }
}

/// The failure of an event that was to be spooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpoolFailure {
    /// The disk failed, or was too slow.
    Disk { at: Instant },
    /// A thread of the spool has ended: no later event will be spooled.
    ForGood,
}

impl SpoolFailure {
    /// Records the result of an emit, if it says something about the spool.
    pub(crate) fn note(
        failure: &mut Option<Self>,
        result: &Result<Delivery, EmitError>,
        now: Instant,
    ) {
        // Results of events that were spooled before come later.
        if *failure == Some(Self::ForGood) {
            return;
        }
        if let Some(noted) = Self::after(result, now) {
            *failure = noted;
        }
    }

    /// The failure after an emit with this result; `None` if the result says nothing about the spool.
    fn after(result: &Result<Delivery, EmitError>, now: Instant) -> Option<Option<Self>> {
        match result {
            Err(EmitError::Spool(failed)) => match &failed.error {
                // The spool itself reports whether it is full.
                SpoolError::Closed | SpoolError::TooLarge { .. } | SpoolError::Full { .. } => None,
                SpoolError::Failed => Some(Some(Self::ForGood)),
                _ => Some(Some(Self::Disk { at: now })),
            },
            Ok(Delivery::Spooled) => Some(None),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jetsink::{SpoolFailed, Subject};

    fn failed(error: SpoolError) -> Result<Delivery, EmitError> {
        let subject = Subject::new("e").unwrap();
        Err(EmitError::Spool(Box::new(SpoolFailed::new(subject, error))))
    }

    #[test]
    fn full_spool_makes_it_unready_beside_a_failure_that_has_passed() {
        let at = Instant::now();
        let now = at + DISK_FAILURE;
        for (failure, is_full, readiness) in [
            (None, true, Readiness::SpoolFull),
            (Some(SpoolFailure::Disk { at }), true, Readiness::SpoolFull),
            (Some(SpoolFailure::Disk { at }), false, Readiness::Ready),
            (Some(SpoolFailure::ForGood), true, Readiness::SpoolFailed),
        ] {
            assert_eq!(Readiness::of(failure, is_full, now), readiness);
        }
    }

    #[test]
    fn failure_of_the_disk_counts_for_ten_seconds() {
        let start = Instant::now();
        let slow = failed(SpoolError::TooSlow {
            waited: Duration::ZERO,
        });
        let failure = SpoolFailure::after(&slow, start).unwrap();
        let after = |seconds| {
            let now = start + Duration::from_secs(seconds);
            Readiness::of(failure, false, now)
        };
        assert_eq!(
            (after(9), after(10)),
            (Readiness::DiskFailed, Readiness::Ready)
        );
    }

    // A reviewer's finding: a gateway whose spool had failed for good was ready again after 10 s.
    #[test]
    fn spool_that_failed_for_good_stays_failed() {
        let start = Instant::now();
        let mut failure = None;
        for result in [
            failed(SpoolError::Failed),
            Ok(Delivery::Spooled),
            failed(SpoolError::TooSlow {
                waited: Duration::ZERO,
            }),
        ] {
            SpoolFailure::note(&mut failure, &result, start);
            let later = start + Duration::from_secs(3_600);
            let readiness = Readiness::of(failure, false, later);
            assert_eq!(readiness, Readiness::SpoolFailed);
        }
    }

    #[test]
    fn other_results_say_nothing_about_the_spool() {
        let now = Instant::now();
        let full = SpoolError::Full {
            used_bytes: 0,
            limit_bytes: 1,
        };
        let too_large = SpoolError::TooLarge { bytes: 2, limit: 1 };
        for error in [SpoolError::Closed, too_large, full] {
            assert_eq!(SpoolFailure::after(&failed(error), now), None);
        }
        let stored = Delivery::from(jetsink::Acknowledgement::new("S", 1));
        assert_eq!(SpoolFailure::after(&Ok(stored), now), None);
        assert_eq!(SpoolFailure::after(&Err(EmitError::Closed), now), None);
        assert_eq!(Readiness::of(None, false, now), Readiness::Ready);
    }
}
