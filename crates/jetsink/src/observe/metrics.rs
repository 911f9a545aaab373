//! Metrics through the `metrics` facade, with Prometheus names and labels. Every label value is a constant in
//! this file. Handles are made once, with the sink, so that counting is one atomic operation, and free in a
//! process without a recorder.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use crate::circuit::Transition;
use crate::message::rules::EventRule;
use crate::outcome::{Delivery, EmitError, Known, Scope, SpoolStatus};

const EMITS: &str = "jetsink_emits_total";
const EMIT_SECONDS: &str = "jetsink_emit_duration_seconds";
const ACK_SECONDS: &str = "jetsink_ack_duration_seconds";
const RETRIES: &str = "jetsink_retries_total";
const DUPLICATES: &str = "jetsink_duplicates_total";
const UNKNOWN: &str = "jetsink_unknown_outcomes_total";
const CONNECTED: &str = "jetsink_connected";
const CONNECTIONS: &str = "jetsink_connections_total";
const CIRCUITS_OPEN: &str = "jetsink_circuits_open";
const TRANSITIONS: &str = "jetsink_circuit_transitions_total";
const PROBES: &str = "jetsink_probes_total";
const SPOOL_EVENTS: &str = "jetsink_spool_events";
const SPOOL_SUBJECTS: &str = "jetsink_spool_subjects";
const SPOOL_BYTES: &str = "jetsink_spool_used_bytes";
const SPOOL_LIMIT: &str = "jetsink_spool_limit_bytes";
const SPOOL_OLDEST: &str = "jetsink_spool_oldest_event_age_seconds";
const DEAD_LETTERS: &str = "jetsink_spool_dead_letters";
const LENIENT: &str = "jetsink_lenient_events_total";
const REPLAYED: &str = "jetsink_replayed_events_total";
const POSSIBLE_DUPLICATES: &str = "jetsink_possible_duplicates_total";
const HELD_SUBJECTS: &str = "jetsink_spool_held_subjects";
const UNREADABLE: &str = "jetsink_spool_unreadable_segments";
const DAMAGED: &str = "jetsink_spool_damaged_records";

/// Emits, publishes and the connection.
#[derive(Clone)]
pub(crate) struct EmitMeters {
    stored: Counter,
    spooled: Counter,
    rejected: Counter,
    refused: Counter,
    not_sent: Counter,
    unknown: Counter,
    emit_seconds: Histogram,
    ack_seconds: Histogram,
    unknown_outcomes: Counter,
    pub(crate) retries: Counter,
    pub(crate) duplicates: Counter,
}

impl EmitMeters {
    pub(crate) fn new() -> Self {
        describe_counter!(EMITS, "Emits, by their outcome.");
        describe_histogram!(EMIT_SECONDS, Unit::Seconds, "The duration of an emit.");
        describe_histogram!(
            ACK_SECONDS,
            Unit::Seconds,
            "The time from sending an event to its stream's acknowledgement."
        );
        describe_counter!(RETRIES, "Publishes that were retried within their emit.");
        describe_counter!(
            UNKNOWN,
            "Publishes, including those of replay, that were sent and not answered."
        );
        describe_counter!(
            DUPLICATES,
            "Events, including those of replay, that a stream acknowledged without storing them: it had their message id."
        );
        describe_counter!(
            LENIENT,
            "Events that break a rule of CloudEvents and were read leniently, by the first rule."
        );
        Self {
            stored: counter!(EMITS, "outcome" => "stored"),
            spooled: counter!(EMITS, "outcome" => "spooled"),
            rejected: counter!(EMITS, "outcome" => "rejected"),
            refused: counter!(EMITS, "outcome" => "refused"),
            not_sent: counter!(EMITS, "outcome" => "not_sent"),
            unknown: counter!(EMITS, "outcome" => "unknown"),
            emit_seconds: histogram!(EMIT_SECONDS),
            ack_seconds: histogram!(ACK_SECONDS),
            unknown_outcomes: counter!(UNKNOWN),
            retries: counter!(RETRIES),
            duplicates: counter!(DUPLICATES),
        }
    }

