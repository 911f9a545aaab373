//! The one task that empties the spool.
//!
//! An event leaves the spool in this order: `reconcile` looks up in the stream the events that may be stored
//! already (`doubts` counts what no look-up can tell) and removes those; `expiry` moves events that are too old to the dead letters; `queues` selects
//! subjects and reads their next events from the disk, and each `subject_queue` has the progress of one; a pipeline
//! sends them (`in_flight`) at the speed that `pace` allows; `spool_side` removes an acknowledged event, or makes a
//! refused one a dead letter.
//!
//! Subjects are served in turn, with one reading of the disk for many of them. A failing subject waits for its
//! circuit and delays no other. If the broker fails, the run ends. Events that were sent and not answered are reconciled
//! before they are sent again.

mod baselines;
pub(crate) mod candidates;
mod doubts;
pub(crate) mod expiry;
mod identify;
mod in_flight;
mod pace;
mod queues;
pub(crate) mod reconcile;
pub(crate) mod settings;
mod silence;
mod spool_side;
mod subject_queue;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tracing::{Instrument as _, debug, warn};

use crate::circuit::State;
use crate::circuit::backoff::wait_after;
use crate::crash;
use crate::message::subject::Subject;
use crate::observe::metrics::SpoolMeters;
use crate::observe::spans;
use crate::outcome::{EmitError, Known, Scope, SpoolError};
use crate::publish::{Direct, LOOK_AGAIN};
use crate::publisher::Publisher;
use crate::spool::{Place, Spool};
use candidates::MAX_DELIVERED;
use expiry::Expiry;
use identify::identify_streams;
use in_flight::InFlightSet;
use pace::Pace;
use queues::{QueueId, SubjectQueues};
use reconcile::{ReconcileError, Reconciler, is_disconnected, rest};
use settings::SpoolSettings;
use spool_side::SpoolSide;

/// The maximum pause after a failed look-up. No circuit says when a look-up is possible, so this bounds
/// the time from the broker's return to replay.
const MAX_REST: Duration = Duration::from_millis(500);

/// The pause after a failure of the spool's disk.
const DISK_REST: Duration = Duration::from_secs(1);

/// Runs until it is aborted.
pub(crate) async fn replay<P: Publisher>(
    direct: Arc<Direct<P>>,
    spool: Arc<Spool>,
    settings: SpoolSettings,
) {
    tokio::join!(
        empty(&direct, &spool, &settings),
        identify_streams(&*direct)
    );
}

async fn empty<P: Publisher>(direct: &Direct<P>, spool: &Spool, settings: &SpoolSettings) {
    let meters = SpoolMeters::new();
    let choice = settings.choice_when_unconfirmed();
    let reconciler = Reconciler::new(direct, spool, &meters, choice);
    let mut expiry = Expiry::new(settings.age_limit());
    let mut failed_lookups = 0;
    let mut failure = None;
    loop {
        spool.filled().await;
        if let Err(error) = ready(direct, spool, &mut expiry).await {
            pause(&error, &mut failure).await;
            continue;
        }
        let run = Run::new(direct, spool, settings, &reconciler, &expiry, &meters);
        match run.run().await {
            Ok(()) => (failed_lookups, failure) = (0, None),
            Err(ReconcileError::Lookup(reason)) => {
                if failed_lookups == 0 {
                    warn!(%reason, "spooled events can't be looked up in their stream yet");
                }
                rest(direct, wait_after(failed_lookups).min(MAX_REST)).await;
                failed_lookups += 1;
            }
            Err(ReconcileError::Spool(error)) => pause(&error, &mut failure).await,
        }
    }
}

/// Pauses after a failure of the spool's disk. `logged` is the failure that the log has.
async fn pause(error: &SpoolError, logged: &mut Option<String>) {
    let reason = error.to_string();
    if logged.as_ref() == Some(&reason) {
        debug!(%error, "replay still pauses: the spool fails");
    } else {
        warn!(%error, "replay pauses: the spool fails");
        *logged = Some(reason);
    }
    sleep(DISK_REST).await;
}

