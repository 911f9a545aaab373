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
#[path = "tests/verdict.rs"]
mod tests;
