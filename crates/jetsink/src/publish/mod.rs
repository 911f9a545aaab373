//! Direct publishing: admission by the circuits, bounded retry under one deadline, settling.
//!
//! An envelope passes this folder in this order: `Direct::admit` asks the circuits of the broker and of the
//! subject (`admission`); `Direct::identified` assigns the message id; `Direct::publish_admitted` publishes
//! through the port and repeats transient failures (`retry`); the outcome settles the admission. `failover`
//! decides when to leave a server that stores nothing, `high_water` remembers acknowledged sequence
//! numbers for the look-up before replay, `in_flight` counts emits, `spooling` appends an event to the
//! spool instead.

pub(crate) mod admission;
mod failover;
mod high_water;
pub(crate) mod in_flight;
pub mod retry;
pub(crate) mod settings;
pub(crate) mod spooling;

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use tracing::Instrument as _;

use crate::circuit::State;
use crate::message::envelope::{Envelope, MessageId};
use crate::message::subject::Subject;
use crate::observe::metrics::EmitMeters;
use crate::observe::spans;
use crate::outcome::{
    Acknowledgement, CircuitOpen, Delivery, EmitError, FailedEmit, Known, PublishError,
};

use crate::publisher::{Connection, Publisher, publish_once};
use crate::random::random_byte;
use admission::{ScopedAdmission, Scopes};
use failover::{Elsewhere, may_be_the_servers};
use high_water::Acknowledged;
use settings::SinkSettings;

/// A dot and the digits of a `u64`.
const LONGEST_NUMBER: usize = 21;

pub(crate) struct Direct<P> {
    publisher: P,
    settings: SinkSettings,
    /// The first part of its message ids.
    id: String,
    minted: AtomicU64,
    scopes: Arc<Scopes>,
    delivered: AtomicU64,
    /// Kept where a spool wants to know it.
    acknowledged: Option<Acknowledged>,
    meters: EmitMeters,
    elsewhere: Elsewhere,
}

impl<P: Publisher> Direct<P> {
    pub(crate) fn new(publisher: P, settings: SinkSettings, for_spool: bool) -> Self {
        let now = Instant::now();
        let acknowledged = for_spool.then(|| Acknowledged::new(now, settings.deadline));
        // Here and not in the settings: those may be cloned for another sink.
        let id = settings.sink_id.clone();
        Self {
            publisher,
            id: id.unwrap_or_else(|| nuid::next().to_string()),
            settings,
            minted: AtomicU64::new(0),
            scopes: Arc::new(Scopes::new(now)),
            delivered: AtomicU64::new(0),
            acknowledged,
            meters: EmitMeters::new(),
            elsewhere: Elsewhere::new(random_byte()),
        }
    }

    /// One publish that was admitted at `now`; `Ok` means stored.
    pub(crate) async fn publish_admitted(
        &self,
        envelope: &Envelope,
        admission: ScopedAdmission<'_>,
        now: Instant,
        deadline: Instant,
    ) -> Result<Delivery, EmitError> {
        let span = spans::publish(envelope);
        let attempts = self.attempts(envelope, admission, now, deadline);
        if span.is_disabled() {
            return attempts.await;
        }
        let result = attempts.instrument(span.clone()).await;
        spans::ended(&span, &result);
        result
    }

    /// Events that a stream has acknowledged.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
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

    pub(crate) fn publisher(&self) -> &P {
        &self.publisher
    }

    pub(crate) fn settings(&self) -> &SinkSettings {
        &self.settings
    }

    /// Sequence numbers that were acknowledged before something was sent at `sent_at`.
    pub(crate) fn acknowledged_before(
        &self,
        sent_at: Instant,
    ) -> std::collections::HashMap<String, u64> {
        let acknowledged = self.acknowledged.as_ref();
        acknowledged
            .map(|a| a.before(sent_at, Instant::now()))
            .unwrap_or_default()
    }

    /// Spawns what turns the connection's news into moves of the broker's circuit, where there are
    /// any.
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

    /// Gives an envelope its message id, once.
    pub(crate) fn identified(&self, envelope: Envelope) -> Envelope {
        if envelope.message_id().is_some() {
            return envelope;
        }
        let n = self.minted.fetch_add(1, Ordering::Relaxed) + 1;
        let mut id = String::with_capacity(self.id.len() + LONGEST_NUMBER);
        // Writing to a String can't fail.
        let _ = write!(id, "{}.{n}", self.id);
        envelope.with_message_id(MessageId::minted(id))
    }

