//! After an outage a pipeline goes straight again, though its caller never pauses.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::simulated_broker::Simulated;
use crate::sink::{Delivery, Sink};
use crate::sink_settings::SinkSettings;
use crate::spool::SpoolSettings;
use crate::{Envelope, Subject};

/// Far more than a hand-over takes.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_is_always_full_goes_straight_again_after_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Simulated::new();
    broker.disconnect();
    let spool = SpoolSettings::new(folder.path());
    let sink = Sink::with_spool(broker.clone(), SinkSettings::default(), spool)
        .await
        .unwrap();
    let mut pipeline = sink.pipeline(NonZeroUsize::new(64).unwrap());
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
            Delivery::Stored { .. } => stored += 1,
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