/// Waits until the broker's circuit admits a probe. Without a connection the probe fails here: no event can be sent, so none
/// gets the mark that it may be stored.
async fn ready<P: Publisher>(
    direct: &Direct<P>,
    spool: &Spool,
    expiry: &mut Expiry,
) -> Result<(), SpoolError> {
    loop {
        expiry.sweep(spool).await?;
        let now = Instant::now();
        let soon = now + Duration::from_millis(1);
        let next_after = match direct.state() {
            State::Connected => now,
            State::Reconnecting {
                next_after,
                probing,
                ..
            } => next_after.max(if probing { soon } else { now }),
        };
        if next_after <= now {
            if spool.replay_began() || !is_disconnected(direct) {
                return Ok(());
            }
            direct.scopes().fail_probe(now);
        }
        sleep_until(next_after.max(soon).min(now + LOOK_AGAIN)).await;
    }
}

/// A look-up on its way; it returns its subjects.
type LookUp<'a> = Pin<Box<dyn Future<Output = Result<Vec<Subject>, ReconcileError>> + Send + 'a>>;

/// One run of replay: until the spool is empty or the broker fails. Look-ups run beside the sending.
struct Run<'a, P> {
    direct: &'a Direct<P>,
    spool: &'a Spool,
    reconciler: &'a Reconciler<'a, P>,
    look_up: Option<LookUp<'a>>,
    queues: SubjectQueues<'a>,
    in_flight: InFlightSet<'a, P>,
    spool_side: SpoolSide<'a>,
    pace: Pace,
    broker_failed: bool,
}

impl<'a, P: Publisher> Run<'a, P> {
    fn new(
        direct: &'a Direct<P>,
        spool: &'a Spool,
        settings: &SpoolSettings,
        reconciler: &'a Reconciler<'a, P>,
        expiry: &'a Expiry,
        meters: &'a SpoolMeters,
    ) -> Self {
        Self {
            direct,
            spool,
            reconciler,
            look_up: None,
            queues: SubjectQueues::new(spool, expiry, events_per_reading(settings)),
            in_flight: InFlightSet::new(direct, settings.replay_window()),
            spool_side: SpoolSide::new(spool, meters, direct.high_water()),
            pace: Pace::new(settings.replay_rate(), Instant::now()),
            broker_failed: false,
        }
    }

    async fn run(mut self) -> Result<(), ReconcileError> {
        let started = Instant::now();
        let span = spans::replay(self.spool.status().events);
        let result = self.send_all().instrument(span.clone()).await;
        span.record("replayed", self.spool_side.replayed());
        span.record("dead", self.spool_side.dead());
        // Events are in flight only if the spool failed.
        self.spool.mark_unreconciled(self.in_flight.abandon());
        // In any case: acknowledged events must not be sent again.
        let removed = self.spool_side.remove_all().await;
        self.queues.report();
        self.spool_side.report(started);
        result.and(removed.map_err(ReconcileError::from))
    }

    async fn send_all(&mut self) -> Result<(), ReconcileError> {
        self.queues.add_all_subjects();
        loop {
            let reconciler = self.reconciler;
            self.queues
                .add_entered(|subject| reconciler.due_at(subject).is_some());
            self.push_events().await?;
            self.begin_look_up();
            if !self.in_flight.is_empty() {
                self.take_result().await?;
                continue;
            }
            self.spool_side.remove_all().await?;
            if self.broker_failed || self.spool.status().events == 0 {
                return Ok(());
            }
            self.wait_for_more().await?;
        }
    }

    /// Begins the next look-up, unless one is on its way or none is due.
    fn begin_look_up(&mut self) {
        let is_due = |due: Instant| due <= Instant::now();
        if self.look_up.is_some() || self.broker_failed {
            return;
        }
        if !self.queues.take_must_reconcile() && !self.reconciler.next_due().is_some_and(is_due) {
            return;
        }
        let in_flight = self.queues.in_flight();
        if let Some(due) = self.reconciler.next(|subject| !in_flight.contains(subject)) {
            self.look_up = Some(Box::pin(self.reconciler.reconcile(due)));
        }
    }

    /// A look-up has ended. More subjects may be due.
    fn looked_up(
        &mut self,
        subjects: Result<Vec<Subject>, ReconcileError>,
    ) -> Result<(), ReconcileError> {
        self.look_up = None;
        let subjects = subjects?;
        if !subjects.is_empty() {
            self.queues.looked_up(&subjects);
            self.queues.reconcile_more();
        }
        Ok(())
    }

