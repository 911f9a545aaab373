//! The script of a drill: the faults and their times. Pure.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use crate::failure::Failure;

/// A fault of `--faults`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FaultKind {
    /// The server is killed, and started again; in a cluster the leader
    Kill,
    /// The server is frozen, its connections stay; in a cluster the leader
    Freeze,
    /// The server is stopped in good order and started again at once; in a cluster each in turn
    Restart,
    /// The streams take no more messages
    Full,
    /// The streams are deleted, and made again
    Delete,
    /// The leader is cut off from the other servers, not from its clients (needs --cluster)
    Partition,
    /// Two of three servers are killed (needs --cluster)
    Quorum,
}

impl FaultKind {
    fn needs_a_cluster(self) -> bool {
        match self {
            Self::Partition | Self::Quorum => true,
            Self::Kill | Self::Freeze | Self::Restart | Self::Full | Self::Delete => false,
        }
    }

    /// Whether the fault heals itself.
    pub(super) fn is_momentary(self) -> bool {
        self == Self::Restart
    }

    /// Whether a client sees the end by its connection. It does not for a stream that is back or a
    /// leader that was elected: it has to ask.
    pub(super) fn end_is_seen_by_clients(self) -> bool {
        match self {
            Self::Kill | Self::Freeze | Self::Restart => true,
            Self::Full | Self::Delete | Self::Partition | Self::Quorum => false,
        }
    }

    /// The name in the verdict, the view and the report.
    pub(super) fn name(self, cluster: bool) -> &'static str {
        match (self, cluster) {
            (Self::Kill, false) => "killed",
            (Self::Kill, true) => "leader killed",
            (Self::Freeze, false) => "frozen",
            (Self::Freeze, true) => "leader frozen",
            (Self::Restart, false) => "restarted",
            (Self::Restart, true) => "rolling restart",
            (Self::Full, _) => "stream full",
            (Self::Delete, _) => "stream deleted",
            (Self::Partition, _) => "leader cut off",
            (Self::Quorum, _) => "quorum lost",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => to.write_str(value.get_name()),
            None => write!(to, "{self:?}"),
        }
    }
}

/// Faults of equal length, with equal pauses before, between and after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) faults: Vec<FaultKind>,
    pub(super) outage: Duration,
    pub(super) pause: Duration,
    pub(super) cluster: bool,
}

impl Script {
    pub(super) fn new(
        asked: &[FaultKind],
        outage: Option<Duration>,
        pause: Duration,
        cluster: bool,
    ) -> Result<Self, Failure> {
        let faults = match (asked, cluster) {
            ([], false) => vec![
                FaultKind::Kill,
                FaultKind::Freeze,
                FaultKind::Restart,
                FaultKind::Full,
                FaultKind::Delete,
            ],
            ([], true) => vec![
                FaultKind::Kill,
                FaultKind::Freeze,
                FaultKind::Partition,
                FaultKind::Quorum,
            ],
            (asked, _) => asked.to_vec(),
        };
        if let Some(fault) = faults
            .iter()
            .find(|fault| fault.needs_a_cluster() && !cluster)
        {
            return Err(Failure::Usage(format!("--faults {fault} needs --cluster")));
        }
        Ok(Self {
            faults,
            outage: outage.unwrap_or(Duration::from_secs(if cluster { 10 } else { 6 })),
            pause,
            cluster,
        })
    }

    /// The duration of the script if servers start at once.
    pub(super) fn time(&self) -> Duration {
        let lasting = self
            .faults
            .iter()
            .filter(|fault| !fault.is_momentary())
            .count();
        let times = |count: usize, time: Duration| time * u32::try_from(count).unwrap_or(u32::MAX);
        times(lasting, self.outage) + times(self.faults.len() + 1, self.pause)
    }
}

#[cfg(test)]
#[path = "tests/script.rs"]
mod tests;
