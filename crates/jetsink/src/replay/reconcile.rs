//! Finds out, before replay, which of the events that may be stored are stored.
//!
//! An outage may outlast the stream's duplicate window. So the message ids that the stream stored since
//! the last acknowledged sequence number are read, and the events found there are done. All others may
//! be sent: the publisher guarantees that no earlier attempt is still to be stored (decision 7).
//!
//! If the stream of a subject can't be read at the moment, the subject stays unreconciled and none of its events is
//! sent. If no look-up can tell whether an event is stored, a setting decides. Other subjects are not affected.

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument as _, info, warn};

use super::candidates::{Candidates, MAX_SENT};
use super::doubts::Doubts;
use super::settings::WhenUnconfirmed;
use super::silence::{MAX_SILENCE, Silence};
use crate::crash;
use crate::message::subject::Subject;
use crate::observe::metrics::SpoolMeters;
use crate::observe::spans;
use crate::outcome::{PublishError, SpoolError};
use crate::publish::Direct;
use crate::publish::schedule::{BackOff, Schedule};
use crate::publisher::Publisher;
use crate::publisher::look_up::{GapReason, LookUpGap, StoredId, StoredIds};
use crate::spool::{Baselines, Place, Spool, Unreconciled};
use crate::sync::lock;

/// The number of subjects in the first look-up, which is soon done, and in later ones.
const FIRST_SUBJECTS: usize = 1_024;
const SUBJECTS_AT_ONCE: usize = 32_768;

/// The maximum number of events in one look-up, unless one subject has more: their ids are in memory.
const EVENTS_AT_ONCE: u64 = 65_536;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    #[error("{0}")]
    Spool(#[from] SpoolError),
    #[error("{0}")]
    Lookup(#[from] PublishError),
}

/// Removes stored events from the spool, and schedules the next look-up of subjects with an unreadable stream.
pub(crate) struct Reconciler<'a, P> {
    direct: &'a Direct<P>,
    spool: &'a Spool,
    meters: &'a SpoolMeters,
    choice: WhenUnconfirmed,
    doubts: Doubts<'a>,
    state: Mutex<State>,
}

/// The subjects of one look-up, with their unreconciled events.
pub(crate) struct Due {
    subjects: Vec<Subject>,
    unreconciled: Unreconciled,
}

#[derive(Debug, Default)]
struct State {
    schedule: Schedule<Subject>,
    /// The subjects whose stream can't be read at the moment.
    silences: HashMap<Subject, Silence>,
    /// The subjects that the last look-up left for a later one.
    unfinished: HashSet<Subject>,
    /// Whether the last look-up was one of unfinished subjects.
    were_unfinished: bool,
    /// The highest index of each subject that counts as a possible duplicate, as long as the subject has events.
    counted: HashMap<Subject, u64>,
    /// Whether a look-up was made.
    has_begun: bool,
}

impl<'a, P: Publisher> Reconciler<'a, P> {
    pub(crate) fn new(
        direct: &'a Direct<P>,
        spool: &'a Spool,
        meters: &'a SpoolMeters,
        choice: WhenUnconfirmed,
    ) -> Self {
        Self {
            direct,
            spool,
            meters,
            choice,
            doubts: Doubts::new(&spool.look_ups),
            state: Mutex::default(),
        }
    }

    /// The time at which a subject is to be looked up; `None` for at once.
    pub(crate) fn due_at(&self, subject: &Subject) -> Option<Instant> {
        lock(&self.state).schedule.due_at(subject)
    }

