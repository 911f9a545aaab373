//! Measures how many envelopes to have in flight. Pure: the time is passed in.
//!
//! The envelopes in flight should keep the broker busy for a while beyond the round trip: then it never
//! waits for us, and both ends read and write many at a time, which makes an event cheap. More of them
//! only make each wait longer, and leave more outcomes unknown when the connection breaks. So the width
//! is the rate times that time, which bounds the bytes in flight too. With a full window, Little's law
//! ties round trip and rate together: a narrow window, tried now and then, measures the round trip
//! without a queue. TCP's BBR does the same with bytes.
//!
//! A search for the best rate by trying widths does not work: from one fiftieth of a second to the next
//! a broker's rate differs by a fifth, from one width to the next by a twentieth.

use std::time::Duration;

use tokio::time::Instant;

/// The width for measuring the round trip.
const NARROW: usize = 16;

/// The time beyond the round trip for which envelopes in flight keep the broker busy: some thousand small
/// ones. Wider windows gained little: docs/evidence/performance.md.
const IN_HAND: Duration = Duration::from_millis(40);

/// The interval at which the round trip is measured.
const ROUND_TRIP_LASTS: Duration = Duration::from_secs(30);

/// A measurement takes at least this long, and this many windows: a shorter one is noise.
const MIN_MEASUREMENT: Duration = Duration::from_millis(20);
const WINDOWS_MEASURED: usize = 3;

/// The maximum share of starved results in a measurement, in percent: a sender may pause now and then.
const MAX_STARVED: usize = 5;

#[derive(Debug)]
pub(super) struct AdaptiveWindow {
    widest: usize,
    width: usize,
    phase: Phase,
    measurement: Measurement,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Narrow. `rate` is the rate of the width before.
    MeasuringRoundTrip { rate: Option<f64> },
    /// As wide as the rate needs.
    Following {
        round_trip: Duration,
        until: Instant,
    },
}

#[derive(Debug, Clone, Copy)]
struct Measurement {
    /// Envelopes that were sent with another width and have not settled.
    to_skip: usize,
    began: Option<Instant>,
    settled: usize,
    starved: usize,
    /// The number of settled envelopes at which the clock is read.
    look_at: usize,
}

impl Measurement {
    fn after(sent_before: usize) -> Self {
        Self {
            to_skip: sent_before,
            began: None,
            settled: 0,
            starved: 0,
            look_at: 0,
        }
    }
}