    /// Sends events as long as window, disk and rate allow it.
    async fn push_events(&mut self) -> Result<(), SpoolError> {
        while !self.broker_failed
            && self.in_flight.has_room()
            && self.spool.delivered_events() < MAX_DELIVERED
            && self.pace.allows_one()
        {
            let Some((queue, place, record)) = self.queues.next_event().await? else {
                return Ok(());
            };
            if !self.spool.replay_began() {
                let acknowledged = self.direct.acknowledged_before(Instant::now());
                self.spool.replay_begins(&acknowledged).await?;
            }
            self.spool_side.sent();
            self.in_flight.push(queue, place, record);
            crash::point("replay.sent");
        }
        Ok(())
    }

    /// Waits for the result of the oldest event in flight, or for the end of a removal.
    async fn take_result(&mut self) -> Result<(), ReconcileError> {
        let result = tokio::select! {
            biased;
            result = self.in_flight.next() => result,
            looked_up = ended(&mut self.look_up) => return self.looked_up(looked_up),
            removed = self.spool_side.removal_ended() => {
                removed?;
                crash::point("replay.removed");
                // Replay may wait for the segments that this one left.
                self.spool_side.remove_if_worthwhile();
                return Ok(());
            }
        };
        let Some((queue, place, result)) = result else {
            return Ok(());
        };
        self.spool_side.answered();
        self.spool_side.follow_streams();
        match result {
            Ok(_) => {
                crash::point("replay.acknowledged");
                self.queues.delivered(queue);
                self.spool_side.delivered(place);
            }
            Err(error) => {
                self.failed(queue, place, &error).await?;
                self.queues.resume(queue);
            }
        }
        if self.broker_failed {
            self.in_flight.stop();
        }
        self.spool_side.remove_if_worthwhile();
        Ok(())
    }

    async fn failed(
        &mut self,
        queue: QueueId,
        place: Place,
        error: &EmitError,
    ) -> Result<(), SpoolError> {
        if error.known() == Known::OutcomeUnknown {
            self.spool.mark_unreconciled([place.clone()]);
        }
        if error.scope() == Scope::Event {
            self.queues.refused(queue);
            return self.spool_side.refused(place, error).await;
        }
        self.broker_failed |= error.scope() == Scope::Broker;
        let wait = self.wait_after(&place.subject, error).max(LOOK_AGAIN);
        self.queues.failed(queue, Instant::now() + wait);
        Ok(())
    }

    /// The time until the circuit that rejects this subject is due for a probe.
    fn wait_after(&self, subject: &Subject, error: &EmitError) -> Duration {
        match (error, self.direct.subject_state(subject)) {
            (EmitError::CircuitOpen(open), _) => open.retry_after,
            (_, State::Connected) => Duration::ZERO,
            (_, State::Reconnecting { next_after, .. }) => {
                next_after.saturating_duration_since(Instant::now())
            }
        }
    }

    /// With nothing in flight: waits for a new event or a look-up, or until a subject or the rate is due.
    async fn wait_for_more(&mut self) -> Result<(), ReconcileError> {
        let now = Instant::now();
        let next = self.queues.next_due().into_iter();
        let look_up = self
            .reconciler
            .next_due()
            .filter(|_| self.look_up.is_none());
        let next = next.chain(look_up).chain(self.pace.next_allowed());
        let until = next
            .min()
            .unwrap_or(now + LOOK_AGAIN)
            .max(now + Duration::from_millis(1));
        tokio::select! {
            looked_up = ended(&mut self.look_up) => return self.looked_up(looked_up),
            () = self.spool.came_in() => {}
            () = sleep_until(until) => {}
        }
        Ok(())
    }
}

/// The events that replay reads at a time: as many as a run sends within a short time.
fn events_per_reading(settings: &SpoolSettings) -> usize {
    let window = settings.replay_window().get();
    let per_look = settings.replay_rate().map(|rate| rate as usize / 10);
    per_look.map_or(window, |events| window.min(events))
}

/// Waits for the end of a look-up; for ever if none is on its way. Cancellation-safe.
async fn ended(look_up: &mut Option<LookUp<'_>>) -> Result<Vec<Subject>, ReconcileError> {
    match look_up {
        Some(look_up) => look_up.await,
        None => std::future::pending().await,
    }
}
