//! The one task that empties the spool.
//!
//! An event leaves the spool in this order: `reconcile` looks up in the stream the events that may be stored
//! already and removes those; `expiry` moves events that are too old to the dead letters; the `schedule`
//! selects a subject, and its `subject_queue` reads events from the disk; a pipeline sends them; an
//! acknowledged event is removed, a refused one becomes a dead letter.
//!
//! Subjects take turns. One that fails waits for its circuit and holds up nobody else. A failure of
//! the broker ends the window; what was sent and not answered is looked up before it is sent again.

pub(crate) mod expiry;
pub(crate) mod reconcile;
mod schedule;
mod subject_queue;

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tracing::{Instrument as _, info, warn};

use crate::circuit::State;
use crate::circuit::backoff::wait_after;
use crate::crash;
use crate::message::subject::Subject;
use crate::observe::metrics::SpoolMeters;
use crate::observe::spans;
use crate::outcome::{Delivery, EmitError, Known, PublishError, Scope, SpoolError};
use crate::publish::Direct;
use crate::publisher::Publisher;
use crate::spool::{Baselines, Place, Record, Spool, SpoolSettings};
use expiry::{Expiry, letter};
use reconcile::{MOST_DELIVERED, Settling, rest};
use schedule::Turns;
use subject_queue::Lane;

/// How often a broker that fails is asked again; a sign of life makes its circuit let us through.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The longest that a broker is left alone that can't be asked what is stored. No circuit tells when it
/// can be, so this bounds the time from its return to replay.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// How long to leave a spool's disk alone that has failed.
const DISK_REST: Duration = Duration::from_secs(1);

/// With more subjects than this none is read ahead, for the sake of memory.
const FEW_SUBJECTS: usize = 8;

/// Delivered events, or their bytes, that are worth a removal from the disk, which goes on while others
/// are sent.
const WORTH_REMOVING: usize = 2_048;
const WORTH_REMOVING_BYTES: u64 = 4 << 20;

type Removal<'a> = Pin<Box<dyn Future<Output = Result<(), SpoolError>> + Send + 'a>>;

/// Replays for ever.
pub(crate) async fn replay<P: Publisher>(
    direct: Arc<Direct<P>>,
    spool: Arc<Spool>,
    settings: SpoolSettings,
) {
    let mut settling = Settling::default();
    let mut expiry = Expiry::new(settings.age_limit());
    let meters = SpoolMeters::new();
    let mut failed_lookups = 0;
    loop {
        spool.filled().await;
        if let Err(error) = ready(&direct, &spool, &mut expiry).await {
            warn!(%error, "replay rests: the spool fails");
            sleep(DISK_REST).await;
            continue;
        }
        if let Err(reason) = settling.settle(&direct, &spool).await {
            if failed_lookups == 0 {
                warn!(%reason, "what is in the spool can't be looked up in its stream yet");
            }
            rest(&direct, wait_after(failed_lookups).min(LONGEST_REST)).await;
            failed_lookups += 1;
            continue;
        }
        failed_lookups = 0;
        let mut run = Run::new(&direct, &spool, &settings, &settling, &expiry, &meters);
        if let Err(error) = run.run().await {
            warn!(%error, "replay rests: the spool fails");
            sleep(DISK_REST).await;
        }
    }
}

/// Waits until the broker's circuit would let a probe through.
async fn ready<P: Publisher>(
    direct: &Direct<P>,
    spool: &Spool,
    expiry: &mut Expiry,
) -> Result<(), SpoolError> {
    loop {
        expiry.sweep(spool).await?;
        let now = Instant::now();
        match direct.state() {
            State::Connected => return Ok(()),
            State::Reconnecting {
                next_after,
                probing: false,
                ..
            } if next_after <= now => return Ok(()),
            State::Reconnecting { next_after, .. } => {
                sleep_until(
                    next_after
                        .max(now + Duration::from_millis(1))
                        .min(now + LOOK_AGAIN),
                )
                .await;
            }
        }
    }
}

struct Run<'a, P> {
    direct: &'a Direct<P>,
    spool: &'a Spool,
    settings: &'a SpoolSettings,
    settling: &'a Settling,
    expiry: &'a Expiry,
    meters: &'a SpoolMeters,
    lanes: HashMap<Subject, Lane>,
    turns: Turns,
    /// What is in the pipeline, in its order.
    sent: VecDeque<Place>,
    acknowledged: Baselines,
    /// Of what was delivered, while it goes on.
    removal: Option<Removal<'a>>,
    /// Since the last removal began.
    delivered_bytes: u64,
    broker_failed: bool,
    /// Something that waits must be looked up first: the run ends once nothing is in flight.
    must_settle: bool,
    replayed: u64,
    buried: u64,
    next_allowed: Instant,
}

