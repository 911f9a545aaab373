//! Finds out, before replay, which of the events that may be stored are stored.
//!
//! An outage may outlast the stream's duplicate window. So the message ids that the stream stored since
//! the last acknowledged sequence number are read, and the events found there are done. All others may
//! be sent: the publisher guarantees that no earlier attempt is still to be stored (decision 7).
//!
//! If the stream of a subject cannot be read, the subject stays unreconciled and none of its events is
//! sent. Other subjects are not affected.

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument as _, info, warn};

use crate::crash;
use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::observe::spans;
use crate::outcome::{PublishError, SpoolError};
use crate::publish::Direct;
use crate::publish::schedule::{BackOff, Schedule};
use crate::publisher::window::MAX_WINDOW;
use crate::publisher::{Publisher, StoredIds};
use crate::spool::{Baselines, Place, Spool, Unreconciled};

/// Replay waits for the disk with this many delivered events still on it.
pub(crate) const MAX_DELIVERED: usize = 16_384;

/// The maximum number of events of a subject in flight, or acknowledged and not yet removed.
pub(crate) const MAX_SENT: usize = 2 * MAX_WINDOW + MAX_DELIVERED;

/// Records read at a time; only their ids are kept.
const CHUNK: usize = 512;

/// The maximum number of subjects in one look-up.
const SUBJECTS_AT_ONCE: usize = 64;

/// The maximum number of events in one look-up, unless one subject has more: their ids are in memory.
const EVENTS_AT_ONCE: u64 = 32_768;

/// The places of events by message id.
type Candidates = HashMap<String, Vec<Place>>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    #[error("{0}")]
    Spool(#[from] SpoolError),
    #[error("{0}")]
    Lookup(#[from] PublishError),
}

/// Removes events from the spool that are stored already, and schedules the next look-up of subjects
/// whose stream could not be read.
#[derive(Debug, Default)]
pub(crate) struct Reconciler {
    schedule: Schedule<Subject>,
}

impl Reconciler {
    /// Whether an unreconciled subject is due to be looked up.
    pub(crate) fn is_due(&self, subject: &Subject, now: Instant) -> bool {
        self.due_at(subject).is_none_or(|due_at| due_at <= now)
    }

    /// The time at which a subject is to be looked up; `None` for at once.
    pub(crate) fn due_at(&self, subject: &Subject) -> Option<Instant> {
        self.schedule.due_at(subject)
    }

    /// The time at which the next delayed subject is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.schedule.first_due().map(|(until, _)| until)
    }

    /// Removes the stored events of all subjects that are due from the spool.
    pub(crate) async fn reconcile<P: Publisher>(
        &mut self,
        direct: &Direct<P>,
        spool: &Spool,
    ) -> Result<(), ReconcileError> {
        let (unreconciled, baselines) = spool.unreconciled();
        let due = self.due_subjects(spool, &unreconciled);
        if !due.is_empty() {
            // The events take long to read, which is useless without a connection.
            if is_disconnected(direct) {
                return Err(PublishError::NotConnected.into());
            }
            // An event is marked before it is written: marked events must be readable.
            spool.written().await?;
        }
        let mut rest = due.as_slice();
        while !rest.is_empty() {
            let sizes = rest.iter().map(|subject| spool.waiting(subject));
            let (subjects, later) = rest.split_at(together(sizes));
            rest = later;
            let unread =
                reconcile_together(direct, spool, subjects, &unreconciled, &baselines).await?;
            for subject in subjects {
                if unread.contains(subject) {
                    direct.nothing_stored(Instant::now());
                    self.delay(subject);
                } else {
                    self.reconciled(spool, subject, &unreconciled);
                }
            }
        }
        Ok(())
    }

    /// The unreconciled subjects that are due. A subject without events in the spool is reconciled.
    fn due_subjects(&mut self, spool: &Spool, unreconciled: &Unreconciled) -> Vec<Subject> {
        let now = Instant::now();
        let mut due = Vec::new();
        for subject in unreconciled.subjects() {
            if !spool.holds(subject) {
                self.reconciled(spool, subject, unreconciled);
            } else if self.is_due(subject, now) {
                due.push(subject.clone());
            }
        }
        due
    }

    fn reconciled(&mut self, spool: &Spool, subject: &Subject, unreconciled: &Unreconciled) {
        self.schedule.cancel(subject);
        spool.reconciled(subject, unreconciled);
    }

    fn delay(&mut self, subject: &Subject) {
        let BackOff { attempt, wait } = self.schedule.back_off(subject.clone(), Instant::now());
        warn!(%subject, attempt, wait_ms = wait.as_millis() as u64,
            "what is spooled of the subject waits: its stream can't be read");
    }
}

