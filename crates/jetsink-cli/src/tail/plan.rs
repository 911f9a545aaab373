//! The arguments of `jetsink tail`, checked, with all times resolved.

use std::time::SystemTime;

use jetsink::{StreamName, StreamStart};

use super::arguments::Tail;
use super::filter::{Filter, subjects};
use crate::failure::Failure;

/// The number of events that `--no-follow` shows by default.
const DEFAULT_LAST: usize = 10;

/// The events to show.
pub(super) struct Plan {
    pub(super) stream: StreamName,
    pub(super) filter: Filter,
    pub(super) start: Start,
    pub(super) follows: bool,
    /// `--count`.
    pub(super) max: Option<u64>,
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    At(StreamStart),
    /// The last events that pass the filter, at most this many.
    Last(usize),
}

impl Plan {
    pub(super) fn resolve(arguments: &Tail, now: SystemTime) -> Result<Self, Failure> {
        let since = arguments.since.map(|moment| moment.resolve(now));
        let until = arguments.until.map(|moment| moment.resolve(now));
        let ends = arguments.no_follow || until.is_some_and(|until| until <= now);
        let start = match (since, arguments.last, arguments.all) {
            (Some(since), _, _) => Start::At(StreamStart::Time(since)),
            (None, Some(last), _) => Start::Last(last),
            (None, None, true) => Start::At(StreamStart::First),
            (None, None, false) if ends => Start::Last(DEFAULT_LAST),
            (None, None, false) => Start::At(StreamStart::New),
        };
        if let (Some(since), Some(until)) = (since, until)
            && since > until
        {
            return Err(Failure::Usage("--until is before --since".to_owned()));
        }
        let mut wanted = Vec::new();
        for template in &arguments.subject {
            let subjects = subjects(template, &arguments.tenant).map_err(Failure::Usage)?;
            wanted.extend(subjects);
        }
        wanted.sort_unstable();
        wanted.dedup();
        Ok(Self {
            stream: arguments.stream.clone(),
            filter: Filter {
                tenants: arguments.tenant.clone(),
                types: arguments.event_type.clone(),
                subjects: wanted,
                since,
                until,
            },
            start,
            follows: !ends,
            max: arguments.count,
            json: arguments.json,
        })
    }
}
