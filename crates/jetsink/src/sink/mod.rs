//! The sink: publishes an event directly, or appends it to the spool.
//!
//! [`Sink::emit`] fixes the deadline and counts the emit as in flight. Without a spool, or if the spool holds
//! no event of the subject, the event goes to `publish/`. If that fails for another reason than the event
//! itself, or if events of the subject are in the spool, it is appended to the spool (`publish/spooling`)
//! and `replay/` sends it later. `status` reports the state of the sink; the `reporter` task reports the
//! spool to metrics and watchers.

mod reporter;
pub(crate) mod status;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::circuit::State;
use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::outcome::{Delivery, EmitError, Receipt, Scope, SpoolError};
use crate::pipeline::Pipeline;
use crate::publish::Direct;
use crate::publish::in_flight::Emits;
use crate::publish::settings::SinkSettings;
use crate::publish::spooling::{HAND_OVER, HAND_OVER_EVENTS, spool_event};
use crate::publisher::Publisher;
use crate::replay::replay;
use crate::spool::{Baselines, Spool, SpoolLoss, SpoolSettings, SpoolStatus};
use reporter::report;

/// Emits envelopes through a [`Publisher`], behind the broker's circuit and the subjects', with a
/// spool on the local disk for what can't be sent now, if it was given one.
///
/// All methods take `&self`; share it by reference or in an [`Arc`]. A process needs one sink, not one for each
/// subject or tenant.
///
/// ```no_run
/// use std::time::Duration;
/// use jetsink::{Binding, ConnectSettings, Delivery, NatsPublisher, Sink, SinkSettings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// // The service starts whether the broker is there or not.
/// let broker = ConnectSettings::new("nats://127.0.0.1:4222")?.start_disconnected();
/// let sink = Sink::new(NatsPublisher::connect(broker).await?, SinkSettings::default());
/// let binding = Binding::new("shop.events.{tenantId}".parse()?);
///
/// let json = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed"}"#;
/// match sink.emit(binding.envelope(json.into())?).await {
///     Ok(Delivery::Stored { stream, sequence, .. }) => println!("{stream} has it at {sequence}"),
///     Ok(_) => println!("the disk has it"), // with a spool only
///     Err(error) => eprintln!("{error} (concerns the {})", error.scope()),
/// }
///
/// let receipt = sink.close(Duration::from_secs(5)).await;
/// println!("{} delivered", receipt.delivered);
/// # Ok(())
/// # }
/// ```
pub struct Sink<P> {
    direct: Arc<Direct<P>>,
    spool: Option<Arc<Spool>>,
    emits: Emits,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl<P: Publisher> Sink<P> {
    /// A sink in front of `publisher`, without a spool.
    ///
    /// Where the publisher tells of its connection, this spawns one task on the current tokio
    /// runtime, which ends with the sink.
    ///
    /// # Panics
    /// Outside a tokio runtime, for such publishers.
    #[must_use]
    pub fn new(publisher: P, settings: SinkSettings) -> Self {
        Self::of(Direct::new(publisher, settings, false), None)
    }

    fn of(direct: Direct<P>, spool: Option<Spool>) -> Self {
        let follower = direct.spawn_follower();
        Self {
            direct: Arc::new(direct),
            spool: spool.map(Arc::new),
            emits: Emits::default(),
            tasks: Mutex::new(follower.into_iter().collect()),
        }
    }

    /// Sends one envelope; [`Delivery::Stored`] means that a stream has it, [`Delivery::Spooled`]
    /// that the local disk has it.
    ///
    /// Takes no longer than the deadline, whatever the broker and the disk do. While the circuit is
    /// open it returns at once, or spools. With a spool, an emit that is sent keeps a quarter of its
    /// deadline for the disk, and an event queues behind those of its subject that wait there.
    /// Dropping the future gives up the wait: the event may be stored or not, spooled or not, and the
    /// circuit forgets the attempt.
    ///
    /// # Errors
    /// - [`CircuitOpen`](EmitError::CircuitOpen): rejected at once; never with a spool.
    /// - [`Failed`](EmitError::Failed): tried, and not acknowledged by the deadline. With a spool, only where the
    ///   event itself is at fault.
    /// - [`Spool`](EmitError::Spool): neither sent nor spooled; only with a spool.
    /// - [`Closed`](EmitError::Closed): after [`close`](Self::close).
    ///
    /// Each says [whom it concerns](EmitError::scope) and [what is known](EmitError::known) of the event.
    pub async fn emit(&self, envelope: Envelope) -> Result<Delivery, EmitError> {
        let started = Instant::now();
        let deadline = started + self.deadline();
        if self.emits.is_closed() {
            return Err(EmitError::Closed);
        }
        let meters = self.direct.meters();
        let result = match &self.spool {
            None => match self.direct.admit(started, envelope.subject()) {
                Ok(admission) => {
                    // Not earlier: those rejected would queue for the counter.
                    let Some(_under_way) = self.emits.begin() else {
                        return Err(EmitError::Closed);
                    };
                    let envelope = self.direct.identified(envelope);
                    self.direct
                        .publish_admitted(&envelope, admission, started, deadline)
                        .await
                }
                Err(open) => {
                    // By the million in an outage: they are counted and no more, since their time
                    // would hide how long the others take.
                    meters.rejected();
                    return Err(EmitError::CircuitOpen(open));
                }
            },
            Some(spool) => self.emit_or_spool(spool, envelope, started, deadline).await,
        };
        self.emits.ended(&result);
        meters.emitted(&result);
        meters.emit_took(started.elapsed());
        result
    }

    /// The error that any emit would end with at this moment, whatever its event: the sink is closed,
    /// or the broker's circuit is open and there is no spool. Asked first, it spares making an envelope
    /// that has nowhere to go; an error given is counted as a rejected emit. `None` promises nothing:
    /// [`emit`](Self::emit) asks again, and decides.
    ///
    /// ```
    /// # use jetsink::{EmitError, Envelope, Publisher, Sink};
    /// # async fn hand_over<P: Publisher>(
    /// #     sink: &Sink<P>,
    /// #     make: impl FnOnce() -> Envelope,
    /// # ) -> Result<(), EmitError> {
    /// if let Some(error) = sink.rejection() {
    ///     return Err(error); // nothing was serialized for it
    /// }
    /// sink.emit(make()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn rejection(&self) -> Option<EmitError> {
        if self.emits.is_closed() {
            return Some(EmitError::Closed);
        }
        if self.has_spool() {
            return None;
        }
        let open = self.direct.scopes().rejection(Instant::now())?;
        self.direct.meters().rejected();
        Some(EmitError::CircuitOpen(open))
    }

