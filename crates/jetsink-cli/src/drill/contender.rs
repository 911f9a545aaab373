//! One way of publishing under load: one caller that waits for each result.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Context;
use jetsink::CircuitState as State;
use jetsink::{Binding, Delivery, EmitError, Envelope, Known, NatsPublisher, Sink};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::event::Events;
use super::http::Http;
use super::record::CircuitState;
use super::verdict::EmitResult;

/// The destination of a contender's events.
pub(super) enum Target {
    Sink(Box<Sink<NatsPublisher>>),
    /// A gateway, by HTTP.
    Http(Box<Http>),
    /// async-nats with its defaults.
    Plain(Box<Context>),
}

impl Target {
    /// The sink of this process that the events pass.
    fn sink(&self) -> Option<&Sink<NatsPublisher>> {
        match self {
            Self::Sink(sink) => Some(sink),
            Self::Http(http) => Some(&http.sink),
            Self::Plain(_) => None,
        }
    }

    /// Whether it makes the promises of the drill.
    pub(super) fn makes_promises(&self) -> bool {
        self.sink().is_some()
    }
}

pub(super) struct Contender {
    /// Its place among the drill's contenders.
    pub(super) index: usize,
    pub(super) name: &'static str,
    pub(super) target: Target,
    binding: Binding,
    events: Events,
    state: Mutex<Results>,
}

/// The results of a contender so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Results {
    /// By the event's number; [`EmitResult::Pending`] while it is in flight.
    pub(super) results: Vec<EmitResult>,
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) longest: Duration,
    /// The beginning of the emit in flight.
    in_flight_since: Option<Instant>,
    /// The durations of the emits since the last tick.
    latest: Vec<Duration>,
    /// The number of acknowledgements.
    stored: u64,
}

/// The state of a contender at a tick.
#[derive(Debug, Clone, Default)]
pub(super) struct Tick {
    pub(super) emitted: u64,
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) latest: Vec<Duration>,
    /// The age of the emit in flight.
    pub(super) unfinished: Option<Duration>,
    pub(super) spooled: Option<u64>,
    pub(super) circuit: Option<CircuitState>,
}

impl Contender {
    pub(super) fn new(
        index: usize,
        name: &'static str,
        target: Target,
        binding: Binding,
        events: Events,
    ) -> Self {
        Self {
            index,
            name,
            target,
            binding,
            events,
            state: Mutex::default(),
        }
    }

    /// Emits one event after another, at most one per `period`, until `stop` is set.
    pub(super) async fn load(&self, period: Duration, mut stop: watch::Receiver<bool>) {
        let mut due = interval(period);
        // A delayed caller does not catch up: its missing events are the measure.
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                _ = due.tick() => {}
            }
            let number = self.begins();
            let result = self.emit(number).await;
            self.ended(number, result);
        }
    }

    async fn emit(&self, number: u64) -> EmitResult {
        let json = self.events.event(self.index, number);
        match &self.target {
            Target::Http(http) => http.emit(json).await,
            Target::Sink(sink) => match self.envelope(json) {
                Some(envelope) => of_sink(sink.emit(envelope).await),
                None => EmitResult::NotStored,
            },
            Target::Plain(context) => match self.envelope(json) {
                Some(envelope) => plain(context, envelope).await,
                None => EmitResult::NotStored,
            },
        }
    }

    /// Always there: the drill's events are valid, which a test checks.
    fn envelope(&self, json: Vec<u8>) -> Option<Envelope> {
        self.binding.envelope(json.into()).ok()
    }

    fn begins(&self) -> u64 {
        let mut state = self.state();
        state.in_flight_since = Some(Instant::now());
        state.results.push(EmitResult::Pending);
        state.results.len() as u64 - 1
    }

    fn ended(&self, number: u64, result: EmitResult) {
        let mut state = self.state();
        let took = state
            .in_flight_since
            .take()
            .map_or(Duration::ZERO, |since| since.elapsed());
        state.longest = state.longest.max(took);
        state.latest.push(took);
        match result {
            EmitResult::Stored | EmitResult::Spooled => state.ok += 1,
            EmitResult::NotStored | EmitResult::Unknown | EmitResult::Pending => state.failed += 1,
        }
        state.stored += u64::from(result == EmitResult::Stored);
        let index = usize::try_from(number).ok();
        if let Some(entry) = index.and_then(|index| state.results.get_mut(index)) {
            *entry = result;
        }
    }

    /// The number of emits that have begun.
    pub(super) fn begun(&self) -> u64 {
        self.state().results.len() as u64
    }

    /// The number of events that a stream has acknowledged.
    pub(super) fn delivered(&self) -> u64 {
        match self.target.sink() {
            Some(sink) => sink.status().delivered,
            None => self.state().stored,
        }
    }

    pub(super) fn spooled(&self) -> Option<u64> {
        self.target
            .sink()?
            .spool()
            .map(|spool| spool.status().events)
    }

    /// Returns the state, and the durations since the last tick.
    pub(super) fn tick(&self) -> Tick {
        let (circuit, spooled) = match self.target.sink() {
            Some(sink) => {
                let status = sink.status();
                let closed =
                    status.broker == State::Connected && status.failing_subjects.is_empty();
                let circuit = match closed {
                    true => CircuitState::Connected,
                    false => CircuitState::Reconnecting,
                };
                (Some(circuit), status.spool.map(|spool| spool.events))
            }
            None => (None, None),
        };
        let mut state = self.state();
        Tick {
            emitted: state.ok + state.failed,
            ok: state.ok,
            failed: state.failed,
            latest: std::mem::take(&mut state.latest),
            unfinished: state.in_flight_since.map(|since| since.elapsed()),
            spooled,
            circuit,
        }
    }

    /// Returns all results. An emit in flight counts with its age so far.
    pub(super) fn counts(&self) -> Results {
        let mut counts = self.state().clone();
        if let Some(since) = counts.in_flight_since {
            counts.longest = counts.longest.max(since.elapsed());
        }
        counts
    }

    fn state(&self) -> MutexGuard<'_, Results> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_sink(result: Result<Delivery, EmitError>) -> EmitResult {
    match result {
        Ok(Delivery::Spooled) => EmitResult::Spooled,
        // Any other `Ok` means that a stream has acknowledged the event.
        Ok(_) => EmitResult::Stored,
        Err(error) => match error.known() {
            Known::OutcomeUnknown => EmitResult::Unknown,
            _ => EmitResult::NotStored,
        },
    }
}

/// Publishes and awaits the acknowledgement, as the documentation of async-nats shows.
async fn plain(context: &Context, envelope: Envelope) -> EmitResult {
    let subject = envelope.subject().as_str().to_owned();
    let payload = envelope.payload().clone();
    match context.publish(subject, payload).await {
        Ok(acknowledged) => match acknowledged.await {
            Ok(_) => EmitResult::Stored,
            Err(_) => EmitResult::Unknown,
        },
        Err(_) => EmitResult::Unknown,
    }
}