    /// Counts an event that breaks `rule` and was read leniently.
    pub(crate) fn lenient(rule: EventRule) {
        counter!(LENIENT, "rule" => rule.name()).increment(1);
    }

    /// Counts an emit by its outcome.
    pub(crate) fn emitted(&self, result: &Result<Delivery, EmitError>) {
        let outcome = match result {
            Ok(Delivery::Stored(_)) => &self.stored,
            Ok(Delivery::Spooled) => &self.spooled,
            Err(EmitError::CircuitOpen(_)) => &self.rejected,
            Err(error) => match error.known() {
                Known::NotSent => &self.not_sent,
                Known::Refused => &self.refused,
                Known::OutcomeUnknown => &self.unknown,
            },
        };
        outcome.increment(1);
    }

    /// Counts an emit that an open circuit rejected.
    pub(crate) fn rejected(&self) {
        self.rejected.increment(1);
    }

    pub(crate) fn emit_took(&self, time: Duration) {
        self.emit_seconds.record(time.as_secs_f64());
    }

    pub(crate) fn acknowledged_after(&self, time: Duration) {
        self.ack_seconds.record(time.as_secs_f64());
    }

    /// Counts a failed publish if its outcome is unknown.
    pub(crate) fn failed(&self, known: Known) {
        match known {
            Known::OutcomeUnknown => self.unknown_outcomes.increment(1),
            Known::NotSent | Known::Refused => {}
        }
    }
}

/// The circuits and the connection under them.
pub(crate) struct CircuitMeters {
    broker: ScopeMeters,
    subject: ScopeMeters,
    connected: Gauge,
    connections: Counter,
}

struct ScopeMeters {
    open: Gauge,
    opened: Counter,
    closed: Counter,
    probes_succeeded: Counter,
    probes_failed: Counter,
}

impl CircuitMeters {
    pub(crate) fn new() -> Self {
        describe_gauge!(
            CIRCUITS_OPEN,
            "Circuits that are open now: the broker's, 0 or 1 for each sink, and subjects'."
        );
        describe_counter!(TRANSITIONS, "Circuits that opened and closed.");
        describe_counter!(PROBES, "Probes of open circuits, by their result.");
        describe_gauge!(CONNECTED, "Connections to a broker at the moment.");
        describe_counter!(
            CONNECTIONS,
            "Connections established, including the first of each sink."
        );
        Self {
            broker: ScopeMeters::new("broker"),
            subject: ScopeMeters::new("subject"),
            connected: gauge!(CONNECTED),
            connections: counter!(CONNECTIONS),
        }
    }

    pub(crate) fn changed(&self, scope: Scope, transition: Transition) {
        let meters = match scope {
            Scope::Broker => &self.broker,
            Scope::Subject => &self.subject,
            Scope::Event | Scope::Local => return, // has no circuit
        };
        match transition {
            Transition::Opened => {
                meters.open.increment(1);
                meters.opened.increment(1);
            }
            Transition::ProbeFailed { .. } => meters.probes_failed.increment(1),
            Transition::Closed => {
                meters.open.decrement(1);
                meters.closed.increment(1);
                meters.probes_succeeded.increment(1);
            }
            Transition::ProbeDue => {}
        }
    }

    /// Removes open circuits from the gauge that were dropped with their sink, or to make room for others.
    pub(crate) fn forgotten(&self, scope: Scope, circuits: usize) {
        match scope {
            Scope::Broker => self.broker.open.decrement(circuits as f64),
            Scope::Subject => self.subject.open.decrement(circuits as f64),
            Scope::Event | Scope::Local => {}
        }
    }