    async fn emit_or_spool(
        &self,
        spool: &Spool,
        envelope: Envelope,
        started: Instant,
        deadline: Instant,
    ) -> Result<Delivery, EmitError> {
        let Some(_under_way) = self.emits.begin() else {
            return Err(EmitError::Closed);
        };
        let envelope = self.direct.identified(envelope);
        let subject = envelope.subject();
        if spool.holds(subject) && !self.hand_over(spool, subject, started, deadline).await {
            return self
                .spool_event(spool, &envelope, None, started, deadline)
                .await;
        }
        let for_the_disk = self.deadline() / 4;
        let result = match self.direct.admit(started, subject) {
            Ok(admission) => {
                let deadline = deadline - for_the_disk;
                self.direct
                    .publish_admitted(&envelope, admission, started, deadline)
                    .await
            }
            Err(open) => Err(EmitError::CircuitOpen(open)),
        };
        match result {
            Ok(delivery) => Ok(delivery),
            // Nobody else would take it either.
            Err(error) if error.scope() == Scope::Event => Err(error),
            Err(error) => {
                self.spool_event(spool, &envelope, Some(error), started, deadline)
                    .await
            }
        }
    }

    async fn spool_event(
        &self,
        spool: &Spool,
        envelope: &Envelope,
        sent: Option<EmitError>,
        sent_at: Instant,
        deadline: Instant,
    ) -> Result<Delivery, EmitError> {
        let room = spool.reserve(envelope);
        spool_event(spool, room, sent, sent_at, &self.direct, deadline).await
    }

