//! The sink over a script, in paused time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::circuit::State;
use crate::outcome::{Acknowledgement, Delivery, EmitError, Known, PublishError};
use crate::publish::settings::SinkSettings;
use crate::publisher::Publisher;
use crate::publisher::window::WindowSize;
use crate::sink::Sink;
use crate::{Envelope, Scope, Subject};

/// The scripted result of one publish.
#[derive(Clone, Copy)]
enum Step {
    Stored,
    Fails(fn() -> PublishError),
    NeverEnds,
}

#[derive(Default)]
struct Script {
    steps: Mutex<VecDeque<Step>>,
    ids: Mutex<Vec<String>>,
}

struct Scripted(Arc<Script>);

impl Publisher for Scripted {
    async fn publish(
        &self,
        envelope: &Envelope,
        _: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let id = envelope.message_id().unwrap().to_string();
        let sequence = {
            let mut ids = self.0.ids.lock().unwrap();
            ids.push(id);
            ids.len() as u64
        };
        let step = self.0.steps.lock().unwrap().pop_front();
        match step.unwrap_or(Step::Stored) {
            Step::Stored => Ok(Acknowledgement::new("S", sequence)),
            Step::Fails(error) => Err(error()),
            Step::NeverEnds => std::future::pending().await,
        }
    }
}

fn sink(steps: &[Step]) -> (Arc<Script>, Sink<Scripted>) {
    let script = Arc::new(Script::default());
    script.steps.lock().unwrap().extend(steps);
    let settings = SinkSettings::default().sink_id("me").unwrap();
    let sink = Sink::new(Scripted(Arc::clone(&script)), settings);
    (script, sink)
}

fn envelope() -> Envelope {
    Envelope::new(Subject::new("a").unwrap(), "{}".into())
}

fn failed(result: Result<Delivery, EmitError>) -> Box<crate::FailedEmit> {
    match result.unwrap_err() {
        EmitError::Failed(failed) => failed,
        other => panic!("{other}"),
    }
}

/// They had the settings' id once, and a stream took the events of one for those of the other.
#[tokio::test(start_paused = true)]
async fn sinks_with_equal_settings_have_different_message_ids() {
    let script = Arc::new(Script::default());
    let settings = SinkSettings::default();
    for settings in [settings.clone(), settings] {
        let sink = Sink::new(Scripted(Arc::clone(&script)), settings);
        sink.emit(envelope()).await.unwrap();
    }
    let ids = script.ids.lock().unwrap();
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test(start_paused = true)]
async fn attempts_of_one_emit_share_a_message_id_and_emits_do_not() {
    let (script, sink) = sink(&[
        Step::Fails(|| PublishError::NoLeader),
        Step::Fails(|| PublishError::NoLeader),
    ]);
    sink.emit(envelope()).await.unwrap();
    sink.emit(envelope()).await.unwrap();
    let ids = script.ids.lock().unwrap();
    let (first, second) = (ids[0].clone(), ids[3].clone());
    assert!(first.starts_with("me.") && first.ends_with(".1"), "{first}");
    assert!(second.ends_with(".2"), "{second}");
    assert_eq!(*ids, [first.clone(), first.clone(), first, second]);
}

#[tokio::test(start_paused = true)]
async fn hanging_publisher_is_cancelled_at_the_deadline() {
    let (_, sink) = sink(&[Step::NeverEnds]);
    let started = Instant::now();
    let failed = failed(sink.emit(envelope()).await);
    assert_eq!(started.elapsed(), sink.deadline());
    assert_eq!(
        (failed.known, failed.error.scope()),
        (Known::OutcomeUnknown, Scope::Broker)
    );
}

