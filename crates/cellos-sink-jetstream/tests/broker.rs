//! The drop-in against a real broker.

#![allow(missing_docs)]

mod common;

use cellos_core::ports::EventSink;
use cellos_sink_jetstream::{
    ConnectSettings, JetStreamEventSink, TenantPolicy, resolve_tenant_subject,
};
use common::*;
use nats_fixture::{NatsServer, TlsFiles, stored};

const TEMPLATE: &str = "cellos.events.{tenantId}";

#[tokio::test]
async fn the_sample_events_are_stored_once_in_order_each_at_its_tenants_subject() {
    let server = NatsServer::start().await.unwrap();
    server
        .create_stream("CELLOS_EVENTS", &["cellos.events.>"])
        .await
        .unwrap();
    let sink = JetStreamEventSink::connect(&server.url(), TEMPLATE)
        .await
        .unwrap();
    let events = samples();
    assert_eq!(events.len(), 102);
    for event in &events {
        sink.emit(event).await.unwrap();
    }
    let there = stored(&server.jetstream().await.unwrap(), "CELLOS_EVENTS")
        .await
        .unwrap();
    assert_eq!(there.len(), events.len());
    for (message, event) in there.iter().zip(&events) {
        assert_eq!(message.payload, serde_json::to_vec(event).unwrap());
        assert_eq!(message.subject, resolve_tenant_subject(TEMPLATE, event));
        let content_type = message.headers.get("content-type").map(ToString::to_string);
        assert_eq!(
            content_type.as_deref(),
            Some("application/cloudevents+json")
        );
    }
}

#[tokio::test]
async fn each_bad_tenant_is_refused_or_encoded_and_a_good_event_after_it_is_stored() {
    let server = NatsServer::start().await.unwrap();
    server
        .create_stream("CELLOS_EVENTS", &["cellos.events.>"])
        .await
        .unwrap();
    let refuse = JetStreamEventSink::connect(&server.url(), TEMPLATE)
        .await
        .unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let encode = JetStreamEventSink::builder(settings, TEMPLATE)
        .tenant_policy(TenantPolicy::Encode)
        .connect()
        .await
        .unwrap();
    let bad = [
        "a.b",
        "*",
        ">",
        "a b",
        "",
        "a\r\nb",
        "\0",
        "\t",
        "$JS",
        ".a",
        "a.",
        "größe\u{a0}",
    ];
    for id in bad {
        refuse.emit(&event(id)).await.unwrap_err();
        refuse.emit(&event("good")).await.unwrap();
        encode.emit(&event(id)).await.unwrap();
    }
    let long = event(&"x".repeat(5_000));
    refuse.emit(&long).await.unwrap_err();
    encode.emit(&long).await.unwrap_err();
    refuse.emit(&event("größe")).await.unwrap();
    let there = stored(&server.jetstream().await.unwrap(), "CELLOS_EVENTS")
        .await
        .unwrap();
    assert_eq!(there.len(), 2 * bad.len() + 1);
    let good = there
        .iter()
        .filter(|m| m.subject == "cellos.events.good")
        .count();
    assert_eq!(good, bad.len());
    assert!(
        there.iter().all(|m| m.subject.split('.').count() == 3),
        "one level below the template"
    );
}

#[tokio::test]
async fn connecting_to_nobody_is_an_error_that_names_nats_connect() {
    let server = NatsServer::start().await.unwrap();
    let url = server.url();
    drop(server);
    let error = JetStreamEventSink::connect(&url, TEMPLATE)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("nats connect"), "{error}");
    let error = JetStreamEventSink::connect("not a url", TEMPLATE)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("nats connect"), "{error}");
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_its_file_is_given() {
    let files = TlsFiles::generate(false).unwrap();
    let server = NatsServer::builder().tls(&files).start().await.unwrap();
    server
        .create_stream("CELLOS_EVENTS", &["cellos.events.>"])
        .await
        .unwrap();
    assert!(
        JetStreamEventSink::connect(&server.url(), TEMPLATE)
            .await
            .is_err()
    );
    let root = Some(files.root.as_path());
    let sink = JetStreamEventSink::connect_with_root_ca(&server.url(), TEMPLATE, root)
        .await
        .unwrap();
    sink.emit(&event("acme")).await.unwrap();
    let missing = Some(std::path::Path::new("/no/such/ca.pem"));
    let error = JetStreamEventSink::connect_with_root_ca(&server.url(), TEMPLATE, missing).await;
    assert!(error.unwrap_err().to_string().contains("/no/such/ca.pem"));
}
