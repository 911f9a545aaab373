//! Expired events are not sent and not lost: they become dead letters.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use crate::OfflineSpool;
use crate::outcome::Delivery;
use crate::publish::settings::SinkSettings;
use crate::replay::settings::SpoolSettings;
use crate::sink::Sink;
use crate::tests::simulated_broker::Simulated;
use crate::{Envelope, Subject};

const MAX_AGE: Duration = Duration::from_millis(300);

async fn sink(broker: &Simulated, folder: &Path, max_age: Duration) -> Sink<Simulated> {
    let settings = SpoolSettings::new(folder).max_age(max_age).unwrap();
    Sink::with_spool(broker.clone(), SinkSettings::default(), settings)
        .await
        .unwrap()
}

async fn spooled(sink: &Sink<Simulated>, payload: &'static str) {
    let subject = Subject::new("a").unwrap();
    let emitted = sink.emit(Envelope::new(subject, payload.into())).await;
    assert_eq!(emitted.unwrap(), Delivery::Spooled);
}

fn reasons(folder: &Path) -> Vec<String> {
    let mut reasons = Vec::new();
    let file = OfflineSpool::open(folder).unwrap();
    file.dead_letters(|letter| reasons.push(letter.reason))
        .unwrap();
    reasons
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_events_become_dead_letters_and_the_others_are_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Simulated::new();
    broker.disconnect();
    let sink = sink(&broker, folder.path(), MAX_AGE).await;
    spooled(&sink, "old").await;
    while sink.spool().unwrap().status().dead_letters == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    spooled(&sink, "new").await;
    broker.connect();
    let receipt = sink.close(Duration::from_secs(10)).await;
    assert_eq!((receipt.delivered, receipt.dead_letters), (1, 1));
    let stored = broker.with(|broker| broker.stream.clone());
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].2, "new");
    let reasons = reasons(folder.path());
    assert!(reasons[0].contains("and may wait 300ms"), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_spool_is_not_delivered_when_opened() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Simulated::new();
    broker.disconnect();
    let before = sink(&broker, folder.path(), Duration::from_secs(3_600)).await;
    spooled(&before, "one").await;
    spooled(&before, "two").await;
    before.close(Duration::ZERO).await;
    sleep(MAX_AGE).await;
    broker.connect();
    let sink = sink(&broker, folder.path(), MAX_AGE).await;
    let receipt = sink.close(Duration::from_secs(10)).await;
    assert_eq!((receipt.delivered, receipt.spooled), (0, 0));
    assert_eq!(reasons(folder.path()).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_expires_behind_a_slow_rate_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Simulated::new();
    broker.disconnect();
    // Read together, the last of them is due two seconds later.
    let settings = SpoolSettings::new(folder.path())
        .max_age(Duration::from_secs(1))
        .unwrap()
        .events_per_second(10)
        .unwrap();
    let sink = Sink::with_spool(broker.clone(), SinkSettings::default(), settings)
        .await
        .unwrap();
    for _ in 0..20 {
        spooled(&sink, "x").await;
    }
    broker.connect();
    let receipt = sink.close(Duration::from_secs(20)).await;
    assert_eq!(receipt.spooled, 0);
    assert_eq!(receipt.delivered + receipt.dead_letters, 20);
    assert!(receipt.dead_letters > 0);
    let stored = broker.with(|broker| broker.stream.len() as u64);
    assert_eq!(stored, receipt.delivered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_whose_own_expiry_passes_in_the_spool_becomes_a_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Simulated::new();
    broker.disconnect();
    let settings = SpoolSettings::new(folder.path());
    let sink = Sink::with_spool(broker.clone(), SinkSettings::default(), settings);
    let sink = sink.await.unwrap();
    let subject = Subject::new("a").unwrap();
    let soon = std::time::SystemTime::now() + Duration::from_millis(200);
    let expiring = Envelope::new(subject, "expiring".into()).with_expiry(soon);
    assert_eq!(sink.emit(expiring).await.unwrap(), Delivery::Spooled);
    spooled(&sink, "lasting").await;
    sleep(Duration::from_millis(400)).await;
    broker.connect();
    let receipt = sink.close(Duration::from_secs(10)).await;
    assert_eq!((receipt.delivered, receipt.dead_letters), (1, 1));
    let stored = broker.with(|broker| broker.stream.clone());
    assert_eq!(stored[0].2, "lasting");
    let reasons = reasons(folder.path());
    assert!(reasons[0].starts_with("it expired at "), "{reasons:?}");
}
