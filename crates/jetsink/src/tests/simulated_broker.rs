//! A simulated broker, without a duplicate window, for tests of the whole sink.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::outcome::{Acknowledgement, PublishError};
use crate::publisher::baseline::Baselines;
use crate::publisher::look_up::{GapReason, LookUpGap, StoredId, StoredIds};
use crate::publisher::window::Window;
use crate::publisher::{ConnectionState, PerMessageWindow, Publisher};
use crate::{Envelope, Subject};

/// The beginning of a payload that no stream takes.
pub(crate) const POISON: &str = "poison";

/// A subject's stream changes its mind after such a pause only.
const PAUSE: Duration = Duration::from_millis(15);

/// Whether a stream has a leader, and the answer to a publish if it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leader {
    There,
    /// No stream subscribes to the subject: the server answers so at once.
    GoneAndTold,
    /// No stream captures the subject.
    NoStream,
    /// The message is accepted, and never stored or answered.
    GoneSilently,
    /// The message is accepted, and stored once there is a leader again.
    GoneForNow,
}

pub(crate) struct Broker {
    /// Subject, id, payload.
    pub(crate) stream: Vec<(String, String, String)>,
    /// The names of the streams, by subject. Their sequence numbers are one count.
    pub(crate) streams: fn(&str) -> &'static str,
    refusing: HashSet<String>,
    /// The next value of `refusing`. A stream that changes between two messages of one window breaks the
    /// order for any sender; here it changes only in a pause of the subject.
    pub(crate) to_refuse: HashSet<String>,
    received: HashMap<String, Instant>,
    /// No message is answered; each is stored or not, as this says.
    pub(crate) silent: Option<bool>,
    /// The answer of each look-up, in place of the stream's content.
    pub(crate) look_up: Option<Result<StoredIds, PublishError>>,
    leaders: HashMap<String, Leader>,
    /// Accepted messages, stored once there is a leader.
    taken: Vec<(String, String, String)>,
    connection: watch::Sender<ConnectionState>,
}

impl Broker {
    fn leader(&self, subject: &str) -> Leader {
        let leader = self.leaders.get(subject);
        leader.copied().unwrap_or(Leader::There)
    }

    pub(crate) fn lead(&mut self, subject: &str, leader: Leader) {
        self.leaders.insert(subject.to_owned(), leader);
        if leader == Leader::There {
            let stored = self.taken.extract_if(.., |(of, ..)| of == subject);
            self.stream.extend(stored);
        }
    }
}

#[derive(Clone)]
pub(crate) struct Simulated(Arc<Mutex<Broker>>);

impl Simulated {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Broker {
            stream: Vec::new(),
            streams: |_| "S",
            refusing: HashSet::new(),
            to_refuse: HashSet::new(),
            received: HashMap::new(),
            silent: None,
            look_up: None,
            leaders: HashMap::new(),
            taken: Vec::new(),
            connection: watch::Sender::new(ConnectionState {
                up: true,
                ..ConnectionState::default()
            }),
        })))
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Broker) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    pub(crate) fn disconnect(&self) {
        self.with(|broker| broker.connection.send_modify(|c| c.up = false));
    }

    pub(crate) fn connect(&self) {
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

impl Simulated {
    async fn publish_over(
        &self,
        connection: u64,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let mut changes = self.with(|broker| broker.connection.subscribe());
        let here = |c: &ConnectionState| c.up && c.number == connection;
        let answer = self.with(|broker| {
            if !here(&broker.connection.borrow()) {
                return Some(Err(PublishError::NotConnected));
            }
            let subject = envelope.subject().as_str();
            let payload = std::str::from_utf8(envelope.payload()).unwrap();
            if payload.starts_with(POISON) {
                return Some(Err(PublishError::TooLarge { bytes: 2, limit: 1 }));
            }
            let message = || {
                let id = envelope.message_id().unwrap().to_string();
                (subject.to_owned(), id, payload.to_owned())
            };
            match broker.leader(subject) {
                Leader::There => {}
                _ if broker.silent.is_some() => return None,
                Leader::NoStream => return Some(Err(PublishError::NoStream)),
                Leader::GoneAndTold => return Some(Err(PublishError::NoLeader)),
                Leader::GoneSilently => return None,
                Leader::GoneForNow => {
                    broker.taken.push(message());
                    return None;
                }
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
                broker.stream.push(message());
            }
            let sequence = broker.stream.len() as u64;
            broker
                .silent
                .is_none()
                .then(|| Ok(Acknowledgement::new((broker.streams)(subject), sequence)))
        });
        if let Some(answer) = answer {
            return answer;
        }
        tokio::select! {
            _ = changes.wait_for(|c| !here(c)) => Err(PublishError::ConnectionLost),
            () = tokio::time::sleep_until(deadline) => Err(PublishError::AckTimeout {
                broker_answers: self.with(|broker| broker.silent.is_none()),
            }),
        }
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

    fn window(&self, connection: Option<u64>) -> Box<dyn Window + '_> {
        let Some(number) = connection else {
            return Box::new(PerMessageWindow::new(self));
        };
        Box::new(PerMessageWindow::with(
            move |envelope, deadline| async move {
                self.publish_over(number, &envelope, deadline).await
            },
        ))
    }

    async fn stored_ids(
        &self,
        events: &[Envelope],
        after: &Baselines,
        visit: &mut (dyn FnMut(StoredId<'_>) + Send),
    ) -> Result<StoredIds, PublishError> {
        self.with(|broker| {
            if !broker.connection.borrow().up || broker.silent.is_some() {
                return Err(PublishError::NotConnected);
            }
            if let Some(answer) = &broker.look_up {
                return answer.clone();
            }
            let (there, gone): (Vec<&Subject>, Vec<&Subject>) = events
                .iter()
                .map(Envelope::subject)
                .partition(|subject| broker.leader(subject.as_str()) == Leader::There);
            for (sequence, (subject, id, _)) in (1..).zip(&broker.stream) {
                let stream = (broker.streams)(subject);
                let of_the_stream = |other: &Subject| (broker.streams)(other.as_str()) == stream;
                if sequence > after.get(stream).map_or(0, |after| after.sequence)
                    && there.iter().any(|wanted| wanted.as_str() == subject)
                {
                    let captured = there.iter().copied().filter(|other| of_the_stream(other));
                    let captured = captured.cloned().collect();
                    visit(StoredId::new(&captured, subject, id));
                }
            }
            Ok(if gone.is_empty() {
                StoredIds::Visited
            } else {
                let gone = gone.into_iter().cloned().collect();
                let reason = GapReason::Unreachable(PublishError::NoLeader);
                StoredIds::VisitedExcept(vec![LookUpGap::new(gone, reason)])
            })
        })
    }

    fn connection(&self) -> Option<watch::Receiver<ConnectionState>> {
        Some(self.with(|broker| broker.connection.subscribe()))
    }
}