impl AdaptiveWindow {
    pub(super) fn new(widest: usize) -> Self {
        Self {
            widest,
            width: NARROW.min(widest),
            phase: Phase::MeasuringRoundTrip { rate: None },
            measurement: Measurement::after(0),
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The broker failed, or sending paused: the measurement is void.
    pub(super) fn disturbed(&mut self) {
        self.measurement = Measurement::after(0);
    }

    /// A result was awaited while there was room: the window did not limit the rate.
    pub(super) fn starved(&mut self) {
        self.measurement.starved += 1;
    }

    /// An envelope was stored. `now` is called once per window.
    pub(super) fn stored(&mut self, now: impl FnOnce() -> Instant) {
        let measurement = &mut self.measurement;
        if measurement.to_skip > 0 {
            measurement.to_skip -= 1;
            return;
        }
        measurement.settled += 1;
        if measurement.began.is_some() && measurement.settled < measurement.look_at {
            return;
        }
        let now = now();
        measurement.look_at = measurement.settled + self.width;
        let Some(began) = measurement.began else {
            *measurement = Measurement {
                began: Some(now),
                look_at: self.width,
                ..Measurement::after(0)
            };
            return;
        };
        let (time, settled) = (now - began, measurement.settled);
        if time < MIN_MEASUREMENT || settled < WINDOWS_MEASURED * self.width {
            return;
        }
        let starved = measurement.starved * 100 > settled * MAX_STARVED;
        self.measurement = Measurement::after(0);
        if !starved {
            let before = self.width;
            self.measured(settled as f64 / time.as_secs_f64(), now);
            if self.width != before {
                self.measurement = Measurement::after(before);
            }
        }
    }

    fn measured(&mut self, rate: f64, now: Instant) {
        let in_flight_for = Duration::from_secs_f64(self.width as f64 / rate);
        self.width = match self.phase {
            Phase::MeasuringRoundTrip { rate: before } => {
                self.phase = Phase::Following {
                    round_trip: in_flight_for,
                    until: now + ROUND_TRIP_LASTS,
                };
                self.wide_enough(before.unwrap_or(rate), lasting(in_flight_for))
            }
            // Much longer than intended: the broker or the network may have become slower.
            Phase::Following { round_trip, until }
                if now >= until || in_flight_for > 2 * lasting(round_trip) =>
            {
                self.phase = Phase::MeasuringRoundTrip { rate: Some(rate) };
                NARROW.min(self.widest)
            }
            Phase::Following { round_trip, .. } => self.wide_enough(rate, lasting(round_trip)),
        };
    }

    fn wide_enough(&self, rate: f64, lasting: Duration) -> usize {
        let wanted = (rate * lasting.as_secs_f64()) as usize;
        wanted.max(NARROW).min(self.widest)
    }
}

/// The time for which envelopes in flight should keep the broker busy. At least twice the round trip: if
/// that is long, the window bounds the rate, and doubles until it no longer does.
fn lasting(round_trip: Duration) -> Duration {
    (round_trip + IN_HAND).max(2 * round_trip)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broker that answers after `round_trip` and takes at most `capacity` events per second, varied by some percent
    /// in a fixed sequence.
    struct Broker {
        round_trip: f64,
        capacity: f64,
        noise: f64,
        seed: u64,
        now: Instant,
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

        /// The widths over this number of seconds, one per measurement.
        fn run(&mut self, window: &mut AdaptiveWindow, seconds: f64) -> Vec<usize> {
            let end = self.now + Duration::from_secs_f64(seconds);
            let mut widths = Vec::new();
            while self.now < end {
                let width = window.width();
                let rate = self.rate(width);
                self.now += Duration::from_secs_f64(width as f64 / rate);
                for _ in 0..width {
                    window.stored(|| self.now);
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
            now: Instant::now(),
        }
    }

    /// The share of the broker's best rate over a run.
    fn share_of_best(broker: &Broker, widths: &[usize]) -> f64 {
        let sent: usize = widths.iter().sum();
        let time: f64 = widths
            .iter()
            .map(|width| *width as f64 / (*width as f64 / broker.round_trip).min(broker.capacity))
            .sum();
        sent as f64 / time / broker.capacity
    }

    #[test]
    fn a_far_broker_gets_a_wide_window() {
        let mut far = broker(0.050, 40_000.0, 0.2);
        let mut window = AdaptiveWindow::new(4_096);
        let first = far.run(&mut window, 2.0);
        // 2,000 in flight are needed.
        assert!(*first.last().unwrap() > 2_000, "{first:?}");
        let widths = far.run(&mut window, 60.0);
        assert!(share_of_best(&far, &widths) > 0.97);
        assert!(widths.iter().all(|width| *width <= 4_096));
    }

    #[test]
    fn window_for_a_near_broker_covers_the_time_in_hand() {
        for (capacity, fewest, most) in [
            (100_000.0, 3_000, 6_000),
            (5_000.0, 150, 300),
            // As with events of 1 MB.
            (300.0, 16, 48),
        ] {
            let mut near = broker(0.000_2, capacity, 0.2);
            let mut window = AdaptiveWindow::new(16_384);
            near.run(&mut window, 1.0);
            let widths = near.run(&mut window, 20.0);
            let meant = |width: &&usize| (fewest..=most).contains(*width);
            let share = widths.iter().filter(meant).count() as f64 / widths.len() as f64;
            assert!(share > 0.95, "{capacity}: {share}, {widths:?}");
        }
    }

    #[test]
    fn a_way_that_becomes_longer_is_noticed() {
        for round_trip in [0.010, 0.150] {
            let mut window = AdaptiveWindow::new(16_384);
            let mut broker = broker(0.000_2, 50_000.0, 0.2);
            broker.run(&mut window, 10.0);
            broker.round_trip = round_trip;
            broker.run(&mut window, 5.0);
            let widths = broker.run(&mut window, 10.0);
            let share = share_of_best(&broker, &widths);
            assert!(share > 0.97, "{round_trip}: {share}");
        }
    }

    #[test]
    fn a_way_that_becomes_shorter_is_noticed() {
        let mut window = AdaptiveWindow::new(16_384);
        let mut broker = broker(0.100, 50_000.0, 0.2);
        broker.run(&mut window, 20.0);
        broker.round_trip = 0.000_2;
        broker.run(&mut window, 31.0);
        let widths = broker.run(&mut window, 5.0);
        // 5,000 in flight were needed.
        assert!(widths.iter().all(|width| *width < 3_000), "{widths:?}");
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
        assert_eq!(window.width(), NARROW);
    }

    #[test]
    fn the_bound_is_kept() {
        let mut window = AdaptiveWindow::new(5);
        let widths = broker(1.0, 1e9, 0.1).run(&mut window, 10_000.0);
        assert!(widths.iter().all(|width| (1..=5).contains(width)));
    }
}
