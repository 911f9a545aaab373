//! The spool side of a pipeline: entries on their way into the spool, and entries held back because
//! of it.
//!
//! Invariants:
//! 1. `subjects` has the subjects of exactly the entries that are being written.
//! 2. Once an entry of a subject goes to the spool in a round, those behind it of that subject go there
//!    too, until they are held back.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep};

use super::LOOK_AGAIN;
use super::entry::{Entry, State};
use super::held_back::HeldBack;
use super::subjects::Counts;
use crate::message::subject::Subject;
use crate::observe::spans;
use crate::outcome::{Delivery, EmitError, SpoolError};
use crate::publish::Direct;
use crate::publish::in_flight::InFlightGuard;
use crate::publish::spooling::{HandOver, spool_event};
use crate::publisher::Publisher;
use crate::spool::{Reservation, Spool};

type Write<'a> = Pin<Box<dyn Future<Output = (u64, Result<Delivery, EmitError>)> + Send + 'a>>;

pub(super) struct SpoolSide<'a> {
    pub(super) spool: &'a Spool,
    writes: FuturesUnordered<Write<'a>>,
    subjects: Counts,
    /// Subjects with an entry that goes to the spool in this round.
    in_round: HashSet<Subject>,
    pub(super) held: HeldBack,
}

/// The destination of an entry of the spool side.
pub(super) enum Route {
    /// To the broker: no event of its subject is in the spool or on its way there.
    Direct,
    HoldBack,
    Spool,
}

impl<'a> SpoolSide<'a> {
    pub(super) fn new(spool: &'a Spool) -> Self {
        Self {
            spool,
            writes: FuturesUnordered::new(),
            subjects: Counts::default(),
            in_round: HashSet::new(),
            held: HeldBack::new(),
        }
    }

    /// The number of entries that are being written.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Begins a round; returns whether the held entries were released for it.
    pub(super) fn begin_round(&mut self, now: Instant, is_idle: bool) -> bool {
        let spool = self.spool;
        self.in_round.clear();
        let holds = |subject: &Subject| spool.holds(subject);
        self.held.release_if_due(now, is_idle, holds)
    }

    pub(super) fn route<P: Publisher>(
        &mut self,
        entry: &Entry<'a>,
        direct: &Direct<P>,
        now: Instant,
    ) -> Route {
        let subject = entry.envelope.subject();
        if self.held.contains(subject) {
            return Route::HoldBack;
        }
        if entry.for_spool.is_some() || self.in_round.contains(subject) {
            return Route::Spool;
        }
        if !self.spool.holds(subject) && !self.subjects.contains(subject) {
            return Route::Direct;
        }
        let until = HandOver::PIPELINE.until(direct, self.spool, subject, now);
        if self.held.waits_for_hand_over(subject, now, until) {
            Route::HoldBack
        } else {
            Route::Spool
        }
    }

    /// Writes an entry to the spool.
    pub(super) fn write<P: Publisher>(
        &mut self,
        number: u64,
        entry: &mut Entry<'a>,
        room: Result<Reservation<'a>, SpoolError>,
        guard: Option<InFlightGuard<'a>>,
        direct: &'a Direct<P>,
        now: Instant,
    ) {
        let subject = entry.envelope.subject();
        self.subjects.add(subject);
        self.in_round.insert(subject.clone());
        entry.state = State::Spooling { _guard: guard };
        let envelope = Arc::clone(&entry.envelope);
        let cause = entry.for_spool.take();
        let sent_at = entry.sent_at.unwrap_or(now);
        let deadline = now + direct.settings().deadline;
        let spool = self.spool;
        let room = room.map(|room| (spans::spool(&entry.envelope), room));
        self.writes.push(Box::pin(unconstrained(async move {
            let result =
                spool_event(spool, &envelope, room, cause, sent_at, direct, deadline).await;
            (number, result)
        })));
    }

    /// Returns the next entry that was written, with its result.
    pub(super) fn poll_written(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<(u64, Result<Delivery, EmitError>)> {
        match self.writes.poll_next_unpin(context) {
            Poll::Ready(Some(written)) => Poll::Ready(written),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// An entry of this subject was written.
    pub(super) fn written(&mut self, subject: &Subject) {
        self.subjects.take(subject);
    }

    /// Waits for what held entries wait for, while nothing is on its way.
    pub(super) async fn wait(&mut self) {
        if let Some((until, subject)) = self.held.next_hand_over() {
            self.spool.drained(subject, until).await;
        } else if self.held.waits_for_room() {
            sleep(LOOK_AGAIN).await;
        }
    }
}