    pub(crate) fn connected(&self) {
        self.connected.increment(1);
        self.connections.increment(1);
    }

    pub(crate) fn disconnected(&self) {
        self.connected.decrement(1);
    }
}

impl ScopeMeters {
    fn new(scope: &'static str) -> Self {
        Self {
            open: gauge!(CIRCUITS_OPEN, "scope" => scope),
            opened: counter!(TRANSITIONS, "scope" => scope, "to" => "open"),
            closed: counter!(TRANSITIONS, "scope" => scope, "to" => "closed"),
            probes_succeeded: counter!(PROBES, "scope" => scope, "result" => "success"),
            probes_failed: counter!(PROBES, "scope" => scope, "result" => "failure"),
        }
    }
}

/// The spool and its replay.
pub(crate) struct SpoolMeters {
    events: Gauge,
    subjects: Gauge,
    used_bytes: Gauge,
    limit_bytes: Gauge,
    oldest_age: Gauge,
    dead_letters: Gauge,
    damaged: Gauge,
    held_subjects: Gauge,
    unreadable: Gauge,
    pub(crate) replayed: Counter,
    pub(crate) possible_duplicates: Counter,
}

impl SpoolMeters {
    pub(crate) fn new() -> Self {
        describe_gauge!(SPOOL_EVENTS, "Pending events in the spool.");
        describe_gauge!(SPOOL_SUBJECTS, "Subjects with pending events in the spool.");
        describe_gauge!(
            SPOOL_BYTES,
            Unit::Bytes,
            "Bytes of the spool's events and dead letters."
        );
        describe_gauge!(
            SPOOL_LIMIT,
            Unit::Bytes,
            "The limit of the spool; emits fail when it is full."
        );
        describe_gauge!(
            SPOOL_OLDEST,
            Unit::Seconds,
            "The age of the oldest pending event in the spool; 0 if it is empty."
        );
        describe_gauge!(
            DEAD_LETTERS,
            "Events in the spool that the broker refused permanently, or that expired."
        );
        describe_gauge!(
            DAMAGED,
            "Records of the spool found damaged and lost since it was opened: events, dead letters, or notes of the spool."
        );
        describe_counter!(REPLAYED, "Events delivered from the spool.");
        describe_counter!(
            POSSIBLE_DUPLICATES,
            "Events of the spool that were sent though they may have been stored before."
        );
        describe_gauge!(
            HELD_SUBJECTS,
            "Subjects in the spool that are held, because it can't be known whether their events are stored."
        );
        describe_gauge!(
            UNREADABLE,
            "Segments of the spool that can't be read, and whose events wait."
        );
        Self {
            events: gauge!(SPOOL_EVENTS),
            subjects: gauge!(SPOOL_SUBJECTS),
            used_bytes: gauge!(SPOOL_BYTES),
            limit_bytes: gauge!(SPOOL_LIMIT),
            oldest_age: gauge!(SPOOL_OLDEST),
            dead_letters: gauge!(DEAD_LETTERS),
            damaged: gauge!(DAMAGED),
            replayed: counter!(REPLAYED),
            possible_duplicates: counter!(POSSIBLE_DUPLICATES),
            held_subjects: gauge!(HELD_SUBJECTS),
            unreadable: gauge!(UNREADABLE),
        }
    }

    pub(crate) fn show(&self, status: &SpoolStatus) {
        self.events.set(status.events as f64);
        self.subjects.set(status.subjects as f64);
        self.used_bytes.set(status.used_bytes as f64);
        self.limit_bytes.set(status.limit_bytes as f64);
        self.dead_letters.set(status.dead_letters as f64);
        self.damaged.set(status.damaged as f64);
        self.held_subjects.set(status.held_subjects as f64);
        self.unreadable.set(status.unreadable_segments as f64);
    }

    pub(crate) fn show_oldest(&self, age: Duration) {
        self.oldest_age.set(age.as_secs_f64());
    }
}
