//! After an outage a pipeline goes straight again, though its caller never pauses.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::outcome::Delivery;
use crate::publish::settings::SinkSettings;
use crate::publisher::window::WindowSize;
use crate::replay::settings::SpoolSettings;
use crate::sink::Sink;
use crate::tests::simulated_broker::Simulated;
use crate::{EmitError, Envelope, Subject};

/// Far more than a hand-over takes.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_pipeline_sends_directly_again_after_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Simulated::new();
    broker.disconnect();
    let spool = SpoolSettings::new(folder.path());
    let sink = Sink::with_spool(broker.clone(), SinkSettings::default(), spool)
        .await
        .unwrap();
    let mut pipeline = sink.pipeline(WindowSize::new(64).unwrap());
    let mut pushed = 0_usize;
    let (mut spooled, mut stored) = (0, 0);
    let started = Instant::now();
    // Until a window and more went straight.
    while stored < 200 {
        assert!(
            started.elapsed() < LONG,
            "{spooled} spooled, {stored} stored"
        );
        while pipeline.has_room() {
            pushed += 1;
            let subject = Subject::new("a").unwrap();
            pipeline
                .push(Envelope::new(subject, pushed.to_string().into()))
                .unwrap();
        }
        match timeout(LONG, pipeline.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
        {
            Delivery::Spooled => spooled += 1,
            Delivery::Stored(_) => stored += 1,
        }
        if spooled == 500 && stored == 0 {
            broker.connect();
        }
    }
    assert!(spooled >= 500);
    while let Some(result) = pipeline.next().await {
        result.unwrap();
    }
    drop(pipeline);
    sink.close(LONG).await;
    let in_order: Vec<String> = (1..=pushed).map(|number| number.to_string()).collect();
    let there = broker.with(|broker| {
        let payloads = broker.stream.iter().map(|(_, _, payload)| payload.clone());
        payloads.collect::<Vec<_>>()
    });
    assert!(there == in_order);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipeline_with_patience_waits_for_a_full_spool_and_keeps_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Simulated::new();
    broker.disconnect();
    let spool = SpoolSettings::new(folder.path())
        .limit_bytes(4 << 10)
        .unwrap();
    let sink = Sink::with_spool(broker.clone(), SinkSettings::default(), spool)
        .await
        .unwrap();
    // Large and small ones in turn: a small one fits where a large one does not.
    let payload = |number: usize| format!("{number:>width$}", width = 900 - number % 2 * 880);
    let back = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(
            sink.status().spool.map(|spool| spool.events > 0),
            Some(true)
        );
        broker.connect();
    };
    let sending = async {
        let window = WindowSize::new(64).unwrap();
        let mut pipeline = sink.pipeline(window).max_outage(LONG);
        let mut numbers = 0..500;
        loop {
            while pipeline.has_room()
                && let Some(number) = numbers.next()
            {
                let subject = Subject::new("a").unwrap();
                let envelope = Envelope::new(subject, payload(number).into());
                pipeline.push(envelope).unwrap();
            }
            match timeout(LONG, pipeline.next()).await.unwrap() {
                Some(result) => drop(result.unwrap()),
                None => return,
            }
        }
    };
    tokio::join!(back, sending);
    let receipt = sink.close(LONG).await;
    assert_eq!((receipt.delivered, receipt.spooled), (500, 0));
    let in_order: Vec<String> = (0..500).map(payload).collect();
    let there = broker.with(|broker| {
        let payloads = broker.stream.iter().map(|(_, _, payload)| payload.clone());
        payloads.collect::<Vec<_>>()
    });
    assert!(there == in_order);
}

#[tokio::test]
async fn full_spool_is_an_error_at_once_without_patience() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Simulated::new();
    broker.disconnect();
    let spool = SpoolSettings::new(folder.path())
        .limit_bytes(1 << 10)
        .unwrap();
    let sink = Sink::with_spool(broker, SinkSettings::default(), spool);
    let sink = sink.await.unwrap();
    let mut pipeline = sink.pipeline(WindowSize::new(8).unwrap());
    let mut full = 0;
    for number in 0..8 {
        let payload = format!("{number:>400}");
        let envelope = Envelope::new(Subject::new("a").unwrap(), payload.into());
        pipeline.push(envelope).unwrap();
    }
    while let Some(result) = timeout(Duration::from_secs(5), pipeline.next())
        .await
        .unwrap()
    {
        full += usize::from(matches!(result, Err(EmitError::Spool(_))));
    }
    assert_eq!(full, 6);
}
