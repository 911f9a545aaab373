//! What was sent before it was spooled is not sent again where the broker has it.

use std::time::{Duration, Instant as SystemInstant};

use tokio::time::Instant;

use crate::outcome::{PublishError, SpoolError};
use crate::publish::Direct;
use crate::publish::settings::SinkSettings;
use crate::replay::reconcile::{MOST_SENT, Settling, Unsettleable, rest};
use crate::sink::Sink;
use crate::spool::{Baselines, Spool, SpoolSettings};
use crate::tests::simulated_broker::Simulated;
use crate::{Envelope, MessageId, Subject};

fn event(number: usize) -> Envelope {
    Envelope::new(Subject::new("a").unwrap(), number.to_string().into())
        .with_message_id(MessageId::new(format!("sink.{number}")).unwrap())
}

/// Opens a sink on the spool and closes it once all has left: what the broker has then, as subject, id and
/// payload.
async fn replayed(broker: &Simulated, spool: SpoolSettings) -> Vec<(String, String, String)> {
    let sink = Sink::with_spool(broker.clone(), SinkSettings::default(), spool)
        .await
        .unwrap();
    let receipt = sink.close(Duration::from_secs(60)).await;
    assert_eq!(receipt.spooled, 0);
    broker.with(|broker| broker.stream.clone())
}

/// Of a thousand callers at a broker that falls silent, some still wait for their answers while
/// newer events of others go to the spool at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_is_looked_up_however_far_behind_newer_events_it_stands() {
    const NEWER: usize = MOST_SENT.next_multiple_of(5_000);
    let folder = tempfile::tempdir().unwrap();
    let settings = SpoolSettings::new(folder.path());
    let soon = Instant::now() + Duration::from_secs(60);
    let spool = Spool::open(&settings).unwrap();
    for start in (1..=NEWER).step_by(5_000) {
        let events: Vec<_> = (start..start + 5_000).map(event).collect();
        let appends = events
            .iter()
            .map(|event| spool.append_event(event, None, soon));
        for result in futures_util::future::join_all(appends).await {
            result.unwrap();
        }
    }
    let sent_above = Baselines::new();
    let sent = event(0);
    spool
        .append_event(&sent, Some(&sent_above), soon)
        .await
        .unwrap();
    drop(spool);

    let broker = Simulated::new();
    broker.with(|broker| {
        let stored = ("a".to_owned(), "sink.0".to_owned(), "0".to_owned());
        broker.stream.push(stored);
    });
    let started = SystemInstant::now();
    let stored = replayed(&broker, settings).await;
    println!("replayed in {:?}", started.elapsed());
    let payloads = stored.iter().map(|(_, _, payload)| payload);
    let stored: Vec<usize> = payloads.map(|payload| payload.parse().unwrap()).collect();
    assert_eq!(stored, (0..=NEWER).collect::<Vec<_>>());
}

/// A caller that was killed before it had noted that the spool has an event gives it to the sink again,
/// under the same message id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_waits_twice_under_one_id_is_stored_once() {
    for stored_before in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let settings = SpoolSettings::new(folder.path());
        let soon = Instant::now() + Duration::from_secs(60);
        let spool = Spool::open(&settings).unwrap();
        let (sent, other) = (event(0), event(1));
        let above = Baselines::new();
        spool.append_event(&sent, Some(&above), soon).await.unwrap();
        spool.append_event(&other, None, soon).await.unwrap();
        spool.append_event(&sent, None, soon).await.unwrap();
        drop(spool);

        // It has no duplicate window: what is sent twice is stored twice.
        let broker = Simulated::new();
        if stored_before {
            broker.with(|broker| {
                let stored = ("a".to_owned(), "sink.0".to_owned(), "0".to_owned());
                broker.stream.push(stored);
            });
        }
        let stored = replayed(&broker, settings).await;
        let ids: Vec<&str> = stored.iter().map(|(_, id, _)| id.as_str()).collect();
        assert_eq!(ids, ["sink.0", "sink.1"]);
    }
}

/// A stream knows an id of its own messages only. Whoever sends one event to two of them may give it the
/// same id in both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_another_stream_has_stored_takes_nothing_out() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SpoolSettings::new(folder.path());
    let soon = Instant::now() + Duration::from_secs(60);
    let spool = Spool::open(&settings).unwrap();
    let id = MessageId::new("sink.0").unwrap();
    let elsewhere =
        Envelope::new(Subject::new("b").unwrap(), "elsewhere".into()).with_message_id(id);
    let above = Baselines::new();
    for sent in [&event(0), &elsewhere] {
        spool.append_event(sent, Some(&above), soon).await.unwrap();
    }
    drop(spool);

    let broker = Simulated::new();
    broker.with(|broker| {
        broker.streams = |subject| if subject == "a" { "A" } else { "B" };
        let stored = ("a".to_owned(), "sink.0".to_owned(), "0".to_owned());
        broker.stream.push(stored);
    });
    let stored = replayed(&broker, settings).await;
    let payloads: Vec<&str> = stored.iter().map(|(_, _, p)| p.as_str()).collect();
    assert_eq!(payloads, ["0", "elsewhere"]);
}

/// In a minute's outage under load, reading all that might be stored again and again took half a
/// core, and replay was in the midst of it when the broker returned.
#[tokio::test]
async fn nothing_is_read_from_the_disk_while_there_is_nobody_to_ask() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&SpoolSettings::new(folder.path())).unwrap();
    let soon = Instant::now() + Duration::from_secs(60);
    let above = Baselines::new();
    spool
        .append_event(&event(0), Some(&above), soon)
        .await
        .unwrap();
    spool.close(); // whoever asks the disk from now on is told so

    let broker = Simulated::new();
    let direct = Direct::new(broker.clone(), SinkSettings::default(), true);
    broker.disconnect();
    let settled = Settling::default().settle(&direct, &spool).await;
    assert!(
        matches!(
            settled,
            Err(Unsettleable::Lookup(PublishError::NotConnected))
        ),
        "{settled:?}"
    );
    broker.connect();
    let settled = Settling::default().settle(&direct, &spool).await;
    assert!(
        matches!(settled, Err(Unsettleable::Spool(SpoolError::Closed))),
        "{settled:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rest_ends_with_the_outage() {
    const LONGEST: Duration = Duration::from_millis(500);
    let broker = Simulated::new();
    let direct = Direct::new(broker.clone(), SinkSettings::default(), true);
    let started = Instant::now();
    rest(&direct, LONGEST).await;
    assert!(started.elapsed() >= LONGEST, "it was not the connection");

    broker.disconnect();
    let started = Instant::now();
    rest(&direct, LONGEST).await;
    assert!(started.elapsed() >= LONGEST, "there is still none");

    let started = Instant::now();
    tokio::join!(rest(&direct, LONGEST), async {
        tokio::time::sleep(LONGEST / 5).await;
        broker.connect();
    });
    assert!(
        started.elapsed() < LONGEST / 4,
        "{:?}, with a connection after a fifth",
        started.elapsed()
    );
}
