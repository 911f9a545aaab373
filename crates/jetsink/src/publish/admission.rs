//! Admission by two scopes of circuits: the broker's, and one per failing subject.
//!
//! A subject has a circuit only while it fails. There are at most [`MAX_FAILING_SUBJECTS`] of them, with names of
//! at most [`MAX_NAME_BYTES`] together: a new one evicts one that failed long ago and was not asked for since.
//! While no subject fails, all of this costs one load per publish.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::recoveries::Recoveries;
use crate::circuit::{Admission, Circuit, Outcome, Rejected, State, Transition};
use crate::message::subject::Subject;
use crate::observe::history::History;
use crate::observe::logged_reason::LoggedReason;
use crate::outcome::{CircuitOpen, PublishError, Scope};
use crate::sync::lock;

/// The maximum number of subjects that have a circuit of their own at one time.
pub const MAX_FAILING_SUBJECTS: usize = 262_144;

/// The maximum number of failing subjects in a [`SinkStatus`](crate::SinkStatus).
pub const MAX_LISTED_SUBJECTS: usize = 1_024;

/// The maximum bytes of the names of failing subjects.
const MAX_NAME_BYTES: usize = 32 << 20;

/// The time from the deadline of a probe until it lapses. A pipeline that is not polled settles no probe.
const PROBE_SLACK: Duration = Duration::from_secs(1);

/// The number of subjects among which the one to evict is chosen.
const CANDIDATES: usize = 8;

#[derive(Debug)]
pub(crate) struct Scopes {
    broker: Circuit,
    subjects: Mutex<FailingSubjects>,
    /// The size of `subjects`; keeps the steady path off its lock.
    failing: AtomicUsize,
    /// The number of recoveries of all subjects: numbers them, and admissions.
    recoveries: AtomicU64,
    history: History,
}

#[derive(Debug)]
struct FailingSubjects {
    /// The time after which a probe lapses.
    max_probe: Duration,
    circuits: HashMap<Subject, FailingSubject>,
    /// The subjects in the order of their first failure, and some that have recovered.
    by_age: VecDeque<Subject>,
    /// The bytes of the names in `circuits`.
    name_bytes: usize,
    recovered: Recoveries,
}

#[derive(Debug)]
struct FailingSubject {
    circuit: Arc<SubjectCircuit>,
    last_asked: Instant,
}

/// The circuit of a subject, and the reason of its last failure.
#[derive(Debug)]
struct SubjectCircuit {
    circuit: Circuit,
    reason: LoggedReason,
}

impl FailingSubjects {
    fn new(max_probe: Duration) -> Self {
        Self {
            max_probe,
            circuits: HashMap::new(),
            by_age: VecDeque::new(),
            name_bytes: 0,
            recovered: Recoveries::new(max_probe),
        }
    }

    fn insert(&mut self, subject: &Subject, now: Instant) -> Arc<SubjectCircuit> {
        let circuit = Arc::new(SubjectCircuit {
            circuit: Circuit::opened(now).with_max_probe(self.max_probe),
            reason: LoggedReason::default(),
        });
        let failing = FailingSubject {
            circuit: Arc::clone(&circuit),
            last_asked: now,
        };
        self.name_bytes += subject.as_str().len();
        self.circuits.insert(subject.clone(), failing);
        self.by_age.push_back(subject.clone());
        // Most entries are of recovered subjects.
        if self.by_age.len() > 2 * self.circuits.len() + CANDIDATES {
            let (circuits, mut kept) = (&self.circuits, HashSet::new());
            self.by_age
                .retain(|subject| circuits.contains_key(subject) && kept.insert(subject.clone()));
        }
        circuit
    }

    fn remove(&mut self, subject: &Subject) {
        if self.circuits.remove(subject).is_some() {
            self.name_bytes -= subject.as_str().len();
        }
    }

    /// Makes room for another subject. Returns the number of evicted ones.
    fn make_room(&mut self, subject: &Subject) -> usize {
        let mut evicted = 0;
        while self.is_full_for(subject) && self.evict() {
            evicted += 1;
        }
        evicted
    }

    fn is_full_for(&self, subject: &Subject) -> bool {
        let name_bytes = self.name_bytes + subject.as_str().len();
        self.circuits.len() >= MAX_FAILING_SUBJECTS || name_bytes > MAX_NAME_BYTES
    }

    /// Removes, of the oldest subjects, the one that was asked for longest ago. Returns whether there was one.
    fn evict(&mut self) -> bool {
        let mut candidates = Vec::with_capacity(CANDIDATES);
        while candidates.len() < CANDIDATES
            && let Some(subject) = self.by_age.pop_front()
        {
            if let Some(failing) = self.circuits.get(&subject) {
                candidates.push((failing.last_asked, subject));
            }
        }
        candidates.sort_by_key(|(last_asked, _)| *last_asked);
        let mut candidates = candidates.into_iter().map(|(_, subject)| subject);
        let evicted = candidates.next();
        if let Some(subject) = &evicted {
            self.remove(subject);
        }
        self.by_age.extend(candidates);
        evicted.is_some()
    }
}

