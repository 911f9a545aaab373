//! The verdict on each contender, and the headline.

use crate::drill::format::listed;
use crate::drill::record::{ContenderRecord, Record};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContenderVerdict {
    Kept {
        bounds: usize,
    },
    Broken {
        broken: usize,
        bounds: usize,
    },
    /// No check has a bound: the contender is only compared.
    Unbounded,
    /// All observed values are within their bounds, but the stream was not read.
    Unread,
}

impl ContenderVerdict {
    pub(super) fn of(record: &Record, contender: &ContenderRecord) -> Self {
        let marks = || contender.checks.iter().filter_map(|check| check.kept);
        let bounds = marks().count();
        match marks().filter(|kept| !kept).count() {
            _ if bounds == 0 => Self::Unbounded,
            0 if record.about.unread => Self::Unread,
            0 => Self::Kept { bounds },
            broken => Self::Broken { broken, bounds },
        }
    }

    pub(super) fn text(self) -> String {
        match self {
            Self::Kept { bounds: 1 } => "✓ kept its bound".to_owned(),
            Self::Kept { bounds } => format!("✓ kept all {bounds} bounds"),
            Self::Broken { broken, bounds } => format!("✗ broke {broken} of {bounds}"),
            Self::Unbounded => "– no bounds, to compare".to_owned(),
            Self::Unread => "– what is stored is not known".to_owned(),
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Kept { .. } => "kept",
            Self::Broken { .. } => "broken",
            Self::Unbounded | Self::Unread => "neutral",
        }
    }
}

/// One sentence on all contenders.
pub(super) fn headline(record: &Record) -> String {
    let outcomes: Vec<_> = record
        .contenders
        .iter()
        .map(|contender| (contender, ContenderVerdict::of(record, contender)))
        .collect();
    let kept: Vec<_> = outcomes
        .iter()
        .filter(|(_, outcome)| matches!(outcome, ContenderVerdict::Kept { .. }))
        .map(|(contender, _)| contender.name.as_str())
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
    parts.extend(
        outcomes
            .iter()
            .filter_map(|(contender, outcome)| match outcome {
                ContenderVerdict::Broken { broken, bounds } => {
                    Some(format!("{} broke {broken} of {bounds}", contender.name))
                }
                ContenderVerdict::Kept { .. }
                | ContenderVerdict::Unbounded
                | ContenderVerdict::Unread => None,
            }),
    );
    if parts.is_empty() {
        "No value had a bound".to_owned()
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
    fn one_broken_bound_is_a_broken_contender() {
        let mut record = example::drill();
        record.contenders[0].checks = checks(&[None, Some(true)]);
        record.contenders[1].checks = checks(&[Some(true), Some(false), None]);
        record.contenders[2].checks = checks(&[None]);
        let outcome = |contender| ContenderVerdict::of(&record, contender);
        let outcomes: Vec<_> = record.contenders.iter().map(outcome).collect();
        let broken = ContenderVerdict::Broken {
            broken: 1,
            bounds: 2,
        };
        assert_eq!(
            outcomes,
            [
                ContenderVerdict::Kept { bounds: 1 },
                broken,
                ContenderVerdict::Unbounded
            ]
        );
        assert_eq!(
            headline(&record),
            "jetsink kept every bound; jetsink with a spool broke 1 of 2"
        );
    }

    #[test]
    fn contenders_that_kept_all_bounds_are_named_together_if_the_stream_was_read() {
        let mut record = example::drill();
        for contender in &mut record.contenders {
            contender.checks = checks(&[Some(true)]);
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
        record.contenders[0].checks = checks(&[Some(false)]);
        assert!(headline(&record).ends_with("; jetsink broke 1 of 1"));
        record.about.unread = false;
        record.contenders.clear();
        assert_eq!(headline(&record), "No value had a bound");
    }
}
