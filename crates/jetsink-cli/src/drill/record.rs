//! The record of a drill: its JSON output, and the only input of its report.

use serde::{Deserialize, Serialize};

/// One drill. Times are seconds since the start of the load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) about: About,
    /// In the order of their beginnings.
    pub(crate) faults: Vec<Fault>,
    /// One per way of publishing; they run side by side against the same broker.
    pub(crate) contenders: Vec<ContenderRecord>,
}

/// The version of a broker that was given by `--server` or `--context`.
pub(crate) const GIVEN_BROKER: &str = "of yours";

/// The command, the versions and the load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct About {
    /// The command line that repeats the drill.
    pub(crate) command: String,
    /// RFC 3339, UTC.
    pub(crate) started: String,
    pub(crate) jetsink: String,
    /// The version that the broker reports, such as `2.15.1`; [`GIVEN_BROKER`] for a given broker.
    pub(crate) nats_server: String,
    /// The number of servers; 0 for a given broker.
    pub(crate) servers: usize,
    /// Events per second and contender.
    pub(crate) rate: f64,
    pub(crate) payload_bytes: usize,
    /// From the first event until the streams were read.
    pub(crate) seconds: f64,
    /// The time between two samples.
    pub(crate) tick_seconds: f64,
    /// The deadline of one emit.
    pub(crate) deadline_seconds: f64,
    /// Whether a signal ended it early.
    pub(crate) interrupted: bool,
    /// Whether the streams could not be read at the end.
    pub(crate) unread: bool,
}

/// A fault that the drill caused, or observed on a given broker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// One or two words, such as `frozen` or `leader killed`.
    pub(crate) name: String,
    pub(crate) from: f64,
    /// The time at which the broker was whole again, or the end of the drill.
    pub(crate) until: f64,
}

/// One way of publishing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContenderRecord {
    /// `jetsink`, `jetsink with a spool` or `plain async-nats`.
    pub(crate) name: String,
    pub(crate) samples: Vec<Sample>,
    /// The lines of the verdict.
    pub(crate) checks: Vec<Check>,
}

/// One tick of one contender.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The end of the tick.
    pub(crate) at: f64,
    /// Emits that ended since the beginning; then those that returned `Ok`, and an error.
    pub(crate) emitted: u64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    /// Messages that the contender's stream has stored, including those before it was deleted; `None`
    /// while the broker does not answer.
    pub(crate) stored: Option<u64>,
    /// Pending events in the spool; `None` without a spool.
    pub(crate) spooled: Option<u64>,
    /// `None` without a circuit.
    pub(crate) circuit: Option<CircuitState>,
    /// The median of the emits that ended in this tick; `None` if none did.
    pub(crate) median_seconds: Option<f64>,
    /// The longest of the emits that ended in this tick or have not ended.
    pub(crate) longest_seconds: Option<f64>,
}

/// The circuit's states, by the names of the engine's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CircuitState {
    Connected,
    Reconnecting,
}

/// One line of the verdict.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Check {
    /// Such as `lost` or `longest emit`.
    pub(crate) name: String,
    /// The observed value with its unit, such as `0` or `2.003 s`.
    pub(crate) seen: String,
    /// Such as `0` or `at most 2.5 s`; `None` for a value that is only reported, such as `emitted`.
    pub(crate) bound: Option<String>,
    /// Whether it is within the bound; `None` without a bound.
    pub(crate) kept: Option<bool>,
}

impl Record {
    /// Whether every promise was kept.
    pub(super) fn is_kept(&self) -> bool {
        let mut checks = self
            .contenders
            .iter()
            .flat_map(|contender| &contender.checks);
        checks.all(|check| check.kept != Some(false))
    }
}
