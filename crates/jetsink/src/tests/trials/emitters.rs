//! Callers of a sink, one for each subject, and the ledger of what they were told. The ledger outlives
//! the processes that they are in.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use trial::Dice;

use crate::outcome::{Delivery, EmitError, Known, SpoolError};
use crate::tests::trials::scripted_broker::{Message, POISON, ScriptedBroker};
use crate::{Envelope, Scope, Sink, Subject};

pub(super) const SUBJECTS: [&str; 3] = ["a", "b", "c.d"];

pub(super) type ScriptedSink = Sink<ScriptedBroker>;

/// What is known of an event by who emitted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Ok,
    /// It died, or gave up, before it was told; or was told that nobody knows.
    Nothing,
    Err,
}

#[derive(Debug)]
struct Emitted {
    subject: usize,
    payload: String,
    told: Told,
    /// Given up by a caller who went on: in no order with what came after.
    given_up: bool,
}

/// All that was emitted, by number.
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
            told: Told::Nothing,
            given_up: false,
        };
        events.insert(number, emitted);
        (number, envelope)
    }

    fn tell(&self, number: u64, result: &Result<Delivery, EmitError>) {
        let told = match result {
            Ok(_) => Told::Ok,
            Err(error) if error.known() == Known::OutcomeUnknown => Told::Nothing,
            Err(_) => Told::Err,
        };
        self.0.lock().unwrap().get_mut(&number).unwrap().told = told;
    }

    fn give_up(&self, number: u64) {
        self.0.lock().unwrap().get_mut(&number).unwrap().given_up = true;
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(super) fn told_ok(&self) -> usize {
        let events = self.0.lock().unwrap();
        events.values().filter(|e| e.told == Told::Ok).count()
    }

    /// Holds the stream and the dead letters against what was told, once all is delivered.
    pub(super) fn audit(&self, stored: &[Message], dead: &[String]) {
        let events = self.0.lock().unwrap();
        for emitted in events.values() {
            let Emitted { payload, told, .. } = emitted;
            let in_stream = stored.iter().filter(|m| m.payload == *payload).count();
            let in_dead = dead.iter().filter(|p| *p == payload).count();
            let poison = payload.starts_with(POISON);
            let (wanted, other) = if poison {
                (in_dead, in_stream)
            } else {
                (in_stream, in_dead)
            };
            assert_eq!(other, 0, "{emitted:?} is where it should not be");
            match told {
                Told::Ok => assert_eq!(wanted, 1, "{emitted:?} is there {wanted} times"),
                Told::Nothing => assert!(wanted <= 1, "{emitted:?} is there {wanted} times"),
                Told::Err => assert_eq!(wanted, 0, "{emitted:?} is there"),
            }
        }
        let known = |payload: &String| {
            let number = payload.rsplit(' ').next().unwrap().parse().unwrap();
            events
                .get(&number)
                .is_some_and(|emitted| emitted.payload == *payload)
        };
        assert!(dead.iter().all(known), "an invented dead letter");
        for (subject, name) in SUBJECTS.iter().enumerate() {
            let of_it = stored.iter().filter(|message| message.subject == *name);
            let numbers: Vec<u64> = of_it
                .map(|message| message.payload.parse().unwrap())
                .collect();
            assert!(
                numbers
                    .iter()
                    .all(|number| events[number].subject == subject)
            );
            let kept: Vec<&u64> = numbers.iter().filter(|n| !events[n].given_up).collect();
            if let Some(pair) = kept.windows(2).find(|pair| pair[0] > pair[1]) {
                let [before, behind] = [pair[0], pair[1]].map(|number| &events[number]);
                panic!("{name}: {before:?} stands before {behind:?}");
            }
        }
    }
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
        self.ledger.tell(number, &result);
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
        let mut pipeline = sink.pipeline(NonZeroUsize::new(4).unwrap());
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
            self.ledger.tell(numbers[results], &result);
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
            self.ledger.tell(number, &result);
            self.check(&result, false);
        }
    }
}
