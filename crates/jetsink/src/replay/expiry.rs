//! Moves events that exceed the maximum age in the spool to the dead letters.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use tracing::warn;

use crate::outcome::SpoolError;
use crate::spool::{Chunk, DeadRecord, Place, Record, Spool, Unread};

/// Events read and moved at a time.
const CHUNK: usize = 256;

/// The interval of the sweeps while nothing can be sent: a tenth of the maximum age, within these bounds.
const MIN_ROUND: Duration = Duration::from_millis(20);
const MAX_ROUND: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Expiry {
    max_age: Option<Duration>,
    next_round: Instant,
}

impl Expiry {
    pub(crate) fn new(max_age: Option<Duration>) -> Self {
        Self {
            max_age,
            next_round: Instant::now(),
        }
    }

    /// The reason why an event has expired; `None` if it has not. Most events need no reading of the clock.
    pub(crate) fn reason(&self, record: &Record, now: impl Fn() -> SystemTime) -> Option<String> {
        if let Some(expires_at) = record.envelope.expires_at()
            && now() >= expires_at
        {
            return Some(match jiff::Timestamp::try_from(expires_at) {
                Ok(time) => format!("it expired at {time:.3}"),
                Err(_) => "it expired".to_owned(),
            });
        }
        let max_age = self.max_age?;
        let spooled_at = UNIX_EPOCH.checked_add(Duration::from_millis(record.spooled_at))?;
        // A clock that was set back expires nothing.
        let age = now().duration_since(spooled_at).ok()?;
        (age > max_age)
            .then(|| format!("it waited {age:.0?} in the spool, and may wait {max_age:?}"))
    }

    /// Moves all expired events, if a sweep is due. Skips subjects that are not reconciled: their events
    /// may be stored. Call it only while replay has nothing in flight.
    pub(crate) async fn sweep(&mut self, spool: &Spool) -> Result<(), SpoolError> {
        let Some(max_age) = self.max_age else {
            return Ok(());
        };
        let now = Instant::now();
        if now < self.next_round {
            return Ok(());
        }
        self.next_round = now + (max_age / 10).clamp(MIN_ROUND, MAX_ROUND);
        let subjects = spool.subjects();
        let mut unread = Unread::new(&subjects, CHUNK);
        let mut has_more = !subjects.is_empty();
        while has_more {
            let now = spool.now();
            let mut expired = Vec::new();
            let visit = |number: usize, chunk: Chunk| {
                let subject = &subjects[number];
                if spool.is_unreconciled(subject) {
                    return false;
                }
                let mut all_old = true;
                for (index, bytes, record) in chunk.entries {
                    // Replay reports damaged events.
                    let reason = record
                        .as_ref()
                        .ok()
                        .and_then(|record| self.reason(record, || now));
                    let (Ok(record), Some(reason)) = (record, reason) else {
                        all_old = false;
                        continue;
                    };
                    let subject = subject.clone();
                    let place = Place {
                        subject,
                        index,
                        bytes,
                    };
                    expired.push((dead_letter(record, 0, reason), place));
                }
                all_old
            };
            has_more = spool.read_next(&mut unread, visit).await?;
            move_to_dead_letters(spool, expired).await?;
        }
        Ok(())
    }
}

/// Moves expired events to the dead letters, with one line in the log.
pub(crate) async fn move_to_dead_letters(
    spool: &Spool,
    expired: Vec<(DeadRecord, Place)>,
) -> Result<(), SpoolError> {
    if let Some((first, place)) = expired.first() {
        let (events, subject, reason) = (expired.len(), &place.subject, &first.reason);
        warn!(events, first_subject = %subject, first_reason = %reason, "expired events go to the dead letters");
    }
    spool.move_to_dead_letters(expired).await
}

/// The dead letter of an event that dies now.
pub(crate) fn dead_letter(record: Record, code: u64, reason: String) -> DeadRecord {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    DeadRecord {
        record,
        code,
        died_at: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        reason,
    }
}
