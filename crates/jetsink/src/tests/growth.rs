//! The cost per event must not grow with the number of subjects, and waits must not spin.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::outcome::Delivery;
use crate::publish::settings::SinkSettings;
use crate::publisher::window::WindowSize;
use crate::replay::settings::SpoolSettings;
use crate::sink::Sink;
use crate::tests::simulated_broker::{Leader, Simulated};
use crate::{Envelope, Subject};

const SUBJECTS: usize = 2_048;

/// Unoptimized and on a busy machine these tests take a second or two. Code that scans all subjects for each
/// event takes minutes.
const LONG: Duration = Duration::from_secs(30);

fn envelope(subject: usize) -> Envelope {
    let payload = subject.to_string().into();
    Envelope::new(Subject::new(format!("s.{subject}")).unwrap(), payload)
}

#[tokio::test]
async fn failing_subjects_do_not_cause_scans_of_the_window() {
    let broker = Simulated::new();
    broker.with(|broker| {
        let names = (0..SUBJECTS).map(|subject| format!("s.{subject}"));
        broker.to_refuse.extend(names);
        // Nothing leaves the window before the first has its result.
        broker.lead("s.0", Leader::GoneSilently);
    });
    let sink = Sink::new(broker, SinkSettings::default());
    let window = WindowSize::new(SUBJECTS).unwrap();
    let mut pipeline = sink.direct().pipeline(window).holding_failed_subjects();
    let started = Instant::now();
    for subject in 0..SUBJECTS {
        pipeline.push(envelope(subject)).unwrap();
    }
    while let Some(result) = pipeline.next().await {
        result.unwrap_err();
    }
    assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_reads_each_of_many_subjects_once() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Simulated::new();
    broker.disconnect();
    let window = WindowSize::new(SUBJECTS).unwrap();
    let spool = SpoolSettings::new(folder.path()).window(window);
    let sink = Sink::with_spool(broker.clone(), SinkSettings::default(), spool)
        .await
        .unwrap();
    let emits = (0..SUBJECTS).map(|subject| sink.emit(envelope(subject)));
    for result in futures_util::future::join_all(emits).await {
        assert_eq!(result.unwrap(), Delivery::Spooled);
    }
    let started = Instant::now();
    broker.connect();
    let receipt = sink.close(2 * LONG).await;
    assert_eq!(
        (receipt.delivered, receipt.spooled),
        (SUBJECTS as u64, 0),
        "{receipt:?}"
    );
    assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
}

/// The processor time of this thread (`schedstat` in proc(5)).
fn thread_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = text.split_whitespace().next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

/// It once asked without a pause whether a subject was handed over whose time had long passed.
#[tokio::test]
async fn pipeline_that_waits_for_a_full_spool_does_not_spin() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Simulated::new();
    broker.disconnect();
    let spool = SpoolSettings::new(folder.path())
        .limit_bytes(4 << 10)
        .unwrap()
        .events_per_second(20)
        .unwrap();
    let sink = Sink::with_spool(broker.clone(), SinkSettings::default(), spool)
        .await
        .unwrap();
    let event = |subject: &str, bytes: usize| {
        Envelope::new(
            Subject::new(subject).unwrap(),
            format!("{:>bytes$}", 1).into(),
        )
    };
    for _ in 0..20 {
        sink.emit(event("b", 20)).await.unwrap();
    }
    broker.connect();
    while sink.status().delivered == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let window = WindowSize::new(8).unwrap();
    let mut pipeline = sink.pipeline(window).max_outage(LONG);
    pipeline.push(event("b", 20)).unwrap();
    // It waits to be handed over.
    let early = timeout(Duration::from_millis(50), pipeline.next()).await;
    assert!(early.is_err());
    broker.disconnect();
    let spooled = pipeline.next().await.unwrap().unwrap();
    assert_eq!(spooled, Delivery::Spooled);
    sleep(Duration::from_millis(300)).await;
    // There is no room for it before others have left.
    pipeline.push(event("a", 3_000)).unwrap();
    let before = thread_time();
    let no_room = timeout(Duration::from_secs(1), pipeline.next()).await;
    assert!(no_room.is_err());
    let worked = thread_time() - before;
    assert!(worked < Duration::from_millis(100), "{worked:?}");
    broker.connect();
    let result = timeout(LONG, pipeline.next()).await;
    result.unwrap().unwrap().unwrap();
    drop(pipeline);
    assert_eq!(sink.close(LONG).await.spooled, 0);
}
