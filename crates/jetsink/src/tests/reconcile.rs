//! An event that was sent before it was spooled is not sent again if the broker has it.

use std::sync::Arc;
use std::time::{Duration, Instant as SystemInstant};

use tokio::time::Instant;

use crate::circuit::State;
use crate::observe::metrics::SpoolMeters;
use crate::outcome::{PublishError, SpoolError};
use crate::publish::Direct;
use crate::publish::settings::SinkSettings;
use crate::replay::candidates::MAX_SENT;
use crate::replay::reconcile::{ReconcileError, Reconciler, rest};
use crate::replay::replay;
use crate::replay::settings::{SpoolSettings, WhenUnconfirmed};
use crate::sink::Sink;
use crate::spool::tests::simulated_disk::{Failing, Fault, SimulatedDisk};
use crate::spool::{Baselines, Spool};
use crate::tests::simulated_broker::{Leader, Simulated};
use crate::{Envelope, MessageId, OfflineSpool, Subject, WindowSize};

fn event(number: usize) -> Envelope {
    Envelope::new(Subject::new("a").unwrap(), number.to_string().into())
        .with_message_id(MessageId::new(format!("sink.{number}")).unwrap())
}

/// Opens a sink on the spool and closes it once the spool is empty. Returns the broker's stream as subject,
/// id and payload.
async fn replayed(broker: &Simulated, spool: SpoolSettings) -> Vec<(String, String, String)> {
    let sink = Sink::with_spool(broker.clone(), SinkSettings::default(), spool)
        .await
        .unwrap();
    let receipt = sink.close(Duration::from_secs(60)).await;
    assert_eq!(receipt.spooled, 0);
    broker.with(|broker| broker.stream.clone())
}

/// With a thousand callers and a broker that falls silent, some callers still wait for their answers
/// while newer events of others are spooled at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sent_event_is_looked_up_even_far_behind_newer_events() {
    const NEWER: usize = MAX_SENT.next_multiple_of(5_000);
    let folder = tempfile::tempdir().unwrap();
    let settings = SpoolSettings::new(folder.path());
    let soon = Instant::now() + Duration::from_secs(60);
    let spool = Spool::open(settings.directory(), settings.chosen_limit()).unwrap();
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

/// A caller that was killed before it recorded that an event is spooled emits it again with the same
/// message id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_is_spooled_twice_with_one_id_is_stored_once() {
    for stored_before in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let settings = SpoolSettings::new(folder.path());
        let soon = Instant::now() + Duration::from_secs(60);
        let spool = Spool::open(settings.directory(), settings.chosen_limit()).unwrap();
        let (sent, other) = (event(0), event(1));
        let above = Baselines::new();
        spool.append_event(&sent, Some(&above), soon).await.unwrap();
        spool.append_event(&other, None, soon).await.unwrap();
        spool.append_event(&sent, None, soon).await.unwrap();
        drop(spool);

        // The broker has no duplicate window: it stores an event as often as it is sent.
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

/// A stream knows only the ids of its own messages. A caller may send an event to two streams with the
/// same id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn id_in_another_stream_removes_nothing_from_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SpoolSettings::new(folder.path());
    let soon = Instant::now() + Duration::from_secs(60);
    let spool = Spool::open(settings.directory(), settings.chosen_limit()).unwrap();
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

/// Looks up everything in the spool.
async fn look_up(
    direct: &Direct<Simulated>,
    spool: &Spool,
) -> Result<Vec<Subject>, ReconcileError> {
    let meters = SpoolMeters::new();
    let reconciler = Reconciler::new(direct, spool, &meters, WhenUnconfirmed::Deliver);
    let due = reconciler.next(|_| true).unwrap();
    reconciler.reconcile(due).await
}

