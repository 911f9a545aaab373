//! One way of publishing under load: one caller that waits for each answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Context;
use jetsink::circuit::State;
use jetsink::{Binding, Delivery, Envelope, Known, NatsPublisher, Sink};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::event::Events;
use super::record::CircuitState;
use super::verdict::Told;

/// Where a lane's events go.
pub(super) enum Outlet {
    Sink(Box<Sink<NatsPublisher>>),
    /// With the client's defaults.
    Plain(Box<Context>),
}

pub(super) struct Lane {
    /// Among the drill's.
    pub(super) index: usize,
    pub(super) name: &'static str,
    pub(super) outlet: Outlet,
    binding: Binding,
    events: Events,
    state: Mutex<Counts>,
}

/// What a lane has done so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// By the event's number; [`Told::Nothing`] while it waits.
    pub(super) told: Vec<Told>,
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) longest: Duration,
    /// When the emit that waits began.
    waits_since: Option<Instant>,
    /// Of the emits that ended since this was asked for.
    latest: Vec<Duration>,
    /// Answers of a stream.
    stored: u64,
}

/// What a tick saw of a lane.
#[derive(Debug, Clone, Default)]
pub(super) struct Tick {
    pub(super) emitted: u64,
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) latest: Vec<Duration>,
    pub(super) waits: Option<Duration>,
    pub(super) spooled: Option<u64>,
    pub(super) circuit: Option<CircuitState>,
}

impl Lane {
    pub(super) fn new(
        index: usize,
        name: &'static str,
        outlet: Outlet,
        binding: Binding,
        events: Events,
    ) -> Self {
        Self {
            index,
            name,
            outlet,
            binding,
            events,
            state: Mutex::default(),
        }
    }

    /// Emits one event after another, `between` apart at the least, until it is told to stop.
    pub(super) async fn load(&self, between: Duration, mut stop: watch::Receiver<bool>) {
        let mut due = interval(between);
        // Whoever was held up does not make up for it: what was not emitted then is missing.
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                _ = due.tick() => {}
            }
            let number = self.begins();
            let told = self.emit(number).await;
            self.ended(number, told);
        }
    }

    async fn emit(&self, number: u64) -> Told {
        let json = self.events.event(self.index, number);
        // Our own events are well-formed: a test says so.
        let Ok(envelope) = self.binding.envelope(json.into()) else {
            return Told::NotStored;
        };
        match &self.outlet {
            Outlet::Sink(sink) => match sink.emit(envelope).await {
                Ok(Delivery::Spooled) => Told::Spooled,
                // Whatever else Ok may come to mean: a stream has it.
                Ok(_) => Told::Stored,
                Err(error) => match error.known() {
                    Known::OutcomeUnknown => Told::Unknown,
                    _ => Told::NotStored,
                },
            },
            Outlet::Plain(context) => plain(context, envelope).await,
        }
    }

    fn begins(&self) -> u64 {
        let mut state = self.state();
        state.waits_since = Some(Instant::now());
        state.told.push(Told::Nothing);
        state.told.len() as u64 - 1
    }

    fn ended(&self, number: u64, told: Told) {
        let mut state = self.state();
        let took = state
            .waits_since
            .take()
            .map_or(Duration::ZERO, |since| since.elapsed());
        state.longest = state.longest.max(took);
        state.latest.push(took);
        match told {
            Told::Stored | Told::Spooled => state.ok += 1,
            Told::NotStored | Told::Unknown | Told::Nothing => state.failed += 1,
        }
        state.stored += u64::from(told == Told::Stored);
        if let Some(place) = usize::try_from(number)
            .ok()
            .and_then(|n| state.told.get_mut(n))
        {
            *place = told;
        }
    }

    /// How many events have begun.
    pub(super) fn begun(&self) -> u64 {
        self.state().told.len() as u64
    }

    /// How many events a stream has acknowledged.
    pub(super) fn delivered(&self) -> u64 {
        match &self.outlet {
            Outlet::Sink(sink) => sink.status().delivered,
            Outlet::Plain(_) => self.state().stored,
        }
    }

    pub(super) fn spooled(&self) -> Option<u64> {
        match &self.outlet {
            Outlet::Sink(sink) => sink.spool_status().map(|spool| spool.events),
            Outlet::Plain(_) => None,
        }
    }

    /// What happened since the last tick.
    pub(super) fn tick(&self) -> Tick {
        let (circuit, spooled) = match &self.outlet {
            Outlet::Sink(sink) => {
                let status = sink.status();
                let closed =
                    status.broker == State::Connected && status.failing_subjects.is_empty();
                let circuit = match closed {
                    true => CircuitState::Connected,
                    false => CircuitState::Reconnecting,
                };
                (Some(circuit), status.spool.map(|spool| spool.events))
            }
            Outlet::Plain(_) => (None, None),
        };
        let mut state = self.state();
        Tick {
            emitted: state.ok + state.failed,
            ok: state.ok,
            failed: state.failed,
            latest: std::mem::take(&mut state.latest),
            waits: state.waits_since.map(|since| since.elapsed()),
            spooled,
            circuit,
        }
    }

    /// All of it, when all is over. An emit that still waits counts as long as it has waited.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = self.state().clone();
        if let Some(since) = counts.waits_since {
            counts.longest = counts.longest.max(since.elapsed());
        }
        counts
    }

    fn state(&self) -> MutexGuard<'_, Counts> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As its documentation has it: publish, and wait for the acknowledgement.
async fn plain(context: &Context, envelope: Envelope) -> Told {
    let subject = envelope.subject().as_str().to_owned();
    let payload = envelope.payload().clone();
    match context.publish(subject, payload).await {
        Ok(acknowledged) => match acknowledged.await {
            Ok(_) => Told::Stored,
            Err(_) => Told::Unknown,
        },
        Err(_) => Told::Unknown,
    }
}
