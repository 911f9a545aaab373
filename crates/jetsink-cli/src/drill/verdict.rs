//! Compares the result of each emit with the streams. Pure.

use std::ops::Range;
use std::time::Duration;

use super::format::{count, duration};
use super::record::Check;

/// The result of an emit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EmitResult {
    /// `Ok`: a stream has acknowledged the event.
    Stored,
    /// `Ok`: the event is in the spool.
    Spooled,
    /// An error: the event is not stored.
    NotStored,
    /// An error: the event may be stored.
    Unknown,
    /// The drill ended before the emit.
    Pending,
}

impl EmitResult {
    fn is_ok(self) -> bool {
        match self {
            Self::Stored | Self::Spooled => true,
            Self::NotStored | Self::Unknown | Self::Pending => false,
        }
    }
}

/// The results of a contender and the stream's messages.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// By the event's number.
    pub(super) results: Vec<EmitResult>,
    /// Events that may have been stored in a stream between its reading and its deletion.
    pub(super) excused: Vec<Range<u64>>,
    pub(super) longest: Duration,
    pub(super) recoveries: Vec<Recovery>,
    /// Pending events; `None` without a spool.
    pub(super) left: Option<u64>,
    /// Whether the stream could not be read.
    pub(super) unread: bool,
    found: Found,
}

/// The recovery of a contender from a fault.
#[derive(Debug, Clone)]
pub(super) struct Recovery {
    pub(super) fault: &'static str,
    /// From the fault's end until the contender delivered; `None` if it did not in time.
    pub(super) time: Option<Duration>,
    pub(super) bound: Duration,
}

/// The contender's messages in the stream.
#[derive(Debug, Default)]
struct Found {
    /// The number of messages per event.
    times: Vec<u32>,
    stored: u64,
    out_of_order: u64,
    altered: u64,
    latest: Option<u64>,
}

impl Evidence {
    pub(super) fn new(results: Vec<EmitResult>) -> Self {
        Self {
            found: Found {
                times: vec![0; results.len()],
                ..Found::default()
            },
            results,
            ..Self::default()
        }
    }

    /// The stream's next message of this contender.
    pub(super) fn stored(&mut self, number: u64, intact: bool) {
        let found = &mut self.found;
        found.stored += 1;
        found.altered += u64::from(!intact);
        let place = usize::try_from(number)
            .ok()
            .filter(|place| *place < self.results.len());
        let Some(place) = place else {
            // The number of no emitted event.
            found.altered += u64::from(intact);
            return;
        };
        found.times[place] += 1;
        // An event of unknown outcome may be stored at any time; and one that is stored again
        // counts in another line.
        if self.results[place].is_ok() && found.times[place] == 1 {
            if found.latest.is_some_and(|latest| number < latest) {
                found.out_of_order += 1;
            } else {
                found.latest = Some(number);
            }
        }
    }

    /// The number of messages that the streams have ever stored, including deleted ones.
    pub(super) fn ever_stored(&self) -> u64 {
        self.found.stored + self.gone()
    }

    fn is_excused(&self, number: u64) -> bool {
        self.excused.iter().any(|range| range.contains(&number))
    }

    /// Events that were deleted with their stream before it was read.
    fn gone(&self) -> u64 {
        self.count(|result, times, number| result.is_ok() && times == 0 && self.is_excused(number))
    }

    /// Returned `Ok`, and neither in the stream nor in the spool. Pending events were spooled.
    fn lost(&self) -> u64 {
        let missing = |what| {
            self.count(|result, times, number| {
                result == what && times == 0 && !self.is_excused(number)
            })
        };
        missing(EmitResult::Stored)
            + missing(EmitResult::Spooled).saturating_sub(self.left.unwrap_or(0))
    }

    fn count(&self, which: impl Fn(EmitResult, u32, u64) -> bool) -> u64 {
        let all = self.results.iter().zip(&self.found.times).zip(0..);
        all.filter(|&((result, times), number)| which(*result, *times, number))
            .count() as u64
    }

