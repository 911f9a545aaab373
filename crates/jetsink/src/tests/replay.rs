//! Random histories of the whole sink over a simulated broker that has no duplicate window at all:
//! every event with an `Ok` is in the stream once, in its subject's order, or among the dead letters, or in
//! the reported loss of a damaged file.
//!
//! `JETSINK_HISTORIES=1000 cargo test -p jetsink random_histories` for more than the usual 60.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use delivery_audit::{Event, Findings, Outcome};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::OfflineSpool;
use crate::outcome::{Delivery, EmitError, Known, SpoolError};
use crate::publish::settings::SinkSettings;
use crate::publisher::window::WindowSize;
use crate::replay::settings::SpoolSettings;
use crate::sink::Sink;
use crate::tests::simulated_broker::{Leader, POISON, Simulated};
use crate::{Envelope, Scope, Subject};

const SUBJECTS: [&str; 3] = ["a", "b", "c"];

/// Room for about ten events.
const TIGHT: u64 = 700;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The caller of this subject emits this number of events, one after another.
    Emit {
        subject: usize,
        events: usize,
    },
    /// This number of events goes through a pipeline, the subjects in turn.
    Pipeline {
        events: usize,
    },
    /// One that no stream takes.
    EmitPoison {
        subject: usize,
    },
    Disconnect,
    Connect,
    /// The next message, and all behind it, are stored or not, and never answered.
    FallSilent {
        stores: bool,
    },
    /// The subject's stream refuses, or takes again.
    Refuse {
        subject: usize,
        refuses: bool,
    },
    /// The subject's stream loses its leader, or has it again.
    Lead {
        subject: usize,
        leader: Leader,
    },
    Rest {
        millis: u64,
    },
    /// Another process takes over.
    Restart,
    /// The process dies, with an emit of this subject under way for so long, and another takes over.
    Crash {
        subject: usize,
        after_micros: u64,
    },
    /// The process ends in good order, a bit of its file flips, and another takes over.
    Damage {
        per_mille: u64,
        bit: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let subject = 0..SUBJECTS.len();
    let leader = prop_oneof![
        2 => Just(Leader::There),
        1 => Just(Leader::GoneAndTold),
        1 => Just(Leader::GoneSilently),
        1 => Just(Leader::GoneForNow),
    ];
    prop_oneof![
        12 => (subject.clone(), 1..6_usize).prop_map(|(subject, events)| Step::Emit { subject, events }),
        4 => (1..12_usize).prop_map(|events| Step::Pipeline { events }),
        2 => subject.clone().prop_map(|subject| Step::EmitPoison { subject }),
        4 => Just(Step::Disconnect),
        6 => Just(Step::Connect),
        2 => any::<bool>().prop_map(|stores| Step::FallSilent { stores }),
        2 => (subject.clone(), any::<bool>()).prop_map(|(subject, refuses)| Step::Refuse { subject, refuses }),
        2 => (subject.clone(), leader).prop_map(|(subject, leader)| Step::Lead { subject, leader }),
        4 => (1..60_u64).prop_map(|millis| Step::Rest { millis }),
        2 => Just(Step::Restart),
        2 => (subject, 0..20_000_u64).prop_map(|(subject, after_micros)| Step::Crash { subject, after_micros }),
        1 => (0..1_000_u64, 0..8_u8).prop_map(|(per_mille, bit)| Step::Damage { per_mille, bit }),
    ]
}

fn outcome(result: &Result<Delivery, EmitError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Acknowledged,
        Err(error) if error.known() == Known::OutcomeUnknown => Outcome::Unknown,
        Err(_) => Outcome::NotStored,
    }
}

struct World {
    folder: TempDir,
    broker: Simulated,
    sink: Sink<Simulated>,
    limit_bytes: u64,
    /// By subject, in the order of the emits: payload and outcome.
    emitted: HashMap<&'static str, Vec<(String, Outcome)>>,
    next: u64,
    /// Events that were reported as damaged; `None` once a loss could not be counted.
    reported_lost: Option<u64>,
}

async fn open(broker: &Simulated, folder: &Path, limit_bytes: u64) -> Sink<Simulated> {
    let settings = SinkSettings::default()
        .deadline(Duration::from_millis(200))
        .unwrap();
    let spool = SpoolSettings::new(folder)
        .window(WindowSize::new(4).unwrap())
        .limit_bytes(limit_bytes)
        .unwrap();
    Sink::with_spool(broker.clone(), settings, spool)
        .await
        .unwrap()
}

