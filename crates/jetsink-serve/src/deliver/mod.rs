//! Emits the events of one request: in order per subject, each identity once at a time.
//!
//! An emit that was begun goes on in a task of its own if its client disconnects or its deadline passes: only the wait
//! ends.

mod detach;
mod digest;
mod memory;
mod once;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jetsink::{Delivery, Envelope, Publisher, Subject};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

pub(crate) use digest::digest;
pub(crate) use memory::Memory;
pub(crate) use once::Once;

use crate::answer::problem::{Problem, ProblemKind};
use crate::identity::{Digest, Key};
use detach::Detach;
use once::Turn;

/// An event that can be emitted.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) envelope: Envelope,
    pub(crate) key: Key,
    pub(crate) digest: Digest,
}

/// The outcome of one event of a request.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Durable {
        delivery: Delivery,
        is_repeat: bool,
    },
    Failed(Problem),
    /// An earlier event of its subject failed.
    NotTried,
    /// The deadline passed first.
    TooLate,
}

fn still_in_flight() -> Problem {
    let detail = "the deadline passed before the outcome was known; the same request returns it";
    Problem::new(ProblemKind::OutcomeUnknown, detail)
}

/// Emits one event, and waits for its outcome at most so long. `held` is dropped when the emit ends.
pub(crate) async fn one<P: Publisher + 'static>(
    once: &Arc<Once<P>>,
    event: Ready,
    wait: Duration,
    held: impl Send + 'static,
) -> Outcome {
    match once.begin(&event) {
        Turn::Ended(outcome) => outcome,
        Turn::First(in_flight) => {
            let emit = Detach::new(async move {
                let result = in_flight.emit(event.envelope).await;
                drop(held);
                in_flight.settle(result)
            });
            // The sink keeps its own deadline. A timer per request would cost more than it saves.
            if once.sink.deadline() <= wait {
                return emit.await;
            }
            until(Instant::now() + wait, emit).await
        }
        Turn::InFlight(_) => {
            let (once, deadline) = (Arc::clone(once), Instant::now() + wait);
            let emit = Detach::new(async move {
                let outcome = once.emit(event, deadline).await;
                drop(held);
                outcome
            });
            // It may begin an emit of its own shortly before the deadline.
            until(deadline, emit).await
        }
    }
}

async fn until(deadline: Instant, mut emit: Detach<Outcome>) -> Outcome {
    match timeout_at(deadline, &mut emit).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Failed(still_in_flight()),
    }
}

/// The events of a batch with their outcomes, as far as known.
struct Progress(Mutex<Vec<Option<Outcome>>>);

impl Progress {
    fn set(&self, index: usize, outcome: Outcome) {
        let mut outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes[index] = Some(outcome);
    }

    fn snapshot(&self) -> Vec<Option<Outcome>> {
        let outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.clone()
    }
}

/// Emits the events of a batch, and waits for their outcomes until the deadline. Events of one subject go one after
/// another; the first that fails stops the later ones. Nothing is begun after the deadline. `held` is dropped when the last
/// emit ends.
pub(crate) async fn batch<P: Publisher + 'static>(
    once: &Arc<Once<P>>,
    events: Vec<Ready>,
    deadline: Instant,
    held: impl Send + 'static,
) -> Vec<Outcome> {
    let progress = Arc::new(Progress(Mutex::new(vec![None; events.len()])));
    let mut by_subject: HashMap<Subject, Vec<(usize, Ready)>> = HashMap::new();
    for (index, event) in events.into_iter().enumerate() {
        let subject = event.envelope.subject().clone();
        by_subject.entry(subject).or_default().push((index, event));
    }
    let (done, ended) = oneshot::channel::<()>();
    let (once, results) = (Arc::clone(once), Arc::clone(&progress));
    tokio::spawn(async move {
        let mut subjects: FuturesUnordered<_> = by_subject
            .into_values()
            .map(|events| in_order(&once, events, deadline, &results))
            .collect();
        while subjects.next().await.is_some() {}
        drop(held);
        // The client went away.
        let _ = done.send(());
    });
    let _ = timeout_at(deadline, ended).await;
    let outcomes = progress.snapshot().into_iter();
    outcomes
        .map(|outcome| outcome.unwrap_or_else(|| Outcome::Failed(still_in_flight())))
        .collect()
}

async fn in_order<P: Publisher + 'static>(
    once: &Arc<Once<P>>,
    events: Vec<(usize, Ready)>,
    deadline: Instant,
    results: &Progress,
) {
    // Until an event begins, it counts as not tried.
    for (index, _) in &events {
        results.set(*index, Outcome::NotTried);
    }
    let mut events = events.into_iter();
    while let Some((index, event)) = events.next() {
        if Instant::now() >= deadline {
            results.set(index, Outcome::TooLate);
            events.for_each(|(index, _)| results.set(index, Outcome::TooLate));
            return;
        }
        results.set(index, Outcome::Failed(still_in_flight()));
        let outcome = once.emit(event, deadline).await;
        let has_failed = !matches!(outcome, Outcome::Durable { .. });
        results.set(index, outcome);
        if has_failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
