//! Metrics of the gateway, and the counts of the status page. Every label value is a constant: none by subject, tenant or path.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use tokio::time::Instant;

use crate::answer::problem::{Problem, ProblemKind};
use crate::status::History;

const REQUESTS: &str = "jetsink_serve_requests_total";
const SECONDS: &str = "jetsink_serve_request_duration_seconds";
const IN_FLIGHT: &str = "jetsink_serve_requests_in_flight";
const EVENTS: &str = "jetsink_serve_events_total";
const REPEATS: &str = "jetsink_serve_repeated_events_total";
const FORGOTTEN: &str = "jetsink_serve_identities_forgotten_early_total";
const CONNECTIONS: &str = "jetsink_serve_connections";

/// Handles that are made once.
#[derive(Debug)]
pub(crate) struct Meters {
    accepted: Counter,
    problems: Vec<Counter>,
    abandoned: Counter,
    unreadable: Counter,
    options: Counter,
    seconds: Histogram,
    pub(crate) in_flight: Gauge,
    events: Counter,
    repeats: Counter,
    forgotten: Counter,
    pub(crate) connections: Gauge,
    pub(crate) history: History,
}

impl Meters {
    pub(crate) fn new() -> Self {
        describe_counter!(REQUESTS, "Requests, by their answer.");
        describe_histogram!(
            SECONDS,
            Unit::Seconds,
            "The time from a request's headers to its answer."
        );
        describe_gauge!(IN_FLIGHT, "Requests that hold a place.");
        describe_counter!(EVENTS, "Events that were answered with 202.");
        describe_counter!(
            REPEATS,
            "Events that were answered by the result of an earlier one."
        );
        describe_counter!(
            FORGOTTEN,
            "Identities that were forgotten before the end of their window, because memory is bounded."
        );
        describe_gauge!(CONNECTIONS, "Open connections of senders.");
        Self {
            accepted: counter!(REQUESTS, "answer" => "accepted"),
            problems: ProblemKind::ALL
                .iter()
                .map(|kind| counter!(REQUESTS, "answer" => kind.name()))
                .collect(),
            abandoned: counter!(REQUESTS, "answer" => "abandoned"),
            unreadable: counter!(REQUESTS, "answer" => "unreadable"),
            options: counter!(REQUESTS, "answer" => "options"),
            seconds: histogram!(SECONDS),
            in_flight: gauge!(IN_FLIGHT),
            events: counter!(EVENTS),
            repeats: counter!(REPEATS),
            forgotten: counter!(FORGOTTEN),
            connections: gauge!(CONNECTIONS),
            history: History::new(Instant::now()),
        }
    }

    pub(crate) fn accepted(&self, events: usize) {
        self.accepted.increment(1);
        self.events.increment(events as u64);
        self.history.accepted(events as u64);
    }

    pub(crate) fn problem(&self, problem: &Problem) {
        let kinds = || ProblemKind::ALL.iter();
        if let Some(at) = kinds().position(|kind| *kind == problem.kind()) {
            self.problems[at].increment(1);
            self.history.refused(at, problem, Instant::now());
        }
    }

    pub(crate) fn abandoned(&self) {
        self.abandoned.increment(1);
        self.history.abandoned();
    }

    pub(crate) fn unreadable(&self) {
        self.unreadable.increment(1);
    }

    pub(crate) fn options(&self) {
        self.options.increment(1);
    }

    pub(crate) fn took(&self, time: Duration) {
        self.seconds.record(time.as_secs_f64());
        self.history.took(time);
    }

    pub(crate) fn repeat(&self) {
        self.repeats.increment(1);
    }

    pub(crate) fn forgotten_early(&self, count: u64) {
        self.forgotten.increment(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_in_the_table_of_the_docs() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/serve/README.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        let names = [
            REQUESTS,
            SECONDS,
            IN_FLIGHT,
            EVENTS,
            REPEATS,
            FORGOTTEN,
            CONNECTIONS,
        ];
        for name in names {
            let in_a_row =
                docs.contains(&format!("| `{name}` |")) || docs.contains(&format!("| `{name}{{"));
            assert!(in_a_row, "docs/serve/README.md lacks {name}");
        }
    }
}
