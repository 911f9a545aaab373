//! Before replay: of the events that may be stored, which are?
//!
//! The stream's duplicate window is no help after an hour, so the ids that it stored since the last
//! acknowledged sequence number are read, and the events found are done: all others may be sent, since
//! the publisher sees to it that nothing which was sent before is still to be stored (decision 7).
//!
//! A subject whose stream can't be read stays unsettled, and nothing of it is sent; others go on.

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument as _, info, warn};

use crate::circuit::backoff::wait_after;
use crate::crash;
use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::observe::spans;
use crate::outcome::{PublishError, SpoolError};
use crate::publish::Direct;
use crate::publisher::window::WIDEST_WINDOW;
use crate::publisher::{Publisher, StoredIds};
use crate::spool::{Baselines, Place, Spool, Unsettled};

/// With so many delivered events still on the disk, replay waits for it.
pub(crate) const MOST_DELIVERED: usize = 16_384;

/// Replay never has more of one subject in flight, or acknowledged and not yet removed.
pub(crate) const MOST_SENT: usize = 2 * WIDEST_WINDOW + MOST_DELIVERED;

/// Records read at a time; only their ids are kept.
const CHUNK: usize = 512;

/// Subjects that are looked up together, at the most.
const SUBJECTS_AT_ONCE: usize = 64;

/// Events whose ids are looked up together, unless one subject alone has more: they are in memory.
const EVENTS_AT_ONCE: u64 = 32_768;

