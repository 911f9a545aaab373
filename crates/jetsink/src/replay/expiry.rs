//! Events that have waited in the spool for longer than they may go to the dead letters.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use tracing::warn;

use crate::message::subject::Subject;
use crate::outcome::SpoolError;
use crate::spool::{DeadLetter, Place, Record, Spool};

/// Events read, and buried, at a time.
const CHUNK: usize = 256;

/// How often to look for them while nothing can be sent.
const SHORTEST_ROUND: Duration = Duration::from_millis(20);
const LONGEST_ROUND: Duration = Duration::from_secs(60);

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

    /// Why an event is not to be sent any more, if so.
    pub(crate) fn reason(&self, record: &Record, now: SystemTime) -> Option<String> {
        let max_age = self.max_age?;
        let spooled_at = UNIX_EPOCH.checked_add(Duration::from_millis(record.spooled_at))?;
        // A clock that was set back makes nothing old.
        let age = now.duration_since(spooled_at).ok()?;
        (age > max_age)
            .then(|| format!("it waited {age:.0?} in the spool, and may wait {max_age:?}"))
    }

    /// Goes through the spool, if it is time to. What may be stored waits to be looked up first.
    /// Only while replay has nothing in flight.
    pub(crate) async fn sweep(&mut self, spool: &Spool) -> Result<(), SpoolError> {
        let Some(max_age) = self.max_age else {
            return Ok(());
        };
        let now = Instant::now();
        if now < self.next_round {
            return Ok(());
        }
        self.next_round = now + (max_age / 10).clamp(SHORTEST_ROUND, LONGEST_ROUND);
        for subject in spool.subjects() {
            let mut next = 0;
            while !spool.is_unsettled(&subject) {
                let chunk = spool.read(&subject, next, CHUNK).await?;
                let now = SystemTime::now();
                let read = chunk.entries.len();
                let mut expired = Vec::new();
                for (index, bytes, record) in chunk.entries {
                    // A damaged one is replay's to tell of.
                    let Ok(record) = record else { continue };
                    if let Some(reason) = self.reason(&record, now) {
                        let subject = subject.clone();
                        let place = Place {
                            subject,
                            index,
                            bytes,
                        };
                        expired.push((letter(record, 0, reason), place));
                    }
                }
                let all_old = expired.len() == read;
                bury(spool, &subject, expired).await?;
                if !chunk.more || !all_old {
                    break;
                }
                next = chunk.next;
            }
        }
        Ok(())
    }
}

/// Buries events that have waited for too long, in one line of the log.
pub(crate) async fn bury(
    spool: &Spool,
    subject: &Subject,
    expired: Vec<(DeadLetter, Place)>,
) -> Result<(), SpoolError> {
    if let Some((first, _)) = expired.first() {
        let (events, reason) = (expired.len(), &first.reason);
        warn!(%subject, events, %reason, "events go to the dead letters");
    }
    spool.bury(expired).await
}

/// An event's dead letter, as of now.
pub(crate) fn letter(record: Record, code: u64, reason: String) -> DeadLetter {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    DeadLetter {
        record,
        code,
        died_at: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        reason,
    }
}