/// A subject that enters the spool while another drains does not wait for the other's backlog.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subject_that_enters_during_a_replay_is_served_before_the_backlog_of_others() {
    const BACKLOG: usize = 3_000;
    let folder = tempfile::tempdir().unwrap();
    let settings = SpoolSettings::new(folder.path());
    let settings = settings.events_per_second(1_000).unwrap();
    let spool = Arc::new(Spool::open(settings.directory(), settings.chosen_limit()).unwrap());
    let soon = Instant::now() + Duration::from_secs(60);
    let events: Vec<_> = (0..BACKLOG).map(event).collect();
    let appends = events
        .iter()
        .map(|event| spool.append_event(event, None, soon));
    for result in futures_util::future::join_all(appends).await {
        result.unwrap();
    }
    let broker = Simulated::new();
    let direct = Arc::new(Direct::new(broker.clone(), SinkSettings::default(), true));
    let replay = tokio::spawn(replay(direct, Arc::clone(&spool), settings));
    while broker.with(|broker| broker.stream.is_empty()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let late = Envelope::new(Subject::new("b").unwrap(), "late".into())
        .with_message_id(MessageId::new("late.1").unwrap());
    spool.append_event(&late, None, soon).await.unwrap();
    spool.emptied(soon).await;
    replay.abort();
    let stored = broker.with(|broker| broker.stream.clone());
    assert_eq!(stored.len(), BACKLOG + 1);
    let at = stored.iter().position(|(subject, ..)| subject == "b");
    assert!(at.unwrap() < BACKLOG - 1, "behind {at:?} events");
}

/// Regression: the look-up could not read an event in doubt, and counted its subject as reconciled all the same.
#[tokio::test(start_paused = true)]
async fn sent_event_that_is_in_doubt_on_the_disk_is_looked_up_once_it_is_written() {
    let disk = SimulatedDisk::default();
    let spool = Arc::new(Spool::at_once(disk.open(), 1 << 30).unwrap());
    let (broker, soon) = (Simulated::new(), Instant::now() + Duration::from_secs(60));
    let stored = ("a".to_owned(), "sink.1".to_owned(), "1".to_owned());
    broker.with(|broker| broker.stream.push(stored));
    spool.append_event(&event(0), None, soon).await.unwrap();
    disk.fail(Some(Failing {
        from: 0,
        fault: Fault::Full,
        for_good: true,
    }));
    let above = Baselines::new();
    let appended = spool.append_event(&event(1), Some(&above), soon).await;
    assert!(appended.unwrap_err().may_be_spooled());

    let direct = Arc::new(Direct::new(broker.clone(), SinkSettings::default(), true));
    let settings = SpoolSettings::new("in memory");
    let replay = tokio::spawn(replay(direct, Arc::clone(&spool), settings));
    tokio::time::sleep(Duration::from_secs(5)).await;
    disk.fail(None);
    spool.written().await.unwrap();
    spool.emptied(soon).await;
    replay.abort();
    let ids = broker.with(|broker| broker.stream.clone());
    let ids: Vec<String> = ids.into_iter().map(|(_, id, _)| id).collect();
    assert_eq!(ids, ["sink.1", "sink.0"]);
}

/// Each failure of a subject paused the sending of all subjects, for 100 ms and for 400 ms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subject_behind_many_that_have_no_stream_is_delivered_at_once() {
    const FAILING: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let settings = SpoolSettings::new(folder.path());
    let settings = settings.window(WindowSize::MIN);
    let spool = Arc::new(Spool::open(settings.directory(), settings.chosen_limit()).unwrap());
    let soon = Instant::now() + Duration::from_secs(60);
    let broker = Simulated::new();
    let of = |subject: String| {
        Envelope::new(Subject::new(subject.clone()).unwrap(), "x".into())
            .with_message_id(MessageId::new(subject).unwrap())
    };
    for number in 0..FAILING {
        let event = of(format!("nowhere.{number}"));
        broker.with(|broker| broker.lead(event.subject().as_str(), Leader::NoStream));
        spool.append_event(&event, None, soon).await.unwrap();
    }
    let good = of("good".to_owned());
    spool.append_event(&good, None, soon).await.unwrap();
    let direct = Arc::new(Direct::new(broker.clone(), SinkSettings::default(), true));
    let replay = tokio::spawn(replay(direct, Arc::clone(&spool), settings));
    let started = Instant::now();
    while broker.with(|broker| broker.stream.is_empty()) {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "a pause for each"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    replay.abort();
}

