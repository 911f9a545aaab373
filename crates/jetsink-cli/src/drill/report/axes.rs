//! The axes that all plots of a report share, so that contenders can be compared.

use super::scale::{Linear, Logarithmic};
use crate::drill::record::{ContenderRecord, Record, Sample};

pub(super) struct Axes {
    pub(super) time: Linear,
    pub(super) latency: Logarithmic,
    /// As `latency`, for plots without medians.
    pub(super) longest: Logarithmic,
    pub(super) events: Linear,
    /// The number of events that returned `Ok` and are not in the stream.
    pub(super) behind: Linear,
}

impl Axes {
    pub(super) fn of(record: &Record) -> Self {
        let samples = || {
            record
                .contenders
                .iter()
                .flat_map(|contender| &contender.samples)
        };
        let faults = record.faults.iter().map(|fault| fault.until);
        let latencies =
            samples().flat_map(|sample| [sample.median_seconds, sample.longest_seconds]);
        let longest = samples().filter_map(|sample| sample.longest_seconds);
        let deadline = [record.about.deadline_seconds];
        Self {
            time: Linear::over(
                samples()
                    .map(|sample| sample.at)
                    .chain(faults)
                    .chain([record.about.seconds]),
            ),
            latency: Logarithmic::over(latencies.flatten().chain(deadline)),
            longest: Logarithmic::over(longest.chain(deadline)),
            events: Linear::over(
                samples()
                    .flat_map(|sample| [sample.emitted as f64, sample.stored.unwrap_or(0) as f64]),
            ),
            behind: Linear::over(
                samples()
                    .flat_map(|sample| [behind(sample), spooled(sample)])
                    .flatten(),
            ),
        }
    }
}

/// Events that returned `Ok` and are not in the stream: they are pending in a spool, in flight, or
/// lost.
pub(super) fn behind(sample: &Sample) -> Option<f64> {
    let stored = sample.stored?;
    Some(sample.ok.saturating_sub(stored) as f64)
}

pub(super) fn spooled(sample: &Sample) -> Option<f64> {
    sample.spooled.map(|spooled| spooled as f64)
}

pub(super) fn stored(sample: &Sample) -> Option<f64> {
    sample.stored.map(|stored| stored as f64)
}

/// The largest of a contender's values, and its time.
pub(super) fn peak(
    contender: &ContenderRecord,
    value: impl Fn(&Sample) -> Option<f64>,
) -> Option<(f64, f64)> {
    contender
        .samples
        .iter()
        .filter_map(|sample| Some((value(sample)?, sample.at)))
        .filter(|(value, _)| value.is_finite())
        .max_by(|one, other| one.0.total_cmp(&other.0))
}

/// The last known value, and its time.
pub(super) fn last<T>(
    contender: &ContenderRecord,
    value: impl Fn(&Sample) -> Option<T>,
) -> Option<(T, f64)> {
    let mut latest_first = contender.samples.iter().rev();
    latest_first.find_map(|sample| Some((value(sample)?, sample.at)))
}
