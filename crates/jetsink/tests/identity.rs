//! Message ids and the callers' own headers: two events never share an id, and a header that the server
//! refuses is the fault of its event alone.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::time::Duration;

use common::*;
use jetsink::CircuitState as State;
use jetsink::{
    ConnectSettings, Delivery, EmitError, Envelope, Headers, MessageId, NatsPublisher,
    PublishError, Scope, Sink, SinkSettings, SpoolSettings, Subject, WindowSize,
};
use nats_local::{NatsServer, stored};

/// Stores another event under the ids that the sink mints next, as a process with a copy of its state does.
async fn take_next_ids(server: &NatsServer, numbers: std::ops::RangeInclusive<u64>) {
    let jetstream = server.jetstream().await.unwrap();
    let there = stored(&jetstream, "EVENTS").await.unwrap();
    let last = there.last().unwrap().message_id.clone().unwrap();
    let (prefix, _) = last.rsplit_once('.').unwrap();
    for number in numbers {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{prefix}.{number}"));
        let publish = jetstream.publish_with_headers("events.copy", headers, "copy".into());
        assert!(!publish.await.unwrap().await.unwrap().duplicate);
    }
}

async fn payloads(server: &NatsServer) -> Vec<String> {
    let jetstream = server.jetstream().await.unwrap();
    let there = stored(&jetstream, "EVENTS").await.unwrap();
    let text = |payload: &[u8]| String::from_utf8_lossy(payload).into_owned();
    there.iter().map(|message| text(&message.payload)).collect()
}

#[tokio::test]
async fn event_whose_new_id_is_taken_is_stored_under_another_one() {
    let server = server_with_stream().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let spool = SpoolSettings::new(folder.path());
    let spooling = Sink::with_spool(publisher, SinkSettings::default(), spool).await;
    for sink in [sink_to(&server).await, spooling.unwrap()] {
        emit(&sink, "events.a", "one".into()).await.result.unwrap();
        take_next_ids(&server, 2..=2).await;
        for payload in ["two", "three"] {
            match emit(&sink, "events.a", payload.into()).await.result {
                Ok(Delivery::Stored(ack)) => assert!(!ack.duplicate),
                other => panic!("{other:?}"),
            }
        }
        let there = payloads(&server).await;
        assert_eq!(there[there.len() - 4..], ["one", "copy", "two", "three"]);
    }
}

#[tokio::test]
async fn pipeline_stores_events_whose_new_ids_are_taken_under_other_ones() {
    let server = server_with_stream().await;
    let sink = sink_to(&server).await;
    emit(&sink, "events.a", "first".into())
        .await
        .result
        .unwrap();
    take_next_ids(&server, 3..=5).await;
    let mut pipeline = sink.pipeline(WindowSize::new(64).unwrap());
    for number in 0..20 {
        pipeline
            .push(event("events.a", number.to_string()))
            .unwrap();
    }
    while let Some(result) = pipeline.next().await {
        assert!(
            matches!(&result, Ok(Delivery::Stored(ack)) if !ack.duplicate),
            "{result:?}"
        );
    }
    let there = payloads(&server).await;
    for number in 0..20 {
        let number = number.to_string();
        let count = there.iter().filter(|payload| **payload == number).count();
        assert_eq!(count, 1, "{number}");
    }
}

#[tokio::test]
async fn sink_id_that_is_used_again_loses_no_event() {
    let server = server_with_stream().await;
    for run in 0..3 {
        let settings = ConnectSettings::new(&server.url()).unwrap();
        let publisher = NatsPublisher::connect(settings).await.unwrap();
        let settings = SinkSettings::default().sink_id("host-7").unwrap();
        let sink = Sink::new(publisher, settings);
        for number in 0..3 {
            let payload = format!("{run}.{number}");
            match emit(&sink, "events.a", payload.into()).await.result {
                Ok(Delivery::Stored(ack)) => assert!(!ack.duplicate),
                other => panic!("{other:?}"),
            }
        }
        sink.close(Duration::from_secs(1)).await;
    }
    assert_eq!(payloads(&server).await.len(), 9);
    let jetstream = server.jetstream().await.unwrap();
    for message in stored(&jetstream, "EVENTS").await.unwrap() {
        assert!(message.message_id.unwrap().starts_with("host-7."));
    }
}

