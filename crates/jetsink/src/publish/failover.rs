//! When to try another server: nothing has been stored for seconds, though a server was there to try.
//!
//! A server that is cut off from its cluster answers pings, some questions even, and stores nothing.
//! A slow one does so for a while too, so a move is tried rarely, and ever more rarely while it does
//! not help. docs/decisions/0010-another-server.md.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::outcome::PublishError;

/// From the first failure to the first move, to which a spread comes, so that not all sinks of a
/// cluster move together.
const FIRST_MOVE: Duration = Duration::from_secs(6);
const SPREAD: Duration = Duration::from_secs(4);

/// Failures that lie further apart have nothing to do with each other.
const LONGEST_GAP: Duration = Duration::from_secs(30);

/// The longest time between two moves; after as long without one they may come quickly again.
const RAREST_MOVES: Duration = Duration::from_secs(180);

#[derive(Debug)]
pub(crate) struct Elsewhere {
    first_move: Duration,
    /// Whether something fails, to keep what succeeds off the lock.
    failing: AtomicBool,
    moves: Mutex<Moves>,
}

#[derive(Debug, Default)]
struct Moves {
    /// The first and the last failure since something was stored.
    failures: Option<(Instant, Instant)>,
    /// The last move, and the time to the next one.
    last: Option<(Instant, Duration)>,
}

impl Elsewhere {
    /// `random` spreads the moves of many sinks.
    pub(crate) fn new(random: u8) -> Self {
        Self {
            first_move: FIRST_MOVE + SPREAD * u32::from(random) / 256,
            failing: AtomicBool::new(false),
            moves: Mutex::default(),
        }
    }

    /// Something was stored.
    pub(crate) fn stored(&self) {
        if self.failing.load(Ordering::Relaxed) {
            let mut moves = self.lock();
            moves.failures = None;
            self.failing.store(false, Ordering::Relaxed);
        }
    }

    /// A server had the chance to store something and did not; whether to move now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let mut moves = self.lock();
        self.failing.store(true, Ordering::Relaxed);
        let first = match moves.failures {
            Some((first, last)) if now - last <= LONGEST_GAP => first,
            _ => now,
        };
        moves.failures = Some((first, now));
        let wait = match moves.last {
            Some((at, wait)) if now - at < wait => return false,
            Some((at, wait)) if now - at < wait + RAREST_MOVES => (wait * 2).min(RAREST_MOVES),
            _ => self.first_move * 2,
        };
        let due = now - first >= self.first_move;
        if due {
            moves.last = Some((now, wait));
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, Moves> {
        // Nothing panics while holding it.
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another server might do better. A refusal, a missing stream or an election is the whole
/// cluster's affair, and where no server was reached there is none to leave.
pub(crate) fn may_be_the_servers(error: &PublishError) -> bool {
    match error {
        PublishError::AckTimeout { .. } | PublishError::JetStreamUnavailable => true,
        // Unavailable, not leader, offline (docs/operating.md).
        PublishError::Refused(refusal) => matches!(refusal.code, 10_008 | 10_009 | 10_118),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When moves are due, in seconds from `start`, with a failure in each of these seconds.
    fn moves(
        elsewhere: &Elsewhere,
        start: Instant,
        failures: impl Iterator<Item = u64>,
    ) -> Vec<u64> {
        let due = |at: &u64| elsewhere.is_due(start + Duration::from_secs(*at));
        failures.filter(due).collect()
    }

    #[test]
    fn moves_come_more_rarely_until_there_was_none_for_long() {
        let start = Instant::now();
        let elsewhere = Elsewhere::new(0);
        assert_eq!(
            moves(&elsewhere, start, 0..600),
            [6, 18, 42, 90, 186, 366, 546]
        );
        // Something is stored now and then, and does not start it all anew.
        let mut again = Vec::new();
        for minute in 10..16 {
            elsewhere.stored();
            again.extend(moves(&elsewhere, start, minute * 60..minute * 60 + 50));
        }
        assert_eq!(again, [726, 906]);
        elsewhere.stored();
        assert_eq!(moves(&elsewhere, start, 2_000..2_020), [2_006, 2_018]);
    }

    #[test]
    fn failures_that_lie_far_apart_move_nobody_and_sinks_are_spread() {
        let start = Instant::now();
        let elsewhere = Elsewhere::new(0);
        let rare = (0..10).map(|number| number * 3_600);
        assert!(moves(&elsewhere, start, rare).is_empty());
        let latest = Elsewhere::new(255);
        assert_eq!(moves(&latest, start, 0..12), [10]);
    }
}
