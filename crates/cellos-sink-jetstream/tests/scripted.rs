//! The state machine through the published interface, over a scripted publisher, on a paused clock.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cellos_core::CellosError;
use cellos_core::ports::EventSink;
use cellos_sink_jetstream::{JetStreamEventSink, Publisher, ReconnectState};
use common::*;
use tokio::time::{Instant, advance, sleep};

enum Step {
    Fail,
    Hang,
}

/// Follows its script, and succeeds after the last step.
#[derive(Default)]
struct Script {
    steps: Mutex<VecDeque<Step>>,
    calls: Mutex<Vec<(String, Bytes)>>,
}

impl Script {
    fn then(&self, steps: impl IntoIterator<Item = Step>) {
        self.steps.lock().unwrap().extend(steps);
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

#[async_trait]
impl Publisher for Script {
    async fn publish(&self, subject: String, payload: Bytes) -> Result<(), CellosError> {
        self.calls.lock().unwrap().push((subject, payload));
        let step = self.steps.lock().unwrap().pop_front();
        match step {
            None => Ok(()),
            Some(Step::Fail) => Err(CellosError::EventSink("scripted\r\nfailure".to_owned())),
            Some(Step::Hang) => std::future::pending().await,
        }
    }
}

fn sink() -> (Arc<Script>, Arc<JetStreamEventSink>) {
    let script = Arc::new(Script::default());
    let publisher: Arc<dyn Publisher> = Arc::clone(&script) as _;
    let sink = JetStreamEventSink::from_publisher(publisher, "events.{tenantId}");
    (script, Arc::new(sink))
}

fn fail(times: usize) -> impl Iterator<Item = Step> {
    std::iter::repeat_with(|| Step::Fail).take(times)
}

async fn attempt_and_wait(sink: &JetStreamEventSink) -> Option<(u32, Duration)> {
    match sink.debug_state().await {
        ReconnectState::Connected => None,
        ReconnectState::Reconnecting {
            attempt,
            next_after,
        } => Some((attempt, next_after - Instant::now())),
    }
}

/// The circuit keeps time in steps of 10 µs, rounded up.
fn assert_wait(state: Option<(u32, Duration)>, attempt: u32, millis: u64) {
    let (real, wait) = state.expect("reconnecting");
    let expected = Duration::from_millis(millis);
    assert_eq!(real, attempt);
    assert!(
        wait >= expected && wait - expected < Duration::from_micros(20),
        "{wait:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_payload_is_the_events_json_unchanged() {
    let (script, sink) = sink();
    for event in samples() {
        sink.emit(&event).await.unwrap();
        let (subject, payload) = script.calls.lock().unwrap().pop().unwrap();
        assert_eq!(payload, serde_json::to_vec(&event).unwrap());
        assert!(["events.acme", "events.globex", "events.single"].contains(&subject.as_str()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_breaks_rules_of_cloudevents_is_emitted_unchanged() {
    let (script, sink) = sink();
    let mut broken = event("acme");
    broken.specversion = "0.3".to_owned();
    broken.id = String::new();
    broken.source = "a b\u{7}".to_owned();
    broken.ty = String::new();
    broken.time = Some("yesterday".to_owned());
    broken.datacontenttype = Some(String::new());
    broken.traceparent = Some("not a\ntrace".to_owned());
    sink.emit(&broken).await.unwrap();
    let (subject, payload) = script.calls.lock().unwrap().pop().unwrap();
    assert_eq!(subject, "events.acme");
    assert_eq!(payload, serde_json::to_vec(&broken).unwrap());
}

#[tokio::test(start_paused = true)]
async fn attributes_fill_the_subject_and_a_missing_one_fails_its_event_alone() {
    let script = Arc::new(Script::default());
    let publisher: Arc<dyn Publisher> = script.clone();
    let sink = JetStreamEventSink::from_publisher(publisher, "e.{tenantId}.{time}.{type:levels}");
    let mut timed = event("acme");
    timed.ty = "cell.started".to_owned();
    timed.time = Some("2026".to_owned());
    sink.emit(&timed).await.unwrap();
    let (subject, _) = script.calls.lock().unwrap().pop().unwrap();
    assert_eq!(subject, "e.acme.2026.cell.started");
    timed.time = None;
    let error = sink.emit(&timed).await.unwrap_err().to_string();
    assert!(
        error.contains("not sent: the event has no attribute `time`"),
        "{error}"
    );
    assert_eq!(sink.debug_state().await, ReconnectState::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_connected_sink_tries_three_times_and_then_opens_the_circuit() {
    let (script, sink) = sink();
    script.then(fail(2));
    sink.emit(&event("a")).await.unwrap();
    assert_eq!(
        (script.calls(), sink.debug_state().await),
        (3, ReconnectState::Connected)
    );
    script.then(fail(3));
    let error = sink.emit(&event("a")).await.unwrap_err().to_string();
    assert!(
        error.contains("scripted") && error.contains("attempts 3"),
        "{error}"
    );
    assert!(!error.contains(char::is_control), "one line: {error:?}");
    assert_eq!(script.calls(), 6);
    assert_wait(attempt_and_wait(&sink).await, 0, 100);
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_rejects_at_once_and_reports_when_to_retry() {
    let (script, sink) = sink();
    script.then(fail(3));
    sink.emit(&event("a")).await.unwrap_err();
    advance(Duration::from_millis(40)).await;
    let before = Instant::now();
    let error = sink.emit(&event("a")).await.unwrap_err().to_string();
    assert!(
        error.contains("reconnecting state, attempt 0, next probe in 60 ms")
            || error.contains("next probe in 61 ms"),
        "{error}"
    );
    assert_eq!((before.elapsed(), script.calls()), (Duration::ZERO, 3));
    let error = sink.emit(&event("a.b")).await.unwrap_err().to_string();
    assert!(error.contains("tenant id"), "its own fault first: {error}");
}

#[tokio::test(start_paused = true)]
async fn each_failed_probe_is_one_attempt_and_doubles_the_wait_up_to_180_s() {
    let (script, sink) = sink();
    script.then(fail(3));
    sink.emit(&event("a")).await.unwrap_err();
    for attempt in 1..=14_u32 {
        let (_, wait) = attempt_and_wait(&sink).await.unwrap();
        advance(wait).await;
        script.then(fail(1));
        let calls = script.calls();
        sink.emit(&event("a")).await.unwrap_err();
        assert_eq!(script.calls(), calls + 1);
        let millis = if attempt < 11 {
            100 << attempt
        } else {
            180_000
        };
        assert_wait(attempt_and_wait(&sink).await, attempt, millis);
    }
    advance(Duration::from_secs(181)).await;
    sink.emit(&event("a")).await.unwrap();
    assert_eq!(sink.debug_state().await, ReconnectState::Connected);
    script.then(fail(3));
    sink.emit(&event("a")).await.unwrap_err();
    assert_wait(attempt_and_wait(&sink).await, 0, 100);
}

#[tokio::test(start_paused = true)]
async fn one_of_a_thousand_callers_probes_and_a_hanging_probe_ends_at_the_deadline() {
    let (script, sink) = sink();
    script.then(fail(3));
    sink.emit(&event("a")).await.unwrap_err();
    advance(Duration::from_millis(101)).await;
    script.then([Step::Hang]);
    let started = Instant::now();
    let probe = tokio::spawn({
        let sink = Arc::clone(&sink);
        async move { sink.emit(&event("a")).await }
    });
    sleep(Duration::from_millis(1)).await;
    for _ in 0..1_000 {
        let error = sink.emit(&event("a")).await.unwrap_err().to_string();
        assert!(error.contains("a probe is in flight"), "{error}");
    }
    assert_eq!(script.calls(), 4);
    let error = probe.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("outcome unknown"), "{error}");
    assert!(
        started.elapsed() <= Duration::from_millis(2_001),
        "{:?}",
        started.elapsed()
    );
    assert_wait(attempt_and_wait(&sink).await, 1, 200);
}

#[tokio::test(start_paused = true)]
async fn cancelled_probe_releases_its_place() {
    let (script, sink) = sink();
    script.then(fail(3));
    sink.emit(&event("a")).await.unwrap_err();
    advance(Duration::from_millis(101)).await;
    script.then([Step::Hang]);
    let cancelled = tokio::time::timeout(Duration::from_millis(10), sink.emit(&event("a"))).await;
    assert!(cancelled.is_err());
    sink.emit(&event("a")).await.unwrap();
    assert_eq!(sink.debug_state().await, ReconnectState::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_bad_tenant_fails_only_its_own_event() {
    let (script, sink) = sink();
    let long = "x".repeat(5_000);
    let bad = [
        "a.b", "*", ">", "a b", "", "a\r\nb", "\0", "\t", "$JS", ".a", "a.", "\u{2003}", &long,
    ];
    for (number, id) in bad.iter().enumerate() {
        let error = sink.emit(&event(id)).await.unwrap_err().to_string();
        assert!(
            error.contains("tenant id") && error.contains("not sent"),
            "{error}"
        );
        assert!(!error.contains(['\r', '\n']), "one line: {error:?}");
        sink.emit(&event("good")).await.unwrap();
        assert_eq!(
            (script.calls(), sink.debug_state().await),
            (number + 1, ReconnectState::Connected)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_names_its_event_and_is_short_even_for_a_huge_one() {
    let (_, sink) = sink();
    let mut event = event("a.b");
    event.id = "x".repeat(1_000_000);
    let error = sink.emit(&event).await.unwrap_err().to_string();
    assert!(
        error.contains("xxxx") && error.len() < 300,
        "{}",
        error.len()
    );
}

#[test]
fn a_sink_over_a_script_is_made_without_a_runtime() {
    let _ = sink();
}

#[tokio::test(start_paused = true)]
async fn a_template_that_is_no_subject_fails_each_emit() {
    let script: Arc<dyn Publisher> = Arc::new(Script::default());
    for template in ["", "a b", "a.*", "a..b", "{tenant}", "{\r\n}", "$SYS.x"] {
        let sink = JetStreamEventSink::from_publisher(Arc::clone(&script), template);
        let error = sink.emit(&event("a")).await.unwrap_err().to_string();
        assert!(!error.contains(char::is_control), "{template:?}: {error:?}");
        assert_eq!(sink.debug_state().await, ReconnectState::Connected);
    }
}

#[cfg(event_sink_flush)]
#[tokio::test(start_paused = true)]
async fn flush_waits_for_earlier_emits_and_never_past_the_deadline() {
    let (script, sink) = sink();
    sink.flush().await.unwrap();
    script.then([Step::Hang]);
    let emit = tokio::spawn({
        let sink = Arc::clone(&sink);
        async move { sink.emit(&event("a")).await.is_err() }
    });
    sleep(Duration::from_millis(1)).await;
    let started = Instant::now();
    sink.flush().await.unwrap();
    assert!(
        started.elapsed() >= Duration::from_millis(1_990),
        "{:?}",
        started.elapsed()
    );
    assert!(
        started.elapsed() <= Duration::from_millis(2_001),
        "{:?}",
        started.elapsed()
    );
    assert!(emit.await.unwrap());
}