/// The number of subjects, of those with `sizes` events, that fit into one look-up: at least one.
fn together(sizes: impl Iterator<Item = u64>) -> usize {
    let mut events = 0_u64;
    let fitting = sizes.take(SUBJECTS_AT_ONCE).take_while(|&size| {
        events = events.saturating_add(size.min(MAX_SENT as u64));
        events <= EVENTS_AT_ONCE
    });
    fitting.count().max(1)
}

/// Waits for `longest` after a failed look-up; without a connection, only until there is one.
pub(crate) async fn rest<P: Publisher>(direct: &Direct<P>, longest: Duration) {
    let Some(mut connection) = direct.publisher().connection() else {
        return sleep(longest).await;
    };
    let connected = async {
        // A connection that is up already, or whose publisher has ended, does not shorten the wait.
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

/// Looks up these subjects together; returns those whose stream could not be read.
async fn reconcile_together<P: Publisher>(
    direct: &Direct<P>,
    spool: &Spool,
    subjects: &[Subject],
    unreconciled: &Unreconciled,
    baselines: &Baselines,
) -> Result<HashSet<Subject>, ReconcileError> {
    let (mut candidates, oldest) = candidates(spool, subjects, unreconciled).await?;
    let visited = look_up(direct, spool, &oldest, baselines, &mut candidates).await?;
    crash::point("settle.looked-up");
    let unread: HashSet<Subject> = match visited {
        StoredIds::Visited | StoredIds::Unsupported => HashSet::new(),
        StoredIds::VisitedExcept(subjects) => subjects.into_iter().collect(),
    };
    // Replay sends the first event with an id, which was just read and is intact.
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
        spool.delivered(place);
    }
    spool.remove_delivered(&Baselines::new()).await
}

/// Returns the ids and places of all events that may have been sent: the first ones of each subject,
/// which replay may have sent, and those that were sent before they were spooled, which may be behind
/// newer events of other callers. An id has two places if a caller emitted the event again. Also returns
/// the oldest event of each subject.
async fn candidates(
    spool: &Spool,
    subjects: &[Subject],
    unreconciled: &Unreconciled,
) -> Result<(Candidates, Vec<Envelope>), SpoolError> {
    let mut candidates = Candidates::new();
    let mut oldest = Vec::new();
    for subject in subjects {
        let mut first = None;
        let last_sent = unreconciled.last_sent(subject);
        let mut next = 0;
        let mut read = 0;
        loop {
            let chunk = spool.read(subject, next, CHUNK).await?;
            for (index, bytes, record) in chunk.entries {
                // A damaged event has no id; replay reports it.
                let Ok(record) = record else { continue };
                read += 1;
                if let Some(id) = record.envelope.message_id()
                    && (read <= MAX_SENT || record.may_be_stored)
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
            if !chunk.more || (read >= MAX_SENT && next > last_sent) {
                break;
            }
        }
        oldest.extend(first);
    }
    Ok((candidates, oldest))
}

/// Removes the candidates that are stored.
async fn look_up<P: Publisher>(
    direct: &Direct<P>,
    spool: &Spool,
    oldest: &[Envelope],
    baselines: &Baselines,
    candidates: &mut Candidates,
) -> Result<StoredIds, ReconcileError> {
    if oldest.is_empty() {
        return Ok(StoredIds::Visited);
    }
    let mut found = Vec::new();
    let mut visit = |subjects: &[&Subject], id: &str| {
        if let Some(places) = candidates.get_mut(id) {
            // Another stream may have an event with the same id.
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
        // A later look-up would fail too, and waiting for ever is worse than a duplicate.
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
    fn subjects_share_a_look_up_until_their_events_exceed_the_maximum() {
        let all = |size, count| together(std::iter::repeat_n(size, count));
        assert_eq!(all(1, 10), 10);
        assert_eq!(all(1, 1_000), SUBJECTS_AT_ONCE);
        assert_eq!(all(EVENTS_AT_ONCE / 4, 10), 4);
        assert_eq!(
            all(u64::MAX, 10),
            1,
            "a large subject has a look-up of its own"
        );
        assert_eq!(together([1, u64::MAX, 1].into_iter()), 1);
    }
}
