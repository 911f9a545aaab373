//! A broker in virtual time, as a publisher. It handles messages in their order and has a duplicate
//! window. On request it freezes, loses connections, and answers late, twice or never.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::outcome::{Acknowledgement, PublishError, Refusal};
use crate::publisher::baseline::Baselines;
use crate::publisher::look_up::{GapReason, LookUpGap, StoredId, StoredIds};
use crate::publisher::window::Window;
use crate::publisher::{ConnectionState, PerMessageWindow, Publisher};
use crate::{Envelope, Subject};

/// The beginning of a payload that no stream takes.
pub(super) const POISON: &str = "poison";

/// As a stream has it by default.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// The pause of a subject after which its stream may change its answers: a change between two messages of
/// a window breaks their order for any sender.
pub(super) const PAUSE: Duration = Duration::from_secs(4);

/// The fate of the messages that it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    Soon(Duration),
    /// Stored, and the answer is lost.
    Lost,
    /// Neither stored nor answered.
    Nothing,
    /// Nothing is worked through until it thaws.
    Frozen,
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) subject: String,
    pub(super) id: String,
    pub(super) payload: String,
}

struct Queued {
    message: Message,
    answer: oneshot::Sender<Result<Acknowledgement, PublishError>>,
}

struct State {
    stream: Vec<Message>,
    /// By id: when it was stored, and as what.
    window: HashMap<String, (Instant, u64)>,
    answers: Answers,
    /// Messages in the socket of a frozen broker, in their order.
    socket: VecDeque<Queued>,
    refusing: HashSet<String>,
    leaderless: HashSet<String>,
    wanted_refusing: HashSet<String>,
    wanted_leaderless: HashSet<String>,
    last_sent: HashMap<String, Instant>,
    connection: watch::Sender<ConnectionState>,
}

#[derive(Clone)]
pub(super) struct ScriptedBroker(Arc<Mutex<State>>);

impl ScriptedBroker {
    pub(super) fn new() -> Self {
        let up = ConnectionState {
            up: true,
            ..ConnectionState::default()
        };
        Self(Arc::new(Mutex::new(State {
            stream: Vec::new(),
            window: HashMap::new(),
            answers: Answers::Soon(Duration::from_millis(2)),
            socket: VecDeque::new(),
            refusing: HashSet::new(),
            leaderless: HashSet::new(),
            wanted_refusing: HashSet::new(),
            wanted_leaderless: HashSet::new(),
            last_sent: HashMap::new(),
            connection: watch::Sender::new(up),
        })))
    }

    pub(super) fn stored(&self) -> Vec<Message> {
        self.state().stream.clone()
    }

    /// Sets its answers. A broker that thaws handles the messages in its socket.
    pub(super) fn answer(&self, answers: Answers) {
        let mut state = self.state();
        state.answers = answers;
        if answers == Answers::Frozen {
            return;
        }
        while let Some(queued) = state.socket.pop_front() {
            let result = state.take(queued.message);
            if queued.answer.send(result).is_err() {
                state.sign_of_life();
            }
        }
    }

    /// Ends the connection. A frozen broker keeps the first `kept` of the messages that it has not read.
    pub(super) fn disconnect(&self, kept: impl FnOnce(usize) -> usize) {
        let mut state = self.state();
        let kept = kept(state.socket.len() + 1);
        state.socket.truncate(kept);
        state.connection.send_modify(|c| c.up = false);
    }

    /// There is another connection, unless the broker is frozen.
    pub(super) fn connect(&self) {
        let state = self.state();
        if state.answers == Answers::Frozen || state.connection.borrow().up {
            return;
        }
        state.connection.send_modify(|c| {
            c.up = true;
            c.number += 1;
            c.signs_of_life += 1;
        });
    }

    /// An answer comes a second time.
    pub(super) fn answer_again(&self) {
        let state = self.state();
        if state.connection.borrow().up {
            state.sign_of_life();
        }
    }

    /// The subject's stream is full, or has room again.
    pub(super) fn refuse(&self, subject: &str, refuses: bool) {
        set(&mut self.state().wanted_refusing, subject, refuses);
    }

    /// The subject's stream has no leader, or has one.
    pub(super) fn lead(&self, subject: &str, leads: bool) {
        set(&mut self.state().wanted_leaderless, subject, !leads);
    }

