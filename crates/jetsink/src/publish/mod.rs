//! Direct publishing: admission by the circuits, bounded retry under one deadline, settling.
//!
//! The path of one envelope is `Direct::identified`, `Direct::admit` (`admission`), then either
//! `Direct::publish` (`attempts`: one emit with its retries) or `Direct::settle` (one result of a
//! window). `failover` decides when to leave a server that stores nothing, `high_water` remembers
//! acknowledged sequence numbers for the look-up before replay, `recoveries` recognises late failures, `message_ids` mints ids, `in_flight` counts emits, `spooling`
//! has the hand-over policy and appends events to the spool, and `follow` turns news of the connection
//! into moves of the broker's circuit.

pub(crate) mod admission;
mod attempts;
mod failover;
mod follow;
pub(crate) mod high_water;
pub(crate) mod in_flight;
mod message_ids;
mod recoveries;
pub(crate) mod retry;
pub(crate) mod schedule;
pub(crate) mod settings;
pub(crate) mod spooling;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::warn;

use crate::circuit::State;
use crate::message::envelope::{Envelope, MessageId};
use crate::message::subject::Subject;
use crate::observe::log_budget::LogBudget;
use crate::observe::metrics::EmitMeters;
use crate::outcome::{CircuitOpen, PublishError};
use crate::publisher::Publisher;
use crate::publisher::baseline::Baselines;
use crate::random::random_byte;
use admission::{ScopedAdmission, Scopes};
use failover::{Failover, is_server_fault};
use follow::follow;
use high_water::HighWater;
use message_ids::MessageIds;
use retry::Retries;
use settings::SinkSettings;

/// The interval at which an open circuit is tried again, and a full spool; a sign of life makes a probe due.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub(crate) struct Direct<P> {
    publisher: P,
    settings: SinkSettings,
    ids: MessageIds,
    scopes: Arc<Scopes>,
    delivered: AtomicU64,
    /// Those that were acknowledged as duplicates.
    duplicates: AtomicU64,
    /// Present only with a spool, which needs it.
    high_water: Option<HighWater>,
    meters: EmitMeters,
    failover: Failover,
    /// Lines about retries.
    retry_lines: LogBudget,
}

impl<P: Publisher> Direct<P> {
    pub(crate) fn new(publisher: P, settings: SinkSettings, for_spool: bool) -> Self {
        let now = Instant::now();
        let high_water = for_spool.then(|| HighWater::new(now, settings.deadline));
        Self {
            publisher,
            // Made here and not in the settings, which may be cloned for another sink.
            ids: MessageIds::new(settings.sink_id.clone()),
            scopes: Arc::new(Scopes::new(now, settings.deadline)),
            settings,
            delivered: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            high_water,
            meters: EmitMeters::new(),
            failover: Failover::new(random_byte()),
            retry_lines: LogBudget::default(),
        }
    }

    /// The number of events that a stream has acknowledged.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// The number of them that a stream acknowledged as duplicates.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    pub(crate) fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    pub(crate) fn meters(&self) -> &EmitMeters {
        &self.meters
    }

    pub(crate) fn state(&self) -> State {
        self.scopes.broker_state(Instant::now())
    }

    pub(crate) fn subject_state(&self, subject: &Subject) -> State {
        self.scopes.subject_state(subject, Instant::now())
    }

    /// Whether both circuits are closed for `subject`.
    pub(crate) fn is_connected(&self, subject: &Subject) -> bool {
        self.state() == State::Connected && self.subject_state(subject) == State::Connected
    }

    pub(crate) fn publisher(&self) -> &P {
        &self.publisher
    }

    pub(crate) fn settings(&self) -> &SinkSettings {
        &self.settings
    }

    pub(crate) fn retries(&self) -> Retries {
        Retries::new(self.settings.max_attempts)
    }

    /// Sequence numbers acknowledged before `sent_at`, by stream; empty if unknown.
    pub(crate) fn acknowledged_before(&self, sent_at: Instant) -> Baselines {
        let high_water = self.high_water.as_ref();
        high_water
            .map(|high_water| high_water.before(sent_at, Instant::now()))
            .unwrap_or_default()
    }

    /// Acknowledged sequence numbers, with a spool.
    pub(crate) fn high_water(&self) -> Option<&HighWater> {
        self.high_water.as_ref()
    }

    /// Spawns the task that moves the broker's circuit with the connection, if the publisher has one.
    pub(crate) fn spawn_follower(&self) -> Option<JoinHandle<()>> {
        let connection = self.publisher.connection()?;
        Some(tokio::spawn(follow(connection, Arc::clone(&self.scopes))))
    }

    pub(crate) fn admit(
        &self,
        now: Instant,
        subject: &Subject,
    ) -> Result<ScopedAdmission<'_>, CircuitOpen> {
        self.scopes.admit(now, subject)
    }

    /// Adds a message id to an envelope that has none. Counts a leniently read event, once per emit.
    pub(crate) fn identified(&self, envelope: Envelope) -> Envelope {
        if let Some(rule) = envelope.deviation() {
            EmitMeters::lenient(rule);
        }
        if envelope.message_id().is_some() {
            return envelope;
        }
        envelope.with_minted_id(self.ids.mint())
    }

    /// Adds a message id under which the caller may emit the envelope several times.
    pub(crate) fn identified_for_repeats(&self, envelope: Envelope) -> Envelope {
        if envelope.message_id().is_some() {
            return envelope;
        }
        envelope.with_message_id(self.ids.mint_unordered())
    }

    /// Replaces the message id of an envelope by one with another random part, after the stream took its first send
    /// for a repetition.
    pub(crate) fn identify_again(&self, envelope: &mut Envelope, stream: &str, sequence: u64) {
        let id = envelope.message_id();
        warn!(
            stream,
            sequence,
            message_id = id.map(MessageId::as_str),
            "the stream has another event under a new message id: it is sent again under another one. Two processes \
             share the state of one sink, after a fork or a restored snapshot"
        );
        self.ids.draw_again(id);
        let again = envelope.clone().with_minted_id(self.ids.mint());
        *envelope = again;
    }

    /// Counts a failure towards a move to another server if a server is at fault.
    pub(crate) fn not_stored(&self, now: Instant, error: &PublishError) {
        if is_server_fault(error) {
            self.nothing_stored(now);
        }
    }

    /// Counts a failure of a reachable server, and moves to another one when that is due.
    pub(crate) fn nothing_stored(&self, now: Instant) {
        if self.failover.is_due(now) {
            self.publisher.request_failover();
        }
    }
}

impl<P> fmt::Debug for Direct<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct")
            .field("settings", &self.settings)
            .field("broker", &self.scopes.broker_state(Instant::now()))
            .finish_non_exhaustive()
    }
}