impl<'a, P: Publisher> Run<'a, P> {
    fn new(
        direct: &'a Direct<P>,
        spool: &'a Spool,
        settings: &'a SpoolSettings,
        settling: &'a Settling,
        expiry: &'a Expiry,
        meters: &'a SpoolMeters,
    ) -> Self {
        Self {
            direct,
            spool,
            settings,
            settling,
            expiry,
            meters,
            lanes: HashMap::new(),
            turns: Turns::default(),
            sent: VecDeque::new(),
            acknowledged: Baselines::new(),
            removal: None,
            delivered_bytes: 0,
            broker_failed: false,
            must_settle: false,
            replayed: 0,
            buried: 0,
            next_allowed: Instant::now(),
        }
    }

    /// Sends until the spool is empty, the broker fails, or something must be looked up.
    async fn run(&mut self) -> Result<(), SpoolError> {
        let started = Instant::now();
        let span = spans::replay(self.spool.status().events);
        let result = self.send_all().instrument(span.clone()).await;
        span.record("replayed", self.replayed);
        span.record("dead", self.buried);
        // Where the spool failed, what is in flight was given up on.
        let given_up = self.sent.iter().map(|place| place.subject.clone());
        self.spool.unsettle(given_up);
        // Whatever happened: what was acknowledged must not be sent again.
        let removed = self.remove_left().await;
        if self.buried > 1 {
            let events = self.buried;
            warn!(events, "in all, so many events went to the dead letters");
        }
        if self.replayed > 0 {
            let waiting = self.spool.status().events;
            let seconds = started.elapsed().as_secs_f64();
            info!(
                replayed = self.replayed,
                waiting, seconds, "replayed from the spool"
            );
        }
        result.and(removed)
    }

    async fn send_all(&mut self) -> Result<(), SpoolError> {
        let mut pipeline = self
            .direct
            .pipeline(self.settings.replay_window())
            .holding_failed_subjects();
        self.look_for_subjects();
        loop {
            while !self.broker_failed
                && !self.must_settle
                && pipeline.has_room()
                && self.spool.leaving_events() < MOST_DELIVERED
                && self.may_send()
            {
                let Some((place, record)) = self.next_event().await? else {
                    break;
                };
                if !self.spool.replay_began() {
                    let acknowledged = self.direct.acknowledged_before(Instant::now());
                    self.spool.replay_begins(&acknowledged).await?;
                }
                self.sent.push_back(place);
                // There is room: just asked.
                let _ = pipeline.push(record.envelope);
                crash::point("replay.sent");
            }
            if pipeline.is_empty() {
                self.remove_left().await?;
                if self.broker_failed || self.must_settle || self.spool.status().events == 0 {
                    return Ok(());
                }
                self.wait_for_more().await;
                self.look_for_subjects();
                continue;
            }
            let result = tokio::select! {
                biased;
                result = pipeline.next() => result,
                removed = under_way(&mut self.removal) => {
                    self.removal = None;
                    removed?;
                    crash::point("replay.removed");
                    continue;
                }
            };
            let (Some(result), Some(place)) = (result, self.sent.pop_front()) else {
                continue;
            };
            let subject = place.subject.clone();
            self.settle_one(place, result).await?;
            self.may_go_on(&subject);
            if self.broker_failed {
                pipeline.stop();
            }
            let worth_it = self.delivered_bytes >= WORTH_REMOVING_BYTES
                || self.spool.leaving_events() >= WORTH_REMOVING;
            if self.removal.is_none() && worth_it {
                self.delivered_bytes = 0;
                self.removal = Some(Box::pin(self.spool.remove_left(&self.acknowledged)));
            }
        }
    }

    /// What came of one event.
    async fn settle_one(
        &mut self,
        place: Place,
        result: Result<Delivery, EmitError>,
    ) -> Result<(), SpoolError> {
        let error = match result {
            Ok(delivery) => {
                crash::point("replay.acknowledged");
                if let Delivery::Stored {
                    stream,
                    sequence,
                    duplicate: false,
                } = delivery
                {
                    let highest = self.acknowledged.entry(stream).or_default();
                    *highest = (*highest).max(sequence);
                }
                if let Some(lane) = self.lane(&place.subject) {
                    lane.delivered();
                }
                self.delivered_bytes += place.bytes;
                self.spool.left(place);
                self.replayed += 1;
                self.meters.replayed.increment(1);
                return Ok(());
            }
            Err(error) => error,
        };
        if error.known() == Known::OutcomeUnknown {
            self.spool.unsettle([place.subject.clone()]);
        }
        if error.scope() == Scope::Event {
            if let Some(lane) = self.lane(&place.subject) {
                lane.in_flight -= 1;
            }
            return self.bury(place, &error).await;
        }
        let wait = match &error {
            EmitError::CircuitOpen(open) => open.retry_after,
            _ => match self.direct.subject_state(&place.subject) {
                State::Connected => Duration::ZERO,
                State::Reconnecting { next_after, .. } => {
                    next_after.saturating_duration_since(Instant::now())
                }
            },
        };
        // What was held back says nothing of the broker.
        let held = matches!(&error, EmitError::Failed(f) if f.error == PublishError::Stopped);
        self.broker_failed |= error.scope() == Scope::Broker && !held;
        if let Some(lane) = self.lane(&place.subject) {
            lane.failed(Instant::now() + wait.max(LOOK_AGAIN));
        }
        Ok(())
    }

