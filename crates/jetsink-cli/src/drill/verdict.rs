//! What was told of each event, against what the streams hold. Pure.

use std::ops::Range;
use std::time::Duration;

use super::record::Check;
use super::report::words::{count, duration};

/// What the caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Ok: a stream has it.
    Stored,
    /// Ok: it is on the disk.
    Spooled,
    /// Err: it is not stored.
    NotStored,
    /// Err: it may be stored.
    Unknown,
    /// The drill ended before the answer came.
    Nothing,
}

impl Told {
    fn is_ok(self) -> bool {
        match self {
            Self::Stored | Self::Spooled => true,
            Self::NotStored | Self::Unknown | Self::Nothing => false,
        }
    }
}

/// All that is known of a lane when all is over.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// By the event's number.
    pub(super) told: Vec<Told>,
    /// What went to streams that the drill itself deleted before anybody looked, maybe.
    pub(super) excused: Vec<Range<u64>>,
    pub(super) longest: Duration,
    pub(super) recoveries: Vec<Recovery>,
    /// Where there is a spool: what is left in it.
    pub(super) left: Option<u64>,
    /// Whether the stream could not be read, so that nobody knows what it holds.
    pub(super) unread: bool,
    found: Found,
}

/// How a lane came back from a fault.
#[derive(Debug, Clone)]
pub(super) struct Recovery {
    pub(super) fault: &'static str,
    /// From the fault's end until the lane delivered; none where it did not in time.
    pub(super) time: Option<Duration>,
    pub(super) bound: Duration,
}

/// What the stream was found to hold.
#[derive(Debug, Default)]
struct Found {
    /// How often each event is there.
    times: Vec<u32>,
    stored: u64,
    out_of_order: u64,
    altered: u64,
    latest: Option<u64>,
}

impl Evidence {
    pub(super) fn new(told: Vec<Told>) -> Self {
        Self {
            found: Found {
                times: vec![0; told.len()],
                ..Found::default()
            },
            told,
            ..Self::default()
        }
    }

    /// The stream's next message of this lane.
    pub(super) fn stored(&mut self, number: u64, intact: bool) {
        let found = &mut self.found;
        found.stored += 1;
        found.altered += u64::from(!intact);
        let place = usize::try_from(number)
            .ok()
            .filter(|place| *place < self.told.len());
        let Some(place) = place else {
            // A number that was never given: nobody emitted this.
            found.altered += u64::from(intact);
            return;
        };
        found.times[place] += 1;
        // Where an event belongs whose outcome is unknown, nobody can say; and one that is there again
        // is told by another line.
        if self.told[place].is_ok() && found.times[place] == 1 {
            if found.latest.is_some_and(|latest| number < latest) {
                found.out_of_order += 1;
            } else {
                found.latest = Some(number);
            }
        }
    }

    /// How many messages streams have stored, those that they were deleted with included.
    pub(super) fn ever_stored(&self) -> u64 {
        self.found.stored + self.gone()
    }

    fn is_excused(&self, number: u64) -> bool {
        self.excused.iter().any(|range| range.contains(&number))
    }

    /// What a stream had taken and was deleted with before anybody looked.
    fn gone(&self) -> u64 {
        self.count(|told, times, number| told.is_ok() && times == 0 && self.is_excused(number))
    }

    /// Told Ok, and neither there nor waiting on the disk. What waits there was told to be spooled.
    fn lost(&self) -> u64 {
        let missing = |what| {
            self.count(|told, times, number| told == what && times == 0 && !self.is_excused(number))
        };
        missing(Told::Stored) + missing(Told::Spooled).saturating_sub(self.left.unwrap_or(0))
    }

    fn count(&self, which: impl Fn(Told, u32, u64) -> bool) -> u64 {
        let all = self.told.iter().zip(&self.found.times).zip(0..);
        all.filter(|&((told, times), number)| which(*told, *times, number))
            .count() as u64
    }

