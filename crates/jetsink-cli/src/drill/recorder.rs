//! Merges ticks into samples. Pure.

use std::time::Duration;

use super::contender::Tick;
use super::record::Sample;

/// The maximum number of samples per contender, more than a picture has points. At the maximum, two
/// samples each are merged into one.
const MAX_SAMPLES: usize = 4_096;

/// The samples of all contenders, at equal distances.
#[derive(Debug)]
pub(super) struct Recorder {
    /// The time between two ticks.
    tick: Duration,
    /// The number of ticks per sample.
    ticks_per_sample: u32,
    gathered: u32,
    /// By contender: the unfinished sample, and the samples.
    contenders: Vec<(Option<Sample>, Vec<Sample>)>,
}

impl Recorder {
    pub(super) fn new(tick: Duration, contenders: usize) -> Self {
        Self {
            tick,
            ticks_per_sample: 1,
            gathered: 0,
            contenders: vec![(None, Vec::new()); contenders],
        }
    }

    /// Adds one tick of all contenders, which ended `at` after the beginning.
    pub(super) fn record(&mut self, at: Duration, ticks: Vec<(Tick, Option<u64>)>) {
        for ((gathered, _), (tick, stored)) in self.contenders.iter_mut().zip(ticks) {
            let sample = sample(at, tick, stored);
            *gathered = Some(match gathered.take() {
                None => sample,
                Some(before) => merged(&before, sample),
            });
        }
        self.gathered += 1;
        if self.gathered < self.ticks_per_sample {
            return;
        }
        self.gathered = 0;
        for (gathered, samples) in &mut self.contenders {
            samples.extend(gathered.take());
        }
        if self
            .contenders
            .iter()
            .any(|(_, samples)| samples.len() >= MAX_SAMPLES)
        {
            self.ticks_per_sample *= 2;
            for (_, samples) in &mut self.contenders {
                *samples = halved(samples);
            }
        }
    }

    pub(super) fn tick_seconds(&self) -> f64 {
        (self.tick * self.ticks_per_sample).as_secs_f64()
    }

    /// Returns the samples by contender. The last one may have fewer ticks.
    pub(super) fn finish(self) -> Vec<Vec<Sample>> {
        let contenders = self.contenders.into_iter();
        contenders
            .map(|(gathered, mut samples)| {
                samples.extend(gathered);
                samples
            })
            .collect()
    }
}

fn sample(at: Duration, tick: Tick, stored: Option<u64>) -> Sample {
    let mut latest = tick.latest;
    latest.sort_unstable();
    let longest = latest.last().copied().max(tick.unfinished);
    Sample {
        at: at.as_secs_f64(),
        emitted: tick.emitted,
        ok: tick.ok,
        failed: tick.failed,
        stored,
        spooled: tick.spooled,
        circuit: tick.circuit,
        median_seconds: latest.get(latest.len() / 2).map(Duration::as_secs_f64),
        longest_seconds: longest.as_ref().map(Duration::as_secs_f64),
    }
}

/// Merges two consecutive samples: the counts of the later one, the longest times of both.
fn merged(before: &Sample, after: Sample) -> Sample {
    let larger = |one: Option<f64>, other: Option<f64>| match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    };
    Sample {
        stored: after.stored.or(before.stored),
        median_seconds: larger(before.median_seconds, after.median_seconds),
        longest_seconds: larger(before.longest_seconds, after.longest_seconds),
        ..after
    }
}

fn halved(samples: &[Sample]) -> Vec<Sample> {
    let pairs = samples.chunks(2).filter_map(|pair| match pair {
        [before, after] => Some(merged(before, after.clone())),
        [only] => Some(only.clone()),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
#[path = "tests/recorder.rs"]
mod tests;
