//! The sink: publishes an event directly, or appends it to the spool.
//!
//! `emit` is the path of one event. This file has the sink's tasks, its end and its public view; `status`
//! reports the state of the sink, `spooled` is the view of its spool, and the `reporter` task reports the spool to metrics and watchers.

mod emit;
mod open_spool;
mod reporter;
mod spooled;
pub(crate) mod status;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::circuit::State;
use crate::crash;
use crate::message::subject::Subject;
use crate::outcome::{Receipt, SpoolError, SpoolStatus};
use crate::pipeline::Pipeline;
use crate::publish::Direct;
use crate::publish::in_flight::InFlight;
use crate::publish::settings::SinkSettings;
use crate::publisher::Publisher;
use crate::publisher::window::WindowSize;
use crate::replay::replay;
use crate::replay::settings::{SpoolSettings, WhenUnconfirmed};
use crate::spool::{Baselines, LookUps, Spool};
use crate::sync::lock;
pub use open_spool::OpenSpool;
use reporter::report;
pub use spooled::{AlreadyObserved, SinkSpool};

/// How long an end waits for the spool's disk, at least.
const DISK_WAIT: Duration = Duration::from_secs(1);

/// Longer than any process runs.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Emits envelopes through a [`Publisher`], guarded by a circuit for the broker and one per failing
/// subject, with an optional spool on the local disk for events that cannot be sent now.
///
/// All methods take `&self`; share it by reference or in an [`Arc`]. A process needs one sink, not one per
/// subject or tenant.
///
/// ```no_run
/// use std::time::Duration;
/// use jetsink::{Binding, ConnectSettings, Delivery, NatsPublisher, Sink, SinkSettings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// // The service starts with or without a broker.
/// let broker = ConnectSettings::new("nats://127.0.0.1:4222")?.start_disconnected(true);
/// let sink = Sink::new(NatsPublisher::connect(broker).await?, SinkSettings::default());
/// let binding = Binding::new("shop.events.{tenantId}".parse()?);
///
/// let json = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed"}"#;
/// match sink.emit(binding.envelope(json.into())?).await {
///     Ok(Delivery::Stored(ack)) => println!("{} has it at {}", ack.stream, ack.sequence),
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
    /// The spool's setting.
    when_unconfirmed: Option<WhenUnconfirmed>,
    in_flight: InFlight,
    /// The age of the oldest pending event in milliseconds, as the reporter last saw it.
    oldest_age: Arc<AtomicU64>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl<P: Publisher> Sink<P> {
    /// A sink in front of `publisher`, without a spool.
    ///
    /// If the publisher has a [connection](Publisher::connection), this spawns one task on the current
    /// tokio runtime, which ends with the sink.
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
            when_unconfirmed: None,
            in_flight: InFlight::default(),
            oldest_age: Arc::default(),
            tasks: Mutex::new(follower.into_iter().collect()),
        }
    }

    /// Returns a pipeline with up to `window` envelopes in flight.
    ///
    /// A window of 1 sends one after another. Several pipelines of a sink do not wait for each other,
    /// and keep no order among them. Closing the sink [stops](Pipeline::stop) them.
    ///
    /// With a spool, an envelope that cannot be sent is spooled at once, for any maximum outage, and later
    /// ones of its subject queue behind it; their result is
    /// [`Delivery::Spooled`](crate::Delivery::Spooled). While the spool is full, the pipeline waits up to `max_outage` for room
    /// in it. Once the broker is back, an envelope waits up to 250 ms for the spooled ones of its subject
    /// to be stored, so that it can be sent directly.
    #[must_use]
    pub fn pipeline(&self, window: WindowSize) -> Pipeline<'_, P> {
        let pipeline = self.direct.pipeline(window);
        pipeline.of_sink(self.spool.as_deref(), &self.in_flight)
    }

    /// Waits until each event that was emitted before this call is stored, spooled or reported. Takes at
    /// most the deadline, as an emit does. Does not wait for the spool to be replayed;
    /// [`close`](Self::close) does. Cancellation-safe.
    pub async fn flush(&self) {
        self.in_flight.idle(Instant::now() + self.deadline()).await;
    }

    /// Accepts no more events, waits at most `wait` for those in flight and for the spool to be
    /// replayed, and releases the spool's file. Events that are still spooled stay there for the next
    /// sink on it. Events that are still in flight count as [unknown](Receipt::unknown).
    ///
    /// Dropping the future leaves the sink closed to events, and the file in use until the sink is
    /// dropped and its tasks have ended. A second call returns at once.
    pub async fn close(&self, wait: Duration) -> Receipt {
        self.in_flight.close();
        let now = Instant::now();
        // A wait without end, for a clock that has one.
        let deadline = now.checked_add(wait).unwrap_or(now + FAR_FUTURE);
        self.in_flight.idle(deadline).await;
        if let Some(spool) = &self.spool {
            spool.emptied(deadline).await;
        }
        // All of them before the first wait: a dropped future must not leave one running.
        for task in self.tasks().iter() {
            task.abort();
        }
        let tasks = std::mem::take(&mut *self.tasks());
        for task in tasks {
            // An aborted task ends with an error.
            let _ = task.await;
        }
        if let Some(spool) = &self.spool {
            // If the disk fails here, the next sink finds these events in the stream.
            let disk = deadline.max(Instant::now() + DISK_WAIT);
            let _ = timeout_at(disk, spool.remove_delivered(&Baselines::new())).await;
            let spool = Arc::clone(spool);
            let left = disk.saturating_duration_since(Instant::now());
            crash::point("close.before-seal");
            let closing = tokio::task::spawn_blocking(move || spool.close(left.min(DISK_WAIT)));
            if !matches!(closing.await, Ok(true)) {
                warn!("the spool's disk does not answer: its folder stays in use until it does");
            }
            crash::point("close.after-seal");
        }
        let status = self.spool_status();
        Receipt {
            delivered: self.direct.delivered(),
            duplicates: self.direct.duplicates(),
            spooled: status.map_or(0, |status| status.events),
            unknown: self.in_flight.unknown(),
            dead_letters: status.map_or(0, |status| status.dead_letters),
            found_stored: self.looked_up(|counts| &counts.found_stored),
            obsolete: self.looked_up(|counts| &counts.obsolete),
            possible_duplicates: status.map_or(0, |status| status.possible_duplicates),
        }
    }

    /// A count of look-ups; 0 without a spool.
    fn looked_up(&self, count: impl FnOnce(&LookUps) -> &AtomicU64) -> u64 {
        let spool = self.spool.as_ref();
        spool.map_or(0, |spool| count(&spool.look_ups).load(Ordering::Relaxed))
    }

    /// Ends like a killed process, and leaves the spool's file in `folder` as it is then.
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

    /// The state of the broker's circuit. After an outage it stays [`Reconnecting`](State::Reconnecting)
    /// until an event is published: a readiness check that waits for [`Connected`](State::Connected) would
    /// keep away the events that close it. [`accepts`](Self::accepts) is for such checks.
    #[must_use]
    pub fn state(&self) -> State {
        self.direct.state()
    }

    /// The circuit of one subject: connected unless that subject is failing.
    #[must_use]
    pub fn subject_state(&self, subject: &Subject) -> State {
        self.direct.subject_state(subject)
    }

    fn spool_status(&self) -> Option<SpoolStatus> {
        self.spool.as_ref().map(|spool| spool.status())
    }

    /// The publisher of the envelopes.
    #[must_use]
    pub fn publisher(&self) -> &P {
        self.direct.publisher()
    }

    /// The maximum duration of one emit.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.direct.settings().deadline
    }

    pub(crate) fn direct(&self) -> &Direct<P> {
        &self.direct
    }

    pub(crate) fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }
}

