//! The pipeline: many envelopes in flight, results in order, order kept on the stream.
//!
//! `push` queues an envelope as an `entry`; `sending` selects the next envelope and its way, to
//! the broker or to the spool; `adaptive` finds a good window; `subjects` counts by subject.
//!
//! On one connection what is sent first is stored first, and a lost connection loses a tail, never a
//! middle. So order breaks in one place only: where sending goes on while older envelopes are
//! unsettled. Hence the one rule here: a failure that will be tried again ends the window. Nothing
//! new goes out until everything in flight has settled; then sending resumes at the first envelope
//! that is not acknowledged, each with the message id it had. And a window keeps to the connection it
//! began on: a new one may be there before the failures of the old one have been looked at.

mod adaptive;
mod entry;
mod sending;
mod subjects;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::coop::poll_proceed;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::outcome::{Delivery, EmitError, Scope};
use crate::publish::Direct;
use crate::publish::admission::ScopedAdmission;
use crate::publish::in_flight::Emits;
use crate::publish::retry::wait_before_retry;
pub use crate::publisher::window::WIDEST_WINDOW;
use crate::publisher::window::Window;
use crate::publisher::{Connection, Publisher};
use crate::spool::Spool;
use adaptive::AdaptiveWindow;
use entry::{Entry, State, may_be_spooled};
use subjects::{Counts, FailedSubjects};

/// How often an open circuit is asked again; a sign of life makes it let the probe through.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How often what is held back is looked at while others settle. With each of them it would cost a
/// look at the whole window for each event.
const LOOK_AT_HELD: Duration = Duration::from_millis(1);

type Spooling<'a> = Pin<Box<dyn Future<Output = (u64, Result<Delivery, EmitError>)> + Send + 'a>>;

/// Envelopes on their way through one [`Sink`](crate::Sink), by [`Sink::pipeline`](crate::Sink::pipeline).
///
/// ```no_run
/// use std::num::NonZeroUsize;
/// use std::time::Duration;
/// # use jetsink::{EmitError, Envelope, Publisher, Sink};
///
/// # async fn example<P: Publisher>(sink: &Sink<P>, envelopes: Vec<Envelope>) -> Result<(), EmitError> {
/// let window = NonZeroUsize::new(512).unwrap();
/// let mut pipeline = sink.pipeline(window).patience(Duration::from_secs(30));
/// let mut envelopes = envelopes.into_iter();
/// loop {
///     while pipeline.has_room() && let Some(envelope) = envelopes.next() {
///         pipeline.push(envelope).expect("there is room");
///     }
///     match pipeline.next().await {
///         Some(result) => println!("{:?}", result?), // in the order of the pushes
///         None => break,
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Pipeline<'a, P> {
    direct: &'a Direct<P>,
    spool: Option<&'a Spool>,
    width: Width,
    patience: Duration,
    entries: VecDeque<Entry<'a>>,
    /// The number of the entry at the front.
    first: u64,
    /// No entry of a lower number is queued.
    queued_from: u64,
    /// No entry from here on has been looked at.
    unseen_from: u64,
    /// What is on its way to the broker, and how much that is.
    in_flight: Option<Box<dyn Window + 'a>>,
    sent: usize,
    /// Its subjects, counted only while the spool holds something.
    sent_subjects: Option<Counts>,
    /// What is on its way into the spool.
    spooling: FuturesUnordered<Spooling<'a>>,
    spooling_subjects: Counts,
    /// Subjects of which something has to wait here: none behind it may overtake it.
    held_back: HashSet<Subject>,
    look_at_held: Instant,
    /// Subjects whose last spooled events are about to be stored, and until when that is waited for.
    handing_over: HashMap<Subject, Instant>,
    /// Something is held back until the spool has room for it.
    waits_for_room: bool,
    phase: Phase,
    connection: Option<watch::Receiver<Connection>>,
    /// The number of the connection that what is in flight was sent over.
    connection_in_use: Option<u64>,
    /// When the broker began to fail; back to none with the first success.
    failing_since: Option<Instant>,
    stopped: bool,
    /// Replay's are no emits.
    emits: Option<&'a Emits>,
    /// `None` where nobody minds.
    failed_subjects: Option<FailedSubjects>,
}

