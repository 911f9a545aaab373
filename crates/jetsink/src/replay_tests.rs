//! Random histories of the whole sink over a simulated broker that has no duplicate window at all:
//! what was told Ok is in the stream once, in its subject's order, or among the dead letters.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::error::PublishError;
use crate::publisher::{Acknowledgement, Connection, Publisher};
use crate::sink::Sink;
use crate::sink_settings::SinkSettings;
use crate::spool::{SpoolFile, SpoolSettings};
use crate::{Envelope, Scope, Subject};

const SUBJECTS: [&str; 3] = ["a", "b", "c"];
const POISON: &str = "poison";
const PAUSE: Duration = Duration::from_millis(15);

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The caller of this subject emits so many, one after another.
    Emit {
        subject: usize,
        events: usize,
    },
    /// So many go through a pipeline, the subjects in turn.
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
    Rest {
        millis: u64,
    },
    /// Another process takes over.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let subject = 0..SUBJECTS.len();
    prop_oneof![
        6 => (subject.clone(), 1..6_usize).prop_map(|(subject, events)| Step::Emit { subject, events }),
        2 => (1..12_usize).prop_map(|events| Step::Pipeline { events }),
        1 => subject.clone().prop_map(|subject| Step::EmitPoison { subject }),
        2 => Just(Step::Disconnect),
        3 => Just(Step::Connect),
        1 => any::<bool>().prop_map(|stores| Step::FallSilent { stores }),
        1 => (subject, any::<bool>()).prop_map(|(subject, refuses)| Step::Refuse { subject, refuses }),
        2 => (1..60_u64).prop_map(|millis| Step::Rest { millis }),
        1 => Just(Step::Restart),
    ]
}

struct Broker {
    /// Subject, id, payload.
    stream: Vec<(String, String, String)>,
    refusing: HashSet<String>,
    /// What `refusing` is to be. A stream that changed its mind between two messages of one window
    /// would break the order, whoever sends; here it does so only in a pause of the subject.
    to_refuse: HashSet<String>,
    received: HashMap<String, Instant>,
    silent: Option<bool>,
    connection: watch::Sender<Connection>,
}

#[derive(Clone)]
struct Simulated(Arc<Mutex<Broker>>);

impl Simulated {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Broker {
            stream: Vec::new(),
            refusing: HashSet::new(),
            to_refuse: HashSet::new(),
            received: HashMap::new(),
            silent: None,
            connection: watch::Sender::new(Connection {
                up: true,
                ..Connection::default()
            }),
        })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Broker) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn disconnect(&self) {
        self.with(|broker| broker.connection.send_modify(|c| c.up = false));
    }

    fn connect(&self) {
        self.with(|broker| {
            broker.silent = None;
            broker.connection.send_modify(|c| {
                c.up = true;
                c.number += 1;
                c.signs_of_life += 1;
            });
        });
    }
}

impl Publisher for Simulated {
    async fn publish(
        &self,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let number = self.with(|broker| broker.connection.borrow().number);
        self.publish_over(number, envelope, deadline).await
    }

    async fn publish_over(
        &self,
        connection: u64,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let mut changes = self.with(|broker| broker.connection.subscribe());
        let here = |c: &Connection| c.up && c.number == connection;
        let answer = self.with(|broker| {
            if !here(&broker.connection.borrow()) {
                return Some(Err(PublishError::NotConnected));
            }
            let subject = envelope.subject().as_str();
            let payload = std::str::from_utf8(envelope.payload()).unwrap();
            if payload.starts_with(POISON) {
                return Some(Err(PublishError::TooLarge { bytes: 2, limit: 1 }));
            }
            let now = Instant::now();
            let before = broker.received.insert(subject.to_owned(), now);
            if before.is_none_or(|before| now - before > PAUSE) {
                if broker.to_refuse.contains(subject) {
                    broker.refusing.insert(subject.to_owned());
                } else {
                    broker.refusing.remove(subject);
                }
            }
            if broker.silent.is_none() && broker.refusing.contains(subject) {
                return Some(Err(PublishError::PermissionDenied));
            }
            if broker.silent != Some(false) {
                let id = envelope.message_id().unwrap().to_string();
                broker
                    .stream
                    .push((subject.to_owned(), id, payload.to_owned()));
            }
            let sequence = broker.stream.len() as u64;
            broker
                .silent
                .is_none()
                .then(|| Ok(Acknowledgement::new("S", sequence)))
        });
        if let Some(answer) = answer {
            return answer;
        }
        tokio::select! {
            _ = changes.wait_for(|c| !here(c)) => Err(PublishError::ConnectionLost),
            () = tokio::time::sleep_until(deadline) => Err(PublishError::AckTimeout { broker_answers: false }),
        }
    }

