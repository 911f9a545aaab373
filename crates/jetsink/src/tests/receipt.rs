//! The receipt counts each event whose sender learns no outcome. Paused time.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{sleep, timeout};

use super::repeats::spooling_sink;
use super::simulated_broker::Simulated;
use crate::publisher::window::WindowSize;
use crate::{Envelope, PushError, Receipt, Sink, SinkSettings, Subject};

const MOMENT: Duration = Duration::from_millis(10);

fn envelope() -> Envelope {
    Envelope::new(Subject::new("a").unwrap(), "x".into())
}

/// A sink over a broker that stores each event, and does not answer.
fn silent() -> (Simulated, Sink<Simulated>) {
    let broker = Simulated::new();
    broker.with(|broker| broker.silent = Some(true));
    (broker.clone(), Sink::new(broker, SinkSettings::default()))
}

async fn close(sink: &Sink<Simulated>) -> Receipt {
    sink.close(Duration::ZERO).await
}

#[tokio::test(start_paused = true)]
async fn emit_that_is_dropped_counts_as_unknown() {
    let (_, sink) = silent();
    timeout(MOMENT, sink.emit(envelope())).await.unwrap_err();
    assert_eq!(close(&sink).await.unknown, 1);
    sink.emit(envelope()).await.unwrap_err();
    assert_eq!(close(&sink).await.unknown, 1, "a rejected emit is known");
}

#[tokio::test(start_paused = true)]
async fn emit_that_is_dropped_before_it_begins_is_not_counted() {
    let (broker, sink) = silent();
    drop(sink.emit(envelope()));
    assert_eq!(close(&sink).await.unknown, 0);
    assert!(broker.with(|broker| broker.stream.is_empty()));
}

#[tokio::test]
async fn emit_that_is_dropped_while_it_is_spooled_counts_as_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let sink = spooling_sink(folder.path()).await;
    // The event is on the disk, and its answer waits: a fast disk may answer before the first poll ends.
    let (answer, may_answer) = mpsc::channel::<()>();
    let may_answer = Mutex::new(may_answer);
    sink.spool()
        .unwrap()
        .observe(move |_| assert!(may_answer.lock().unwrap().recv().is_err()))
        .unwrap();
    assert!(sink.emit(envelope()).now_or_never().is_none());
    drop(answer);
    assert_eq!(close(&sink).await.unknown, 1);
}

#[tokio::test(start_paused = true)]
async fn emit_in_flight_when_the_close_ends_counts_as_unknown() {
    let (_, sink) = silent();
    let (result, receipt) = tokio::join!(sink.emit(envelope()), async {
        sleep(MOMENT).await;
        close(&sink).await
    });
    result.unwrap_err();
    assert_eq!(receipt.unknown, 1);
    assert_eq!(close(&sink).await.unknown, 1, "and once, when it has ended");
}

#[tokio::test(start_paused = true)]
async fn pipeline_that_is_dropped_counts_its_unknown_events() {
    let (broker, sink) = silent();
    let window = WindowSize::new(4).unwrap();
    let mut pipeline = sink.pipeline(window).max_outage(Duration::MAX);
    pipeline.push(envelope()).unwrap();
    pipeline.push(envelope()).unwrap();
    timeout(MOMENT, pipeline.next()).await.unwrap_err();
    pipeline.push(envelope()).unwrap(); // never sent
    drop(pipeline);
    assert_eq!(sink.status().in_flight, 0);

    // Queued again after an unknown attempt.
    let mut pipeline = sink.pipeline(window).max_outage(Duration::MAX);
    pipeline.push(envelope()).unwrap();
    let lost = async {
        sleep(MOMENT).await;
        broker.disconnect();
    };
    let (ended, ()) = tokio::join!(timeout(10 * MOMENT, pipeline.next()), lost);
    ended.unwrap_err();
    assert_eq!(sink.status().in_flight, 0);
    drop(pipeline);
    assert_eq!(close(&sink).await.unknown, 3);
}

#[tokio::test(start_paused = true)]
async fn result_of_a_pipeline_counts_once() {
    let (_, sink) = silent();
    let mut pipeline = sink.pipeline(WindowSize::MIN);
    pipeline.push(envelope()).unwrap();
    pipeline.next().await.unwrap().unwrap_err();
    drop(pipeline);
    assert_eq!(close(&sink).await.unknown, 1);
}

#[tokio::test(start_paused = true)]
async fn pipeline_that_is_full_or_ended_returns_the_envelope() {
    let sink = Sink::new(Simulated::new(), SinkSettings::default());
    let mut pipeline = sink.pipeline(WindowSize::MIN);
    pipeline.push(envelope()).unwrap();
    let full = pipeline.push(envelope()).unwrap_err();
    assert!(matches!(full, PushError::Full(_)), "{full}");
    assert!(!pipeline.is_ended());
    pipeline.next().await.unwrap().unwrap();
    close(&sink).await;
    assert!(pipeline.is_ended());
    let ended = pipeline.push(full.into_envelope()).unwrap_err();
    assert_eq!(ended, PushError::Ended(envelope()));

    let sink = Sink::new(Simulated::new(), SinkSettings::default());
    let mut pipeline = sink.pipeline(WindowSize::MIN);
    pipeline.stop();
    assert!(matches!(
        pipeline.push(envelope()),
        Err(PushError::Ended(_))
    ));
}
