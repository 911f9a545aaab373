//! Emits to a reachable broker, and its refusals.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use bytes::Bytes;
use common::*;
use futures_util::StreamExt as _;
use jetsink::CircuitState as State;
use jetsink::{
    ConnectSettings, Delivery, EmitError, Known, MessageId, PublishError, Scope, StreamContent,
    StreamName, Subject,
};
use nats_local::{NatsServer, stored};
use tokio::task::JoinSet;

fn failure(result: Result<Delivery, EmitError>) -> PublishError {
    match result {
        Err(EmitError::Failed(failed)) => failed.error,
        other => panic!("expected a failed publish, got {other:?}"),
    }
}

#[tokio::test]
async fn one_caller_gets_each_event_stored_once_in_order() {
    let server = server_with_stream().await;
    let sink = sink_to(&server).await;
    let mut ledger = Ledger::default();
    for number in 0..500 {
        let emitted = emit(&sink, "events.a", Bytes::from(number.to_string())).await;
        match &emitted.result {
            Ok(Delivery::Stored(ack)) => {
                assert_eq!(
                    (ack.stream.as_str(), ack.sequence, ack.duplicate),
                    ("EVENTS", number + 1, false)
                );
            }
            other => panic!("{other:?}"),
        }
        ledger.0.push(emitted);
    }
    assert!(ledger.audit(&server, "EVENTS").await.is_clean());
    let there = stored(&server.jetstream().await.unwrap(), "EVENTS")
        .await
        .unwrap();
    for (message, number) in there.iter().zip(1..) {
        let id = message.message_id.as_deref().unwrap();
        assert!(id.ends_with(&format!(".{number}")), "ids count up: {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_callers_get_each_event_stored_once() {
    let server = server_with_stream().await;
    let sink = Arc::new(sink_to(&server).await);
    let mut callers = JoinSet::new();
    for caller in 0..64 {
        let sink = Arc::clone(&sink);
        callers.spawn(async move {
            let mut own = Vec::new();
            for number in 0..100 {
                let payload = Bytes::from(format!("{caller}.{number}"));
                own.push(emit(&sink, &format!("events.{caller}"), payload).await);
            }
            own
        });
    }
    let ledger = Ledger(callers.join_all().await.into_iter().flatten().collect());
    assert_eq!(ledger.acknowledged().len(), 6_400);
    ledger.assert_promise_kept(&server).await;
}

#[tokio::test]
async fn event_without_a_stream_fails_and_affects_no_other() {
    let server = server_with_stream().await;
    let sink = sink_to(&server).await;
    for number in 0..20 {
        let error = emit(&sink, "nowhere.a", "x".into())
            .await
            .result
            .unwrap_err();
        assert_eq!(error.scope(), Scope::Subject, "{error}");
        if number == 0 {
            assert_eq!(error.known(), Known::Refused);
            assert_eq!(failure(Err(error)), PublishError::NoStream);
        } else {
            // On a busy machine the next probe may be due.
            let is_probe =
                matches!(&error, EmitError::Failed(probe) if probe.error == PublishError::NoStream);
            assert!(
                is_probe || matches!(error, EmitError::CircuitOpen(_)),
                "{error}"
            );
        }
        emit(&sink, "events.a", "good".into()).await.result.unwrap();
    }
    assert_eq!(sink.state(), State::Connected);
}

#[tokio::test]
async fn emit_fails_without_jetstream() {
    let server = NatsServer::builder()
        .without_jetstream()
        .start()
        .await
        .unwrap();
    let sink = sink_to(&server).await;
    let error = failure(emit(&sink, "events.a", "x".into()).await.result);
    assert_eq!(error, PublishError::JetStreamUnavailable);
}

#[tokio::test]
async fn a_stream_that_is_deleted_and_created_again_is_found_again() {
    let server = server_with_stream().await;
    let sink = sink_to(&server).await;
    let jetstream = server.jetstream().await.unwrap();
    emit(&sink, "events.a", "one".into()).await.result.unwrap();
    jetstream.delete_stream("EVENTS").await.unwrap();
    assert_eq!(
        failure(emit(&sink, "events.a", "two".into()).await.result),
        PublishError::NoStream
    );
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let mut tries = 0;
    while emit(&sink, "events.a", "three".into())
        .await
        .result
        .is_err()
    {
        tries += 1;
        assert!(tries < 500, "the subject's circuit never closed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        sink.subject_state(&Subject::new("events.a").unwrap()),
        State::Connected
    );
    assert_eq!(stored(&jetstream, "EVENTS").await.unwrap().len(), 1);
}

#[tokio::test]
async fn full_stream_refuses_with_its_code_and_affects_no_other() {
    let server = server_with_stream().await;
    let full = Config {
        name: "SMALL".to_owned(),
        subjects: vec!["small.>".to_owned()],
        max_messages: 10,
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    server.create_stream_with(full).await.unwrap();
    let sink = sink_to(&server).await;
    let mut ledger = Ledger::default();
    for number in 0..50 {
        ledger
            .0
            .push(emit(&sink, "small.a", Bytes::from(number.to_string())).await);
        emit(&sink, "events.a", "good".into()).await.result.unwrap();
    }
    assert_eq!(ledger.acknowledged().len(), 10);
    assert!(ledger.audit(&server, "SMALL").await.is_clean());
    match &ledger.0[10].result {
        Err(EmitError::Failed(failed)) => match &failed.error {
            PublishError::Refused(refusal) => assert_eq!(refusal.code, 10077, "{refusal}"),
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_event_over_the_limit_fails_alone_and_the_connection_stays() {
    let server = NatsServer::builder()
        .max_payload(4_096)
        .start()
        .await
        .unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let sink = sink_to(&server).await;
    for size in [4_096, 5_000, 2 << 20] {
        let error = failure(
            emit(&sink, "events.a", vec![b'x'; size].into())
                .await
                .result,
        );
        assert!(
            matches!(error, PublishError::TooLarge { limit: 4_096, .. }),
            "{error}"
        );
        emit(&sink, "events.a", "good".into()).await.result.unwrap();
    }
    // Exactly at the limit, headers included.
    let id = MessageId::new("i").unwrap();
    let headers = "NATS/1.0\r\nNats-Msg-Id: i\r\n\r\n".len();
    let largest = event("events.a", vec![b'x'; 4_096 - headers]).with_message_id(id);
    sink.emit(largest).await.unwrap();
    assert_eq!(sink.state(), State::Connected);
}

#[tokio::test]
async fn only_the_expected_stream_stores() {
    let server = server_with_stream().await;
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let right = sink_with(settings.clone().expected_stream("EVENTS").unwrap()).await;
    emit(&right, "events.a", "x".into()).await.result.unwrap();
    let wrong = sink_with(settings.expected_stream("OTHER").unwrap()).await;
    match failure(emit(&wrong, "events.a", "x".into()).await.result) {
        PublishError::Refused(refusal) => assert_eq!(refusal.code, 10060),
        other => panic!("{other}"),
    }
    assert_eq!(
        stored(&server.jetstream().await.unwrap(), "EVENTS")
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn repeated_message_id_is_stored_once_and_reported_as_a_duplicate() {
    let server = server_with_stream().await;
    let sink = sink_to(&server).await;
    let once = || event("events.a", "x").with_message_id(MessageId::new("same").unwrap());
    for is_repeat in [false, true] {
        let Delivery::Stored(ack) = sink.emit(once()).await.unwrap() else {
            panic!("there is no spool");
        };
        assert_eq!((ack.sequence, ack.duplicate), (1, is_repeat));
    }
}

#[tokio::test]
async fn a_subject_that_may_not_be_published_to_fails_alone() {
    let server = NatsServer::builder()
        .config(
            r#"authorization { users: [
                { user: admin, password: a }
                { user: app, password: p, permissions: {
                    publish: ["events.>", "$JS.API.INFO"], subscribe: ["_INBOX.>"] } } ] }"#,
        )
        .start()
        .await
        .unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let jetstream = jetstream_as(&server, "admin", "a").await;
    let all = Config {
        name: "ALL".to_owned(),
        subjects: vec!["events.>".to_owned(), "secret.>".to_owned()],
        ..Config::default()
    };
    jetstream.create_stream(all).await.unwrap();
    let sink = sink_with(settings.user_and_password("app", "p")).await;
    for _ in 0..3 {
        let error = emit(&sink, "secret.a", "x".into())
            .await
            .result
            .unwrap_err();
        assert_eq!(error.scope(), Scope::Subject, "{error}");
        emit(&sink, "events.a", "good".into()).await.result.unwrap();
    }
    assert_eq!(stored(&jetstream, "ALL").await.unwrap().len(), 3);
}

#[tokio::test]
async fn user_without_an_inbox_gets_an_error() {
    let server = NatsServer::builder()
        .config(
            r#"authorization { users: [ { user: app, password: p, permissions: {
                publish: [">"], subscribe: ["_APP.>"] } } ] }"#,
        )
        .start()
        .await
        .unwrap();
    let settings = ConnectSettings::new(&server.url())
        .unwrap()
        .user_and_password("app", "p");
    let sink = sink_with(settings.clone()).await;
    let error = failure(emit(&sink, "events.a", "x".into()).await.result);
    assert!(matches!(error, PublishError::InboxDenied { .. }), "{error}");
    let sink = sink_with(settings.inbox_prefix("_APP.in").unwrap()).await;
    assert_eq!(
        failure(emit(&sink, "events.a", "x".into()).await.result),
        PublishError::NoStream
    );
}

/// Readers had an inbox of two tokens: their subscription was refused, and all publishes failed.
#[tokio::test]
async fn user_with_inboxes_of_three_tokens_publishes_and_reads() {
    let (server, settings) = server_with_inboxes(r#"["_INBOX.*.*"]"#).await;
    let sink = sink_with(settings).await;
    emit(&sink, "events.a", "x".into()).await.result.unwrap();
    let admin = sink.publisher().admin();
    let stream: StreamName = "EVENTS".parse().unwrap();
    let mut reader = admin
        .read_stream(&stream, StreamContent::Full)
        .await
        .unwrap();
    assert!(reader.next().await.unwrap().is_some());
    drop(server);
}

/// A refused subscription of a reader failed all publishes.
#[tokio::test]
async fn refused_subscription_of_a_reader_fails_the_reader_only() {
    let (_server, settings) =
        server_with_inboxes(r#"{ allow: [">"], deny: ["_INBOX.*.r"] }"#).await;
    let sink = sink_with(settings).await;
    emit(&sink, "events.a", "x".into()).await.result.unwrap();
    let admin = sink.publisher().admin();
    let stream: StreamName = "EVENTS".parse().unwrap();
    let _ = admin.read_stream(&stream, StreamContent::Full).await;
    for _ in 0..3 {
        emit(&sink, "events.a", "x".into()).await.result.unwrap();
    }
}

async fn server_with_inboxes(subscribe: &str) -> (NatsServer, ConnectSettings) {
    let config = r#"authorization { users: [
        { user: admin, password: a }
        { user: app, password: p, permissions: { publish: [">"], subscribe: INBOXES } } ] }"#;
    let config = config.replace("INBOXES", subscribe);
    let server = NatsServer::builder().config(&config).start().await.unwrap();
    let jetstream = jetstream_as(&server, "admin", "a").await;
    let stream = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        ..Config::default()
    };
    jetstream.create_stream(stream).await.unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    (server, settings.user_and_password("app", "p"))
}

#[tokio::test]
async fn silent_subject_opens_its_own_circuit_only() {
    let server = server_with_stream().await;
    let sink = sink_to(&server).await;
    // A plain subscriber instead of a stream: it receives the event and sends no acknowledgement.
    let client = server.client().await.unwrap();
    let mut plain = client.subscribe("plain.a").await.unwrap();
    client.flush().await.unwrap();
    let silent = failure(emit(&sink, "plain.a", "x".into()).await.result);
    assert_eq!(
        silent,
        PublishError::AckTimeout {
            broker_answers: true
        }
    );
    assert!(plain.next().await.is_some());
    assert_eq!(sink.state(), State::Connected);
    emit(&sink, "events.a", "good".into()).await.result.unwrap();

    // One that answers, but is no stream.
    let mut echo = client.subscribe("plain.b").await.unwrap();
    client.flush().await.unwrap();
    let answering = async {
        let request = echo.next().await.unwrap();
        client
            .publish(request.reply.unwrap(), "hello".into())
            .await
            .unwrap();
    };
    let (emitted, ()) = tokio::join!(emit(&sink, "plain.b", "x".into()), answering);
    assert!(matches!(
        failure(emitted.result),
        PublishError::NotAnAcknowledgement(_)
    ));
    assert_eq!(sink.state(), State::Connected);
}