    /// Whether what waits in front of an event of `subject` was stored while we waited.
    async fn hand_over(
        &self,
        spool: &Spool,
        subject: &Subject,
        started: Instant,
        deadline: Instant,
    ) -> bool {
        let connected = self.state() == State::Connected
            && self.direct.subject_state(subject) == State::Connected;
        connected
            && spool.waiting(subject) <= HAND_OVER_EVENTS
            && spool
                .drained(
                    subject,
                    (started + HAND_OVER).min(deadline - self.deadline() / 2),
                )
                .await
    }

    /// A pipeline with up to `window` envelopes in flight, [`WIDEST_WINDOW`](crate::pipeline::WIDEST_WINDOW) at the most.
    ///
    /// A window of 1 is one after another. Several pipelines of a sink don't wait for each other,
    /// and keep no order among them. Closing the sink [stops](Pipeline::stop) them.
    ///
    /// Where the sink has a spool, what can't be sent goes there at once, whatever the patience, and
    /// what follows of its subject goes behind it; its result is [`Delivery::Spooled`]. While the spool
    /// is full, patience waits for room in it. Once the
    /// broker is back, an envelope waits up to a quarter of a second for those in front of it to be
    /// stored, so that its subject can go straight again.
    #[must_use]
    pub fn pipeline(&self, window: NonZeroUsize) -> Pipeline<'_, P> {
        let pipeline = self.direct.pipeline(window);
        pipeline.of_sink(self.spool.as_deref(), &self.emits)
    }

    /// Waits until everything that was emitted before this call is stored, spooled or reported: at
    /// most the deadline, since no emit takes longer. Does not wait for the spool to be replayed;
    /// [`close`](Self::close) does. Cancellation-safe.
    pub async fn flush(&self) {
        self.emits.idle(Instant::now() + self.deadline()).await;
    }

    /// Takes no more events, waits, until `wait` has passed at the most, for those under way and for
    /// the spool to be replayed, and gives the spool's file free. What is in the spool then stays
    /// there, for the next sink on it.
    ///
    /// Dropping the future leaves the sink closed to events, and the file in use until the sink is
    /// dropped and its tasks have ended. A second call returns at once.
    pub async fn close(&self, wait: Duration) -> Receipt {
        self.emits.close();
        let deadline = Instant::now() + wait;
        self.emits.idle(deadline).await;
        if let Some(spool) = &self.spool {
            spool.emptied(deadline).await;
        }
        // All of them before the first wait: who drops this future must not leave one behind.
        for task in self.tasks().iter() {
            task.abort();
        }
        let tasks = std::mem::take(&mut *self.tasks());
        for task in tasks {
            // An error is how a task that was aborted ends.
            let _ = task.await;
        }
        if let Some(spool) = &self.spool {
            // What the disk refuses here is looked up in the stream by the next sink.
            let _ = spool.remove_left(&Baselines::new()).await;
            let spool = Arc::clone(spool);
            let _ = tokio::task::spawn_blocking(move || spool.close()).await;
        }
        let status = self.spool_status();
        Receipt {
            delivered: self.direct.delivered(),
            spooled: status.map_or(0, |status| status.events),
            unknown: self.emits.unknown(),
            dead_letters: status.map_or(0, |status| status.dead_letters),
        }
    }

    /// Ends as a process does that is killed, and leaves the spool's file in `folder` as it is then.
    #[cfg(test)]
    pub(crate) async fn crash(&self, folder: &std::path::Path) {
        let tasks = std::mem::take(&mut *self.tasks());
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        if let Some(spool) = &self.spool {
            spool.copy_unclosed(folder).await;
        }
    }

    /// The broker's circuit at this moment. After an outage it stays [`Reconnecting`](State::Reconnecting) until
    /// something is published: a readiness check that waits for [`Connected`](State::Connected) would keep away
    /// the very events that close it. See `examples/http.rs`.
    #[must_use]
    pub fn state(&self) -> State {
        self.direct.state()
    }

    /// The circuit of one subject: connected unless that subject is failing.
    #[must_use]
    pub fn subject_state(&self, subject: &Subject) -> State {
        self.direct.subject_state(subject)
    }

    /// Whether it was given a spool.
    #[must_use]
    pub fn has_spool(&self) -> bool {
        self.spool.is_some()
    }

    /// What the spool holds; `None` without one. Cheap: nothing is read from the disk.
    #[must_use]
    pub fn spool_status(&self) -> Option<SpoolStatus> {
        self.spool.as_ref().map(|spool| spool.status())
    }

    /// What opening the spool found damaged, if anything.
    #[must_use]
    pub fn spool_loss(&self) -> Option<&SpoolLoss> {
        self.spool.as_ref().and_then(|spool| spool.loss())
    }

    /// What carries the envelopes.
    #[must_use]
    pub fn publisher(&self) -> &P {
        self.direct.publisher()
    }

    /// The longest that one emit may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.direct.settings().deadline
    }

    pub(crate) fn direct(&self) -> &Direct<P> {
        &self.direct
    }

    pub(crate) fn emits(&self) -> &Emits {
        &self.emits
    }
}