    /// The time at which the next delayed subject is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let state = lock(&self.state);
        state.schedule.first_due().map(|(until, _)| until)
    }

    /// Returns what to look up next, of the subjects that are due and `ready`: all, or as many as fit into one
    /// look-up.
    pub(crate) fn next(&self, ready: impl Fn(&Subject) -> bool) -> Option<Due> {
        let unreconciled = self.spool.unreconciled();
        let mut subjects = self.due_subjects(&unreconciled);
        subjects.retain(|subject| ready(subject));
        if subjects.is_empty() {
            return None;
        }
        let mut subjects = self.in_turn(subjects);
        let most = match std::mem::replace(&mut lock(&self.state).has_begun, true) {
            false => FIRST_SUBJECTS,
            true => SUBJECTS_AT_ONCE,
        };
        let sizes = subjects.iter().map(|subject| self.spool.counted(subject));
        let count = together(sizes.take(most));
        subjects.truncate(count);
        Some(Due {
            subjects,
            unreconciled,
        })
    }

    /// Returns either the subjects that a look-up has left for a later one or the others, by turns: a stream that is
    /// read slowly would be left again and again beside faster ones.
    fn in_turn(&self, subjects: Vec<Subject>) -> Vec<Subject> {
        let mut state = lock(&self.state);
        let is_unfinished = |subject: &Subject| state.unfinished.contains(subject);
        let (unfinished, others): (Vec<_>, Vec<_>) = subjects.into_iter().partition(is_unfinished);
        state.were_unfinished =
            others.is_empty() || !unfinished.is_empty() && !state.were_unfinished;
        match state.were_unfinished {
            true => unfinished,
            false => others,
        }
    }

    /// Removes the stored events of these subjects from the spool. Returns the subjects.
    pub(crate) async fn reconcile(&self, due: Due) -> Result<Vec<Subject>, ReconcileError> {
        let Due {
            subjects: due,
            unreconciled,
        } = due;
        // The events take long to read, which is useless without a connection.
        if is_disconnected(self.direct) {
            return Err(PublishError::NotConnected.into());
        }
        // An event is marked before it is written: marked events must be readable.
        let in_doubt = self.spool.written().await?;
        let baselines = self.spool.baselines();
        let mut candidates = Candidates::read(self.spool, &due, &unreconciled).await?;
        let is_in_doubt = |subject: &&Subject| in_doubt.contains(*subject);
        let unread = due.iter().filter(is_in_doubt).cloned();
        candidates.unread.extend(unread);
        let looked_up = self.look_up(&baselines, &mut candidates).await;
        if looked_up.is_err() {
            // The broker failed, so the streams had no chance to answer.
            let silences = &mut lock(&self.state).silences;
            silences.values_mut().for_each(Silence::pauses);
        }
        let looked_up = looked_up?;
        crash::point("reconcile.looked-up");
        for subject in &due {
            lock(&self.state).unfinished.remove(subject);
        }
        let gaps = match looked_up {
            StoredIds::Visited | StoredIds::Unsupported => Vec::new(),
            StoredIds::VisitedExcept(gaps) => gaps,
        };
        let mut waits = self.decide(gaps, &mut candidates);
        for subject in std::mem::take(&mut candidates.unread) {
            let schedule = &mut lock(&self.state).schedule;
            schedule.back_off(subject.clone(), Instant::now());
            waits.insert(subject);
        }
        let twins = candidates.take_twins(|subject| !waits.contains(subject));
        if !twins.is_empty() {
            let events = twins.len();
            info!(
                events,
                "spooled events have the message id of an earlier one, and are removed"
            );
        }
        self.take_out(twins);
        for subject in &due {
            if !waits.contains(subject) {
                self.reconciled(subject, &unreconciled);
            }
        }
        Ok(due)
    }

    /// The unreconciled subjects that are due. A subject without events in the spool is reconciled.
    fn due_subjects(&self, unreconciled: &Unreconciled) -> Vec<Subject> {
        let now = Instant::now();
        let mut due = Vec::new();
        for subject in unreconciled.subjects() {
            if !self.spool.holds(subject) {
                self.reconciled(subject, unreconciled);
            } else if self.due_at(subject).is_none_or(|due_at| due_at <= now) {
                due.push(subject.clone());
            }
        }
        due
    }

    fn reconciled(&self, subject: &Subject, unreconciled: &Unreconciled) {
        let mut state = lock(&self.state);
        state.schedule.cancel(subject);
        state.silences.remove(subject);
        state.unfinished.remove(subject);
        drop(state);
        self.doubts.released(subject);
        self.spool.reconciled(subject, unreconciled);
    }

    /// Decides about subjects whose look-up is incomplete; returns those that have to wait.
    fn decide(&self, gaps: Vec<LookUpGap>, candidates: &mut Candidates) -> HashSet<Subject> {
        let holds = |subject: &Subject, _: &mut u64| self.spool.holds(subject);
        lock(&self.state).counted.retain(holds);
        let mut waits = HashSet::new();
        for LookUpGap { subjects, reason } in gaps {
            match &reason {
                GapReason::Unfinished => {
                    let mut state = lock(&self.state);
                    for subject in subjects {
                        state.schedule.back_off(subject.clone(), Instant::now());
                        state.unfinished.insert(subject.clone());
                        waits.insert(subject);
                    }
                    continue;
                }
                GapReason::Unreachable(error) => {
                    self.direct.nothing_stored(Instant::now());
                    for subject in subjects {
                        let mut state = lock(&self.state);
                        if let Some(silence) = state.silences.get_mut(&subject) {
                            silence.pauses();
                        }
                        drop(state);
                        self.delay(&subject, error);
                        waits.insert(subject);
                    }
                    continue;
                }
                GapReason::Unanswered(error) => {
                    self.direct.nothing_stored(Instant::now());
                    let now = Instant::now();
                    let mut late = Vec::new();
                    for subject in subjects {
                        let silence = {
                            let silences = &mut lock(&self.state).silences;
                            silences.entry(subject.clone()).or_default().goes_on(now)
                        };
                        if silence >= MAX_SILENCE {
                            late.push(subject);
                        } else {
                            self.delay(&subject, error);
                            waits.insert(subject);
                        }
                    }
                    self.choose(&late, &reason, candidates, &mut waits);
                    continue;
                }
                GapReason::Refused(_) | GapReason::Removed | GapReason::Newest(_) => {}
            }
            if let GapReason::Newest(kept) = reason {
                let these = subjects.iter().collect();
                let obsolete = candidates.take_obsolete(&these, kept);
                if !obsolete.is_empty() {
                    let events = obsolete.len();
                    self.doubts.were_replaced(events as u64);
                    info!(
                        events,
                        kept,
                        "spooled events are obsolete: their stream keeps later ones of their subject"
                    );
                }
                self.take_out(obsolete);
            }
            self.choose(&subjects, &reason, candidates, &mut waits);
        }
        waits
    }

    /// Applies the setting to events that were sent and can't be looked up.
    fn choose(
        &self,
        subjects: &[Subject],
        reason: &GapReason,
        candidates: &Candidates,
        waits: &mut HashSet<Subject>,
    ) {
        if subjects.is_empty() {
            return; // otherwise each silent subject would cost a look at all candidates
        }
        let in_doubt = candidates.in_doubt(&subjects.iter().collect());
        for (subject, indexes) in in_doubt {
            let cause = Cause(reason);
            match self.choice {
                WhenUnconfirmed::Deliver => {
                    let events = self.count(&subject, &indexes);
                    self.meters.possible_duplicates.increment(events);
                    if self.doubts.delivered(&subject, events) {
                        warn!(%subject, events, reason = %cause,
                            "it can't be known whether spooled events are stored: they are sent, and may be stored twice");
                    }
                }
                WhenUnconfirmed::Hold => {
                    let events = indexes.len();
                    if self.doubts.held(&subject) {
                        warn!(%subject, events, reason = %cause,
                            "it can't be known whether spooled events are stored: the subject is held");
                    }
                    let mut state = lock(&self.state);
                    state.schedule.back_off(subject.clone(), Instant::now());
                    drop(state);
                    waits.insert(subject);
                }
            }
        }
    }

    /// Returns how many of these events no earlier look-up has counted: the scan finds a subject's events part by part, and
    /// each part has a look-up of its own.
    fn count(&self, subject: &Subject, indexes: &[u64]) -> u64 {
        let counted = &mut lock(&self.state).counted;
        let before = counted.get(subject).copied();
        let new = indexes.iter().filter(|index| Some(**index) > before);
        let events = new.count() as u64;
        if let Some(last) = indexes.iter().max() {
            counted.insert(subject.clone(), before.unwrap_or(0).max(*last));
        }
        events
    }

    fn delay(&self, subject: &Subject, error: &PublishError) {
        let BackOff { attempt, wait } = lock(&self.state)
            .schedule
            .back_off(subject.clone(), Instant::now());
        if attempt == 0 {
            warn!(%subject, %error,
                "spooled events of the subject wait: its stream can't be read at the moment");
        } else {
            tracing::debug!(%subject, attempt, wait_ms = wait.as_millis() as u64, "spooled events of the subject still wait");
        }
    }

    /// Looks up the candidates, and removes those that are stored from the spool.
    async fn look_up(
        &self,
        baselines: &Baselines,
        candidates: &mut Candidates,
    ) -> Result<StoredIds, ReconcileError> {
        if candidates.oldest.is_empty() {
            return Ok(StoredIds::Visited);
        }
        let oldest = std::mem::take(&mut candidates.oldest);
        let span = spans::look_up(oldest.len());
        let mut visit = |stored: StoredId<'_>| candidates.stored(stored);
        let publisher = self.direct.publisher();
        let answer = publisher
            .stored_ids(&oldest, baselines, &mut visit)
            .instrument(span.clone())
            .await;
        span.record("found", candidates.found().len());
        if let Err(error) = &answer {
            span.record("error", tracing::field::display(error));
        }
        let looked_up = match answer {
            Ok(looked_up) => looked_up,
            // A later look-up would fail, too.
            Err(error @ PublishError::PermissionDenied) => {
                let subjects = oldest.iter().map(|event| event.subject().clone()).collect();
                StoredIds::VisitedExcept(vec![LookUpGap::new(subjects, GapReason::Refused(error))])
            }
            Err(error) => {
                self.direct.not_stored(Instant::now(), &error);
                return Err(error.into());
            }
        };
        let found = candidates.found().to_vec();
        if !found.is_empty() {
            let events = found.len();
            self.doubts.found(events as u64);
            info!(events, "spooled events were stored already");
        }
        self.take_out(found);
        Ok(looked_up)
    }

    /// Takes events out of the spool. Replay removes them from the disk with its next removal: a look-up may be dropped.
    fn take_out(&self, places: Vec<Place>) {
        for place in places {
            self.spool.delivered(&place);
        }
    }
}

