//! Repeats, conflicts, clients that go away, and answers about the broker's state.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use common::*;
use jetsink::OfflineSpool;
use jetsink_serve::GatewaySettings;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn repeat_is_a_duplicate_with_the_same_sequence_and_other_content_is_a_conflict() {
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.{tenantId}").await;
    let one = event("1", r#","data":{"tenantId":"a"}"#);
    let first = gateway.post(&[STRUCTURED], &one).await;
    let again = gateway.post(&[STRUCTURED], &one).await;
    assert_eq!(
        (
            first.header("jetsink-sequence"),
            first.header("jetsink-duplicate")
        ),
        ("1", "false")
    );
    assert_eq!(
        (
            again.header("jetsink-sequence"),
            again.header("jetsink-duplicate")
        ),
        ("1", "true")
    );
    let other = gateway
        .post(
            &[STRUCTURED],
            event("1", r#","data":{"tenantId":"a","x":1}"#),
        )
        .await;
    assert_eq!(
        (other.status, other.problem().as_str()),
        (422, "identity-conflict")
    );
    // Another tenant's event with the same source and id is another event.
    let tenant = gateway
        .post(&[STRUCTURED], event("1", r#","data":{"tenantId":"b"}"#))
        .await;
    assert_eq!(
        (tenant.status, tenant.header("jetsink-duplicate")),
        (202, "false")
    );
    let batch = gateway.post(&[BATCHED], format!("[{one},{one}]")).await;
    assert_eq!(batch.status, 202);
    assert_eq!(messages(&broker).await.len(), 2);
}

#[tokio::test]
async fn gateway_that_restarts_relies_on_the_streams_window() {
    let broker = broker().await;
    let first = without_spool(&broker, "events.a").await;
    assert_eq!(first.post(&[STRUCTURED], event("1", "")).await.status, 202);
    assert!(first.stop().await);
    let second = without_spool(&broker, "events.a").await;
    let again = second.post(&[STRUCTURED], event("1", "")).await;
    assert_eq!(
        (again.status, again.header("jetsink-duplicate")),
        (202, "true")
    );
    assert_eq!(messages(&broker).await.len(), 1);
}

#[tokio::test]
async fn sender_is_asked_to_repeat_without_a_broker_or_a_stream() {
    let mut broker = broker().await;
    let gateway = without_spool(&broker, "events.a").await;
    let nowhere = without_spool(&broker, "nowhere.a").await;
    let reply = nowhere.post(&[STRUCTURED], event("1", "")).await;
    assert_eq!(
        (reply.status, reply.problem().as_str()),
        (503, "not-stored"),
        "{reply:?}"
    );
    assert_eq!(reply.header("retry-after"), "30");
    broker.kill().unwrap();
    let started = Instant::now();
    let mut reply = gateway.post(&[STRUCTURED], event("2", "")).await;
    assert!(matches!(reply.status, 503 | 504), "{reply:?}");
    reply = gateway.post(&[STRUCTURED], event("2", "")).await;
    assert_eq!(
        (reply.status, reply.problem().as_str()),
        (503, "circuit-open"),
        "{reply:?}"
    );
    assert!(!reply.header("retry-after").is_empty());
    assert!(started.elapsed() < Duration::from_secs(8));
    let mut batch = gateway
        .post(
            &[BATCHED],
            format!("[{},{}]", event("3", ""), event("4", "")),
        )
        .await;
    assert_eq!(batch.status, 503);
    let report = batch.json();
    assert_eq!(report["events"][0]["outcome"], "failed");
    assert_eq!(report["events"][1]["outcome"], "not-tried");
    broker.restart().await.unwrap();
    let started = Instant::now();
    while batch.status != 202 {
        assert!(started.elapsed() < Duration::from_secs(20), "{batch:?}");
        sleep(Duration::from_millis(100)).await;
        batch = gateway
            .post(
                &[BATCHED],
                format!("[{},{}]", event("3", ""), event("4", "")),
            )
            .await;
    }
    assert_eq!(messages(&broker).await.len(), 2);
}

#[tokio::test]
async fn event_that_is_too_large_for_the_stream_is_422_and_stops_its_subject_only() {
    let broker = broker().await;
    broker.create_stream_with(small_messages()).await.unwrap();
    let gateway = without_spool(&broker, "small.{tenantId}").await;
    let of = |id: &str, tenant: &str, padding: usize| {
        event(
            id,
            &format!(
                r#","data":{{"tenantId":"{tenant}","x":"{}"}}"#,
                "x".repeat(padding)
            ),
        )
    };
    let batch = format!(
        "[{},{},{},{}]",
        of("1", "a", 1),
        of("2", "a", 9_000),
        of("3", "a", 1),
        of("4", "b", 1)
    );
    let reply = gateway.post(&[BATCHED], batch).await;
    assert_eq!(
        (reply.status, reply.problem().as_str()),
        (422, "event-refused"),
        "{reply:?}"
    );
    let report = reply.json();
    let outcomes: Vec<&str> = (0..4)
        .map(|index| report["events"][index]["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["stored", "failed", "not-tried", "stored"]);
    assert_eq!(report["events"][1]["repeat"], false);
}

fn small_messages() -> Config {
    Config {
        name: "SMALL".to_owned(),
        subjects: vec!["small.>".to_owned()],
        max_message_size: 4_096,
        ..Config::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spooled_event_is_answered_once_synced_and_its_repeat_is_a_duplicate() {
    let mut broker = broker().await;
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(&broker, Some(folder.path())).await;
    let gateway = running(sink.clone(), "events.a", GatewaySettings::default()).await;
    broker.kill().unwrap();
    for id in 0..5 {
        let first = gateway
            .post(&[STRUCTURED], event(&id.to_string(), ""))
            .await;
        assert_eq!(
            (first.status, first.header("jetsink-outcome")),
            (202, "spooled"),
            "{first:?}"
        );
        assert_eq!(first.header("jetsink-duplicate"), "false");
        let again = gateway
            .post(&[STRUCTURED], event(&id.to_string(), ""))
            .await;
        assert_eq!(
            (
                again.header("jetsink-outcome"),
                again.header("jetsink-duplicate")
            ),
            ("spooled", "true")
        );
    }
    broker.restart().await.unwrap();
    let started = Instant::now();
    while sink.spool().unwrap().status().events > 0 {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{:?}",
            sink.status()
        );
        sleep(Duration::from_millis(20)).await;
    }
    let again = gateway.post(&[STRUCTURED], event("0", "")).await;
    assert_eq!(
        (again.status, again.header("jetsink-duplicate")),
        (202, "true")
    );
    let messages = messages(&broker).await;
    let ids: Vec<String> = messages
        .iter()
        .map(|message| {
            serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap()["id"].to_string()
        })
        .collect();
    assert_eq!(
        ids,
        ["\"0\"", "\"1\"", "\"2\"", "\"3\"", "\"4\""],
        "once, and in order"
    );
}

// A reviewer's finding: the repeat was answered 202 and stored nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeat_of_a_discarded_event_is_stored() {
    let mut broker = broker().await;
    let folder = tempfile::tempdir().unwrap();
    let first = sink(&broker, Some(folder.path())).await;
    let gateway = running(first.clone(), "events.a", GatewaySettings::default()).await;
    broker.kill().unwrap();
    let one = event("1", "");
    let spooled = gateway.post(&[STRUCTURED], &one).await;
    assert_eq!(spooled.header("jetsink-outcome"), "spooled");
    assert!(gateway.stop().await);
    first.close(Duration::ZERO).await;
    drop(first);
    let mut spool = OfflineSpool::open(folder.path()).unwrap();
    assert_eq!(spool.discard(|_| true), Ok(1));
    drop(spool);
    broker.restart().await.unwrap();
    let second = sink(&broker, Some(folder.path())).await;
    let gateway = running(second, "events.a", GatewaySettings::default()).await;
    gateway.gateway.recall_spooled().await.unwrap();
    let again = gateway.post(&[STRUCTURED], &one).await;
    assert_eq!(
        (again.status, again.header("jetsink-duplicate")),
        (202, "false")
    );
    assert_eq!(messages(&broker).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_goes_away_leaves_its_event_to_be_stored_once() {
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.a").await;
    for id in 0..50 {
        let body = event(&id.to_string(), "");
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let (name, value) = STRUCTURED;
        let request = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\n{name}: {value}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        drop(stream);
        let again = gateway.post(&[STRUCTURED], body).await;
        assert_eq!(again.status, 202, "{again:?}");
    }
    assert_eq!(messages(&broker).await.len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_shortens_the_deadline_and_its_repeat_waits_for_the_result() {
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.a").await;
    assert_eq!(
        gateway.post(&[STRUCTURED], event("0", "")).await.status,
        202
    );
    broker.freeze().unwrap();
    let started = Instant::now();
    let short = gateway
        .post(&[STRUCTURED, ("request-timeout", "0.1")], event("1", ""))
        .await;
    assert_eq!(
        (short.status, short.problem().as_str()),
        (504, "outcome-unknown"),
        "{short:?}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    let waiting = gateway.post(&[STRUCTURED, ("prefer", "wait=100000")], event("1", ""));
    let thaw = async {
        sleep(Duration::from_millis(200)).await;
        broker.thaw().unwrap();
    };
    let (waited, ()) = tokio::join!(waiting, thaw);
    assert_eq!(
        (waited.status, waited.header("jetsink-duplicate")),
        (202, "true"),
        "{waited:?}"
    );
    assert_eq!(messages(&broker).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_repeats_at_once_store_one_event() {
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.a").await;
    let body = event("1", "");
    let posts = (0..100).map(|_| gateway.post(&[STRUCTURED], &body));
    let replies = futures_util::future::join_all(posts).await;
    assert!(
        replies
            .iter()
            .all(|reply| reply.status == 202 && reply.header("jetsink-sequence") == "1")
    );
    let firsts = replies
        .iter()
        .filter(|reply| reply.header("jetsink-duplicate") == "false");
    assert_eq!(firsts.count(), 1);
    assert_eq!(messages(&broker).await.len(), 1);
}