impl<P> Sink<P> {
    fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        // Nothing panics while holding it.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Publisher + 'static> Sink<P> {
    /// A sink with a spool: an event that can't be sent now is synced to the local disk, and sent, in
    /// its subject's order, when the broker takes it. What an earlier sink left there is sent too.
    ///
    /// Opening reads the spool's file, about a second for a gigabyte. Spawns a task on the current
    /// tokio runtime that replays, one that keeps the metrics, and one as [`new`](Self::new) does; all end with
    /// the sink.
    /// [`close`](Self::close) gives the file free; after a mere drop it is free once the tasks have
    /// ended.
    ///
    /// # Errors
    /// [`SpoolError`] for a spool that is in use, has another format, or whose disk fails. A damaged
    /// file is no error: what can be read of it is kept, and [`spool_loss`](Self::spool_loss) says
    /// what could not.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn with_spool(
        publisher: P,
        settings: SinkSettings,
        spool: SpoolSettings,
    ) -> Result<Self, SpoolError> {
        let opening = spool.clone();
        let opened = tokio::task::spawn_blocking(move || Spool::open(&opening))
            .await
            .unwrap_or(Err(SpoolError::Closed))?;
        Ok(Self::over(publisher, settings, opened, spool))
    }

    /// A sink over an open spool.
    pub(crate) fn over(
        publisher: P,
        settings: SinkSettings,
        opened: Spool,
        spool: SpoolSettings,
    ) -> Self {
        let sink = Self::of(Direct::new(publisher, settings, true), Some(opened));
        if let Some(open) = &sink.spool {
            let replay = replay(Arc::clone(&sink.direct), Arc::clone(open), spool);
            let report = report(Arc::clone(&sink.direct), Arc::clone(open));
            sink.tasks()
                .extend([tokio::spawn(replay), tokio::spawn(report)]);
        }
        sink
    }
}

impl<P> Drop for Sink<P> {
    fn drop(&mut self) {
        for task in self.tasks().iter() {
            task.abort();
        }
    }
}

impl<P: Publisher> fmt::Debug for Sink<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("direct", &self.direct)
            .field("emits", &self.emits)
            .field("spool", &self.spool_status())
            .finish_non_exhaustive()
    }
}