/// By message id.
type Candidates = HashMap<String, Vec<Place>>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsettleable {
    #[error("{0}")]
    Spool(#[from] SpoolError),
    #[error("{0}")]
    Lookup(#[from] PublishError),
}

/// When to look again for what could not be looked up.
#[derive(Debug, Default)]
pub(crate) struct Settling {
    waits: HashMap<Subject, Wait>,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    attempt: u32,
    until: Instant,
}

impl Settling {
    /// Whether an unsettled subject is to be looked up by now.
    pub(crate) fn is_due(&self, subject: &Subject, now: Instant) -> bool {
        self.due_at(subject).is_none_or(|due_at| due_at <= now)
    }

    /// When it is to be looked up; `None` for at once.
    pub(crate) fn due_at(&self, subject: &Subject) -> Option<Instant> {
        self.waits.get(subject).map(|wait| wait.until)
    }

    /// When the next subject is due that waits.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.waits.values().map(|wait| wait.until).min()
    }

    /// Takes out of the spool what is stored already, of the subjects that are due.
    pub(crate) async fn settle<P: Publisher>(
        &mut self,
        direct: &Direct<P>,
        spool: &Spool,
    ) -> Result<(), Unsettleable> {
        let (unsettled, baselines) = spool.unsettled();
        let now = Instant::now();
        let mut due = Vec::new();
        for subject in unsettled.subjects() {
            if !spool.holds(subject) {
                self.waits.remove(subject);
                spool.settled(subject, &unsettled);
            } else if self.is_due(subject, now) {
                due.push(subject.clone());
            }
        }
        if !due.is_empty() {
            // What may be stored takes long to read, and without a connection there is nobody to ask.
            if is_disconnected(direct) {
                return Err(PublishError::NotConnected.into());
            }
            // An event's mark comes before the event: what is marked here must be there to be read.
            spool.written().await?;
        }
        let mut rest = due.as_slice();
        while !rest.is_empty() {
            let sizes = rest.iter().map(|subject| spool.waiting(subject));
            let (subjects, later) = rest.split_at(together(sizes));
            rest = later;
            let unread = settle_some(direct, spool, subjects, &unsettled, &baselines).await?;
            for subject in subjects {
                if unread.contains(subject) {
                    direct.nothing_stored(Instant::now());
                    self.wait(subject);
                } else {
                    self.waits.remove(subject);
                    spool.settled(subject, &unsettled);
                }
            }
        }
        Ok(())
    }

    fn wait(&mut self, subject: &Subject) {
        let now = Instant::now();
        let before = self.waits.get(subject);
        let attempt = before.map_or(0, |wait| wait.attempt.saturating_add(1));
        let wait = Wait {
            attempt,
            until: now + wait_after(attempt),
        };
        warn!(%subject, attempt, wait_ms = wait_after(attempt).as_millis() as u64,
            "what is spooled of the subject waits: its stream can't be read");
        self.waits.insert(subject.clone(), wait);
    }
}

/// How many subjects, of those with so many events each, are looked up together: one at least.
fn together(sizes: impl Iterator<Item = u64>) -> usize {
    let mut events = 0_u64;
    let fitting = sizes.take(SUBJECTS_AT_ONCE).take_while(|&size| {
        events = events.saturating_add(size.min(MOST_SENT as u64));
        events <= EVENTS_AT_ONCE
    });
    fitting.count().max(1)
}

/// Rests after a look-up that failed; where there is no connection, no longer than until there is one.
pub(crate) async fn rest<P: Publisher>(direct: &Direct<P>, longest: Duration) {
    let Some(mut connection) = direct.publisher().connection() else {
        return sleep(longest).await;
    };
    let connected = async {
        // One that is there already, or whose publisher tells no more of it, shortens nothing.
        if is_disconnected(direct) && connection.wait_for(|c| c.up).await.is_ok() {
            return;
        }
        pending().await
    };
    let _ = timeout(longest, connected).await;
}

fn is_disconnected<P: Publisher>(direct: &Direct<P>) -> bool {
    let connection = direct.publisher().connection();
    connection.is_some_and(|connection| !connection.borrow().up)
}

/// Gives the subjects of which it is still not known.
async fn settle_some<P: Publisher>(
    direct: &Direct<P>,
    spool: &Spool,
    subjects: &[Subject],
    unsettled: &Unsettled,
    baselines: &Baselines,
) -> Result<HashSet<Subject>, Unsettleable> {
    let (mut candidates, oldest) = candidates(spool, subjects, unsettled).await?;
    let visited = look_up(direct, spool, &oldest, baselines, &mut candidates).await?;
    crash::point("settle.looked-up");
    let unread: HashSet<Subject> = match visited {
        StoredIds::Visited | StoredIds::Unsupported => HashSet::new(),
        StoredIds::VisitedExcept(subjects) => subjects.into_iter().collect(),
    };
    // Replay sends the first of what stands there twice, which was just read and is whole.
    let mut twins = Vec::new();
    for places in candidates.into_values() {
        let mut seen = HashSet::new();
        for place in places {
            if !unread.contains(&place.subject) && !seen.insert(place.subject.clone()) {
                twins.push(place);
            }
        }
    }
    if !twins.is_empty() {
        info!(
            events = twins.len(),
            "spooled events of which an earlier one has the message id"
        );
    }
    take_out(spool, twins).await?;
    Ok(unread)
}

async fn take_out(spool: &Spool, places: Vec<Place>) -> Result<(), SpoolError> {
    if places.is_empty() {
        return Ok(());
    }
    for place in places {
        spool.left(place);
    }
    spool.remove_left(&Baselines::new()).await
}

/// The ids of what may have been sent, and where they stand; one that was given to the sink again by a
/// caller who did not know stands there twice. They are the first of each subject, which replay
/// may have sent, and those that were sent before they were spooled, which may stand behind newer
/// ones of other callers. Also the oldest event of each subject that has any.
async fn candidates(
    spool: &Spool,
    subjects: &[Subject],
    unsettled: &Unsettled,
) -> Result<(Candidates, Vec<Envelope>), SpoolError> {
    let mut candidates = Candidates::new();
    let mut oldest = Vec::new();
    for subject in subjects {
        let mut first = None;
        let last_sent = unsettled.last_sent(subject);
        let mut next = 0;
        let mut read = 0;
        loop {
            let chunk = spool.read(subject, next, CHUNK).await?;
            for (index, bytes, record) in chunk.entries {
                // A damaged one has no id to look for; replay tells of it.
                let Ok(record) = record else { continue };
                read += 1;
                if let Some(id) = record.envelope.message_id()
                    && (read <= MOST_SENT || record.may_be_stored)
                {
                    let place = Place {
                        subject: subject.clone(),
                        index,
                        bytes,
                    };
                    let places = candidates.entry(id.as_str().to_owned()).or_default();
                    places.push(place);
                    first.get_or_insert(record.envelope);
                }
            }
            next = chunk.next;
            if !chunk.more || (read >= MOST_SENT && next > last_sent) {
                break;
            }
        }
        oldest.extend(first);
    }
    Ok((candidates, oldest))
}

/// Takes those out that are stored.
async fn look_up<P: Publisher>(
    direct: &Direct<P>,
    spool: &Spool,
    oldest: &[Envelope],
    baselines: &Baselines,
    candidates: &mut Candidates,
) -> Result<StoredIds, Unsettleable> {
    if oldest.is_empty() {
        return Ok(StoredIds::Visited);
    }
    let mut found = Vec::new();
    let mut visit = |subjects: &[&Subject], id: &str| {
        if let Some(places) = candidates.get_mut(id) {
            // An id is known to one stream; another one may have been sent an event by the same name.
            found.extend(places.extract_if(.., |place| subjects.contains(&&place.subject)));
        }
    };
    let span = spans::look_up(oldest.len());
    let answer = direct
        .publisher()
        .stored_ids(oldest, baselines, &mut visit)
        .instrument(span.clone())
        .await;
    span.record("found", found.len());
    if let Err(error) = &answer {
        span.record("error", tracing::field::display(error));
    }
    let visited = match answer {
        Ok(visited) => visited,
        // It will be no better in a minute, and waiting for ever would be worse than a duplicate.
        Err(error @ PublishError::PermissionDenied) => {
            warn!(%error, "this user may not look up what is stored: events past the stream's duplicate window may be stored twice");
            StoredIds::Unsupported
        }
        Err(error) => {
            direct.not_stored(Instant::now(), &error);
            return Err(error.into());
        }
    };
    if !found.is_empty() {
        info!(
            events = found.len(),
            "spooled events were stored before the outage"
        );
    }
    take_out(spool, found).await?;
    Ok(visited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_looked_up_together_until_their_events_are_many() {
        let all = |size, count| together(std::iter::repeat_n(size, count));
        assert_eq!(all(1, 10), 10);
        assert_eq!(all(1, 1_000), SUBJECTS_AT_ONCE);
        assert_eq!(all(EVENTS_AT_ONCE / 4, 10), 4);
        assert_eq!(all(u64::MAX, 10), 1, "one too many is looked up by itself");
        assert_eq!(together([1, u64::MAX, 1].into_iter()), 1);
    }
}
