//! A record as a drill of a minute would leave it, made up: for tests, and to look at the report.

use crate::drill::format::{count, duration};
use crate::drill::record::{About, Check, CircuitState, ContenderRecord, Fault, Record, Sample};

const SECONDS: f64 = 60.0;
const TICK: f64 = 0.1;
const RATE: f64 = 500.0;
const KILLED: (f64, f64) = (8.0, 14.0);
const FROZEN: (f64, f64) = (22.0, 30.0);
const FULL: (f64, f64) = (40.0, 47.0);

#[derive(Clone, Copy, PartialEq)]
enum Broker {
    Whole,
    Killed { since: f64 },
    Frozen { since: f64 },
    Full,
}

fn broker(at: f64) -> Broker {
    let within = |(from, until): (f64, f64)| at > from && at <= until;
    if within(KILLED) {
        Broker::Killed {
            since: at - KILLED.0,
        }
    } else if within(FROZEN) {
        Broker::Frozen {
            since: at - FROZEN.0,
        }
    } else if within(FULL) {
        Broker::Full
    } else {
        Broker::Whole
    }
}

/// The same noise each time, from 0 to 1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as f64 / f64::from(1u32 << 31)
    }

    fn around(&mut self, value: f64) -> f64 {
        value * (0.7 + 0.6 * self.next())
    }

    /// Now and then far more.
    fn tail(&mut self, value: f64) -> f64 {
        value * (1.0 + 2.0 * self.next() + 9.0 * self.next().powi(9))
    }
}

pub(super) fn drill() -> Record {
    let fault = |name: &str, (from, until): (f64, f64)| Fault {
        name: name.to_owned(),
        from,
        until,
    };
    Record {
        about: About {
            command: "jetsink drill --faults killed,frozen,full --rate 500 --compare raw --report drill.html".to_owned(),
            started: "2026-11-27T21:40:03Z".to_owned(),
            jetsink: "0.1.0".to_owned(),
            nats_server: "2.15.1".to_owned(),
            servers: 1,
            rate: RATE,
            payload_bytes: 512,
            seconds: SECONDS + 1.3,
            tick_seconds: TICK,
            deadline_seconds: 2.0,
            interrupted: false,
            unread: false,
        },
        faults: vec![fault("killed", KILLED), fault("frozen", FROZEN), fault("stream full", FULL)],
        contenders: vec![direct(), spooling(), plain()],
    }
}

fn samples(mut sample: impl FnMut(f64, Sample) -> Sample) -> Vec<Sample> {
    let mut before = Sample {
        at: 0.0,
        emitted: 0,
        ok: 0,
        failed: 0,
        stored: Some(0),
        spooled: None,
        circuit: None,
        median_seconds: None,
        longest_seconds: None,
    };
    let ticks = 1..=(SECONDS / TICK) as u32;
    ticks
        .map(|tick| {
            let at = f64::from(tick) * TICK;
            before = sample(
                at,
                Sample {
                    at,
                    ..before.clone()
                },
            );
            before.clone()
        })
        .collect()
}

const EACH: u64 = (RATE * TICK) as u64;

fn direct() -> ContenderRecord {
    let mut noise = Noise(1);
    let mut stored = 0;
    let samples = samples(|at, mut sample| {
        let broker = broker(at);
        let is_waiting = matches!(broker, Broker::Frozen { since } if since < 2.0);
        sample.circuit = Some(match broker {
            Broker::Killed { .. } => CircuitState::Reconnecting,
            Broker::Frozen { .. } if !is_waiting => CircuitState::Reconnecting,
            _ => CircuitState::Connected,
        });
        if is_waiting {
            let Broker::Frozen { since } = broker else {
                return sample;
            };
            (sample.median_seconds, sample.longest_seconds) = (None, Some(since));
            sample.stored = None;
            return sample;
        }
        sample.emitted += EACH;
        if broker == Broker::Whole {
            sample.ok += EACH;
            stored = sample.ok;
        } else {
            sample.failed += EACH;
        }
        let (median, longest) = match broker {
            Broker::Whole | Broker::Full => (noise.around(310e-6), noise.tail(1.1e-3)),
            Broker::Killed { since } if since < 0.15 => (noise.around(3e-6), 4.1e-3),
            Broker::Frozen { since } if since < 2.15 => (noise.around(3e-6), 2.0031),
            _ => (noise.around(700e-9), noise.tail(9e-6)),
        };
        (sample.median_seconds, sample.longest_seconds) = (Some(median), Some(longest));
        sample.stored = matches!(broker, Broker::Whole | Broker::Full).then_some(stored);
        sample
    });
    let failed = samples.last().map_or(0, |sample| sample.failed);
    ContenderRecord {
        name: "jetsink".to_owned(),
        checks: checks(&samples, "0", failed),
        samples,
    }
}

