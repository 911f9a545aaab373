//! Converts values to fractions of an axis, and chooses the axis' ticks.

/// 0 at the axis' beginning, 1 at its end; values outside are at the nearer end.
pub(super) trait Scale {
    fn at(&self, value: f64) -> f64;
}

/// From 0 up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear {
    pub(super) end: f64,
}

impl Linear {
    /// An axis that contains all values; not empty even without values.
    pub(super) fn over(values: impl Iterator<Item = f64>) -> Self {
        let end = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        Self {
            end: if end > 0.0 { end } else { 1.0 },
        }
    }

    /// Round numbers, 0 first; at most `max`, and at least two.
    pub(super) fn ticks(&self, max: usize) -> Vec<f64> {
        let min_step = self.end / (max.max(2) - 1) as f64;
        let power = 10f64.powf(min_step.log10().floor());
        // Quarters only from 10 on: there are no halves of an event.
        let quarter = if power >= 10.0 { 2.5 } else { 2.0 };
        let step = [1.0, 2.0, quarter, 5.0, 10.0].map(|factor| factor * power);
        multiples(first_of(step, min_step), self.end)
    }

    /// As [`Self::ticks`], of seconds: halves and quarters of a minute and of an hour.
    pub(super) fn time_ticks(&self, max: usize) -> Vec<f64> {
        let min_step = self.end / (max.max(2) - 1) as f64;
        if min_step <= 1.0 {
            return self.ticks(max);
        }
        let steps = [
            1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0,
            7_200.0, 14_400.0, 21_600.0, 43_200.0,
        ];
        let days = 86_400.0 * (min_step / 86_400.0).ceil();
        multiples(
            first_of(steps.into_iter().chain([days]), min_step),
            self.end,
        )
    }
}

impl Scale for Linear {
    fn at(&self, value: f64) -> f64 {
        if value.is_nan() {
            return 0.0;
        }
        (value / self.end).clamp(0.0, 1.0)
    }
}

fn first_of(steps: impl IntoIterator<Item = f64>, min_step: f64) -> f64 {
    // Tolerates a rounding error of the last bit.
    let fits = |step: &f64| *step >= min_step * (1.0 - 1e-9);
    steps.into_iter().find(fits).unwrap_or(min_step)
}

fn multiples(step: f64, end: f64) -> Vec<f64> {
    let count = (end / step * (1.0 + 1e-9)).floor() as u32;
    (0..=count).map(|index| f64::from(index) * step).collect()
}

/// Each power of ten as far from the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logarithmic {
    from: f64,
    to: f64,
}

impl Logarithmic {
    /// Room for all of them and some air; at least two powers of ten.
    pub(super) fn over(values: impl Iterator<Item = f64>) -> Self {
        let (smallest, largest) = values
            .filter(|value| value.is_finite() && *value > 0.0)
            .fold((f64::INFINITY, 0.0), |(smallest, largest), value| {
                (value.min(smallest), value.max(largest))
            });
        if largest == 0.0 {
            return Self {
                from: -3.0,
                to: 1.0,
            };
        }
        let (from, to) = (smallest.log10() - 0.15, largest.log10() + 0.2);
        if to - from >= 2.0 {
            Self { from, to }
        } else {
            Self {
                from: from.floor(),
                to: to.ceil().max(from.floor() + 2.0),
            }
        }
    }

    /// Each power of ten.
    pub(super) fn powers(&self) -> impl Iterator<Item = i32> + use<> {
        self.from.ceil() as i32..=self.to.floor() as i32
    }

    /// The labelled ticks: all, or those at which the unit changes (ns, µs, ms, s).
    pub(super) fn labelled(&self, max: usize) -> Vec<i32> {
        let each = if self.powers().count() <= max { 1 } else { 3 };
        self.powers().filter(|power| power % each == 0).collect()
    }
}

impl Scale for Logarithmic {
    fn at(&self, value: f64) -> f64 {
        if value.is_nan() || value <= 0.0 {
            return 0.0;
        }
        ((value.log10() - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
#[path = "tests/scale.rs"]
mod tests;
