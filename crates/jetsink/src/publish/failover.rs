//! Decides when to move to another server: a server is reachable and has stored nothing for seconds.
//!
//! A server that is cut off from its cluster answers pings, even some requests, and stores nothing.
//! A slow server looks the same for a while, so moves are rare, and the interval between them doubles
//! while they do not help. docs/decisions/0010-another-server.md.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::outcome::{PublishError, codes};
use crate::sync::lock;

/// The time from the first failure to the first move. A random share of `SPREAD` is added, so that the
/// sinks of a cluster do not move together.
const FIRST_MOVE: Duration = Duration::from_secs(6);
const SPREAD: Duration = Duration::from_secs(4);

/// Failures that are further apart are unrelated.
const MAX_GAP: Duration = Duration::from_secs(30);

/// The maximum interval between two moves. After this long without a move the interval starts over.
const MAX_MOVE_INTERVAL: Duration = Duration::from_secs(180);

#[derive(Debug)]
pub(crate) struct Failover {
    first_move: Duration,
    /// Whether a failure is recorded; keeps successes off the lock.
    failing: AtomicBool,
    moves: Mutex<Moves>,
}

#[derive(Debug, Default)]
struct Moves {
    /// The first and the last failure since the last success.
    failures: Option<(Instant, Instant)>,
    /// The last move, and the interval to the next one.
    last: Option<(Instant, Duration)>,
}

impl Failover {
    /// `random` spreads the moves of many sinks.
    pub(crate) fn new(random: u8) -> Self {
        Self {
            first_move: FIRST_MOVE + SPREAD * u32::from(random) / 256,
            failing: AtomicBool::new(false),
            moves: Mutex::default(),
        }
    }

    /// Records a success.
    pub(crate) fn stored(&self) {
        if self.failing.load(Ordering::Relaxed) {
            let mut moves = self.lock();
            moves.failures = None;
            self.failing.store(false, Ordering::Relaxed);
        }
    }

    /// Records a failure of a reachable server; returns whether to move now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let mut moves = self.lock();
        self.failing.store(true, Ordering::Relaxed);
        let first = match moves.failures {
            Some((first, last)) if now - last <= MAX_GAP => first,
            _ => now,
        };
        moves.failures = Some((first, now));
        let wait = match moves.last {
            Some((at, wait)) if now - at < wait => return false,
            Some((at, wait)) if now - at < wait + MAX_MOVE_INTERVAL => {
                (wait * 2).min(MAX_MOVE_INTERVAL)
            }
            _ => self.first_move * 2,
        };
        let due = now - first >= self.first_move;
        if due {
            moves.last = Some((now, wait));
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, Moves> {
        lock(&self.moves)
    }
}

/// Whether another server of the cluster may succeed. A refusal, a missing stream or an election
/// concerns the whole cluster, and without a connection there is no server to leave.
pub(crate) fn is_server_fault(error: &PublishError) -> bool {
    match error {
        PublishError::AckTimeout { .. } | PublishError::JetStreamUnavailable => true,
        // As in docs/operate/clusters.md.
        PublishError::Refused(refusal) => matches!(
            refusal.code,
            codes::CLUSTER_NOT_AVAILABLE
                | codes::CLUSTER_NOT_LEADER
                | codes::STREAM_OFFLINE
                | codes::STREAM_OFFLINE_REASON
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds from `start` in which a move is due, with a failure in each of `failures`.
    fn moves(failover: &Failover, start: Instant, failures: impl Iterator<Item = u64>) -> Vec<u64> {
        let due = |at: &u64| failover.is_due(start + Duration::from_secs(*at));
        failures.filter(due).collect()
    }

    #[test]
    fn interval_between_moves_doubles_and_starts_over_after_a_long_pause() {
        let start = Instant::now();
        let failover = Failover::new(0);
        assert_eq!(
            moves(&failover, start, 0..600),
            [6, 18, 42, 90, 186, 366, 546]
        );
        // A success now and then does not reset the interval.
        let mut again = Vec::new();
        for minute in 10..16 {
            failover.stored();
            again.extend(moves(&failover, start, minute * 60..minute * 60 + 50));
        }
        assert_eq!(again, [726, 906]);
        failover.stored();
        assert_eq!(moves(&failover, start, 2_000..2_020), [2_006, 2_018]);
    }

    #[test]
    fn failures_far_apart_cause_no_move_and_first_moves_are_spread() {
        let start = Instant::now();
        let failover = Failover::new(0);
        let rare = (0..10).map(|number| number * 3_600);
        assert!(moves(&failover, start, rare).is_empty());
        let latest = Failover::new(255);
        assert_eq!(moves(&latest, start, 0..12), [10]);
    }

    #[test]
    fn stream_that_is_offline_with_or_without_a_reason_may_be_the_servers_fault() {
        for (code, expected) in [(10_118, true), (10_194, true), (10_167, false)] {
            let text = String::new();
            let refused = PublishError::Refused(crate::outcome::Refusal { code, text });
            assert_eq!(is_server_fault(&refused), expected, "{code}");
        }
    }
}
