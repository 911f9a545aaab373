//! What a drill saw, as data: the JSON that it writes, and all that its report is drawn from.

use serde::{Deserialize, Serialize};

/// All of one drill. Times are seconds since its load began.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) about: About,
    /// In the order in which they began.
    pub(crate) faults: Vec<Fault>,
    /// One for each way of publishing, side by side against the same broker.
    pub(crate) lanes: Vec<Lane>,
}

/// Of a broker that somebody else looks after nothing more is told.
pub(crate) const OF_YOURS: &str = "of yours";

/// What was run, and with what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct About {
    /// The command line that does it again.
    pub(crate) command: String,
    /// RFC 3339, UTC.
    pub(crate) started: String,
    pub(crate) jetsink: String,
    /// As the broker tells it, such as `2.15.1`; [`OF_YOURS`] where it is somebody else's.
    pub(crate) nats_server: String,
    /// How many of them; 0 where they are somebody else's.
    pub(crate) servers: usize,
    /// Events per second and lane.
    pub(crate) rate: f64,
    pub(crate) payload_bytes: usize,
    /// From the first event until the last one was looked for in the stream.
    pub(crate) seconds: f64,
    /// How far apart samples are.
    pub(crate) tick_seconds: f64,
    /// Of one emit, at the most.
    pub(crate) deadline_seconds: f64,
    /// Whether it ended before its script did.
    pub(crate) interrupted: bool,
    /// Whether the streams could not be read at the end: what they hold is not known.
    pub(crate) unread: bool,
}

/// Something that was done to the broker, or that was seen to happen to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// One or two words, such as `frozen` or `leader killed`.
    pub(crate) name: String,
    pub(crate) from: f64,
    /// When the broker was whole again; the drill's end, if it never was.
    pub(crate) until: f64,
}

/// One way of publishing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Lane {
    /// `jetsink`, `jetsink with a spool` or `plain async-nats`.
    pub(crate) name: String,
    pub(crate) samples: Vec<Sample>,
    /// The verdict, line by line.
    pub(crate) checks: Vec<Check>,
}

/// One tick of one lane.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The tick's end.
    pub(crate) at: f64,
    /// Since the beginning: emits that ended, and how.
    pub(crate) emitted: u64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    /// Messages that the lane's stream has stored, also before it was deleted; none while the broker doesn't
    /// say.
    pub(crate) stored: Option<u64>,
    /// Events that wait on the disk; none without a spool.
    pub(crate) spooled: Option<u64>,
    /// None where there is no circuit.
    pub(crate) circuit: Option<CircuitState>,
    /// Of the emits that ended in this tick; none if none did.
    pub(crate) median_seconds: Option<f64>,
    /// Of the emits that ended in this tick or are still waiting, the longest so far.
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
    /// As people read it, such as `0` or `2.003 s`.
    pub(crate) seen: String,
    /// Such as `0` or `at most 2.5 s`; none for what is only told, such as how many were emitted.
    pub(crate) bound: Option<String>,
    /// Whether it is within the bound; none where there is none.
    pub(crate) kept: Option<bool>,
}