/// The reason why a look-up has no result.
struct Cause<'a>(&'a GapReason);

impl std::fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            GapReason::Refused(error) => write!(f, "the stream can't be read: {error}"),
            GapReason::Unanswered(error) => {
                write!(f, "the stream could not be read for 10 minutes: {error}")
            }
            GapReason::Unreachable(error) => write!(f, "nothing stores the subject: {error}"),
            GapReason::Unfinished => f.write_str("the stream takes longer to read than others"),
            GapReason::Removed => f.write_str("the stream has removed messages since"),
            GapReason::Newest(kept) => {
                write!(
                    f,
                    "the stream keeps only the last {kept} messages of the subject"
                )
            }
        }
    }
}

/// The number of subjects, of those with `sizes` events, that fit into one look-up: at least one.
fn together(sizes: impl Iterator<Item = u64>) -> usize {
    let mut events = 0_u64;
    let fitting = sizes.take_while(|&size| {
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

pub(crate) fn is_disconnected<P: Publisher>(direct: &Direct<P>) -> bool {
    let connection = direct.publisher().connection();
    connection.is_some_and(|connection| !connection.borrow().up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_share_a_look_up_until_their_events_exceed_the_maximum() {
        let all = |size, count| together(std::iter::repeat_n(size, count));
        assert_eq!(all(1, 10), 10);
        assert_eq!(all(EVENTS_AT_ONCE / 4, 10), 4);
        assert_eq!(
            all(u64::MAX, 10),
            1,
            "a large subject has a look-up of its own"
        );
        assert_eq!(together([1, u64::MAX, u64::MAX].into_iter()), 2);
    }
}
