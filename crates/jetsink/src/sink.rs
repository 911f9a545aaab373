//! The sink: one deadline around admission, publish, bounded retry and settling.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::circuit::State;
use crate::envelope::{Envelope, HeaderError, MessageId};
use crate::error::{CircuitOpen, EmitError, FailedEmit, Known, PublishError};
use crate::publisher::{Acknowledgement, Connection, Publisher};
use crate::retry;
use crate::scopes::{ScopedAdmission, Scopes};
use crate::subject::Subject;

/// What became of an event that was emitted with `Ok`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// A stream has acknowledged it.
    Stored {
        /// The stream.
        stream: String,
        /// The event's sequence number in it.
        sequence: u64,
        /// Whether the broker called it a duplicate: stored before, by an earlier attempt of this
        /// emit or under the same message id, and not stored again.
        duplicate: bool,
    },
}

impl From<Acknowledgement> for Delivery {
    fn from(ack: Acknowledgement) -> Self {
        Self::Stored {
            stream: ack.stream,
            sequence: ack.sequence,
            duplicate: ack.duplicate,
        }
    }
}

/// Why settings don't hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The deadline is out of range.
    #[error("the deadline is {0:?}; it must be from 1 ms to 1 hour")]
    Deadline(Duration),
    /// There would be no attempt.
    #[error("max attempts is 0; it must be 1 or more")]
    MaxAttempts,
    /// The sink's id can't be part of a message id.
    #[error("sink id: {0}")]
    SinkId(#[from] HeaderError),
}

/// How a sink behaves. Defaults: a deadline of 2 s, 3 attempts, a random id.
#[derive(Debug, Clone)]
pub struct SinkSettings {
    deadline: Duration,
    max_attempts: u32,
    sink_id: String,
}

impl Default for SinkSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(2),
            max_attempts: 3,
            sink_id: nuid::next().to_string(),
        }
    }
}

impl SinkSettings {
    /// The longest that one emit may take, all attempts and waits included.
    ///
    /// # Errors
    /// [`SettingsError::Deadline`] outside 1 ms to 1 hour.
    pub fn deadline(mut self, deadline: Duration) -> Result<Self, SettingsError> {
        if !(Duration::from_millis(1)..=Duration::from_secs(3_600)).contains(&deadline) {
            return Err(SettingsError::Deadline(deadline));
        }
        self.deadline = deadline;
        Ok(self)
    }

    /// How often one emit may try while the circuit is closed. A probe is always one attempt.
    ///
    /// # Errors
    /// [`SettingsError::MaxAttempts`] for 0.
    pub fn max_attempts(mut self, attempts: u32) -> Result<Self, SettingsError> {
        if attempts == 0 {
            return Err(SettingsError::MaxAttempts);
        }
        self.max_attempts = attempts;
        Ok(self)
    }

    /// The first part of the message ids that the sink mints (`<id>.<n>`). Two sinks, or two runs
    /// of one, must never share it: the stream would take their events for each other's.
    ///
    /// # Errors
    /// [`SettingsError::SinkId`] where it can't stand in a header.
    pub fn sink_id(mut self, id: impl Into<String>) -> Result<Self, SettingsError> {
        self.sink_id = MessageId::new(id)?.as_str().to_owned();
        Ok(self)
    }
}

/// Emits envelopes through a [`Publisher`], behind the broker's circuit and the subjects'.
///
/// All methods take `&self`; share it by reference or in an [`Arc`].
///
/// ```no_run
/// use jetsink::{Binding, ConnectSettings, NatsPublisher, Sink, SinkSettings};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let publisher = NatsPublisher::connect(ConnectSettings::new("nats://127.0.0.1:4222")?).await?;
/// let sink = Sink::new(publisher, SinkSettings::default());
/// let binding = Binding::new("cellos.events.{tenantId}".parse()?);
///
/// let json = r#"{"specversion":"1.0","id":"1","source":"/demo","type":"demo.started"}"#;
/// let delivery = sink.emit(binding.envelope(json.into())?).await?; // Ok: a stream has it
/// println!("{delivery:?}");
/// # Ok(())
/// # }
/// ```
pub struct Sink<P> {
    publisher: P,
    settings: SinkSettings,
    minted: AtomicU64,
    scopes: Arc<Scopes>,
    in_flight: AtomicUsize,
    idle: Notify,
    watcher: Option<AbortHandle>,
}

impl<P: Publisher> Sink<P> {
    /// A sink in front of `publisher`.
    ///
    /// Where the publisher tells of its connection, this spawns one task on the current tokio
    /// runtime, which ends with the sink.
    ///
    /// # Panics
    /// Outside a tokio runtime, for such publishers.
    #[must_use]
    pub fn new(publisher: P, settings: SinkSettings) -> Self {
        let scopes = Arc::new(Scopes::new(Instant::now()));
        let watcher = publisher
            .connection()
            .map(|c| tokio::spawn(follow(c, Arc::clone(&scopes))).abort_handle());
        Self {
            publisher,
            settings,
            minted: AtomicU64::new(0),
            scopes,
            in_flight: AtomicUsize::new(0),
            idle: Notify::new(),
            watcher,
        }
    }