impl<P> Sink<P> {
    fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        lock(&self.tasks)
    }
}

impl<P: Publisher + 'static> Sink<P> {
    /// A sink with a spool: an event that cannot be sent now is synced to the local disk and sent later,
    /// in the order of its subject. Events that an earlier sink left there are sent too.
    ///
    /// Opening reads the newest segment. A thread scans the others, the oldest first, if there are more than two, and
    /// replay begins with the first events that it finds. Spawns a task on the current tokio runtime that replays, one that updates the metrics, and the one of
    /// [`new`](Self::new); all end with the sink. [`close`](Self::close) and a drop release the folder.
    ///
    /// # Errors
    /// [`SpoolError`] if the spool is in use, has another format, or its disk fails. A damaged file is no
    /// error: its readable events are kept, and [`SinkSpool::loss`] reports the rest.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn with_spool(
        publisher: P,
        settings: SinkSettings,
        spool: SpoolSettings,
    ) -> Result<Self, SpoolError> {
        let spool = OpenSpool::open(spool).await?;
        Ok(Self::with_open_spool(publisher, settings, spool))
    }

    /// [`with_spool`](Self::with_spool) for a spool that is open already.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn with_open_spool(publisher: P, settings: SinkSettings, spool: OpenSpool) -> Self {
        Self::over(publisher, settings, spool.spool, spool.settings)
    }

    /// A sink over an open spool.
    pub(crate) fn over(
        publisher: P,
        settings: SinkSettings,
        opened: Spool,
        spool: SpoolSettings,
    ) -> Self {
        let mut sink = Self::of(Direct::new(publisher, settings, true), Some(opened));
        sink.when_unconfirmed = Some(spool.choice_when_unconfirmed());
        if let Some(open) = &sink.spool {
            let replay = replay(Arc::clone(&sink.direct), Arc::clone(open), spool);
            let report = report(
                Arc::clone(&sink.direct),
                Arc::clone(open),
                Arc::clone(&sink.oldest_age),
            );
            sink.tasks()
                .extend([tokio::spawn(replay), tokio::spawn(report)]);
        }
        sink
    }
}

impl<P> Drop for Sink<P> {
    /// Waits for the spool's last sync, some milliseconds on a healthy disk: its folder is free afterwards.
    fn drop(&mut self) {
        for task in self.tasks().iter() {
            task.abort();
        }
        if let Some(spool) = &self.spool {
            spool.close(DISK_WAIT);
        }
    }
}

impl<P: Publisher> fmt::Debug for Sink<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("direct", &self.direct)
            .field("in_flight", &self.in_flight)
            .field("spool", &self.spool_status())
            .finish_non_exhaustive()
    }
}