impl Scopes {
    /// `deadline` is the time limit of each publish.
    pub(crate) fn new(now: Instant, deadline: Duration) -> Self {
        let max_probe = deadline + PROBE_SLACK;
        Self {
            broker: Circuit::new(now).with_max_probe(max_probe),
            subjects: Mutex::new(FailingSubjects::new(max_probe)),
            failing: AtomicUsize::new(0),
            recoveries: AtomicU64::new(0),
            history: History::new(now),
        }
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// The number of subjects with an open circuit of their own.
    pub(crate) fn failing_count(&self) -> usize {
        self.failing.load(Ordering::Acquire)
    }

    /// Subjects with an open circuit of their own, sorted: an arbitrary selection if there are more than
    /// [`MAX_LISTED_SUBJECTS`].
    pub(crate) fn failing_subjects(&self, now: Instant) -> Vec<(Subject, State)> {
        let mut failing: Vec<(Subject, State)> = self
            .lock()
            .circuits
            .iter()
            .take(MAX_LISTED_SUBJECTS)
            .map(|(subject, failing)| (subject.clone(), failing.circuit.circuit.state(now)))
            .collect();
        failing.sort_unstable_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        failing
    }

    /// Admits one publish by both circuits. A dropped admission releases its probes.
    pub(crate) fn admit(
        &self,
        now: Instant,
        subject: &Subject,
    ) -> Result<ScopedAdmission<'_>, CircuitOpen> {
        let broker = self.broker.admit(now).map_err(|r| open(Scope::Broker, r))?;
        let mut admission = ScopedAdmission {
            scopes: self,
            broker: Some(broker),
            subject: None,
            recoveries: self.recoveries.load(Ordering::Acquire),
        };
        if self.failing.load(Ordering::Acquire) > 0
            && let Some(circuit) = self.circuit_of(subject, now)
        {
            // On a rejection, dropping `admission` releases the broker's probe.
            let subject = circuit.circuit.admit(now);
            let subject = subject.map_err(|r| open(Scope::Subject, r))?;
            admission.subject = Some((circuit, subject));
        }
        Ok(admission)
    }

    /// The rejection by the broker's circuit at `now`, without an attempt to be admitted.
    pub(crate) fn rejection(&self, now: Instant) -> Option<CircuitOpen> {
        let rejected = self.broker.rejection(now)?;
        Some(open(Scope::Broker, rejected))
    }

    pub(crate) fn broker_state(&self, now: Instant) -> State {
        self.broker.state(now)
    }

    pub(crate) fn subject_state(&self, subject: &Subject, now: Instant) -> State {
        match self.lock().circuits.get(subject) {
            None => State::Connected,
            Some(failing) => failing.circuit.circuit.state(now),
        }
    }

    /// The connection was lost.
    pub(crate) fn disconnected(&self, now: Instant) {
        let transition = self.broker.trip(now);
        let gone = PublishError::NotConnected;
        if transition.is_some() {
            self.history.failed(now, &gone, None);
        }
        self.history.moved(now, None, transition, Some(&gone));
    }

    /// Without a connection no event can be sent: a probe that is due fails at once.
    pub(crate) fn fail_probe(&self, now: Instant) {
        let Ok(probe) = self.broker.admit(now) else {
            return;
        };
        let gone = PublishError::NotConnected;
        self.history.failed(now, &gone, None);
        let transition = self.broker.settle(now, probe, Outcome::Failure);
        self.history.moved(now, None, transition, Some(&gone));
    }

    /// The broker gave a sign of life.
    pub(crate) fn sign_of_life(&self, now: Instant) {
        let transition = self.broker.probe_due();
        self.history.moved(now, None, transition, None);
    }

    fn circuit_of(&self, subject: &Subject, now: Instant) -> Option<Arc<SubjectCircuit>> {
        let mut subjects = self.lock();
        let failing = subjects.circuits.get_mut(subject)?;
        failing.last_asked = now;
        Some(Arc::clone(&failing.circuit))
    }

    fn subject_failed(
        &self,
        subject: &Subject,
        now: Instant,
        recoveries_at_admission: u64,
        error: Option<&PublishError>,
    ) {
        let mut subjects = self.lock();
        // Another failure opened it in the meantime, or the subject recovered while this publish was in flight:
        // the next failure opens it.
        if subjects.circuits.contains_key(subject)
            || subjects
                .recovered
                .recovered_since(subject, recoveries_at_admission)
        {
            return;
        }
        let evicted = subjects.make_room(subject);
        self.history.meters.forgotten(Scope::Subject, evicted);
        let circuit = subjects.insert(subject, now);
        let failing = subjects.circuits.len();
        self.failing.store(failing, Ordering::Release);
        drop(subjects);
        let opened = Some(Transition::Opened);
        self.history
            .moved(now, Some((subject, &circuit.reason)), opened, error);
    }