fn spooling() -> ContenderRecord {
    let mut noise = Noise(2);
    let mut stored = 0;
    let samples = samples(|at, mut sample| {
        let broker = broker(at);
        sample.emitted += EACH;
        sample.ok += EACH;
        let is_whole = broker == Broker::Whole;
        if is_whole {
            stored = sample.ok.min(stored + 12 * EACH);
        }
        sample.spooled = Some(sample.ok - stored);
        sample.stored = (is_whole || broker == Broker::Full).then_some(stored);
        sample.circuit = Some(match broker {
            Broker::Killed { .. } | Broker::Frozen { .. } => CircuitState::Reconnecting,
            Broker::Whole | Broker::Full => CircuitState::Connected,
        });
        let (median, longest) = match broker {
            Broker::Whole => (noise.around(330e-6), noise.tail(1.3e-3)),
            Broker::Frozen { since } if since < 1.0 => (noise.around(2e-3), 1.0 + since / 90.0),
            _ => (noise.around(1.9e-3), noise.tail(5e-3)),
        };
        (sample.median_seconds, sample.longest_seconds) = (Some(median), Some(longest));
        sample
    });
    ContenderRecord {
        name: "jetsink with a spool".to_owned(),
        checks: checks(&samples, "0", 0),
        samples,
    }
}

fn plain() -> ContenderRecord {
    let mut noise = Noise(3);
    let mut stored = 0;
    let mut blocked: f64 = 0.0;
    let samples = samples(|at, mut sample| {
        let broker = broker(at);
        // A client's buffer takes some thousand, then its caller waits until the broker is back.
        let waits =
            matches!(broker, Broker::Killed { since } | Broker::Frozen { since } if since > 1.5);
        if waits {
            blocked += TICK;
            (sample.median_seconds, sample.longest_seconds) = (None, Some(blocked));
            sample.stored = None;
            return sample;
        }
        let longest = if blocked > 0.0 {
            blocked * 1.8
        } else {
            noise.tail(40e-6)
        };
        blocked = 0.0;
        sample.emitted += EACH;
        sample.ok += EACH;
        if broker == Broker::Whole {
            stored += EACH;
        }
        sample.stored = matches!(broker, Broker::Whole | Broker::Full).then_some(stored);
        (sample.median_seconds, sample.longest_seconds) =
            (Some(noise.around(3.1e-6)), Some(longest));
        sample
    });
    let lost = samples.last().map_or(0, |sample| sample.ok - stored);
    ContenderRecord {
        name: "plain async-nats".to_owned(),
        checks: checks(&samples, &count(lost), 0),
        samples,
    }
}

fn checks(samples: &[Sample], lost: &str, failed: u64) -> Vec<Check> {
    let ok = samples.last().map_or(0, |sample| sample.ok);
    let reported = |name: &str, seen: String| Check {
        name: name.to_owned(),
        seen,
        bound: None,
        kept: None,
    };
    let bounded = |name: &str, seen: &str, bound: &str, kept| Check {
        name: name.to_owned(),
        seen: seen.to_owned(),
        bound: Some(bound.to_owned()),
        kept: Some(kept),
    };
    let longest = samples.iter().filter_map(|sample| sample.longest_seconds);
    let longest = duration(longest.fold(0.0, f64::max));
    let is_plain = lost != "0";
    vec![
        reported("returned Ok", count(ok)),
        reported("returned an error", count(failed)),
        bounded("lost", lost, "0", !is_plain),
        bounded("duplicated", "0", "0", true),
        bounded("out of order", "0", "0", true),
        bounded("longest emit", &longest, "at most 2.5 s", !is_plain),
        bounded(
            "first Ok after the broker's return",
            "142 ms",
            "at most 1 s",
            true,
        ),
    ]
}