    async fn bury(&mut self, place: Place, error: &EmitError) -> Result<(), SpoolError> {
        let code = match error {
            EmitError::Failed(failed) => failed.error.code(),
            _ => None,
        };
        let chunk = self.spool.read(&place.subject, place.index, 1).await?;
        match chunk.entries.into_iter().next() {
            Some((index, _, Ok(record))) if index == place.index => {
                self.buried += 1;
                if self.buried == 1 {
                    warn!(subject = %place.subject, %error, "an event goes to the dead letters");
                }
                let letter = letter(record, code.unwrap_or(0), error.to_string());
                self.spool.bury(vec![(letter, place)]).await
            }
            // It was whole when it was sent.
            _ => {
                warn!(subject = %place.subject, index = place.index, %error,
                    "an event that was refused for good is damaged and lost");
                self.spool.damaged(place);
                Ok(())
            }
        }
    }

    /// Whether the rate lets another go out; takes its turn if so.
    fn may_send(&mut self) -> bool {
        let Some(rate) = self.settings.replay_rate() else {
            return true;
        };
        let now = Instant::now();
        if now < self.next_allowed {
            return false;
        }
        // No saving up for a burst.
        self.next_allowed = self.next_allowed.max(now - LOOK_AGAIN) + Duration::from_secs(1) / rate;
        true
    }

    /// The next event whose turn it is; `None` where none may go out now.
    async fn next_event(&mut self) -> Result<Option<(Place, Record)>, SpoolError> {
        let now = Instant::now();
        self.turns.wake(now);
        for _ in 0..self.turns.len() {
            let Some(subject) = self.turns.next() else {
                return Ok(None);
            };
            let Some(lane) = self.lanes.get_mut(&subject) else {
                continue;
            };
            let unsettled = self.spool.is_unsettled(&subject);
            self.must_settle |= unsettled && self.settling.is_due(&subject, now);
            let waits = unsettled || lane.waits(now);
            let reads_ahead = self.turns.len() < FEW_SUBJECTS;
            let event = if waits {
                None
            } else {
                lane.next(self.spool, self.expiry, reads_ahead).await?
            };
            let in_flight = lane.in_flight as u64;
            if event.is_some() && lane.goes_on() {
                self.turns.goes_on(subject);
            } else if in_flight > 0 && (waits || self.spool.waiting(&subject) <= in_flight) {
                lane.has_turn = false;
            } else if waits {
                let looked_up = self.settling.due_at(&subject).filter(|_| unsettled);
                let until = looked_up.or(lane.waits_until);
                self.turns.waits(subject, until.unwrap_or(now + LOOK_AGAIN));
            } else if event.is_some() || in_flight > 0 {
                self.turns.stands_behind(subject);
            } else {
                // With nothing more to send it goes.
                self.lanes.remove(&subject);
            }
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// After a result: a lane that rested for it stands in the row again, if it has more to send.
    fn may_go_on(&mut self, subject: &Subject) {
        let Some(lane) = self.lanes.get_mut(subject) else {
            return;
        };
        if lane.has_turn || lane.waits_for_results() {
            return;
        }
        if self.spool.waiting(subject) > lane.in_flight as u64 {
            lane.has_turn = true;
            self.turns.stands_behind(subject.clone());
        } else if lane.in_flight == 0 {
            self.lanes.remove(subject);
        }
    }

    fn lane(&mut self, subject: &Subject) -> Option<&mut Lane> {
        self.lanes.get_mut(subject)
    }

    /// Lanes for subjects that have none yet.
    fn look_for_subjects(&mut self) {
        let mut subjects = self.spool.subjects();
        // As they stand on the disk: neighbours share what is read, and what is written to remove them.
        subjects.sort_unstable();
        for subject in subjects {
            if !self.lanes.contains_key(&subject) {
                self.turns.stands_behind(subject.clone());
                self.lanes.insert(subject.clone(), Lane::new(subject));
            }
        }
    }

    /// With nothing in flight: until an event comes in, or a subject's wait or the rate's is over.
    async fn wait_for_more(&mut self) {
        let now = Instant::now();
        let next = self.turns.next_due().into_iter();
        let next = next.chain(self.settings.replay_rate().map(|_| self.next_allowed));
        let next = next.chain(self.settling.next_due());
        let until = next
            .min()
            .unwrap_or(now + LOOK_AGAIN)
            .max(now + Duration::from_millis(1));
        tokio::select! {
            () = self.spool.came_in() => {}
            () = sleep_until(until) => {}
        }
    }

    async fn remove_left(&mut self) -> Result<(), SpoolError> {
        if let Some(removal) = self.removal.take() {
            removal.await?;
        }
        let removed = self.spool.remove_left(&self.acknowledged).await;
        crash::point("replay.removed");
        removed
    }
}

/// The removal's end; never, where none is under way.
async fn under_way(removal: &mut Option<Removal<'_>>) -> Result<(), SpoolError> {
    match removal {
        Some(removal) => removal.await,
        None => std::future::pending().await,
    }
}