#[tokio::test]
async fn replay_sends_the_events_of_many_subjects_in_the_order_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SpoolSettings::new(folder.path());
    let spool = Spool::open(settings.directory(), settings.chosen_limit()).unwrap();
    let soon = Instant::now() + Duration::from_secs(60);
    let mut expected = Vec::new();
    for number in 0..120 {
        let subject = Subject::new(format!("s{}", number % 30)).unwrap();
        let id = format!("sink.{number}");
        let event =
            Envelope::new(subject, "x".into()).with_message_id(MessageId::new(id.clone()).unwrap());
        spool.append_event(&event, None, soon).await.unwrap();
        expected.push(id);
    }
    drop(spool);
    let stored = replayed(&Simulated::new(), settings).await;
    let ids: Vec<String> = stored.into_iter().map(|(_, id, _)| id).collect();
    assert_eq!(ids, expected);
}

/// Regression: during an outage of a minute under load, replay read the candidates again and again. That
/// used half a core, and delayed replay when the broker returned.
#[tokio::test]
async fn nothing_is_read_from_the_disk_without_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), None).unwrap();
    let soon = Instant::now() + Duration::from_secs(60);
    let above = Baselines::new();
    spool
        .append_event(&event(0), Some(&above), soon)
        .await
        .unwrap();
    spool.close(Duration::from_secs(9)); // from now on a read returns an error

    let broker = Simulated::new();
    let direct = Direct::new(broker.clone(), SinkSettings::default(), true);
    broker.disconnect();
    let settled = look_up(&direct, &spool).await;
    assert!(
        matches!(
            settled,
            Err(ReconcileError::Lookup(PublishError::NotConnected))
        ),
        "{settled:?}"
    );
    broker.connect();
    let settled = look_up(&direct, &spool).await;
    assert!(
        matches!(settled, Err(ReconcileError::Spool(SpoolError::Closed))),
        "{settled:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn rest_ends_when_the_broker_is_back() {
    const MAX_REST: Duration = Duration::from_millis(500);
    let broker = Simulated::new();
    let direct = Direct::new(broker.clone(), SinkSettings::default(), true);
    let started = Instant::now();
    rest(&direct, MAX_REST).await;
    assert!(started.elapsed() >= MAX_REST, "it was not the connection");

    broker.disconnect();
    let started = Instant::now();
    rest(&direct, MAX_REST).await;
    assert!(started.elapsed() >= MAX_REST, "there is still none");

    let started = Instant::now();
    tokio::join!(rest(&direct, MAX_REST), async {
        tokio::time::sleep(MAX_REST / 5).await;
        broker.connect();
    });
    assert!(
        started.elapsed() < MAX_REST / 4,
        "{:?}, with a connection after a fifth",
        started.elapsed()
    );
}

/// A user's finding: the mark was written before a probe that could not be sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probe_without_a_connection_marks_no_event_as_sent() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Simulated::new();
    broker.disconnect();
    let settings = SpoolSettings::new(folder.path());
    let sink = Sink::with_spool(broker.clone(), SinkSettings::default(), settings.clone())
        .await
        .unwrap();
    sink.emit(event(0)).await.unwrap();
    let failed_probes = |sink: &Sink<Simulated>| match sink.status().broker {
        State::Connected => 0,
        State::Reconnecting { attempt, .. } => attempt,
    };
    let started = Instant::now();
    while failed_probes(&sink) < 3 {
        assert!(started.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sink.close(Duration::ZERO).await;
    drop(sink);
    let is_marked = || OfflineSpool::open(folder.path()).unwrap().may_be_stored();
    assert!(!is_marked());

    // An event that is sent is marked before.
    broker.connect();
    broker.with(|broker| broker.silent = Some(true));
    let sink = Sink::with_spool(broker.clone(), SinkSettings::default(), settings.clone())
        .await
        .unwrap();
    let started = Instant::now();
    while broker.with(|broker| broker.stream.is_empty()) {
        assert!(started.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sink.close(Duration::ZERO).await;
    drop(sink);
    assert!(is_marked());
    broker.connect();
    assert_eq!(replayed(&broker, settings).await.len(), 1);
    assert!(!is_marked());
}