#[derive(Debug)]
enum Width {
    Fixed(usize),
    Adaptive(AdaptiveWindow),
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// What is queued goes out.
    Sending,
    /// The window has ended: what is in flight settles, then sending resumes at the time given.
    Settling { resume_at: Instant },
}

impl<P: Publisher> Direct<P> {
    pub(crate) fn pipeline(&self, window: NonZeroUsize) -> Pipeline<'_, P> {
        Pipeline {
            direct: self,
            spool: None,
            width: Width::Fixed(window.get().min(WIDEST_WINDOW)),
            patience: Duration::ZERO,
            entries: VecDeque::new(),
            first: 0,
            queued_from: 0,
            unseen_from: 0,
            in_flight: None,
            sent: 0,
            sent_subjects: None,
            spooling: FuturesUnordered::new(),
            spooling_subjects: Counts::default(),
            held_back: HashSet::new(),
            look_at_held: Instant::now(),
            handing_over: HashMap::new(),
            waits_for_room: false,
            phase: Phase::Sending,
            connection: self.publisher().connection(),
            connection_in_use: None,
            failing_since: None,
            stopped: false,
            emits: None,
            failed_subjects: None,
        }
    }
}

impl<'a, P: Publisher> Pipeline<'a, P> {
    /// Counts its envelopes as emits of a sink, and spools what can't be sent, if there is a spool.
    #[must_use]
    pub(crate) fn of_sink(mut self, spool: Option<&'a Spool>, emits: &'a Emits) -> Self {
        self.spool = spool;
        self.emits = Some(emits);
        self
    }

    /// How long a broker that fails is tried again, with the same message ids, before its failure
    /// becomes the result. Default: zero.
    ///
    /// Keep it under the stream's duplicate window (2 minutes by default): past that the broker no
    /// longer recognizes an envelope whose first sending it did store.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Takes the window for the widest one, and finds out by itself how many in flight have the best
    /// rate: what the broker takes in a round trip and 40 ms, from 16 envelopes on. With a near broker
    /// that is some thousand small envelopes or a few large ones; with a far one more. The round trip is
    /// measured with a window of 16, at first and every 30 s. What is in flight when it narrows
    /// stays so.
    ///
    /// It measures while the window is what holds sending back, that is, where each
    /// [`next`](Self::next) comes when there is no room.
    #[must_use]
    pub fn adaptive(mut self) -> Self {
        if let Width::Fixed(widest) = self.width {
            self.width = Width::Adaptive(AdaptiveWindow::new(widest));
        }
        self
    }

    /// For senders who will send again what fails: once an event of a subject has failed, what is
    /// here of that subject and not out yet fails too, as not sent.
    #[must_use]
    pub(crate) fn holding_failed_subjects(mut self) -> Self {
        self.failed_subjects = Some(FailedSubjects::default());
        self
    }