    async fn stored_ids(
        &self,
        subjects: &[Subject],
        after: &HashMap<String, u64>,
        visit: &mut (dyn FnMut(&str) + Send),
    ) -> Result<bool, PublishError> {
        self.with(|broker| {
            if !broker.connection.borrow().up || broker.silent.is_some() {
                return Err(PublishError::NotConnected);
            }
            let above = after.get("S").copied().unwrap_or(0) as usize;
            for (subject, id, _) in &broker.stream[above.min(broker.stream.len())..] {
                if subjects.iter().any(|wanted| wanted.as_str() == subject) {
                    visit(id);
                }
            }
            Ok(true)
        })
    }

    fn connection(&self) -> Option<watch::Receiver<Connection>> {
        Some(self.with(|broker| broker.connection.subscribe()))
    }
}

async fn sink(broker: &Simulated, folder: &Path) -> Sink<Simulated> {
    let settings = SinkSettings::default()
        .deadline(Duration::from_millis(200))
        .unwrap();
    let spool = SpoolSettings::new(folder).window(4).unwrap();
    Sink::with_spool(broker.clone(), settings, spool)
        .await
        .unwrap()
}

/// Runs one history; gives what each subject's caller was told Ok for, and what the stream has of it.
async fn run(steps: &[Step]) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let broker = Simulated::new();
    let mut sink_now = sink(&broker, folder.path()).await;
    let mut told: HashMap<&str, Vec<String>> = HashMap::new();
    let mut next = 0;
    for step in steps {
        match *step {
            Step::Emit { subject, events } => {
                let name = SUBJECTS[subject];
                for _ in 0..events {
                    next += 1;
                    let payload = next.to_string();
                    let envelope =
                        Envelope::new(Subject::new(name).unwrap(), payload.clone().into());
                    let result = sink_now.emit(envelope).await;
                    prop_assert!(result.is_ok(), "{:?}", result);
                    told.entry(name).or_default().push(payload);
                }
            }
            Step::Pipeline { events } => {
                let mut pipeline = sink_now.pipeline(std::num::NonZeroUsize::new(5).unwrap());
                let mut pushed = 0;
                loop {
                    while pushed < events && pipeline.has_room() {
                        let name = SUBJECTS[pushed % SUBJECTS.len()];
                        pushed += 1;
                        next += 1;
                        told.entry(name).or_default().push(next.to_string());
                        let subject = Subject::new(name).unwrap();
                        let envelope = Envelope::new(subject, next.to_string().into());
                        pipeline.push(envelope).unwrap();
                    }
                    match pipeline.next().await {
                        Some(result) => prop_assert!(result.is_ok(), "{:?}", result),
                        None => break,
                    }
                }
            }
            Step::EmitPoison { subject } => {
                next += 1;
                let subject = Subject::new(SUBJECTS[subject]).unwrap();
                let envelope = Envelope::new(subject, format!("{POISON}{next}").into());
                if let Err(error) = sink_now.emit(envelope).await {
                    prop_assert_eq!(error.scope(), Scope::Event);
                }
            }
            Step::Disconnect => broker.disconnect(),
            Step::Connect => broker.connect(),
            Step::FallSilent { stores } => broker.with(|broker| broker.silent = Some(stores)),
            Step::Refuse { subject, refuses } => broker.with(|broker| {
                let name = SUBJECTS[subject].to_owned();
                if refuses {
                    broker.to_refuse.insert(name);
                } else {
                    broker.to_refuse.remove(&name);
                }
            }),
            Step::Rest { millis } => sleep(Duration::from_millis(millis)).await,
            Step::Restart => {
                sink_now.close(Duration::ZERO).await;
                sink_now = sink(&broker, folder.path()).await;
            }
        }
    }
    broker.with(|broker| broker.to_refuse.clear());
    broker.disconnect();
    broker.connect();
    let receipt = sink_now.close(Duration::from_secs(30)).await;
    prop_assert_eq!(receipt.spooled, 0, "{:?}", receipt);
    for name in SUBJECTS {
        let stored = broker.with(|broker| {
            let of_subject = broker.stream.iter().filter(|(subject, ..)| subject == name);
            of_subject
                .map(|(_, _, payload)| payload.clone())
                .collect::<Vec<_>>()
        });
        prop_assert_eq!(
            stored,
            told.remove(name).unwrap_or_default(),
            "subject {}",
            name
        );
    }
    let mut dead = Vec::new();
    let file = SpoolFile::open(folder.path()).unwrap();
    file.dead_letters(|letter| dead.push(letter.event.envelope))
        .unwrap();
    prop_assert_eq!(dead.len() as u64, receipt.dead_letters);
    prop_assert!(
        dead.iter()
            .all(|envelope| envelope.payload().starts_with(POISON.as_bytes()))
    );
    Ok(())
}

proptest! {
    // The disk and the circuit take real time.
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_was_told_ok_is_stored_once_in_order(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(run(&steps))?;
    }
}