    /// Publishes until it is stored, all attempts are made or the deadline comes, and settles.
    async fn attempts(
        &self,
        envelope: &Envelope,
        admission: ScopedAdmission<'_>,
        mut sent_at: Instant,
        deadline: Instant,
    ) -> Result<Delivery, EmitError> {
        let max_attempts = if admission.is_probe() {
            1
        } else {
            self.settings.max_attempts
        };
        let mut failures = 0;
        let mut known = Known::NotSent;
        loop {
            let result = publish_once(&self.publisher, envelope, deadline, None).await;
            let error = match result {
                Ok(ack) => return Ok(self.stored(envelope, admission, ack, sent_at)),
                Err(error) => error,
            };
            // One attempt that may have been stored outweighs a later refusal.
            if known != Known::OutcomeUnknown {
                known = error.known();
            }
            let now = Instant::now();
            if failures + 1 < max_attempts
                && error.is_transient()
                && retry::fits(failures, now, deadline)
            {
                self.meters.retries.increment(1);
                retry::wait_out(failures, max_attempts, &error).await;
                failures += 1;
                sent_at = Instant::now();
                continue;
            }
            self.settle_failure(now, admission, envelope, &error);
            self.meters.failed(known);
            return Err(failed(envelope, failures + 1, error, known));
        }
    }

    /// Settles what was sent by other means: once, under `admission`.
    pub(crate) fn settle(
        &self,
        envelope: &Envelope,
        admission: ScopedAdmission<'_>,
        sent_at: Instant,
        result: Result<Acknowledgement, PublishError>,
    ) -> Result<Delivery, EmitError> {
        match result {
            Ok(ack) => Ok(self.stored(envelope, admission, ack, sent_at)),
            Err(error) => {
                self.settle_failure(Instant::now(), admission, envelope, &error);
                let known = error.known();
                self.meters.failed(known);
                Err(failed(envelope, 1, error, known))
            }
        }
    }

    fn settle_failure(
        &self,
        now: Instant,
        admission: ScopedAdmission<'_>,
        envelope: &Envelope,
        error: &PublishError,
    ) {
        admission.settle(now, envelope.subject(), Some(error));
        self.not_stored(now, error);
    }

    pub(crate) fn not_stored(&self, now: Instant, error: &PublishError) {
        if may_be_the_servers(error) {
            self.nothing_stored(now);
        }
    }

    /// Leaves the server that we are connected to once this has gone on for long enough.
    pub(crate) fn nothing_stored(&self, now: Instant) {
        if self.elsewhere.is_due(now) {
            self.publisher.try_elsewhere();
        }
    }

    fn stored(
        &self,
        envelope: &Envelope,
        admission: ScopedAdmission<'_>,
        ack: Acknowledgement,
        sent_at: Instant,
    ) -> Delivery {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        self.elsewhere.stored();
        self.meters.acknowledged_after(now - sent_at);
        if let Some(acknowledged) = &self.acknowledged {
            acknowledged.note(&ack, now);
        }
        admission.settle(now, envelope.subject(), None);
        ack.into()
    }
}

fn failed(envelope: &Envelope, attempts: u32, error: PublishError, known: Known) -> EmitError {
    EmitError::Failed(Box::new(FailedEmit {
        subject: envelope.subject().clone(),
        message_id: envelope.message_id().cloned(),
        attempts,
        error,
        known,
    }))
}

impl<P> fmt::Debug for Direct<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct")
            .field("settings", &self.settings)
            .field("broker", &self.scopes.broker_state(Instant::now()))
            .finish_non_exhaustive()
    }
}

/// Turns what the connection tells into moves of the broker's circuit.
fn follow(
    mut connection: watch::Receiver<Connection>,
    scopes: Arc<Scopes>,
) -> impl Future<Output = ()> + Send {
    let mut last = *connection.borrow_and_update();
    async move {
        let mut counted = Counted::new(&scopes);
        counted.follow(last);
        if !last.up {
            scopes.disconnected(Instant::now());
        }
        while connection.changed().await.is_ok() {
            let current = *connection.borrow_and_update();
            counted.follow(current);
            if !current.up {
                scopes.disconnected(Instant::now());
            } else if current.signs_of_life != last.signs_of_life {
                scopes.sign_of_life(Instant::now());
            }
            last = current;
        }
    }
}

/// The connection as the metrics count it, out again when the sink ends.
struct Counted<'a> {
    scopes: &'a Scopes,
    number: Option<u64>,
}

impl<'a> Counted<'a> {
    fn new(scopes: &'a Scopes) -> Self {
        Self {
            scopes,
            number: None,
        }
    }

    fn follow(&mut self, connection: Connection) {
        let number = connection.up.then_some(connection.number);
        if number == self.number {
            return;
        }
        let meters = &self.scopes.history().meters;
        if self.number.take().is_some() {
            meters.disconnected();
        }
        if number.is_some() {
            meters.connected();
        }
        self.number = number;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if self.number.is_some() {
            self.scopes.history().meters.disconnected();
        }
    }
}
