//! What the checks of a drill come to.

use super::words::listed;
use crate::drill::record::{Lane, Record};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Kept {
        bounds: usize,
    },
    Broken {
        broken: usize,
        bounds: usize,
    },
    /// Nothing was bounded: the lane is there to be compared with.
    OnlyTold,
    /// What was seen is within its bounds, and the stream was not.
    NotKnown,
}

impl Outcome {
    pub(super) fn of(record: &Record, lane: &Lane) -> Self {
        let marks = || lane.checks.iter().filter_map(|check| check.kept);
        let bounds = marks().count();
        match marks().filter(|kept| !kept).count() {
            _ if bounds == 0 => Self::OnlyTold,
            0 if record.about.unread => Self::NotKnown,
            0 => Self::Kept { bounds },
            broken => Self::Broken { broken, bounds },
        }
    }

    pub(super) fn in_words(self) -> String {
        match self {
            Self::Kept { bounds: 1 } => "✓ kept its bound".to_owned(),
            Self::Kept { bounds } => format!("✓ kept all {bounds} bounds"),
            Self::Broken { broken, bounds } => format!("✗ broke {broken} of {bounds}"),
            Self::OnlyTold => "– no bounds, to compare".to_owned(),
            Self::NotKnown => "– what is stored is not known".to_owned(),
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Kept { .. } => "kept",
            Self::Broken { .. } => "broken",
            Self::OnlyTold | Self::NotKnown => "told",
        }
    }
}

/// One sentence over all lanes.
pub(super) fn headline(record: &Record) -> String {
    let outcomes: Vec<_> = record
        .lanes
        .iter()
        .map(|lane| (lane, Outcome::of(record, lane)))
        .collect();
    let kept: Vec<_> = outcomes
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Outcome::Kept { .. }))
        .map(|(lane, _)| lane.name.as_str())
        .collect();
    let mut parts = Vec::new();
    if record.about.interrupted {
        parts.push(format!(
            "interrupted after {} of its faults",
            record.faults.len()
        ));
    }
    if record.about.unread {
        parts.push("no verdict: what the broker holds could not be read".to_owned());
    }
    if !kept.is_empty() {
        parts.push(format!("{} kept every bound", listed(&kept)));
    }
    parts.extend(outcomes.iter().filter_map(|(lane, outcome)| match outcome {
        Outcome::Broken { broken, bounds } => {
            Some(format!("{} broke {broken} of {bounds}", lane.name))
        }
        Outcome::Kept { .. } | Outcome::OnlyTold | Outcome::NotKnown => None,
    }));
    if parts.is_empty() {
        "Nothing was held against a bound".to_owned()
    } else {
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::record::Check;
    use crate::drill::report::example;

    fn checks(marks: &[Option<bool>]) -> Vec<Check> {
        let check = |kept: &Option<bool>| Check {
            name: "lost".to_owned(),
            seen: "0".to_owned(),
            bound: kept.map(|_| "0".to_owned()),
            kept: *kept,
        };
        marks.iter().map(check).collect()
    }

    #[test]
    fn one_broken_bound_is_a_broken_lane_and_what_is_only_told_is_none() {
        let mut record = example::drill();
        record.lanes[0].checks = checks(&[None, Some(true)]);
        record.lanes[1].checks = checks(&[Some(true), Some(false), None]);
        record.lanes[2].checks = checks(&[None]);
        let outcome = |lane| Outcome::of(&record, lane);
        let outcomes: Vec<_> = record.lanes.iter().map(outcome).collect();
        let broken = Outcome::Broken {
            broken: 1,
            bounds: 2,
        };
        assert_eq!(
            outcomes,
            [Outcome::Kept { bounds: 1 }, broken, Outcome::OnlyTold]
        );
        assert_eq!(
            headline(&record),
            "jetsink kept every bound; jetsink with a spool broke 1 of 2"
        );
    }

    #[test]
    fn lanes_that_kept_are_named_together_where_the_stream_was_read() {
        let mut record = example::drill();
        for lane in &mut record.lanes {
            lane.checks = checks(&[Some(true)]);
        }
        assert_eq!(
            headline(&record),
            "jetsink, jetsink with a spool and plain async-nats kept every bound"
        );
        record.about.unread = true;
        assert_eq!(
            headline(&record),
            "no verdict: what the broker holds could not be read"
        );
        record.lanes[0].checks = checks(&[Some(false)]);
        assert!(headline(&record).ends_with("; jetsink broke 1 of 1"));
        record.about.unread = false;
        record.lanes.clear();
        assert_eq!(headline(&record), "Nothing was held against a bound");
    }
}