impl World {
    async fn new(limit_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = Simulated::new();
        let sink = open(&broker, folder.path(), limit_bytes).await;
        Self {
            folder,
            broker,
            sink,
            limit_bytes,
            emitted: HashMap::new(),
            next: 0,
            reported_lost: Some(0),
        }
    }

    /// The next event of a subject, noted with an unknown outcome.
    fn event(&mut self, subject: usize) -> (Envelope, usize) {
        self.next += 1;
        let payload = self.next.to_string();
        let of_subject = self.emitted.entry(SUBJECTS[subject]).or_default();
        of_subject.push((payload.clone(), Outcome::Unknown));
        let subject = Subject::new(SUBJECTS[subject]).unwrap();
        (Envelope::new(subject, payload.into()), of_subject.len() - 1)
    }

    fn returned(&mut self, subject: usize, at: usize, result: &Result<Delivery, EmitError>) {
        self.emitted.get_mut(SUBJECTS[subject]).unwrap()[at].1 = outcome(result);
    }

    async fn emit(&mut self, subject: usize) -> Result<(), TestCaseError> {
        let (envelope, at) = self.event(subject);
        let result = self.sink.emit(envelope).await;
        self.returned(subject, at, &result);
        self.check(&result)
    }

    /// Only a full spool is a reason for an error, and a disk that the machine keeps from its work for
    /// longer than the deadline: then nothing is known of the event.
    fn check(&self, result: &Result<Delivery, EmitError>) -> Result<(), TestCaseError> {
        let excused = match result {
            Err(EmitError::Spool(failed)) => {
                self.limit_bytes == TIGHT || matches!(failed.error, SpoolError::TooSlow { .. })
            }
            _ => false,
        };
        prop_assert!(result.is_ok() || excused, "{:?}", result);
        Ok(())
    }

    async fn pipeline(&mut self, events: usize) -> Result<(), TestCaseError> {
        let pushed: Vec<_> = (0..events)
            .map(|n| self.event(n % SUBJECTS.len()))
            .collect();
        let mut results = Vec::new();
        let mut pipeline = self.sink.pipeline(WindowSize::new(5).unwrap());
        let mut envelopes = pushed.iter().map(|(envelope, _)| envelope.clone());
        loop {
            while pipeline.has_room()
                && let Some(envelope) = envelopes.next()
            {
                pipeline.push(envelope).unwrap();
            }
            match pipeline.next().await {
                Some(result) => results.push(result),
                None => break,
            }
        }
        drop(pipeline);
        prop_assert_eq!(results.len(), events);
        for (number, (result, (_, at))) in results.iter().zip(&pushed).enumerate() {
            self.returned(number % SUBJECTS.len(), *at, result);
            self.check(result)?;
        }
        Ok(())
    }

    async fn crash(&mut self, subject: usize, after: Duration) -> Result<(), TestCaseError> {
        let (envelope, at) = self.event(subject);
        tokio::select! {
            result = self.sink.emit(envelope) => {
                self.returned(subject, at, &result);
                self.check(&result)?;
            }
            () = sleep(after) => {}
        }
        self.note_reported_loss();
        let folder = tempfile::tempdir().unwrap();
        self.sink.crash(folder.path()).await;
        self.reopen(Some(folder)).await;
        Ok(())
    }

