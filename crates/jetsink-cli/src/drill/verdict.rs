//! Compares the result of each emit with the streams. Pure.

use std::ops::Range;
use std::time::Duration;

use delivery_audit::{Event, Ledger, Outcome, Report, Verdict};

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
    fn outcome(self) -> Outcome {
        match self {
            Self::Stored | Self::Spooled => Outcome::Acknowledged,
            Self::NotStored => Outcome::NotStored,
            Self::Unknown | Self::Pending => Outcome::Unknown,
        }
    }
}

/// The results of a contender.
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
}

/// The recovery of a contender from a fault.
#[derive(Debug, Clone)]
pub(super) struct Recovery {
    pub(super) fault: &'static str,
    /// From the fault's end until the contender delivered; `None` if it did not in time.
    pub(super) time: Option<Duration>,
    pub(super) bound: Duration,
}

impl Evidence {
    /// Compares the results with the stream's messages of this contender: the number of each event, and
    /// whether the message has its bytes.
    pub(super) fn compare(self, stored: impl IntoIterator<Item = (u64, bool)>) -> Comparison {
        let mut ledger: Ledger<u64> = Ledger::new();
        for (number, result) in (0..).zip(&self.results) {
            ledger.add(Event::new(number, result.outcome()));
        }
        let mut audit = ledger.seal();
        let mut altered = 0;
        for (number, intact) in stored {
            // All events of a contender have one subject.
            let verdict = audit.observe("", &number);
            // The number of no emitted event: such a message is an altered one, too.
            altered += u64::from(!intact || verdict == Verdict::Unexpected);
        }
        Comparison {
            evidence: self,
            report: audit.finish(),
            altered,
        }
    }
}

/// The results of a contender, compared with the stream.
#[derive(Debug)]
pub(super) struct Comparison {
    evidence: Evidence,
    report: Report<u64>,
    altered: u64,
}

impl Comparison {
    /// The number of messages that the streams have ever stored, including deleted ones; `None` if the
    /// stream could not be read.
    pub(super) fn ever_stored(&self) -> Option<u64> {
        let known = !self.evidence.unread;
        known.then(|| self.report.counts().messages + self.gone())
    }

    fn is_excused(&self, number: u32) -> bool {
        let excused = &self.evidence.excused;
        excused.iter().any(|range| range.contains(&number.into()))
    }

    /// Events that were deleted with their stream before it was read.
    fn gone(&self) -> u64 {
        self.report.lost().filter(|n| self.is_excused(*n)).count() as u64
    }

    /// Returned `Ok`, and neither in the stream nor in the spool. Pending events were spooled.
    fn lost(&self) -> u64 {
        let Evidence { results, left, .. } = &self.evidence;
        let lost = self.report.lost().filter(|n| !self.is_excused(*n));
        let (spooled, stored): (Vec<u32>, Vec<u32>) =
            lost.partition(|number| results[*number as usize] == EmitResult::Spooled);
        stored.len() as u64 + (spooled.len() as u64).saturating_sub(left.unwrap_or(0))
    }

    fn count(&self, which: impl Fn(EmitResult, u32) -> bool) -> u64 {
        let numbered = self.evidence.results.iter().zip(0..);
        numbered.filter(|&(result, n)| which(*result, n)).count() as u64
    }

    /// The lines of the verdict, with the bounds of a sink's promises.
    pub(super) fn checks(&self, longest_emit: Duration) -> Vec<Check> {
        let Evidence {
            left,
            unread,
            longest,
            recoveries,
            ..
        } = &self.evidence;
        let results = |what: EmitResult| self.count(|result, _| result == what);
        let mut checks = vec![seen("emitted", count(self.evidence.results.len() as u64))];
        let ok = count(results(EmitResult::Stored) + results(EmitResult::Spooled));
        checks.push(match left {
            None => seen("returned Ok", ok),
            Some(_) => {
                let spooled = count(results(EmitResult::Spooled));
                seen("returned Ok", format!("{ok}, {spooled} of them spooled"))
            }
        });
        let errors = results(EmitResult::NotStored) + results(EmitResult::Unknown);
        checks.push(match left {
            None => seen("returned an error", count(errors)),
            Some(_) => none("returned an error", errors),
        });
        let unknown = results(EmitResult::Unknown) + results(EmitResult::Pending);
        if unknown > 0 {
            let text = match unread {
                true => count(unknown),
                false => {
                    let stored = self.count(|result, number| {
                        result.outcome() == Outcome::Unknown && self.report.is_stored(number)
                    });
                    format!("{}, {} of them stored", count(unknown), count(stored))
                }
            };
            checks.push(seen("outcome unknown", text));
        }
        match unread {
            true => checks.push(seen("stored, lost, out of order", "not known".to_owned())),
            false => self.check_stored(&mut checks),
        }
        match left {
            None => {}
            // The broker may come back and take them.
            Some(left) if *unread => checks.push(seen("left in the spool", count(*left))),
            Some(left) => checks.push(none("left in the spool", *left)),
        }
        checks.push(at_most("longest emit", Some(*longest), longest_emit));
        checks.extend(recoveries.iter().map(|recovery| {
            let name = format!("delivers again, {}", recovery.fault);
            at_most(&name, recovery.time, recovery.bound)
        }));
        checks
    }

    /// The checks that need the streams.
    fn check_stored(&self, checks: &mut Vec<Check>) {
        let (report, found) = (&self.report, self.report.counts());
        checks.push(seen("stored", count(found.messages)));
        if !self.evidence.excused.is_empty() {
            checks.push(seen("deleted with the stream", count(self.gone())));
        }
        checks.push(none("lost", self.lost()));
        checks.push(none("duplicated", report.duplicated().count() as u64));
        checks.push(none("out of order", found.out_of_order));
        checks.push(none("altered", self.altered));
        checks.push(none(
            "stored despite an error",
            report.stored_despite_error().count() as u64,
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
#[path = "tests/verdict.rs"]
mod tests;
