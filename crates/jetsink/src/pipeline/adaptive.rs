//! How many envelopes to have in flight, found by trying. Pure: the time comes in.
//!
//! A wider window sends more in a second until the broker has all that it can take; from there on it
//! only makes each envelope wait longer, and leaves more of them unknown when the connection breaks. So
//! the narrowest window is looked for that has nearly the best rate: it is doubled while that brings
//! more, and from time to time a wider and a narrower one are tried again.

use std::time::Duration;

use tokio::time::Instant;

/// The width to begin with.
const FIRST_WIDTH: usize = 64;

const NARROWEST: usize = 16;

/// A measurement takes at least this long, and this many windows: what is shorter is chance.
const SHORTEST_MEASUREMENT: Duration = Duration::from_millis(20);
const WINDOWS_MEASURED: usize = 4;

/// Of a measurement, in percent; a sender may have to look for more now and then.
const MOST_STARVED: usize = 5;

/// A doubled window has to bring this much more, in percent.
const WORTHWHILE: u32 = 7;

/// A halved one may cost this much, in percent.
const BEARABLE: u32 = 2;

/// Measurements between two tries.
const REST: u32 = 50;

/// Measurements of a try.
const TRY: u32 = 3;

#[derive(Debug)]
pub(super) struct AdaptiveWindow {
    widest: usize,
    width: usize,
    phase: Phase,
    /// When the measurement began, if it did, and what was settled since.
    began: Option<Instant>,
    settled: usize,
    starved: usize,
    look_at: usize,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Doubling as long as it brings more than the last width's rate.
    Growing { last: f64 },
    /// Staying; `rate` is the average so far.
    Resting { measured: u32, rate: f64, next: Try },
    /// With another width, against the rate of the one before.
    Trying {
        measured: u32,
        rate: f64,
        against: f64,
        what: Try,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Try {
    Wider,
    Narrower,
}

impl AdaptiveWindow {
    pub(super) fn new(widest: usize) -> Self {
        let width = FIRST_WIDTH.min(widest);
        Self {
            widest,
            width,
            phase: Phase::Growing { last: 0.0 },
            began: None,
            settled: 0,
            starved: 0,
            look_at: width,
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Something failed, or went elsewhere: what is measured says nothing.
    pub(super) fn disturbed(&mut self) {
        self.began = None;
    }

    /// A result was asked for while there was room: it was not the window that held sending back.
    pub(super) fn starved(&mut self) {
        self.starved += 1;
    }

    /// One was stored. `now` is asked for once in a window.
    pub(super) fn stored(&mut self, now: impl FnOnce() -> Instant) {
        self.settled += 1;
        if self.began.is_some() && self.settled < self.look_at {
            return;
        }
        let now = now();
        let Some(began) = self.began else {
            self.begin(now);
            return;
        };
        let time = now - began;
        if time < SHORTEST_MEASUREMENT || self.settled < WINDOWS_MEASURED * self.width {
            self.look_at = self.settled + self.width;
            return;
        }
        if self.starved * 100 <= self.settled * MOST_STARVED {
            self.measured(self.settled as f64 / time.as_secs_f64());
        }
        self.begin(now);
    }

    fn begin(&mut self, now: Instant) {
        self.began = Some(now);
        self.settled = 0;
        self.starved = 0;
        self.look_at = self.width;
    }

    fn measured(&mut self, rate: f64) {
        self.phase = match self.phase {
            Phase::Growing { last } if !is_worthwhile(rate, last) => {
                self.width = (self.width / 2).max(NARROWEST.min(self.widest));
                rest(last, Try::Narrower)
            }
            Phase::Growing { .. } if self.width < self.widest => {
                self.width = (self.width * 2).min(self.widest);
                Phase::Growing { last: rate }
            }
            Phase::Growing { .. } => rest(rate, Try::Narrower),
            Phase::Resting {
                measured,
                rate: before,
                next,
            } => {
                let (measured, rate) = average(measured, before, rate);
                if measured < REST {
                    Phase::Resting {
                        measured,
                        rate,
                        next,
                    }
                } else {
                    self.try_other(rate, next)
                }
            }
            Phase::Trying {
                measured,
                rate: before,
                against,
                what,
            } => {
                let (measured, rate) = average(measured, before, rate);
                if measured < TRY {
                    Phase::Trying {
                        measured,
                        rate,
                        against,
                        what,
                    }
                } else {
                    self.judge(rate, against, what)
                }
            }
        };
    }

    fn try_other(&mut self, against: f64, what: Try) -> Phase {
        let width = match what {
            Try::Wider => (self.width * 2).min(self.widest),
            Try::Narrower => (self.width / 2).max(NARROWEST.min(self.widest)),
        };
        if width == self.width {
            return rest(against, what.other());
        }
        self.width = width;
        Phase::Trying {
            measured: 0,
            rate: 0.0,
            against,
            what,
        }
    }

    fn judge(&mut self, rate: f64, against: f64, what: Try) -> Phase {
        match what {
            Try::Wider if is_worthwhile(rate, against) => Phase::Growing { last: against },
            Try::Narrower if rate * 100.0 >= against * f64::from(100 - BEARABLE) => {
                // The rate to be held against stays: many small steps down would add up.
                self.try_other(against.max(rate), Try::Narrower)
            }
            Try::Wider => {
                self.width = (self.width / 2).max(1);
                rest(against, Try::Narrower)
            }
            Try::Narrower => {
                self.width = (self.width * 2).min(self.widest);
                rest(against, Try::Wider)
            }
        }
    }
}

impl Try {
    fn other(self) -> Self {
        match self {
            Self::Wider => Self::Narrower,
            Self::Narrower => Self::Wider,
        }
    }
}

fn rest(rate: f64, next: Try) -> Phase {
    Phase::Resting {
        measured: 1,
        rate,
        next,
    }
}

fn average(measured: u32, before: f64, rate: f64) -> (u32, f64) {
    let count = f64::from(measured);
    (measured + 1, (before * count + rate) / (count + 1.0))
}

fn is_worthwhile(rate: f64, than: f64) -> bool {
    rate * 100.0 > than * f64::from(100 + WORTHWHILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broker that answers after `round_trip` and takes `capacity` a second at the most, give or take
    /// some percent, from a fixed sequence.
    struct Broker {
        round_trip: f64,
        capacity: f64,
        noise: f64,
        seed: u64,
    }

    impl Broker {
        fn rate(&mut self, width: usize) -> f64 {
            // A linear congruential generator: good enough for noise.
            self.seed = self
                .seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let random = (self.seed >> 33) as f64 / (1_u64 << 31) as f64;
            let rate = (width as f64 / self.round_trip).min(self.capacity);
            rate * (1.0 + self.noise * (2.0 * random - 1.0))
        }

        /// The widths over so many seconds, one a measurement.
        fn run(&mut self, window: &mut AdaptiveWindow, seconds: f64) -> Vec<usize> {
            let mut now = Instant::now();
            let end = now + Duration::from_secs_f64(seconds);
            let mut widths = Vec::new();
            while now < end {
                let width = window.width();
                now += Duration::from_secs_f64(width as f64 / self.rate(width));
                for _ in 0..width {
                    window.stored(|| now);
                }
                widths.push(width);
            }
            widths
        }
    }

    fn broker(round_trip: f64, capacity: f64, noise: f64) -> Broker {
        Broker {
            round_trip,
            capacity,
            noise,
            seed: 7,
        }
    }

    /// The share of the broker's best rate over the last half of a run.
    fn share_of_best(broker: &Broker, widths: &[usize]) -> f64 {
        let late = &widths[widths.len() / 2..];
        let sent: usize = late.iter().sum();
        let time: f64 = late
            .iter()
            .map(|width| *width as f64 / (*width as f64 / broker.round_trip).min(broker.capacity))
            .sum();
        sent as f64 / time / broker.capacity
    }

    #[test]
    fn a_far_broker_gets_a_wide_window() {
        let mut far = broker(0.050, 40_000.0, 0.05);
        let mut window = AdaptiveWindow::new(4_096);
        let widths = far.run(&mut window, 20.0);
        // 2,000 in flight are needed.
        assert!(share_of_best(&far, &widths) > 0.93, "{widths:?}");
        assert!(widths.iter().all(|width| *width <= 4_096));
    }

    #[test]
    fn a_near_broker_gets_no_wider_one_than_helps() {
        for noise in [0.0, 0.05] {
            let mut near = broker(0.000_2, 100_000.0, noise);
            let mut window = AdaptiveWindow::new(4_096);
            let widths = near.run(&mut window, 30.0);
            assert!(share_of_best(&near, &widths) > 0.93, "{noise}");
            // 20 in flight are needed.
            let late = &widths[widths.len() / 2..];
            let wide = late.iter().filter(|width| **width > 256).count();
            assert!(wide * 10 < late.len(), "{noise}: {wide} of {}", late.len());
        }
    }

    #[test]
    fn a_broker_that_gets_farther_away_gets_a_wider_window() {
        let mut window = AdaptiveWindow::new(4_096);
        broker(0.000_2, 100_000.0, 0.02).run(&mut window, 10.0);
        let mut far = broker(0.010, 100_000.0, 0.02);
        let widths = far.run(&mut window, 60.0);
        assert!(share_of_best(&far, &widths) > 0.9, "{:?}", widths.last());
    }

    #[test]
    fn a_sender_with_little_to_send_changes_nothing() {
        let mut window = AdaptiveWindow::new(4_096);
        let mut now = Instant::now();
        for _ in 0..100_000 {
            now += Duration::from_micros(10);
            window.stored(|| now);
            window.starved();
        }
        assert_eq!(window.width(), FIRST_WIDTH);
    }

    #[test]
    fn the_bound_is_kept() {
        let mut window = AdaptiveWindow::new(5);
        let widths = broker(1.0, 1e9, 0.1).run(&mut window, 10_000.0);
        assert!(widths.iter().all(|width| (1..=5).contains(width)));
    }
}