    async fn damage(&mut self, per_mille: u64, bit: u8) {
        self.close().await;
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.extension().is_some()).collect();
        files.sort();
        let Some(path) = files.pop() else {
            return self.reopen(None).await;
        };
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() * per_mille as usize / 1_000;
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, bytes).unwrap();
        self.reopen(None).await;
    }

    async fn close(&mut self) {
        self.sink.close(Duration::ZERO).await;
        self.note_reported_loss();
    }

    /// A sink reports a loss once: the next one on the folder need not know of it.
    fn note_reported_loss(&mut self) {
        let damaged = self.sink.spool().unwrap().status().damaged;
        self.reported_lost = self.reported_lost.map(|lost| lost + damaged);
        self.look_for_torn();
    }

    /// The number of events in a torn end is not known.
    fn look_for_torn(&mut self) {
        if let Some(loss) = self.sink.spool().unwrap().loss() {
            let is_counted = loss.torn_bytes == 0 && loss.unreadable_files == 0;
            self.reported_lost = self.reported_lost.filter(|_| is_counted);
        }
    }

    async fn reopen(&mut self, folder: Option<TempDir>) {
        self.folder = folder
            .unwrap_or_else(|| std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap()));
        self.sink = open(&self.broker, self.folder.path(), self.limit_bytes).await;
    }

    async fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Emit { subject, events } => {
                for _ in 0..events {
                    self.emit(subject).await?;
                }
            }
            Step::Pipeline { events } => self.pipeline(events).await?,
            Step::EmitPoison { subject } => {
                self.next += 1;
                let subject = Subject::new(SUBJECTS[subject]).unwrap();
                let envelope = Envelope::new(subject, format!("{POISON}{}", self.next).into());
                if let Err(error) = self.sink.emit(envelope).await {
                    let full = matches!(error, EmitError::Spool(_));
                    prop_assert!(full || error.scope() == Scope::Event, "{}", error);
                }
            }
            Step::Disconnect => self.broker.disconnect(),
            Step::Connect => self.broker.connect(),
            Step::FallSilent { stores } => self.broker.with(|b| b.silent = Some(stores)),
            Step::Refuse { subject, refuses } => self.broker.with(|broker| {
                let name = SUBJECTS[subject].to_owned();
                if refuses {
                    broker.to_refuse.insert(name);
                } else {
                    broker.to_refuse.remove(&name);
                }
            }),
            Step::Lead { subject, leader } => {
                self.broker
                    .with(|broker| broker.lead(SUBJECTS[subject], leader));
            }
            Step::Rest { millis } => sleep(Duration::from_millis(millis)).await,
            Step::Restart => {
                self.close().await;
                self.reopen(None).await;
            }
            Step::Crash {
                subject,
                after_micros,
            } => {
                self.crash(subject, Duration::from_micros(after_micros))
                    .await?;
            }
            Step::Damage { per_mille, bit } => self.damage(per_mille, bit).await,
        }
        Ok(())
    }

    /// Once all is well again.
    async fn audit(mut self) -> Result<(), TestCaseError> {
        self.broker.with(|broker| {
            broker.to_refuse.clear();
            for subject in SUBJECTS {
                broker.lead(subject, Leader::There);
            }
        });
        self.broker.disconnect();
        self.broker.connect();
        let receipt = self.sink.close(Duration::from_secs(30)).await;
        prop_assert_eq!(receipt.spooled, 0, "{:?}", receipt);
        self.note_reported_loss();
        let reported_lost = self.reported_lost;
        let stored: Vec<(String, String)> = self.broker.with(|broker| {
            let messages = broker.stream.iter();
            messages
                .map(|(subject, _, payload)| (subject.clone(), payload.clone()))
                .collect()
        });
        // Each caller waits for the result: also events of unknown outcome have an order.
        let recorded = |(subject, emitted): (&&'static str, &Vec<(String, Outcome)>)| {
            let subject = *subject;
            let events = emitted.clone().into_iter();
            events.map(move |(payload, outcome)| {
                Event::new(payload, outcome).on(subject).ordered(true)
            })
        };
        let events = self.emitted.iter().flat_map(recorded);
        let messages = stored
            .iter()
            .map(|(s, payload)| (s.as_str(), payload.clone()));
        let mut findings = Findings::of(events, messages);
        let lost = std::mem::take(&mut findings.lost).len() as u64;
        prop_assert!(
            findings.is_clean(),
            "{:?}: {:?} of {:?}",
            findings,
            stored,
            self.emitted
        );
        prop_assert!(
            reported_lost.is_none_or(|reported| lost <= reported),
            "{} lost, {:?} reported",
            lost,
            reported_lost
        );
        let mut dead = Vec::new();
        let file = OfflineSpool::open(self.folder.path()).unwrap();
        file.dead_letters(|letter| dead.push(letter.event.envelope))
            .unwrap();
        prop_assert_eq!(dead.len() as u64, receipt.dead_letters);
        let poison = |envelope: &Envelope| envelope.payload().starts_with(POISON.as_bytes());
        prop_assert!(dead.iter().all(poison));
        Ok(())
    }
}

async fn run(steps: &[Step], limit_bytes: u64) -> Result<(), TestCaseError> {
    let mut world = World::new(limit_bytes).await;
    for step in steps {
        world.take(*step).await?;
    }
    world.audit().await
}

fn histories() -> u32 {
    let asked = std::env::var("JETSINK_HISTORIES").ok();
    asked.map_or(60, |count| count.parse().unwrap())
}

proptest! {
    // The disk and the circuit take real time.
    #![proptest_config(ProptestConfig { cases: histories(), max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_lose_nothing_and_store_nothing_twice(
        steps in proptest::collection::vec(step(), 1..40),
        limit_bytes in prop_oneof![3 => Just(1 << 30), 1 => Just(TIGHT)],
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(run(&steps, limit_bytes))?;
    }
}