#[tokio::test(start_paused = true)]
async fn retry_is_not_started_if_the_deadline_would_end_it() {
    let script = Arc::new(Script::default());
    script
        .steps
        .lock()
        .unwrap()
        .extend([Step::Fails(|| PublishError::NoLeader); 9]);
    let settings = SinkSettings::default()
        .deadline(Duration::from_millis(400))
        .unwrap();
    let sink = Sink::new(Scripted(Arc::clone(&script)), settings);
    let started = Instant::now();
    let failed = failed(sink.emit(envelope()).await);
    // The wait after the second failure would end 100 ms past the deadline.
    assert_eq!(failed.attempts, 2);
    assert_eq!(started.elapsed(), Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn unknown_outcome_of_an_attempt_outweighs_a_later_refusal() {
    fn unknown() -> PublishError {
        PublishError::Other {
            text: "lost".to_owned(),
            scope: Scope::Broker,
            known: Known::OutcomeUnknown,
        }
    }
    let (_, sink) = sink(&[
        Step::Fails(unknown),
        Step::Fails(|| PublishError::PermissionDenied),
    ]);
    let failed = failed(sink.emit(envelope()).await);
    assert_eq!((failed.attempts, failed.known), (2, Known::OutcomeUnknown));
}

#[tokio::test(start_paused = true)]
async fn probe_is_one_attempt_and_is_released_when_cancelled() {
    let fails = Step::Fails(|| PublishError::NoLeader);
    let (script, sink) = sink(&[fails, fails, fails, Step::NeverEnds, fails, Step::Stored]);
    failed(sink.emit(envelope()).await);
    assert!(matches!(
        sink.emit(envelope()).await,
        Err(EmitError::CircuitOpen(_))
    ));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let cancelled = tokio::time::timeout(Duration::from_millis(10), sink.emit(envelope())).await;
    assert!(cancelled.is_err());
    assert_eq!(failed(sink.emit(envelope()).await).attempts, 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    sink.emit(envelope()).await.unwrap();
    assert_eq!(sink.state(), State::Connected);
    assert_eq!(script.ids.lock().unwrap().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn rejection_is_predicted_and_starts_no_probe() {
    let (script, sink) = sink(&[Step::Fails(|| PublishError::NotConnected)]);
    assert_eq!(sink.reject_early(), None);
    failed(sink.emit(envelope()).await);
    let foretold = sink.reject_early().unwrap();
    assert_eq!(sink.emit(envelope()).await.unwrap_err(), foretold);
    assert!(matches!(foretold, EmitError::CircuitOpen(open) if open.scope == Scope::Broker));

    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(sink.reject_early(), None, "a probe is due");
    assert_eq!(sink.reject_early(), None, "and asking does not take it");
    sink.emit(envelope()).await.unwrap();
    assert_eq!(script.ids.lock().unwrap().len(), 2);

    sink.close(Duration::ZERO).await;
    assert_eq!(sink.reject_early(), Some(EmitError::Closed));
}

#[tokio::test(start_paused = true)]
async fn close_ends_pipelines_and_counts_their_unknown_outcomes() {
    let (script, sink) = sink(&[
        Step::Fails(|| PublishError::AckTimeout {
            broker_answers: true,
        }),
        Step::Stored,
    ]);
    let mut pipeline = sink.pipeline(WindowSize::new(4).unwrap());
    pipeline.push(envelope()).unwrap();
    assert_eq!(failed_known(pipeline.next().await), Known::OutcomeUnknown);
    pipeline.push(envelope()).unwrap();

    let receipt = sink.close(Duration::ZERO).await;
    assert_eq!(receipt.unknown, 1);
    assert!(!pipeline.has_room());
    assert!(pipeline.push(envelope()).is_err());
    assert_eq!(failed_known(pipeline.next().await), Known::NotSent);
    assert!(pipeline.next().await.is_none());
    assert_eq!(script.ids.lock().unwrap().len(), 1, "nothing went out");
}

fn failed_known(result: Option<Result<Delivery, EmitError>>) -> Known {
    result.unwrap().unwrap_err().known()
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_the_events_in_flight_of_a_pipeline() {
    let (_, sink) = sink(&[Step::NeverEnds]);
    let mut pipeline = sink.pipeline(WindowSize::MIN);
    pipeline.push(envelope()).unwrap();
    let started = Instant::now();
    let closed = async {
        tokio::time::sleep(Duration::from_millis(1)).await; // it is in flight by then
        sink.close(Duration::from_secs(60)).await;
        started.elapsed()
    };
    let (result, closed_after) = tokio::join!(pipeline.next(), closed);
    assert_eq!(failed_known(result), Known::OutcomeUnknown);
    assert_eq!(closed_after, sink.deadline());
    assert_eq!(sink.status().in_flight, 0);
}

/// A pipeline that is not polled held the probe of the broker for ever.
#[tokio::test(start_paused = true)]
async fn probe_of_a_pipeline_that_is_not_polled_lapses() {
    let (_, sink) = sink(&[Step::Fails(|| PublishError::NotConnected), Step::NeverEnds]);
    sink.emit(envelope()).await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut pipeline = sink.pipeline(WindowSize::new(4).unwrap());
    pipeline.push(envelope()).unwrap();
    let polled_once = futures_util::FutureExt::now_or_never(pipeline.next());
    assert!(polled_once.is_none(), "it has its answer already");
    tokio::time::sleep(sink.deadline()).await;
    let rejected = sink.emit(envelope()).await.unwrap_err();
    assert!(matches!(rejected, EmitError::CircuitOpen(open) if open.probing));
    tokio::time::sleep(Duration::from_secs(2)).await;
    sink.emit(envelope()).await.unwrap();
    assert_eq!(sink.state(), State::Connected);
    // Its late failure changes nothing.
    pipeline.next().await.unwrap().unwrap_err();
    assert_eq!(sink.state(), State::Connected);
}
