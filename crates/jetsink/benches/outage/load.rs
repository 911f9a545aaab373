//! Callers that emit by the clock, and the outcome of each emit.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jetsink::{Delivery, EmitError, Envelope, Known, NatsPublisher, Sink, Subject};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

pub type NatsSink = Sink<NatsPublisher>;

pub const CALLERS: usize = 8;

/// Offered by each caller.
pub const EVENTS_PER_SECOND: u32 = 1_250;

/// The size of a usual lifecycle event.
const PAYLOAD_BYTES: usize = 574;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Stored,
    Spooled,
    /// By the open circuit.
    Rejected,
    /// Not sent, or refused.
    Failed,
    Unknown,
}

impl Outcome {
    pub const ALL: [Self; 5] = [
        Self::Stored,
        Self::Spooled,
        Self::Rejected,
        Self::Failed,
        Self::Unknown,
    ];

    pub fn is_ok(self) -> bool {
        matches!(self, Self::Stored | Self::Spooled)
    }

    /// The outcome as an audit takes it.
    pub fn recorded(self) -> delivery_audit::Outcome {
        match self {
            Self::Stored | Self::Spooled => delivery_audit::Outcome::Acknowledged,
            Self::Rejected | Self::Failed => delivery_audit::Outcome::NotStored,
            Self::Unknown => delivery_audit::Outcome::Unknown,
        }
    }
}

impl From<&Result<Delivery, EmitError>> for Outcome {
    fn from(result: &Result<Delivery, EmitError>) -> Self {
        match result {
            Ok(Delivery::Stored(_)) => Self::Stored,
            Ok(_) => Self::Spooled,
            Err(EmitError::CircuitOpen(_)) => Self::Rejected,
            Err(error) if error.known() == Known::OutcomeUnknown => Self::Unknown,
            Err(_) => Self::Failed,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Emit {
    pub started: Instant,
    pub took: Duration,
    /// How far behind its schedule it started.
    pub late: Duration,
    pub outcome: Outcome,
    /// Whether it ever waited for something. An emit that did not and still took long was held up by the
    /// system, which ran another thread.
    pub pended: bool,
}

impl Emit {
    pub fn ended(&self) -> Instant {
        self.started + self.took
    }
}

/// The emits of all callers.
pub struct Load {
    /// Caller by caller, in its order.
    pub emits: Vec<Vec<Emit>>,
    /// The number of events that were due and not emitted, since their caller was still behind at the end.
    pub never_offered: u64,
}

/// The subject of a caller: one each, so that the order of its events can be checked.
pub fn subject(caller: usize) -> String {
    format!("events.caller{caller}")
}

/// Says which event it is, as no other does.
pub fn payload(caller: usize, number: usize) -> Bytes {
    let mut payload = format!("{caller} {number} ").into_bytes();
    payload.resize(PAYLOAD_BYTES, b'x');
    payload.into()
}

/// All callers, until `stop`; without a sink they only make their envelopes.
pub async fn run(sink: Option<&Arc<NatsSink>>, longest: Duration, stop: &Arc<AtomicBool>) -> Load {
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let (sink, stop) = (sink.cloned(), Arc::clone(stop));
        let room = usize::try_from(due(longest)).unwrap();
        callers.spawn(async move {
            let emits = caller(number, sink, start, room, &stop).await;
            let left = due(start.elapsed()).saturating_sub(emits.len() as u64);
            (number, emits, left)
        });
    }
    let mut done = callers.join_all().await;
    done.sort_by_key(|(number, ..)| *number);
    Load {
        never_offered: done.iter().map(|(.., left)| left).sum(),
        emits: done.into_iter().map(|(_, emits, _)| emits).collect(),
    }
}

/// How many events a caller's schedule has in so much time.
fn due(time: Duration) -> u64 {
    (time.as_secs_f64() * f64::from(EVENTS_PER_SECOND)) as u64
}

/// One event after another, each as soon as it is due and the one before it is done. A caller that is
/// late skips nothing.
async fn caller(
    number: usize,
    sink: Option<Arc<NatsSink>>,
    start: Instant,
    room: usize,
    stop: &AtomicBool,
) -> Vec<Emit> {
    let subject = Subject::new(subject(number)).unwrap();
    let mut emits = Vec::with_capacity(room);
    // Tokio's timer knows no less.
    let mut tick = interval(Duration::from_millis(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        while (emits.len() as u64) < due(start.elapsed()) {
            if stop.load(Ordering::Relaxed) {
                return emits;
            }
            let place = emits.len();
            let scheduled = start + Duration::from_secs(1) * (place as u32) / EVENTS_PER_SECOND;
            let envelope = Envelope::new(subject.clone(), payload(number, place));
            emits.push(emit(sink.as_deref(), envelope, scheduled).await);
        }
        if stop.load(Ordering::Relaxed) {
            return emits;
        }
    }
}

async fn emit(sink: Option<&NatsSink>, envelope: Envelope, scheduled: Instant) -> Emit {
    let started = Instant::now();
    let late = started.saturating_duration_since(scheduled);
    let Some(sink) = sink else {
        return Emit {
            started,
            took: Duration::ZERO,
            late,
            outcome: Outcome::Rejected,
            pended: false,
        };
    };
    let mut pended = false;
    let mut emit = pin!(sink.emit(envelope));
    let result = poll_fn(|context| {
        let poll = emit.as_mut().poll(context);
        pended |= poll.is_pending();
        poll
    })
    .await;
    Emit {
        started,
        took: started.elapsed(),
        late,
        outcome: Outcome::from(&result),
        pended,
    }
}