    /// The lines of the verdict, with the bounds of a sink's promises.
    pub(super) fn checks(&self, longest_emit: Duration) -> Vec<Check> {
        let results = |what: EmitResult| self.count(|result, _, _| result == what);
        let mut checks = vec![seen("emitted", count(self.results.len() as u64))];
        let ok = count(results(EmitResult::Stored) + results(EmitResult::Spooled));
        checks.push(match self.left {
            None => seen("returned Ok", ok),
            Some(_) => {
                let spooled = count(results(EmitResult::Spooled));
                seen("returned Ok", format!("{ok}, {spooled} of them spooled"))
            }
        });
        let errors = results(EmitResult::NotStored) + results(EmitResult::Unknown);
        checks.push(match self.left {
            None => seen("returned an error", count(errors)),
            Some(_) => none("returned an error", errors),
        });
        let unknown = results(EmitResult::Unknown) + results(EmitResult::Pending);
        if unknown > 0 {
            let text = match self.unread {
                true => count(unknown),
                false => {
                    let there = self.count(|result, times, _| {
                        matches!(result, EmitResult::Unknown | EmitResult::Pending) && times > 0
                    });
                    format!("{}, {} of them stored", count(unknown), count(there))
                }
            };
            checks.push(seen("outcome unknown", text));
        }
        match self.unread {
            true => checks.push(seen("stored, lost, out of order", "not known".to_owned())),
            false => self.check_stored(&mut checks),
        }
        match self.left {
            None => {}
            // The broker may come back and take them.
            Some(left) if self.unread => checks.push(seen("left in the spool", count(left))),
            Some(left) => checks.push(none("left in the spool", left)),
        }
        checks.push(at_most("longest emit", Some(self.longest), longest_emit));
        checks.extend(self.recoveries.iter().map(|recovery| {
            let name = format!("delivers again, {}", recovery.fault);
            at_most(&name, recovery.time, recovery.bound)
        }));
        checks
    }

    /// The checks that need the streams.
    fn check_stored(&self, checks: &mut Vec<Check>) {
        checks.push(seen("stored", count(self.found.stored)));
        if !self.excused.is_empty() {
            checks.push(seen("deleted with the stream", count(self.gone())));
        }
        checks.push(none("lost", self.lost()));
        checks.push(none("duplicated", self.count(|_, times, _| times > 1)));
        checks.push(none("out of order", self.found.out_of_order));
        checks.push(none("altered", self.found.altered));
        checks.push(none(
            "stored despite an error",
            self.count(|result, times, _| result == EmitResult::NotStored && times > 0),
        ));
    }
}

fn seen(name: &str, seen: String) -> Check {
    Check {
        name: name.to_owned(),
        seen,
        bound: None,
        kept: None,
    }
}

fn none(name: &str, found: u64) -> Check {
    Check {
        name: name.to_owned(),
        seen: count(found),
        bound: Some("0".to_owned()),
        kept: Some(found == 0),
    }
}

fn at_most(name: &str, time: Option<Duration>, bound: Duration) -> Check {
    let text = |time: Duration| duration(time.as_secs_f64());
    Check {
        name: name.to_owned(),
        seen: time.map_or_else(|| "not at all".to_owned(), text),
        bound: Some(format!("at most {}", text(bound))),
        kept: Some(time.is_some_and(|time| time <= bound)),
    }
}

