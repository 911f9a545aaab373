//! The state of a gateway at one moment, as `/status.json` has it.

use std::time::Duration;

use jetsink::CircuitState as State;
use jetsink::{Publisher, SpoolStatus};
use serde::Serialize;
use tokio::time::Instant;

use super::history::{Counts, Hour};
use super::latency::quantile;
use crate::admin::BrokerConnection;
use crate::answer::problem::ProblemKind;
use crate::gateway::Gateway;
use crate::readiness::Readiness;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Snapshot {
    pub(crate) gateway: GatewayStatus,
    pub(crate) broker: BrokerStatus,
    /// `null` without a spool.
    pub(crate) spool: Option<Spool>,
    pub(crate) last_hour: LastHour,
    /// Refusals of the last hour by problem, the latest first.
    pub(crate) refusals: Vec<Refusals>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct GatewayStatus {
    pub(crate) version: String,
    pub(crate) ready: bool,
    pub(crate) readiness: String,
    pub(crate) uptime_seconds: u64,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct BrokerStatus {
    /// `null` without a connection.
    pub(crate) version: Option<String>,
    /// `null` while connected.
    pub(crate) connect_error: Option<String>,
    pub(crate) circuit: Circuit,
    pub(crate) since_seconds: u64,
    pub(crate) failed_probes: u32,
    pub(crate) last_failure: Option<Failure>,
    pub(crate) failing_subjects: Vec<String>,
    /// May exceed the number of listed subjects.
    pub(crate) failing_subject_count: usize,
    pub(crate) delivered: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Circuit {
    Connected,
    Reconnecting,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failure {
    pub(crate) error: String,
    pub(crate) subject: Option<String>,
    pub(crate) seconds_ago: u64,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Spool {
    pub(crate) events: u64,
    pub(crate) subjects: u64,
    pub(crate) oldest_seconds: Option<u64>,
    pub(crate) used_bytes: u64,
    pub(crate) limit_bytes: u64,
    pub(crate) dead_letters: u64,
    pub(crate) damaged: u64,
    pub(crate) possible_duplicates: u64,
    pub(crate) held_subjects: u64,
    pub(crate) unreadable_segments: u64,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct LastHour {
    #[serde(flatten)]
    pub(crate) all: Span,
    /// From the earliest to the present minute, which is not over.
    pub(crate) minutes: Vec<Span>,
}

/// Requests of an hour or a minute, and the times to their answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Span {
    /// Requests that were answered with 202.
    pub(crate) accepted: u64,
    pub(crate) events: u64,
    pub(crate) refused: u64,
    pub(crate) abandoned: u64,
    pub(crate) median_seconds: Option<f64>,
    pub(crate) p99_seconds: Option<f64>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Refusals {
    pub(crate) problem: &'static str,
    pub(crate) status: u16,
    pub(crate) count: u64,
    pub(crate) seconds_ago: u64,
    /// The detail of the last one.
    pub(crate) detail: String,
}

impl Snapshot {
    pub(crate) fn of<P: Publisher + 'static>(
        gateway: &Gateway<P>,
        connection: BrokerConnection,
        now: Instant,
    ) -> Self {
        let spool = gateway.sink().spool();
        let status = spool.map(|spool| spool.status());
        let readiness = gateway.readiness_at(now);
        let hour = gateway.meters().history.hour(now);
        Self {
            gateway: GatewayStatus {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ready: readiness == Readiness::Ready,
                readiness: readiness.to_string(),
                uptime_seconds: hour.uptime.as_secs(),
            },
            broker: broker(gateway, connection, now),
            spool: spool
                .zip(status)
                .map(|(spool, status)| Spool::of(status, spool.oldest_age())),
            last_hour: LastHour {
                all: Span::of(&hour.counts),
                minutes: hour.minutes.iter().map(Span::of).collect(),
            },
            refusals: refusals(&hour, now),
        }
    }
}

impl Spool {
    fn of(status: SpoolStatus, oldest: Option<Duration>) -> Self {
        let SpoolStatus {
            events,
            subjects,
            used_bytes,
            limit_bytes,
            dead_letters,
            damaged,
            possible_duplicates,
            held_subjects,
            unreadable_segments,
            ..
        } = status;
        Self {
            events,
            subjects,
            oldest_seconds: oldest.filter(|_| events > 0).map(|age| age.as_secs()),
            used_bytes,
            limit_bytes,
            dead_letters,
            damaged,
            possible_duplicates,
            held_subjects,
            unreadable_segments,
        }
    }
}

impl Span {
    fn of(counts: &Counts) -> Self {
        let seconds = |share| quantile(&counts.times, share).map(|time| time.as_secs_f64());
        Self {
            accepted: counts.accepted,
            events: counts.events,
            refused: counts.refused(),
            abandoned: counts.abandoned,
            median_seconds: seconds(0.5),
            p99_seconds: seconds(0.99),
        }
    }
}

fn broker<P: Publisher + 'static>(
    gateway: &Gateway<P>,
    connection: BrokerConnection,
    now: Instant,
) -> BrokerStatus {
    let status = gateway.sink().status();
    let ago = |at: Instant| now.saturating_duration_since(at).as_secs();
    let (circuit, failed_probes) = match status.broker {
        State::Connected => (Circuit::Connected, 0),
        State::Reconnecting { attempt, .. } => (Circuit::Reconnecting, attempt),
    };
    let failing = status.failing_subjects.iter();
    BrokerStatus {
        version: connection.server_version,
        connect_error: connection.connect_error,
        circuit,
        since_seconds: ago(status.since),
        failed_probes,
        last_failure: status.last_failure.map(|failure| Failure {
            error: failure.error.to_string(),
            subject: failure.subject.map(|subject| subject.to_string()),
            seconds_ago: ago(failure.at),
        }),
        failing_subjects: failing.map(|failing| failing.subject.to_string()).collect(),
        failing_subject_count: status.failing_subject_count,
        delivered: status.delivered,
    }
}

fn refusals(hour: &Hour, now: Instant) -> Vec<Refusals> {
    let counted = ProblemKind::ALL.iter().zip(hour.counts.problems);
    let all = counted
        .zip(&hour.refusals)
        .filter_map(|((kind, count), last)| {
            let last = last.as_ref().filter(|_| count > 0)?;
            Some(Refusals {
                problem: kind.name(),
                status: kind.status(),
                count,
                seconds_ago: now.saturating_duration_since(last.at).as_secs(),
                detail: last.detail.clone(),
            })
        });
    let mut all: Vec<Refusals> = all.collect();
    all.sort_by_key(|refusals| refusals.seconds_ago);
    all
}
