//! When to try another server: nothing has been stored for seconds, though there is a connection.
//!
//! A server that is cut off from its cluster answers pings, some questions even, and stores nothing.
//! Elections fail for seconds too, everywhere, so a move is tried rarely, and ever more rarely while
//! it does not help. docs/decisions/0010-another-server.md.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{PublishError, Scope};

/// From the first failure to the first move; then twice as long, and so on.
const FIRST_MOVE: Duration = Duration::from_secs(4);

/// The longest time between two moves.
const RAREST_MOVES: Duration = Duration::from_secs(180);

#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// Whether there are `moves`, to keep what succeeds off the lock.
    failing: AtomicBool,
    moves: Mutex<Option<Moves>>,
}

/// Since nothing is stored any more.
#[derive(Debug)]
struct Moves {
    next_at: Instant,
    wait: Duration,
}

impl Elsewhere {
    /// Something was stored.
    pub(crate) fn stored(&self) {
        if self.failing.load(Ordering::Relaxed) {
            let mut moves = self.lock();
            *moves = None;
            self.failing.store(false, Ordering::Relaxed);
        }
    }

    /// Something was not; whether to move now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let mut moves = self.lock();
        self.failing.store(true, Ordering::Relaxed);
        let moves = moves.get_or_insert(Moves {
            next_at: now + FIRST_MOVE,
            wait: FIRST_MOVE,
        });
        let due = now >= moves.next_at;
        if due {
            moves.wait = (moves.wait * 2).min(RAREST_MOVES);
            moves.next_at = now + moves.wait;
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, Option<Moves>> {
        // Nothing panics while holding it.
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another server might do better. A refusal or a missing stream is the cluster's word.
pub(crate) fn may_be_the_servers(error: &PublishError) -> bool {
    error.scope() == Scope::Broker || matches!(error, PublishError::AckTimeout { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_come_more_rarely_until_something_is_stored() {
        let start = Instant::now();
        let elsewhere = Elsewhere::default();
        // A failure each second for ten minutes.
        let moves = || -> Vec<u64> {
            let due = |at: &u64| elsewhere.is_due(start + Duration::from_secs(*at));
            (0..600).filter(due).collect()
        };
        assert_eq!(moves(), [4, 12, 28, 60, 124, 252, 432]);
        elsewhere.stored();
        assert_eq!(moves(), [4, 12, 28, 60, 124, 252, 432]);
    }
}