    /// The verdict's lines, against what a lane of ours promises.
    pub(super) fn checks(&self, longest_emit: Duration) -> Vec<Check> {
        let told = |what: Told| self.count(|told, _, _| told == what);
        let mut checks = vec![seen("emitted", count(self.told.len() as u64))];
        let ok = count(told(Told::Stored) + told(Told::Spooled));
        checks.push(match self.left {
            None => seen("told Ok", ok),
            Some(_) => {
                let spooled = count(told(Told::Spooled));
                seen("told Ok", format!("{ok}, {spooled} of them spooled"))
            }
        });
        let errors = told(Told::NotStored) + told(Told::Unknown);
        checks.push(match self.left {
            None => seen("told Err", count(errors)),
            Some(_) => none("told Err", errors),
        });
        let unknown = told(Told::Unknown) + told(Told::Nothing);
        if unknown > 0 {
            let text = match self.unread {
                true => count(unknown),
                false => {
                    let there = self.count(|told, times, _| {
                        matches!(told, Told::Unknown | Told::Nothing) && times > 0
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
            // It is there for a broker that may come back.
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

    /// What only the streams can tell.
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
            "told not stored, and stored",
            self.count(|told, times, _| told == Told::NotStored && times > 0),
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

/// Of a lane that promises nothing: the same, to compare.
pub(super) fn to_compare(checks: Vec<Check>) -> Vec<Check> {
    let told = |check| Check {
        bound: None,
        kept: None,
        ..check
    };
    checks.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_EMIT: Duration = Duration::from_secs(2);

    fn evidence(told: &[Told], stored: &[u64]) -> Evidence {
        let mut evidence = Evidence::new(told.to_vec());
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
    fn what_was_told_and_is_so_is_kept() {
        let told = [
            Told::Stored,
            Told::Unknown,
            Told::NotStored,
            Told::Stored,
            Told::Unknown,
        ];
        assert!(broken(&evidence(&told, &[0, 1, 3])).is_empty());
        // One whose outcome is unknown may come late.
        assert!(broken(&evidence(&told, &[0, 3, 4, 1])).is_empty());
    }

    #[test]
    fn a_planted_loss_duplicate_swap_stranger_and_lie_are_each_found() {
        let ok = [Told::Stored, Told::Spooled, Told::Stored];
        assert_eq!(broken(&evidence(&ok, &[0, 2])), ["lost"]);
        assert_eq!(broken(&evidence(&ok, &[0, 1, 1, 2])), ["duplicated"]);
        assert_eq!(broken(&evidence(&ok, &[1, 0, 2])), ["out of order"]);
        assert_eq!(broken(&evidence(&ok, &[0, 1, 2, 9])), ["altered"]);
        let mut altered = evidence(&ok, &[0, 1]);
        altered.stored(2, false);
        assert_eq!(broken(&altered), ["altered"]);
        let lie = [Told::Stored, Told::NotStored];
        assert_eq!(
            broken(&evidence(&lie, &[0, 1])),
            ["told not stored, and stored"]
        );
    }

    #[test]
    fn what_the_drill_deleted_is_not_lost_and_a_spool_promises_more() {
        let mut deleted = evidence(&[Told::Stored, Told::Stored], &[1]);
        assert_eq!(broken(&deleted), ["lost"]);
        deleted.excused.push(0..1);
        assert!(broken(&deleted).is_empty());
        let mut spooled = evidence(&[Told::Spooled, Told::NotStored], &[0]);
        spooled.left = Some(3);
        assert_eq!(broken(&spooled), ["told Err", "left in the spool"]);
    }

    #[test]
    fn of_a_stream_that_was_not_read_nothing_is_said() {
        let told = [Told::Stored, Told::NotStored, Told::Unknown];
        let mut unread = evidence(&told, &[]);
        assert_eq!(broken(&unread), ["lost"]);
        unread.unread = true;
        assert!(broken(&unread).is_empty());
        let checks = unread.checks(MAX_EMIT);
        let seen = |name| checks.iter().find(|check| check.name == name);
        assert_eq!(seen("told Err").map(|check| check.seen.as_str()), Some("2"));
        assert!(seen("lost").is_none());
        unread.told.retain(|told| told.is_ok());
        unread.left = Some(1);
        assert!(broken(&unread).is_empty());
    }

    #[test]
    fn what_waits_on_the_disk_is_left_and_not_lost() {
        let mut waiting = evidence(&[Told::Stored, Told::Spooled, Told::Spooled], &[0]);
        waiting.left = Some(2);
        assert_eq!(broken(&waiting), ["left in the spool"]);
        waiting.left = Some(1);
        assert_eq!(broken(&waiting), ["lost", "left in the spool"]);
        let mut stored = evidence(&[Told::Stored], &[]);
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