    /// All is well.
    pub(super) fn heal(&self) {
        {
            let mut state = self.state();
            state.wanted_refusing.clear();
            state.wanted_leaderless.clear();
        }
        self.answer(Answers::Soon(Duration::from_millis(2)));
        self.connect();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

fn set(subjects: &mut HashSet<String>, subject: &str, is_in: bool) {
    if is_in {
        subjects.insert(subject.to_owned());
    } else {
        subjects.remove(subject);
    }
}

impl State {
    fn sign_of_life(&self) {
        self.connection.send_modify(|c| c.signs_of_life += 1);
    }

    /// Stores it, unless its stream refuses or has it.
    fn take(&mut self, message: Message) -> Result<Acknowledgement, PublishError> {
        if self.leaderless.contains(&message.subject) {
            return Err(PublishError::NoLeader);
        }
        if self.refusing.contains(&message.subject) {
            return Err(PublishError::Refused(Refusal {
                code: 10_077,
                text: "maximum messages exceeded".to_owned(),
            }));
        }
        let now = Instant::now();
        if let Some((at, sequence)) = self.window.get(&message.id)
            && now - *at < DUPLICATE_WINDOW
        {
            let mut first = Acknowledgement::new("S", *sequence);
            first.duplicate = true;
            return Ok(first);
        }
        let id = message.id.clone();
        self.stream.push(message);
        let sequence = self.stream.len() as u64;
        self.window.insert(id, (now, sequence));
        Ok(Acknowledgement::new("S", sequence))
    }

    /// A subject's stream may change its mind now, before it is asked or sent more.
    fn change_mind(&mut self, subject: &str) {
        let now = Instant::now();
        let before = self.last_sent.get(subject);
        if before.is_none_or(|before| now - *before >= PAUSE) {
            let (refuses, gone) = (
                self.wanted_refusing.contains(subject),
                self.wanted_leaderless.contains(subject),
            );
            set(&mut self.refusing, subject, refuses);
            set(&mut self.leaderless, subject, gone);
        }
    }
}

/// The event that the sender waits for.
enum Wait {
    Answer(Duration, Result<Acknowledgement, PublishError>),
    Thaw(oneshot::Receiver<Result<Acknowledgement, PublishError>>),
    Nothing,
}

impl ScriptedBroker {
    async fn publish_over(
        &self,
        connection: u64,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let here = |c: &ConnectionState| c.up && c.number == connection;
        let (mut changes, wait) = {
            let mut state = self.state();
            if !here(&state.connection.borrow()) {
                return Err(PublishError::NotConnected);
            }
            let payload = std::str::from_utf8(envelope.payload()).unwrap();
            if payload.starts_with(POISON) {
                return Err(PublishError::TooLarge { bytes: 2, limit: 1 });
            }
            let message = Message {
                subject: envelope.subject().as_str().to_owned(),
                id: envelope.message_id().unwrap().to_string(),
                payload: payload.to_owned(),
            };
            state.change_mind(&message.subject);
            let now = Instant::now();
            state.last_sent.insert(message.subject.clone(), now);
            let wait = match state.answers {
                Answers::Soon(after) => Wait::Answer(after, state.take(message)),
                Answers::Lost => {
                    let _ = state.take(message);
                    Wait::Nothing
                }
                Answers::Nothing => Wait::Nothing,
                Answers::Frozen => {
                    let (answer, thaw) = oneshot::channel();
                    state.socket.push_back(Queued { message, answer });
                    Wait::Thaw(thaw)
                }
            };
            (state.connection.subscribe(), wait)
        };
        let answer = async {
            match wait {
                Wait::Answer(after, result) => {
                    sleep(after).await;
                    result
                }
                Wait::Thaw(thaw) => match thaw.await {
                    Ok(result) => result,
                    // Cut off with its connection.
                    Err(_) => std::future::pending().await,
                },
                Wait::Nothing => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = changes.wait_for(|c| !here(c)) => Err(PublishError::ConnectionLost),
            result = answer => result,
            () = sleep_until(deadline) => Err(PublishError::AckTimeout { broker_answers: false }),
        }
    }
}

impl Publisher for ScriptedBroker {
    async fn publish(
        &self,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let number = self.state().connection.borrow().number;
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
        sleep(Duration::from_millis(3)).await;
        let mut state = self.state();
        if !state.connection.borrow().up {
            return Err(PublishError::NotConnected);
        }
        if !matches!(state.answers, Answers::Soon(_)) {
            return Err(PublishError::AckTimeout {
                broker_answers: false,
            });
        }
        for event in events {
            state.change_mind(event.subject().as_str());
        }
        let (gone, there): (Vec<&Subject>, Vec<&Subject>) = events
            .iter()
            .map(Envelope::subject)
            .partition(|subject| state.leaderless.contains(subject.as_str()));
        let there: HashSet<Subject> = there.into_iter().cloned().collect();
        let above = after.get("S").map_or(0, |after| after.sequence) as usize;
        for message in state.stream.iter().skip(above) {
            if there.contains(message.subject.as_str()) {
                visit(StoredId::new(&there, &message.subject, &message.id));
            }
        }
        if gone.is_empty() {
            return Ok(StoredIds::Visited);
        }
        let gone = gone.into_iter().cloned().collect();
        let reason = GapReason::Unreachable(PublishError::NoLeader);
        Ok(StoredIds::VisitedExcept(vec![LookUpGap::new(gone, reason)]))
    }

    fn connection(&self) -> Option<watch::Receiver<ConnectionState>> {
        Some(self.state().connection.subscribe())
    }
}
