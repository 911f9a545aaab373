//! The published names and signatures: a client of the published crate compiles with this one.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cellos_core::ports::EventSink;
use cellos_core::{CellosError, CloudEventV1};
use cellos_sink_jetstream::{
    JetStreamEventSink, Publisher, ReconnectState, TENANT_ID_DEFAULT_TOKEN, TENANT_ID_PLACEHOLDER,
    resolve_tenant_subject, try_resolve_tenant_subject, with_retry,
};
use common::*;
use serde_json::json;

#[allow(dead_code)]
async fn signatures(publisher: Arc<dyn Publisher>) -> Result<(), CellosError> {
    let _: JetStreamEventSink = JetStreamEventSink::connect("nats://x", "a").await?;
    let file: Option<&Path> = None;
    let sink = JetStreamEventSink::connect_with_root_ca("nats://x", String::new(), file).await?;
    let _: &dyn EventSink = &sink;
    let sink = JetStreamEventSink::from_publisher(Arc::clone(&publisher), "a");
    match sink.debug_state().await {
        ReconnectState::Connected => {}
        ReconnectState::Reconnecting {
            attempt,
            next_after,
        } => {
            let _: (u32, tokio::time::Instant) = (attempt, next_after);
        }
    }
    publisher.publish(String::new(), Bytes::new()).await?;
    let _: Result<u8, String> = with_retry(3, || async { Ok(1) }).await;
    let _: Result<u8, String> = with_retry::<_, std::future::Ready<_>, u8, String>(3_u32, || {
        std::future::ready(Err(String::new()))
    })
    .await;
    let resolve: fn(&str, &CloudEventV1) -> String = resolve_tenant_subject;
    let _ = resolve;
    let constants: (&'static str, &'static str) = (TENANT_ID_PLACEHOLDER, TENANT_ID_DEFAULT_TOKEN);
    let _ = constants;
    #[cfg(event_sink_flush)]
    sink.flush().await?;
    let _: Arc<dyn EventSink> = Arc::new(sink);
    Ok(())
}

/// A client spawns the returned futures, and keeps the sink for as long as it runs.
#[allow(dead_code)]
fn bounds(publisher: Arc<dyn Publisher>) {
    fn spawnable<T: Send + 'static>(_: T) {}
    fn sink<T: EventSink + Send + Sync + std::fmt::Debug + 'static>() {}
    fn state<T: Copy + Eq + Send + Sync + std::fmt::Debug>() {}
    sink::<JetStreamEventSink>();
    state::<ReconnectState>();
    spawnable(signatures(publisher));
}

#[test]
fn the_constants_are_the_published_ones() {
    assert_eq!(
        (TENANT_ID_PLACEHOLDER, TENANT_ID_DEFAULT_TOKEN),
        ("{tenantId}", "single")
    );
}

#[test]
fn a_tenant_that_is_no_token_is_encoded_by_resolve_and_refused_by_try_resolve() {
    let long = "x".repeat(5_000);
    let cases = [
        ("a.b", "a%2Eb"),
        ("*", "%2A"),
        (">", "%3E"),
        ("a b", "a%20b"),
        ("", "%"),
        ("a\r\nb", "a%0D%0Ab"),
        ("a\0", "a%00"),
        ("\t", "%09"),
        ("$JS", "%24JS"),
        (".a", "%2Ea"),
        ("a.", "a%2E"),
        ("a\u{2003}b", "a%E2%80%83b"),
        (long.as_str(), long.as_str()),
    ];
    for (id, token) in cases {
        assert_eq!(
            resolve_tenant_subject("e.{tenantId}", &event(id)),
            format!("e.{token}")
        );
        assert!(
            try_resolve_tenant_subject("e.{tenantId}", &event(id)).is_err(),
            "{id:?}"
        );
    }
    for id in ["acme", "größe", "a-b_c", "a$"] {
        assert_eq!(
            resolve_tenant_subject("e.{tenantId}", &event(id)),
            format!("e.{id}")
        );
        assert_eq!(
            try_resolve_tenant_subject("e.{tenantId}", &event(id)),
            Ok(format!("e.{id}"))
        );
    }
    assert_ne!(
        resolve_tenant_subject("{tenantId}", &event("a.b")),
        resolve_tenant_subject("{tenantId}", &event("a%2Eb")),
        "no two ids share a subject"
    );
}

#[test]
fn the_tenant_is_read_from_data_then_from_correlation_else_it_is_single() {
    let resolve = |data| resolve_tenant_subject("{tenantId}", &event_with(data));
    assert_eq!(
        resolve(json!({ "tenantId": "a", "correlation": { "tenantId": "b" } })),
        "a"
    );
    assert_eq!(resolve(json!({ "correlation": { "tenantId": "b" } })), "b");
    for number_or_null in [json!(7), json!(null), json!(["x"])] {
        assert_eq!(
            resolve(json!({ "tenantId": number_or_null, "correlation": { "tenantId": "b" } })),
            "b"
        );
        assert_eq!(resolve(json!({ "tenantId": number_or_null })), "single");
    }
    assert_eq!(resolve(json!(null)), "single");
    assert_eq!(resolve_tenant_subject("fixed", &event("a.b")), "fixed");
    assert_eq!(
        resolve_tenant_subject("{tenantId}.{tenantId}", &event("a")),
        "a.a"
    );
}

#[test]
fn a_signed_event_goes_to_its_own_tenant() {
    let resolve = |event_type: &str, data| {
        let mut event = event_with(data);
        event.ty = event_type.to_owned();
        resolve_tenant_subject("{tenantId}", &event)
    };
    let signed = "dev.cellos.events.signed_envelope.v1";
    let data =
        json!({ "event": { "data": { "correlation": { "tenantId": "a" } } }, "tenantId": "b" });
    assert_eq!(resolve(signed, data.clone()), "a");
    assert_eq!(resolve("other", data), "b");
    assert_eq!(
        resolve(signed, json!({ "event": { "data": null } })),
        "single"
    );
    assert_eq!(resolve(signed, json!({})), "single");
}
