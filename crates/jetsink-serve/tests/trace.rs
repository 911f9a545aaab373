//! The trace context from a request to its messages.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use common::*;

const REQUEST: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const EVENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn trace_context_of_the_request_becomes_that_of_each_event_without_one() {
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.all").await;
    let own = event(
        "own",
        &format!(r#","traceparent":"{EVENT}","tracestate":"e=1""#),
    );
    let context = [("traceparent", REQUEST), ("tracestate", "r=1")];
    let batch = format!("[{},{own}]", event("plain", ""));
    let with = |content_type| [&[content_type][..], &context].concat();
    assert_eq!(gateway.post(&with(BATCHED), batch).await.status, 202);
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "binary"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];
    let headers = [&binary[..], &context].concat();
    assert_eq!(gateway.post(&headers, "").await.status, 202);
    let own_headers = [
        &binary[..1],
        &[("ce-id", "own-binary"), ("ce-traceparent", EVENT)],
        &binary[2..],
        &context,
    ]
    .concat();
    assert_eq!(gateway.post(&own_headers, "").await.status, 202);
    let invalid = [
        STRUCTURED,
        ("traceparent", "00-0-0-0"),
        ("tracestate", "r=1"),
    ];
    assert_eq!(
        gateway.post(&invalid, event("invalid", "")).await.status,
        202
    );
    let messages = messages(&broker).await;
    let traces: Vec<_> = messages
        .iter()
        .map(|message| {
            (
                header(message, "traceparent"),
                header(message, "tracestate"),
            )
        })
        .collect();
    let of_request = (Some(REQUEST), Some("r=1"));
    let expected = [
        of_request,
        (Some(EVENT), Some("e=1")),
        of_request,
        (Some(EVENT), None),
        (None, None),
    ];
    assert_eq!(traces, expected);
    assert_eq!(
        messages[0].payload,
        event("plain", ""),
        "the event is unchanged"
    );
    // A retry has another span, and is the same event.
    let retry = [STRUCTURED, ("traceparent", EVENT)];
    let answer = gateway.post(&retry, event("plain", "")).await;
    assert_eq!(
        (answer.status, answer.header("jetsink-duplicate")),
        (202, "true")
    );
}