fn with_header(name: &'static str, value: &'static str) -> Envelope {
    let mut headers = Headers::default();
    headers.push(name, value).unwrap();
    Envelope::new(Subject::new("events.a").unwrap(), "x".into()).with_headers(headers)
}

const REFUSED: &[(&str, &str)] = &[
    ("Nats-Rollup", "sub"),
    ("Nats-Rollup", "nonsense"),
    ("Nats-Expected-Stream", "OTHER"),
    ("Nats-Expected-Last-Sequence", "999"),
    ("Nats-Expected-Last-Subject-Sequence", "999"),
    ("Nats-Expected-Last-Msg-Id", "other"),
    ("Nats-TTL", "1s"),
    ("Nats-TTL", "nonsense"),
    ("Nats-Incr", "1"),
    ("Nats-Schedule", "@every 1s"),
    ("Nats-Batch-Id", "batch"),
];

#[tokio::test]
async fn header_that_the_server_refuses_is_the_fault_of_its_event_alone() {
    let server = server_with_stream().await;
    let sink = sink_to(&server).await;
    emit(&sink, "events.a", "first".into())
        .await
        .result
        .unwrap();
    for (name, value) in REFUSED {
        match sink.emit(with_header(name, value)).await {
            // An older server does not know the header.
            Ok(_) => println!("{name}: {value} is accepted"),
            Err(error) => assert_eq!(error.scope(), Scope::Event, "{name}: {value}: {error}"),
        }
        let good = emit(&sink, "events.a", "good".into()).await.result;
        good.unwrap_or_else(|error| panic!("after {name}: {value}: {error}"));
    }
    assert_eq!(
        sink.subject_state(&Subject::new("events.a").unwrap()),
        State::Connected
    );
}

#[tokio::test]
async fn spooled_event_with_a_refused_header_becomes_a_dead_letter() {
    let mut server = server_with_stream().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let spool = SpoolSettings::new(folder.path());
    let sink = Sink::with_spool(publisher, SinkSettings::default(), spool);
    let sink = sink.await.unwrap();
    server.kill().unwrap();
    sink.emit(event("events.a", "before")).await.unwrap();
    sink.emit(with_header("Nats-Expected-Stream", "OTHER"))
        .await
        .unwrap();
    sink.emit(event("events.a", "behind")).await.unwrap();
    server.restart().await.unwrap();
    let receipt = sink.close(Duration::from_secs(30)).await;
    assert_eq!((receipt.spooled, receipt.dead_letters), (0, 1));
    assert_eq!(payloads(&server).await, ["before", "behind"]);
}

#[tokio::test]
async fn batch_header_on_a_stream_with_batches_fails_its_event_alone() {
    let server = NatsServer::start().await.unwrap();
    let jetstream = server.jetstream().await.unwrap();
    let config = async_nats::jetstream::stream::Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        allow_atomic_publish: true,
        ..Default::default()
    };
    let created = jetstream.create_stream(config).await.unwrap();
    if !created.cached_info().config.allow_atomic_publish {
        return println!("this server has no batches");
    }
    let sink = sink_to(&server).await;
    let mut headers = Headers::default();
    headers.push("Nats-Batch-Id", "batch").unwrap();
    headers.push("Nats-Batch-Sequence", "1").unwrap();
    let staged = event("events.a", "staged").with_headers(headers);
    match sink.emit(staged).await {
        Err(EmitError::Failed(failed)) => {
            assert!(matches!(failed.error, PublishError::HeaderRefused(_)));
        }
        other => panic!("{other:?}"),
    }
    emit(&sink, "events.a", "good".into()).await.result.unwrap();
}

/// The id says that it is the same event: a repeat by another process, or by a caller that did not know the outcome. The
/// stream does not say which event it has.
#[tokio::test]
async fn repeat_of_a_callers_id_is_reported_as_a_duplicate_and_counted() {
    let server = server_with_stream().await;
    let sink = sink_to(&server).await;
    let with_id = |payload: &'static str| {
        event("events.a", payload).with_message_id(MessageId::new("order.1").unwrap())
    };
    for (payload, expected) in [("one", false), ("one", true), ("another", true)] {
        match sink.emit(with_id(payload)).await.unwrap() {
            Delivery::Stored(ack) => assert_eq!(ack.duplicate, expected, "{payload}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(payloads(&server).await, ["one"]);
    let receipt = sink.close(Duration::from_secs(1)).await;
    assert_eq!((receipt.delivered, receipt.duplicates), (3, 2));
}
