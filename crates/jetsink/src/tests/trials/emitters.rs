//! Callers of a sink, one per subject, and the ledger of their results. The ledger outlives the simulated
//! processes of the callers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use delivery_audit::{Event, Findings, Outcome};
use tokio::time::{Instant, sleep, timeout};
use trial::Dice;

use crate::outcome::{Delivery, EmitError, Known, SpoolError};
use crate::publisher::window::WindowSize;
use crate::tests::trials::scripted_broker::{Message, POISON, ScriptedBroker};
use crate::{Envelope, Scope, Sink, Subject};

pub(super) const SUBJECTS: [&str; 3] = ["a", "b", "c.d"];

pub(super) type ScriptedSink = Sink<ScriptedBroker>;

#[derive(Debug)]
struct Emitted {
    subject: usize,
    payload: String,
    /// Unknown until the emit returns: its caller may die or give up before.
    outcome: Outcome,
    /// False if the caller gave up and went on: later events may be stored before.
    is_ordered: bool,
}

impl Emitted {
    fn is_poison(&self) -> bool {
        self.payload.starts_with(POISON)
    }
}

/// All emitted events, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<BTreeMap<u64, Emitted>>>);

impl Ledger {
    fn next(&self, subject: usize, poison: bool) -> (u64, Envelope) {
        let mut events = self.0.lock().unwrap();
        let number = events.len() as u64;
        let payload = if poison {
            format!("{POISON} {number}")
        } else {
            format!("{number}")
        };
        let envelope = Envelope::new(
            Subject::new(SUBJECTS[subject]).unwrap(),
            payload.clone().into(),
        );
        let emitted = Emitted {
            subject,
            payload,
            outcome: Outcome::Unknown,
            is_ordered: true,
        };
        events.insert(number, emitted);
        (number, envelope)
    }

    fn returned(&self, number: u64, result: &Result<Delivery, EmitError>) {
        let outcome = match result {
            Ok(_) => Outcome::Acknowledged,
            Err(error) if error.known() == Known::OutcomeUnknown => Outcome::Unknown,
            Err(_) => Outcome::NotStored,
        };
        self.0.lock().unwrap().get_mut(&number).unwrap().outcome = outcome;
    }

    fn give_up(&self, number: u64) {
        let mut events = self.0.lock().unwrap();
        events.get_mut(&number).unwrap().is_ordered = false;
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(super) fn acknowledged(&self) -> usize {
        let events = self.0.lock().unwrap();
        let is_acknowledged = |e: &&Emitted| e.outcome == Outcome::Acknowledged;
        events.values().filter(is_acknowledged).count()
    }

    /// Compares the stream with the good events and the dead letters with the others, once all are
    /// delivered.
    pub(super) fn audit(&self, stored: &[Message], dead: &[String]) {
        let events = self.0.lock().unwrap();
        let recorded = |e: &'_ Emitted| Event::new(e.payload.clone(), e.outcome);
        let good = events.values().filter(|e| !e.is_poison());
        let good = good.map(|e| recorded(e).ordered(e.is_ordered).on(SUBJECTS[e.subject]));
        let messages = stored.iter();
        let messages = messages.map(|m| (m.subject.as_str(), m.payload.clone()));
        assert_clean("stream", &Findings::of(good, messages));
        let poison = events.values().filter(|e| e.is_poison());
        let poison = poison.map(|e| recorded(e).ordered(false));
        let letters = dead.iter().map(|payload| ("dead letters", payload.clone()));
        assert_clean("dead letters", &Findings::of(poison, letters));
    }
}

/// Names the first of the events that were found.
fn assert_clean(place: &str, findings: &Findings<String>) {
    let events = format!("{findings:?}");
    assert!(findings.is_clean(), "{place}: {findings}: {events:.400}");
}

/// One caller.
pub(super) struct Emitter {
    pub(super) sink: Arc<ScriptedSink>,
    pub(super) ledger: Ledger,
    pub(super) subject: usize,
    pub(super) dice: Dice,
    /// Whether the disk has been failing: then a spool may refuse.
    pub(super) disk_failed: Arc<std::sync::atomic::AtomicBool>,
}

impl Emitter {
    /// Emits until `end`.
    pub(super) async fn run(mut self, end: Instant) {
        while Instant::now() < end {
            match self.dice.weighted(&[10, 2, 1, 1, 8]) {
                0 => self.emit(false).await,
                1 => self.pipeline().await,
                2 => self.emit(true).await,
                3 => self.give_up().await,
                _ => {
                    let longest = *self.dice.one_of(&[0, 1_000, 60_000, 300_000]);
                    sleep(Duration::from_millis(self.dice.below(longest + 1))).await;
                }
            }
        }
    }

    async fn emit(&mut self, poison: bool) {
        let (number, envelope) = self.ledger.next(self.subject, poison);
        let started = Instant::now();
        let result = self.sink.emit(envelope).await;
        let took = started.elapsed();
        self.ledger.returned(number, &result);
        let deadline = self.sink.deadline();
        assert!(took <= deadline, "an emit took {took:?} of {deadline:?}");
        self.check(&result, poison);
    }

    /// Only a bad event, and a disk that fails, is a reason for an error.
    fn check(&self, result: &Result<Delivery, EmitError>, poison: bool) {
        let Err(error) = result else { return };
        let excused = match error {
            // It is closed once its callers have ended.
            EmitError::Closed => false,
            EmitError::Spool(failed) => {
                !matches!(failed.error, SpoolError::TooSlow { .. })
                    && self.disk_failed.load(std::sync::atomic::Ordering::Relaxed)
            }
            _ => poison && error.scope() == Scope::Event,
        };
        assert!(excused, "{error}");
    }

    async fn pipeline(&mut self) {
        let sink = Arc::clone(&self.sink);
        let mut pipeline = sink.pipeline(WindowSize::new(4).unwrap());
        let count = 1 + self.dice.index(12);
        let mut numbers = Vec::new();
        let mut results = 0;
        loop {
            while numbers.len() < count && pipeline.has_room() {
                let (number, envelope) = self.ledger.next(self.subject, false);
                if pipeline.push(envelope).is_err() {
                    return;
                }
                numbers.push(number);
            }
            let Some(result) = pipeline.next().await else {
                break;
            };
            self.ledger.returned(numbers[results], &result);
            self.check(&result, false);
            results += 1;
        }
        assert_eq!(results, count);
    }

    async fn give_up(&mut self) {
        let (number, envelope) = self.ledger.next(self.subject, false);
        self.ledger.give_up(number);
        let patience = Duration::from_micros(self.dice.below(2_500_000));
        if let Ok(result) = timeout(patience, self.sink.emit(envelope)).await {
            self.ledger.returned(number, &result);
            self.check(&result, false);
        }
    }
}