    /// Whether [`push`](Self::push) takes another: the window is not full, and neither was this stopped
    /// nor the sink closed.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.is_ended() && self.entries.len() < self.window()
    }

    /// Whether it was stopped, or its sink closed.
    fn is_ended(&self) -> bool {
        self.stopped || self.emits.is_some_and(Emits::is_closed)
    }

    /// How many may be in flight at this moment.
    #[must_use]
    pub fn window(&self) -> usize {
        match &self.width {
            Width::Fixed(width) => *width,
            Width::Adaptive(window) => window.width(),
        }
    }

    /// Whether nothing is on its way: [`next`](Self::next) would give `None`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes an envelope in. It goes out when [`next`](Self::next) is awaited.
    ///
    /// # Errors
    /// The envelope itself, where the window is full, or the pipeline was stopped or its sink closed.
    pub fn push(&mut self, envelope: Envelope) -> Result<(), Envelope> {
        if !self.has_room() {
            return Err(envelope);
        }
        if let Some(failed) = &mut self.failed_subjects {
            failed.came(envelope.subject());
        }
        self.entries.push_back(Entry {
            envelope: Arc::new(self.direct.identified(envelope)),
            state: State::Queued,
            failures: 0,
            unknown: None,
            sent_at: None,
            for_spool: None,
        });
        Ok(())
    }

    /// Sends nothing more. What has not gone out is reported as not sent, or with the failure that
    /// leaves it open whether it is stored; what is in flight settles, and is not tried again.
    pub fn stop(&mut self) {
        self.stopped = true;
        for entry in &mut self.entries {
            if let State::Queued = entry.state {
                entry.state = State::Settled(Err(entry.not_sent()));
            }
        }
    }

    /// Sends what was pushed, and waits for the result of the oldest; `None` when there is none.
    ///
    /// Cancellation-safe: dropped and called again, it goes on where it was. Dropping the whole
    /// pipeline gives up on what is in flight, which may be stored or not.
    pub async fn next(&mut self) -> Option<Result<Delivery, EmitError>> {
        if self.has_room()
            && let Width::Adaptive(window) = &mut self.width
        {
            window.starved();
        }
        loop {
            match self.entries.front()?.state {
                State::Settled(_) => {
                    self.first += 1;
                    let entry = self.entries.pop_front()?;
                    if let Some(failed) = &mut self.failed_subjects {
                        failed.left(entry.envelope.subject());
                    }
                    return match entry.state {
                        State::Settled(result) => {
                            if let Some(emits) = self.emits {
                                emits.ended(&result);
                                self.direct.meters().emitted(&result);
                            }
                            Some(result)
                        }
                        _ => None, // just seen to be settled
                    };
                }
                State::Queued | State::InFlight { .. } | State::Spooling { .. } => {}
            }
            match self.phase {
                Phase::Sending => self.send_queued(),
                Phase::Settling { .. } => {}
            }
            if self.sent > 0 || !self.spooling.is_empty() {
                if let Some((number, result)) = self.next_settled().await {
                    self.settle(number, result);
                }
            } else if let Phase::Settling { resume_at } = self.phase {
                sleep_until(resume_at).await;
                self.phase = Phase::Sending;
            } else if let (Some(spool), Some((subject, until))) =
                (self.spool, self.next_handed_over())
            {
                spool.drained(subject, until).await;
            } else if self.waits_for_room {
                sleep(LOOK_AGAIN).await;
            }
        }
    }

    /// What came of something on its way; `None` where it is time to look at what is held back.
    async fn next_settled(&mut self) -> Option<(u64, Result<Delivery, EmitError>)> {
        let sending = matches!(self.phase, Phase::Sending);
        let looks_at_held = (sending && !self.held_back.is_empty()).then_some(self.look_at_held);
        let settled = poll_fn(|context| self.poll_settled(context));
        match looks_at_held {
            Some(then) => timeout_at(then, settled).await.ok(),
            None => Some(settled.await),
        }
    }

    /// What came of something on its way, whichever is first.
    fn poll_settled(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<(u64, Result<Delivery, EmitError>)> {
        // Acknowledgements may be there faster than they are looked at.
        let budget = ready!(poll_proceed(context));
        while let Some(in_flight) = &mut self.in_flight
            && let Poll::Ready((number, result)) = in_flight.poll_result(context)
        {
            // What nobody waits for is a publisher's mistake.
            if let Some((envelope, admission, sent_at)) = self.take_sent(number) {
                budget.made_progress();
                let direct = self.direct;
                let result = direct.settle(&envelope, admission, sent_at, result);
                return Poll::Ready((number, result));
            }
        }
        match self.spooling.poll_next_unpin(context) {
            Poll::Ready(Some((number, result))) => {
                budget.made_progress();
                let entry = &self.entries[(number - self.first) as usize];
                self.spooling_subjects.take(entry.envelope.subject());
                Poll::Ready((number, result))
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// The entry of this number, if it is in flight: not any more, then.
    fn take_sent(&mut self, number: u64) -> Option<(Arc<Envelope>, ScopedAdmission<'a>, Instant)> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let entry = self.entries.get_mut(index)?;
        match std::mem::replace(&mut entry.state, State::Queued) {
            State::InFlight {
                admission, sent_at, ..
            } => {
                self.sent -= 1;
                if let Some(sent) = &mut self.sent_subjects {
                    sent.take(entry.envelope.subject());
                }
                Some((Arc::clone(&entry.envelope), admission, sent_at))
            }
            other => {
                entry.state = other;
                None
            }
        }
    }

    fn settle(&mut self, number: u64, result: Result<Delivery, EmitError>) {
        let error = match result {
            Ok(delivery) => {
                self.failing_since = None;
                if let Width::Adaptive(window) = &mut self.width {
                    match delivery {
                        Delivery::Stored { .. } => window.stored(Instant::now),
                        Delivery::Spooled => window.disturbed(),
                    }
                }
                self.entry(number).state = State::Settled(Ok(delivery));
                return;
            }
            Err(error) => error,
        };
        if let Width::Adaptive(window) = &mut self.width {
            window.disturbed();
        }
        let now = Instant::now();
        let failures = self.entry(number).failures;
        if self.spool.is_some() && !self.stopped && may_be_spooled(&error) {
            let entry = self.entry(number);
            entry.note_unknown(&error);
            entry.for_spool = Some(error);
            entry.state = State::Queued;
            self.queued(number);
            // In its order: once all that is in flight has settled.
            self.phase = Phase::Settling { resume_at: now };
            return;
        }
        let wait = match &error {
            _ if self.stopped => None,
            EmitError::CircuitOpen(open) if open.scope == Scope::Broker => {
                self.next_look(now, open.retry_after)
            }
            EmitError::Failed(failed) if failed.error.scope() == Scope::Broker => {
                self.next_look(now, LOOK_AGAIN)
            }
            EmitError::Failed(failed)
                if failed.error.is_transient()
                    && failures + 1 < self.direct.settings().max_attempts =>
            {
                Some(wait_before_retry(failures))
            }
            EmitError::Failed(_)
            | EmitError::CircuitOpen(_)
            | EmitError::Spool(_)
            | EmitError::Closed => None,
        };
        let entry = self.entry(number);
        if let EmitError::Failed(_) = &error {
            entry.failures += 1;
        }
        entry.note_unknown(&error);
        match wait {
            None => {
                let subject = entry.envelope.subject().clone();
                let its_own_fault = error.scope() == Scope::Event;
                entry.state = State::Settled(Err(entry.verdict(error)));
                if let Some(failed) = &mut self.failed_subjects
                    && !its_own_fault
                {
                    let here = self.entries.iter().map(|entry| entry.envelope.subject());
                    failed.insert(&subject, here);
                }
            }
            Some(wait) => {
                entry.state = State::Queued;
                self.queued(number);
                let earliest = match self.phase {
                    Phase::Sending => now,
                    Phase::Settling { resume_at } => resume_at,
                };
                self.phase = Phase::Settling {
                    resume_at: earliest.max(now + wait),
                };
            }
        }
    }

    /// An entry that has not left: only settled ones leave, and only from the front.
    fn entry(&mut self, number: u64) -> &mut Entry<'a> {
        &mut self.entries[(number - self.first) as usize]
    }

    /// When to try a failing broker again: none once patience has run out.
    fn next_look(&mut self, now: Instant, wait: Duration) -> Option<Duration> {
        let failing_since = *self.failing_since.get_or_insert(now);
        let patient_until = failing_since + self.patience;
        (now < patient_until).then(|| wait.min(LOOK_AGAIN).min(patient_until - now))
    }
}

impl<P> fmt::Debug for Pipeline<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("window", &self.width)
            .field("entries", &self.entries.len())
            .field("in_flight", &self.sent)
            .field("spooling", &self.spooling.len())
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}