    /// Sends one envelope; `Ok` means that a stream has it.
    ///
    /// Takes no longer than the deadline, whatever the broker does. While the circuit is open it
    /// returns at once. Dropping the future gives up the wait: the event may be stored or not, and
    /// the circuit forgets the attempt.
    ///
    /// # Errors
    /// [`EmitError`], which says whom the failure concerns and what is known of the event.
    pub async fn emit(&self, envelope: Envelope) -> Result<Delivery, EmitError> {
        let started = Instant::now();
        let admission = self
            .admit(started, envelope.subject())
            .map_err(EmitError::CircuitOpen)?;
        let envelope = self.identified(envelope);
        let attempts = if admission.is_probe() {
            1
        } else {
            self.settings.max_attempts
        };
        let deadline = started + self.settings.deadline;
        self.attempt(&envelope, admission, attempts, deadline, None)
            .await
    }

    /// Waits until everything that was emitted before this call is stored or reported: at most the
    /// deadline, since no emit takes longer.
    pub async fn flush(&self) {
        let idle = async {
            loop {
                let mut notified = std::pin::pin!(self.idle.notified());
                notified.as_mut().enable();
                if self.in_flight.load(Ordering::Acquire) == 0 {
                    return;
                }
                notified.await;
            }
        };
        let _ = timeout_at(Instant::now() + self.settings.deadline, idle).await;
    }

    /// The broker's circuit at this moment.
    #[must_use]
    pub fn state(&self) -> State {
        self.scopes.broker_state(Instant::now())
    }

    /// The circuit of one subject: connected unless that subject is failing.
    #[must_use]
    pub fn subject_state(&self, subject: &Subject) -> State {
        self.scopes.subject_state(subject, Instant::now())
    }

    /// What carries the envelopes.
    #[must_use]
    pub fn publisher(&self) -> &P {
        &self.publisher
    }

    /// The longest that one emit may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.settings.deadline
    }

    pub(crate) fn max_attempts(&self) -> u32 {
        self.settings.max_attempts
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
        let id = format!("{}.{n}", self.settings.sink_id);
        envelope.with_message_id(MessageId::minted(id))
    }

    /// Publishes until it is stored, `max_attempts` are made or the deadline comes, and settles;
    /// over the connection of that number only, where one is given.
    pub(crate) async fn attempt(
        &self,
        envelope: &Envelope,
        admission: ScopedAdmission<'_>,
        max_attempts: u32,
        deadline: Instant,
        connection: Option<u64>,
    ) -> Result<Delivery, EmitError> {
        let _in_flight = InFlight::begin(self);
        let mut failures = 0;
        let mut known = Known::NotSent;
        loop {
            let error = match self.publish_once(envelope, deadline, connection).await {
                Ok(ack) => {
                    admission.settle(Instant::now(), envelope.subject(), None);
                    return Ok(ack.into());
                }
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
                retry::wait_out(failures, max_attempts, &error).await;
                failures += 1;
                continue;
            }
            admission.settle(now, envelope.subject(), Some(error.scope()));
            return Err(EmitError::Failed(Box::new(FailedEmit {
                subject: envelope.subject().clone(),
                message_id: envelope.message_id().cloned(),
                attempts: failures + 1,
                error,
                known,
            })));
        }
    }

    /// The publisher keeps to the deadline by itself and knows more when it does; this holds those
    /// that don't.
    async fn publish_once(
        &self,
        envelope: &Envelope,
        deadline: Instant,
        connection: Option<u64>,
    ) -> Result<Acknowledgement, PublishError> {
        let publish = async {
            match connection {
                None => self.publisher.publish(envelope, deadline).await,
                Some(number) => {
                    self.publisher
                        .publish_over(number, envelope, deadline)
                        .await
                }
            }
        };
        timeout_at(deadline, publish)
            .await
            .unwrap_or(Err(PublishError::AckTimeout {
                broker_answers: false,
            }))
    }
}

impl<P> Drop for Sink<P> {
    fn drop(&mut self) {
        if let Some(watcher) = &self.watcher {
            watcher.abort();
        }
    }
}

impl<P> fmt::Debug for Sink<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("settings", &self.settings)
            .field("broker", &self.scopes.broker_state(Instant::now()))
            .field("in_flight", &self.in_flight)
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
        if !last.up {
            scopes.disconnected(Instant::now());
        }
        while connection.changed().await.is_ok() {
            let current = *connection.borrow_and_update();
            if !current.up {
                scopes.disconnected(Instant::now());
            } else if current.signs_of_life != last.signs_of_life {
                scopes.sign_of_life();
            }
            last = current;
        }
    }
}

/// Counts an emit in, and out however it ends.
struct InFlight<'a, P>(&'a Sink<P>);

impl<'a, P> InFlight<'a, P> {
    fn begin(sink: &'a Sink<P>) -> Self {
        sink.in_flight.fetch_add(1, Ordering::AcqRel);
        Self(sink)
    }
}

impl<P> Drop for InFlight<'_, P> {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
