//! Shared parts of the benchmarks: rounds side by side, medians, ratios.

#![allow(dead_code)] // each benchmark uses a part

pub mod away;
pub mod late;

use std::fmt::Write as _;
use std::time::Duration;

/// The same figure, round by round.
#[derive(Debug, Clone, Default)]
pub struct Rounds(Vec<f64>);

impl Rounds {
    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        }
    }

    /// The lowest and the highest.
    pub fn spread(&self) -> (f64, f64) {
        let low = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (low, high)
    }

    /// Returns ours over theirs, round by round, so that a drift of the machine cancels out.
    pub fn ratios(&self, theirs: &Self) -> Self {
        Self(self.0.iter().zip(&theirs.0).map(|(a, b)| a / b).collect())
    }
}

/// `1,234,567`, or `1.234` below ten.
pub fn figure(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.3}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `median (lowest … highest)`.
pub fn shown(rounds: &Rounds) -> String {
    let (low, high) = rounds.spread();
    let mut text = figure(rounds.median());
    let _ = write!(text, " ({} … {})", figure(low), figure(high));
    text
}

/// The latency that `share` of all are at or below.
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or_default()
}

/// The whole number that `name` holds in the environment.
pub fn from_environment(name: &str, otherwise: u64) -> u64 {
    let Ok(text) = std::env::var(name) else {
        return otherwise;
    };
    text.parse()
        .unwrap_or_else(|_| panic!("{name} must be a whole number, not {text:?}"))
}

/// The processor time that a process, or `self`, has used so far (proc(5): fields 14 and 15 of
/// `stat`, in hundredths of a second).
pub fn cpu_time(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The second field is the name in brackets, which may hold blanks.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let ticks = rest.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
