//! Merges ticks into samples. Pure.

use std::time::Duration;

use super::contender::Tick;
use super::record::Sample;

/// The maximum number of samples per contender, more than a picture has points. At the maximum, two samples
/// each are merged into one.
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
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    fn tick(emitted: u64, latest: &[u64], unfinished: Option<u64>) -> Tick {
        Tick {
            emitted,
            ok: emitted,
            latest: latest.iter().map(|&ms| Duration::from_millis(ms)).collect(),
            unfinished: unfinished.map(Duration::from_millis),
            ..Tick::default()
        }
    }

    #[test]
    fn longest_includes_an_emit_that_has_not_ended() {
        let mut recorder = Recorder::new(TICK, 1);
        recorder.record(TICK, vec![(tick(3, &[3, 1, 2], Some(90)), Some(3))]);
        recorder.record(TICK * 2, vec![(tick(3, &[], None), None)]);
        let samples = recorder.finish().remove(0);
        assert_eq!(samples[0].median_seconds, Some(0.002));
        assert_eq!(samples[0].longest_seconds, Some(0.09));
        assert_eq!(
            (samples[1].median_seconds, samples[1].longest_seconds),
            (None, None)
        );
    }

    #[test]
    fn long_drill_keeps_its_peaks_in_fewer_samples() {
        let mut recorder = Recorder::new(TICK, 2);
        let count = 20_001;
        for number in 1..=count {
            let slow = if number == 7_777 { 1_234 } else { 1 };
            let at = TICK * u32::try_from(number).unwrap();
            recorder.record(at, vec![(tick(number, &[slow], None), Some(number)); 2]);
        }
        assert_eq!(recorder.tick_seconds(), 0.8);
        for samples in recorder.finish() {
            assert!(samples.len() < MAX_SAMPLES && samples.len() > MAX_SAMPLES / 2);
            assert!(
                samples
                    .iter()
                    .any(|sample| sample.longest_seconds == Some(1.234))
            );
            assert_eq!(samples.last().map(|sample| sample.emitted), Some(count));
            assert!(samples.is_sorted_by(|one, other| one.at < other.at));
        }
    }
}