/// The same checks without bounds, for a contender that promises nothing.
pub(super) fn to_compare(checks: Vec<Check>) -> Vec<Check> {
    let unbounded = |check| Check {
        bound: None,
        kept: None,
        ..check
    };
    checks.into_iter().map(unbounded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_EMIT: Duration = Duration::from_secs(2);

    fn evidence(results: &[EmitResult], stored: &[u64]) -> Evidence {
        let mut evidence = Evidence::new(results.to_vec());
        stored
            .iter()
            .for_each(|number| evidence.stored(*number, true));
        evidence
    }

    fn broken(evidence: &Evidence) -> Vec<String> {
        let checks = evidence.checks(MAX_EMIT).into_iter();
        checks
            .filter(|check| check.kept == Some(false))
            .map(|check| check.name)
            .collect()
    }

    #[test]
    fn results_that_agree_with_the_stream_keep_every_promise() {
        let results = [
            EmitResult::Stored,
            EmitResult::Unknown,
            EmitResult::NotStored,
            EmitResult::Stored,
            EmitResult::Unknown,
        ];
        assert!(broken(&evidence(&results, &[0, 1, 3])).is_empty());
        // One whose outcome is unknown may come late.
        assert!(broken(&evidence(&results, &[0, 3, 4, 1])).is_empty());
    }

    #[test]
    fn each_planted_fault_is_found() {
        let ok = [EmitResult::Stored, EmitResult::Spooled, EmitResult::Stored];
        assert_eq!(broken(&evidence(&ok, &[0, 2])), ["lost"]);
        assert_eq!(broken(&evidence(&ok, &[0, 1, 1, 2])), ["duplicated"]);
        assert_eq!(broken(&evidence(&ok, &[1, 0, 2])), ["out of order"]);
        assert_eq!(broken(&evidence(&ok, &[0, 1, 2, 9])), ["altered"]);
        let mut altered = evidence(&ok, &[0, 1]);
        altered.stored(2, false);
        assert_eq!(broken(&altered), ["altered"]);
        let lie = [EmitResult::Stored, EmitResult::NotStored];
        assert_eq!(
            broken(&evidence(&lie, &[0, 1])),
            ["stored despite an error"]
        );
    }

    #[test]
    fn deleted_event_is_not_lost_and_a_spool_promises_more() {
        let mut deleted = evidence(&[EmitResult::Stored, EmitResult::Stored], &[1]);
        assert_eq!(broken(&deleted), ["lost"]);
        deleted.excused.push(0..1);
        assert!(broken(&deleted).is_empty());
        let mut spooled = evidence(&[EmitResult::Spooled, EmitResult::NotStored], &[0]);
        spooled.left = Some(3);
        assert_eq!(broken(&spooled), ["returned an error", "left in the spool"]);
    }

    #[test]
    fn unread_stream_has_no_verdict() {
        let results = [
            EmitResult::Stored,
            EmitResult::NotStored,
            EmitResult::Unknown,
        ];
        let mut unread = evidence(&results, &[]);
        assert_eq!(broken(&unread), ["lost"]);
        unread.unread = true;
        assert!(broken(&unread).is_empty());
        let checks = unread.checks(MAX_EMIT);
        let seen = |name| checks.iter().find(|check| check.name == name);
        assert_eq!(
            seen("returned an error").map(|check| check.seen.as_str()),
            Some("2")
        );
        assert!(seen("lost").is_none());
        unread.results.retain(|result| result.is_ok());
        unread.left = Some(1);
        assert!(broken(&unread).is_empty());
    }

    #[test]
    fn pending_event_is_left_and_not_lost() {
        let mut waiting = evidence(
            &[EmitResult::Stored, EmitResult::Spooled, EmitResult::Spooled],
            &[0],
        );
        waiting.left = Some(2);
        assert_eq!(broken(&waiting), ["left in the spool"]);
        waiting.left = Some(1);
        assert_eq!(broken(&waiting), ["lost", "left in the spool"]);
        let mut stored = evidence(&[EmitResult::Stored], &[]);
        stored.left = Some(1);
        assert_eq!(broken(&stored), ["lost", "left in the spool"]);
    }

    #[test]
    fn times_have_their_bounds_and_never_is_too_late() {
        let mut late = evidence(&[], &[]);
        late.longest = Duration::from_millis(2_001);
        late.recoveries = [("killed", Some(999)), ("frozen", None)]
            .map(|(fault, time)| Recovery {
                fault,
                time: time.map(Duration::from_millis),
                bound: Duration::from_secs(1),
            })
            .to_vec();
        assert_eq!(broken(&late), ["longest emit", "delivers again, frozen"]);
        assert!(
            to_compare(late.checks(MAX_EMIT))
                .iter()
                .all(|check| check.kept.is_none())
        );
    }
}
