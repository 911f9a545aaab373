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

    /// Those that are labelled: each, or else those where the unit changes (ns, µs, ms, s).
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
mod tests {
    use super::*;

    #[test]
    fn linear_ticks_are_round_and_begin_at_0() {
        let ticks = |end: f64, max| Linear { end }.ticks(max);
        assert_eq!(ticks(28_411.0, 4), [0.0, 10_000.0, 20_000.0]);
        assert_eq!(ticks(9_376.0, 5), [0.0, 2_500.0, 5_000.0, 7_500.0]);
        assert_eq!(ticks(9.3, 5), [0.0, 5.0]);
        assert_eq!(ticks(1.0, 3), [0.0, 0.5, 1.0]);
        assert_eq!(ticks(7.0, 2), [0.0]);
        assert_eq!(ticks(10.0, 6), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    }

    #[test]
    fn there_are_never_more_ticks_than_fit() {
        for end in 1..2_000 {
            for max in 2..9 {
                let scale = Linear {
                    end: f64::from(end) * 1.7,
                };
                assert!(scale.ticks(max).len() <= max, "{end} {max}");
                assert!(scale.time_ticks(max).len() <= max, "{end} {max}");
            }
        }
    }

    #[test]
    fn ticks_of_time_are_parts_of_minutes_and_hours() {
        let ticks = |end: f64| Linear { end }.time_ticks(8);
        assert_eq!(ticks(60.0), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        assert_eq!(ticks(100.0)[1], 15.0);
        assert_eq!(ticks(400.0)[1], 60.0);
        assert_eq!(ticks(7_000.0)[1], 1_800.0);
        assert_eq!(ticks(3.5)[1], 0.5);
        assert_eq!(ticks(2_000_000.0)[1], 345_600.0);
    }

    #[test]
    fn a_scale_holds_every_value_it_was_made_over() {
        let values = [3e-7, 0.002, 15.5];
        let scale = Logarithmic::over(values.into_iter());
        for value in values {
            assert!((0.01..0.99).contains(&scale.at(value)), "{value}");
        }
        assert!((scale.at(0.1) - scale.at(0.01) - (scale.at(1.0) - scale.at(0.1))).abs() < 1e-9);
        assert_eq!(scale.at(0.0), 0.0);
        assert_eq!(scale.at(1e9), 1.0);
        assert_eq!(scale.at(f64::NAN), 0.0);

        let scale = Linear::over([2.0, 8.0].into_iter());
        assert_eq!(
            (scale.at(0.0), scale.at(2.0), scale.at(9.0)),
            (0.0, 0.25, 1.0)
        );
    }

    #[test]
    fn a_scale_over_nothing_or_over_what_is_no_number_is_still_a_scale() {
        let nothing = [f64::NAN, f64::INFINITY, -1.0, 0.0];
        assert!(Logarithmic::over(nothing.into_iter()).powers().count() >= 2);
        assert_eq!(Linear::over(nothing.into_iter()).end, 1.0);
    }

    #[test]
    fn logarithmic_labels_are_each_power_or_each_unit() {
        let narrow = Logarithmic::over([0.002, 0.003].into_iter());
        assert_eq!(narrow.labelled(8), [-3, -2, -1]);
        let wide = Logarithmic::over([4e-8, 15.0].into_iter());
        assert_eq!(wide.labelled(8), [-6, -3, 0]);
    }
}
