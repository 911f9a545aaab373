//! The results of the callers' emits before, during and after the outage.

use std::time::Duration;

use tokio::time::Instant;

use crate::common::{figure, quantile};
use crate::load::{Emit, Load, Outcome};

/// The times of the events of an outage.
#[derive(Debug, Clone, Copy)]
pub struct Moments {
    /// Straight before the broker was killed or frozen.
    pub began: Instant,
    /// When the circuit opened.
    pub opened: Instant,
    /// When the circuit closed for good, which may be before we know that the broker is back.
    pub closed: Instant,
    /// When the broker answered again, or was thawed.
    pub back: Instant,
}

/// The emits of one phase.
pub struct Phase<'a> {
    name: &'static str,
    emits: Vec<&'a Emit>,
    /// In their order.
    times: Vec<Duration>,
}

impl<'a> Phase<'a> {
    fn new(name: &'static str, emits: Vec<&'a Emit>) -> Self {
        let mut times: Vec<Duration> = emits.iter().map(|emit| emit.took).collect();
        times.sort_unstable();
        Self { name, emits, times }
    }

    pub fn latency(&self, share: f64) -> Duration {
        quantile(&self.times, share)
    }

    pub fn longest(&self) -> Duration {
        self.latency(1.0)
    }

    fn print(&self) {
        let counts = Outcome::ALL.map(|outcome| {
            let count = self.emits.iter().filter(|emit| emit.outcome == outcome);
            counted(count.count())
        });
        let furthest = self.emits.iter().map(|emit| emit.late).max();
        let late = |emit: &&&Emit| emit.late > Duration::from_millis(10);
        println!(
            "  {:<8}{:>9}{:>9}{:>9}{:>8}{:>9}{:>11}{:>10}{:>10}{:>10}{:>10}{:>12}",
            self.name,
            counts[0],
            counts[1],
            counts[2],
            counts[3],
            counts[4],
            shown(self.latency(0.5)),
            shown(self.latency(0.99)),
            shown(self.latency(0.999)),
            shown(self.longest()),
            counted(self.emits.iter().filter(late).count()),
            shown(furthest.unwrap_or_default()),
        );
    }
}

/// Every emit counts as `during` that was under way at some moment of the outage.
pub fn phases<'a>(load: &'a Load, moments: &Moments) -> [Phase<'a>; 3] {
    let of = |keep: &dyn Fn(&Emit) -> bool| {
        let emits = load.emits.iter().flatten();
        emits.filter(|emit| keep(emit)).collect()
    };
    [
        Phase::new("before", of(&|emit| emit.ended() < moments.began)),
        Phase::new(
            "during",
            of(&|emit| emit.ended() >= moments.began && emit.started < moments.back),
        ),
        Phase::new("after", of(&|emit| emit.started >= moments.back)),
    ]
}

pub fn print(phases: &[Phase<'_>; 3]) {
    println!(
        "  {:<8}{:>9}{:>9}{:>9}{:>8}{:>9}{:>11}{:>10}{:>10}{:>10}{:>10}{:>12}",
        "",
        "stored",
        "spooled",
        "rejected",
        "failed",
        "unknown",
        "p50",
        "p99",
        "p99.9",
        "max",
        "late",
        "at most by"
    );
    phases.iter().for_each(Phase::print);
}

/// Emits during the outage that took longer than a limit, by kind.
#[derive(Debug, Default)]
pub struct Slow {
    /// Under way when the outage began.
    pub in_flight: usize,
    /// Sent into the outage before the circuit opened.
    pub before_open: usize,
    /// Let through by the open circuit.
    pub probes: usize,
    /// Probes that began before another had ended.
    pub overlapping: usize,
    /// Synced to the disk without being sent. With a spool also those whose probe failed: that is
    /// seen by how long they took.
    pub spooled: usize,
    /// After the circuit had closed again.
    pub after_close: usize,
    /// Waited for nothing: the system held their thread up.
    pub held_up: usize,
    /// Rejected, and waited all the same.
    pub rejected: usize,
}

impl Slow {
    pub fn of(during: &Phase<'_>, moments: &Moments, longer_than: Duration) -> Self {
        let mut slow = Self::default();
        let mut probes = Vec::new();
        for emit in during.emits.iter().filter(|emit| emit.took > longer_than) {
            if !emit.pended {
                slow.held_up += 1;
            } else if emit.started < moments.began {
                slow.in_flight += 1;
            } else if emit.started < moments.opened {
                slow.before_open += 1;
            } else if emit.started >= moments.closed {
                slow.after_close += 1;
            } else if emit.outcome == Outcome::Rejected {
                slow.rejected += 1;
            } else if emit.outcome == Outcome::Spooled {
                slow.spooled += 1;
            } else {
                slow.probes += 1;
                probes.push((emit.started, emit.ended()));
            }
        }
        probes.sort_unstable();
        let overlap = |pair: &&[(Instant, Instant)]| pair[1].0 < pair[0].1;
        slow.overlapping = probes.windows(2).filter(overlap).count();
        slow
    }

    /// Emits that waited for something.
    pub fn waited(&self) -> usize {
        self.in_flight
            + self.before_open
            + self.probes
            + self.spooled
            + self.rejected
            + self.after_close
    }

    pub fn print(&self, longer_than: Duration) {
        let kinds = [
            (self.in_flight, "under way when it began"),
            (self.before_open, "sent before the circuit opened"),
            (self.probes, "probes"),
            (self.spooled, "waited for the disk"),
            (self.rejected, "rejected"),
            (self.after_close, "sent after the circuit closed"),
            (self.held_up, "waited for nothing: the system held them up"),
        ];
        let there = kinds.iter().filter(|(count, _)| *count > 0);
        let texts: Vec<String> = there
            .map(|(count, kind)| format!("{} {kind}", counted(*count)))
            .collect();
        println!(
            "  longer than {longer_than:?} in the outage: {} ({})",
            counted(self.waited() + self.held_up),
            texts.join("; ")
        );
    }
}

/// `figure` shows small ones with places.
pub fn counted(count: usize) -> String {
    if count < 10 {
        return count.to_string();
    }
    figure(count as f64)
}

/// Three figures' worth.
pub fn shown(time: Duration) -> String {
    let nanos = time.as_nanos() as f64;
    let (value, unit) = match time.as_nanos() {
        0..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => (nanos / 1e3, "µs"),
        1_000_000..1_000_000_000 => (nanos / 1e6, "ms"),
        _ => return format!("{:.3} s", nanos / 1e9),
    };
    let places = if value < 10.0 { 1 } else { 0 };
    format!("{value:.places$} {unit}")
}