    /// Removes the circuit of a recovered subject; returns whether it was still this one.
    fn subject_recovered(
        &self,
        subject: &Subject,
        circuit: &Arc<SubjectCircuit>,
        now: Instant,
    ) -> bool {
        let mut subjects = self.lock();
        let failing = subjects.circuits.get(subject);
        let its_own = failing.is_some_and(|failing| Arc::ptr_eq(&failing.circuit, circuit));
        if its_own {
            subjects.remove(subject);
            let number = self.recoveries.fetch_add(1, Ordering::AcqRel) + 1;
            subjects.recovered.add(subject, number, now);
            let failing = subjects.circuits.len();
            self.failing.store(failing, Ordering::Release);
        }
        its_own
    }

    fn lock(&self) -> MutexGuard<'_, FailingSubjects> {
        lock(&self.subjects)
    }
}

fn open(scope: Scope, rejected: Rejected) -> CircuitOpen {
    CircuitOpen {
        scope,
        attempt: rejected.attempt,
        retry_after: rejected.retry_after,
        probing: rejected.probing,
    }
}

/// The right to publish once to a subject.
#[derive(Debug)]
pub(crate) struct ScopedAdmission<'a> {
    scopes: &'a Scopes,
    broker: Option<Admission>,
    subject: Option<(Arc<SubjectCircuit>, Admission)>,
    recoveries: u64,
}

impl ScopedAdmission<'_> {
    /// Whether either circuit gave out its probe.
    pub(crate) fn is_probe(&self) -> bool {
        let subject = self.subject.as_ref().map(|(_, admission)| admission);
        self.broker.iter().chain(subject).any(Admission::is_probe)
    }

    #[cfg(test)]
    pub(crate) fn probes_broker(&self) -> bool {
        self.broker.as_ref().is_some_and(Admission::is_probe)
    }

    /// `failure` is `None` for a success.
    pub(crate) fn settle(
        mut self,
        now: Instant,
        subject: &Subject,
        failure: Option<&PublishError>,
    ) {
        let scopes = self.scopes;
        if let Some(error) = failure {
            scopes.history.failed(now, error, Some(subject));
            if let PublishError::HeldBack = error {
                return; // it was not sent: no evidence
            }
        }
        let failed = failure.map(PublishError::scope);
        let broker = match failed {
            // Any answer shows that the broker is up.
            None | Some(Scope::Subject) => Some(Outcome::Success),
            Some(Scope::Broker) => Some(Outcome::Failure),
            // Most such events are refused before they are sent, which is no evidence.
            Some(Scope::Event | Scope::Local) => None,
        };
        if let (Some(outcome), Some(admission)) =
            (broker, self.broker.take_if(|_| broker.is_some()))
        {
            let transition = scopes.broker.settle(now, admission, outcome);
            let history = &scopes.history;
            history.moved(now, None, transition, failure);
        }
        match (failed, self.subject.take()) {
            (None, Some((circuit, admission))) => {
                let transition = circuit.circuit.settle(now, admission, Outcome::Success);
                if transition == Some(Transition::Closed)
                    && !scopes.subject_recovered(subject, &circuit, now)
                {
                    return; // it was evicted
                }
                let history = &scopes.history;
                history.moved(now, Some((subject, &circuit.reason)), transition, failure);
            }
            (Some(Scope::Subject), Some((circuit, admission))) => {
                let transition = circuit.circuit.settle(now, admission, Outcome::Failure);
                let history = &scopes.history;
                history.moved(now, Some((subject, &circuit.reason)), transition, failure);
            }
            (Some(Scope::Subject), None) => {
                scopes.subject_failed(subject, now, self.recoveries, failure);
            }
            (Some(Scope::Broker | Scope::Event | Scope::Local), Some(taken)) => {
                self.subject = Some(taken);
            }
            (None | Some(Scope::Broker | Scope::Event | Scope::Local), None) => {}
        }
    }
}

impl Drop for ScopedAdmission<'_> {
    fn drop(&mut self) {
        if let Some(admission) = self.broker.take() {
            self.scopes.broker.release(admission);
        }
        if let Some((circuit, admission)) = self.subject.take() {
            circuit.circuit.release(admission);
        }
    }
}

impl Drop for Scopes {
    /// Removes the open circuits from the metrics.
    fn drop(&mut self) {
        let failing = self.failing_count();
        self.history.meters.forgotten(Scope::Subject, failing);
        match self.broker.state(Instant::now()) {
            State::Connected => {}
            State::Reconnecting { .. } => self.history.meters.forgotten(Scope::Broker, 1),
        }
    }
}

#[cfg(test)]
#[path = "../tests/admission.rs"]
mod tests;
