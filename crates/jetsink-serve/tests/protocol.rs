//! The CloudEvents HTTP binding 1.0.2, clause by clause, against a real broker.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use common::*;
use jetsink::ContentMode;
use jetsink_serve::GatewaySettings;

const BINARY: [(&str, &str); 4] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "1"),
    ("ce-source", "/s"),
    ("ce-type", "t"),
];

fn binary<'h>(more: &[(&'h str, &'h str)]) -> Vec<(&'h str, &'h str)> {
    [&BINARY[..], more].concat()
}

// Section 3.2: "The chosen event format MUST define how all attributes, including the payload, are represented". The
// JSON is stored byte for byte.
#[tokio::test]
async fn structured_event_is_stored_byte_for_byte_and_the_answer_has_the_receipt() {
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.{tenantId}").await;
    let body = event(
        "1",
        r#" , "data": {"tenantId":"acme", "text":"größe"}, "n":7"#,
    );
    let reply = gateway
        .post(
            &[(
                "Content-Type",
                "Application/CloudEvents+JSON; charset=UTF-8",
            )],
            &body,
        )
        .await;
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_eq!(
        (
            reply.header("jetsink-outcome"),
            reply.header("jetsink-stream")
        ),
        ("stored", "EVENTS")
    );
    assert_eq!(
        (
            reply.header("jetsink-sequence"),
            reply.header("jetsink-duplicate")
        ),
        ("1", "false")
    );
    assert!(reply.body.is_empty());
    let messages = messages(&broker).await;
    assert_eq!(&messages[0].payload[..], body.as_bytes());
    assert_eq!(messages[0].subject, "events.acme");
    assert_eq!(
        header(&messages[0], "content-type"),
        Some("application/cloudevents+json")
    );

    let wants = [STRUCTURED, ("prefer", "return=representation")];
    let reply = gateway.post(&wants, event("2", "")).await;
    assert_eq!(reply.header("preference-applied"), "return=representation");
    let receipt = reply.json();
    assert_eq!(
        (&receipt["outcome"], &receipt["sequence"]),
        (&"stored".into(), &2.into())
    );
    assert!(
        receipt.get("specversion").is_none(),
        "no answer can be read as an event"
    );
}

// Section 3.1.1: "For the binary mode, the HTTP Content-Type value corresponds to (MUST be populated from or written to)
// the CloudEvents datacontenttype attribute." Section 3.1.3.1: attributes "MUST be mapped to HTTP headers of the same
// name but prefixed with ce-". Section 3.1.3.2: unescape, then percent-decode once.
#[tokio::test]
async fn binary_event_keeps_its_attributes_and_data() {
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.{subject}").await;
    let data = [0, 159, 146, 150, 255];
    let headers = binary(&[
        ("Content-Type", "image/png"),
        ("CE-Subject", "Euro%20%E2%82%AC%20%2541"),
        ("ce-quoted", r#""a \"b\"""#),
        ("ce-time", "2026-01-01T00:00:00Z"),
        ("Nats-Msg-Id", "theirs"),
        ("Nats-Expected-Stream", "OTHER"),
        ("Nats-Rollup", "all"),
        ("x-other", "y"),
    ]);
    let reply = gateway.post(&headers, data).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    let messages = messages(&broker).await;
    let message = &messages[0];
    assert_eq!(&message.payload[..], data);
    assert_eq!(message.subject, "events.Euro%20€%20%2541");
    assert_eq!(
        header(message, "ce-subject"),
        Some("Euro%20%E2%82%AC%20%2541")
    );
    assert_eq!(header(message, "ce-quoted"), Some("a%20%22b%22"));
    assert_eq!(header(message, "ce-datacontenttype"), Some("image/png"));
    assert_eq!(header(message, "ce-time"), Some("2026-01-01T00:00:00Z"));
    assert_eq!(header(message, "x-other"), None);
    assert_eq!(header(message, "Nats-Rollup"), None);
    assert_ne!(header(message, "Nats-Msg-Id"), Some("theirs"));
}

// Section 3.1.1: "A ce-datacontenttype HTTP header MUST NOT also be present in the message." Section 3.1.3.2: sequences
// that are not valid UTF-8 MUST be rejected.
#[tokio::test]
async fn invalid_events_are_400_and_nothing_is_stored() {
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.a").await;
    for more in [
        ("ce-datacontenttype", "text/plain"),
        ("ce-subject", "%FF"),
        ("ce-subject", "100%"),
        ("ce-subject", "\"open"),
        ("ce-subject", ""),
        ("ce-time", "now"),
        ("ce-id", "2"),
        ("ce-under_score", "x"),
        ("ce-data", "x"),
        ("content-type", "nonsense"),
    ] {
        let reply = gateway.post(&binary(&[more]), "x").await;
        assert_eq!(
            (reply.status, reply.problem().as_str()),
            (400, "invalid-event"),
            "{more:?}"
        );
    }
    for missing in 0..BINARY.len() {
        let mut headers = BINARY.to_vec();
        headers.remove(missing);
        let reply = gateway.post(&headers, "x").await;
        assert_eq!(reply.problem(), "invalid-event");
    }
    for body in ["", "{", "[]", "null", r#"{"id":"1"}"#, "\u{feff}{}"] {
        let reply = gateway.post(&[STRUCTURED], body).await;
        assert_eq!(
            (reply.status, reply.problem().as_str()),
            (400, "invalid-event"),
            "{body}"
        );
    }
    let wrong_version = event("1", "").replace("1.0", "0.3");
    assert_eq!(gateway.post(&[STRUCTURED], wrong_version).await.status, 400);
    assert!(messages(&broker).await.is_empty());
}

// Section 3.1.3: attributes with a header of another name "MUST also still appear" with the prefix.
#[tokio::test]
async fn header_without_the_prefix_is_no_attribute() {
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.a").await;
    let trace = |end: &str| format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{end}");
    let (ours, others) = (trace("01"), trace("00"));
    let headers = binary(&[("traceparent", &others), ("ce-traceparent", &ours)]);
    assert_eq!(gateway.post(&headers, "x").await.status, 202);
    let mut headers = binary(&[("traceparent", &others), ("subject", "s")]);
    headers[1].1 = "2";
    assert_eq!(gateway.post(&headers, "x").await.status, 202);
    let messages = messages(&broker).await;
    assert_eq!(header(&messages[0], "ce-traceparent"), Some(&*ours));
    assert_eq!(header(&messages[0], "traceparent"), Some(&*ours));
    // The trace context of the request, which is no attribute of the event.
    assert_eq!(header(&messages[1], "traceparent"), Some(&*others));
    for name in ["ce-traceparent", "ce-subject", "subject"] {
        assert_eq!(header(&messages[1], name), None);
    }
}

// Section 3.2.3: "All CloudEvents metadata attributes MUST be mapped into the payload, even if they are also mapped into
// HTTP headers."
#[tokio::test]
async fn structured_event_is_its_body_only_also_with_attributes_in_headers() {
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.{type}").await;
    let headers = [STRUCTURED, ("ce-type", "other"), ("ce-extra", "x")];
    let body = event("1", "");
    assert_eq!(gateway.post(&headers, &body).await.status, 202);
    let without_type = body.replace(r#""type""#, r#""kind""#);
    let reply = gateway.post(&headers, without_type).await;
    assert_eq!(
        (reply.status, reply.problem().as_str()),
        (400, "invalid-event")
    );
    let messages = messages(&broker).await;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].subject, "events.t");
    assert_eq!(&messages[0].payload[..], body.as_bytes());
    assert_eq!(header(&messages[0], "ce-extra"), None);
}

// Section 3: "the gesture SHOULD allow the receiver to choose the maximum size of a batch".
#[tokio::test]
async fn batch_above_the_limit_is_413_and_names_the_limit() {
    let broker = broker().await;
    let settings = GatewaySettings::default().max_batch(2).unwrap();
    let gateway = running(sink(&broker, None).await, "events.a", settings).await;
    let batch = |count: usize| {
        let events: Vec<String> = (0..count).map(|id| event(&id.to_string(), "")).collect();
        format!("[{}]", events.join(","))
    };
    let reply = gateway.post(&[BATCHED], batch(3)).await;
    assert_eq!((reply.status, reply.problem().as_str()), (413, "too-large"));
    assert!(
        reply.json()["detail"]
            .as_str()
            .unwrap()
            .contains("more than 2 events")
    );
    assert!(messages(&broker).await.is_empty());
    assert_eq!(gateway.post(&[BATCHED], batch(2)).await.status, 202);
}

// Section 3.3.2: "All batched CloudEvents MUST have the same specversion attribute."
#[tokio::test]
async fn batch_with_two_spec_versions_is_refused_as_a_whole() {
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.a").await;
    for other in ["0.3", "1.1", "2.0"] {
        let two = event("2", "").replace("1.0", other);
        let reply = gateway
            .post(&[BATCHED], format!("[{},{two}]", event("1", "")))
            .await;
        assert_eq!(
            (reply.status, reply.problem().as_str()),
            (400, "invalid-event"),
            "{other}"
        );
    }
    assert!(messages(&broker).await.is_empty());
}

// Section 3.3: batched mode; the JSON batch format allows an empty array.
#[tokio::test]
async fn batch_is_stored_in_order_and_one_invalid_event_refuses_all() {
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.{tenantId}").await;
    let reply = gateway.post(&[BATCHED], "[]").await;
    assert_eq!((reply.status, reply.header("jetsink-events")), (202, "0"));

    let of = |index: usize, tenant: &str| {
        event(
            &index.to_string(),
            &format!(r#","data":{{"tenantId":"{tenant}"}}"#),
        )
    };
    let invalid = format!("[{},{},{}]", of(1, "a"), of(2, "a.b"), of(3, "b"));
    let reply = gateway.post(&[BATCHED], invalid).await;
    assert_eq!(
        (reply.status, reply.problem().as_str()),
        (422, "event-refused")
    );
    assert!(
        reply.json()["detail"]
            .as_str()
            .unwrap()
            .starts_with("event 1 of the batch: ")
    );
    assert!(messages(&broker).await.is_empty());

    let events: Vec<String> = (0..50)
        .map(|index| of(index, ["a", "b", "c"][index % 3]))
        .collect();
    let wants = [BATCHED, ("prefer", "return=representation")];
    let reply = gateway
        .post(&wants, format!("[{}]", events.join(" ,\n")))
        .await;
    assert_eq!((reply.status, reply.header("jetsink-events")), (202, "50"));
    assert_eq!(reply.json()["events"].as_array().unwrap().len(), 50);
    let messages = messages(&broker).await;
    for (index, tenant) in ["a", "b", "c"].iter().enumerate() {
        let subject = format!("events.{tenant}");
        let stored = messages.iter().filter(|message| message.subject == subject);
        let stored: Vec<&[u8]> = stored.map(|message| &message.payload[..]).collect();
        let expected: Vec<&[u8]> = events
            .iter()
            .skip(index)
            .step_by(3)
            .map(|event| event.as_bytes())
            .collect();
        assert_eq!(stored, expected);
    }
}

#[tokio::test]
async fn mode_converts_in_both_directions() {
    let broker = broker().await;
    let sink = sink(&broker, None).await;
    let settings = |mode| GatewaySettings::default().mode(mode);
    let to_binary = running(sink.clone(), "events.a", settings(ContentMode::Binary)).await;
    let to_structured = running(sink, "events.a", settings(ContentMode::Structured)).await;
    let reply = to_binary
        .post(&[STRUCTURED], event("1", r#","data":{"a":1}"#))
        .await;
    assert_eq!(reply.status, 202, "{reply:?}");
    let mut json = binary(&[("content-type", "application/json")]);
    json[1].1 = "2";
    let reply = to_structured.post(&json, r#"{"a":1}"#).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    let messages = messages(&broker).await;
    assert_eq!(header(&messages[0], "ce-id"), Some("1"));
    assert_eq!(&messages[0].payload[..], br#"{"a":1}"#);
    assert_eq!(
        header(&messages[1], "content-type"),
        Some("application/cloudevents+json")
    );
    let json: serde_json::Value = serde_json::from_slice(&messages[1].payload).unwrap();
    assert_eq!((&json["id"], &json["data"]["a"]), (&"2".into(), &1.into()));
}

#[tokio::test]
async fn requests_that_are_no_events_have_their_own_answers() {
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.a").await;
    let one = event("1", "");
    let reply = gateway.send("POST", "/other", &[STRUCTURED], &one).await;
    assert_eq!((reply.status, reply.problem().as_str()), (404, "no-route"));
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let reply = gateway.send(method, "/", &[STRUCTURED], &one).await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, "POST, OPTIONS"),
            "{method}"
        );
    }
    for content_type in [
        "application/json",
        "application/cloudevents+xml",
        "text/plain",
    ] {
        let reply = gateway.post(&[("content-type", content_type)], &one).await;
        assert_eq!(
            (reply.status, reply.problem().as_str()),
            (415, "unsupported-media-type")
        );
    }
    let reply = gateway
        .post(&[STRUCTURED, ("content-encoding", "br")], &one)
        .await;
    assert_eq!(
        (reply.status, reply.header("accept-encoding")),
        (415, "gzip, identity")
    );
    let reply = gateway.post(&[STRUCTURED], vec![b' '; (1 << 20) + 1]).await;
    assert_eq!((reply.status, reply.problem().as_str()), (413, "too-large"));
    let reply = gateway
        .post(&[STRUCTURED, ("host", "evil.example")], &one)
        .await;
    assert_eq!(
        (reply.status, reply.problem().as_str()),
        (421, "wrong-host")
    );
    let reply = gateway
        .post(&[STRUCTURED, ("request-timeout", "soon")], &one)
        .await;
    assert_eq!(
        (reply.status, reply.problem().as_str()),
        (400, "malformed-request")
    );
    assert!(messages(&broker).await.is_empty());
}

// HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4.
#[tokio::test]
async fn web_hook_is_granted_without_calling_back() {
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.a").await;
    let strangers = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let callback = format!("http://{}/", strangers.local_addr().unwrap());
    let headers = [
        ("webhook-request-origin", "eventemitter.example.com"),
        ("webhook-request-rate", "120"),
        ("webhook-request-callback", callback.as_str()),
    ];
    let reply = gateway.send("OPTIONS", "/", &headers, "").await;
    assert_eq!(
        (reply.status, reply.header("allow")),
        (200, "POST, OPTIONS")
    );
    assert_eq!(
        reply.header("webhook-allowed-origin"),
        "eventemitter.example.com"
    );
    assert_eq!(reply.header("webhook-allowed-rate"), "*");
    assert!(
        !reply
            .headers
            .keys()
            .any(|name| name.starts_with("access-control-"))
    );
    let called =
        tokio::time::timeout(std::time::Duration::from_millis(300), strangers.accept()).await;
    assert!(called.is_err(), "the callback was called");
    let reply = gateway.send("OPTIONS", "/", &[], "").await;
    assert!(!reply.headers.contains_key("webhook-allowed-origin"));
}

// CloudEvents 1.0.2, Size Limits: "Intermediaries MUST forward events of a size of 64 KByte or less."
#[tokio::test]
async fn event_of_64_kib_passes_in_each_mode_and_compressed() {
    use std::io::Write as _;
    let broker = broker().await;
    let gateway = without_spool(&broker, "events.a").await;
    let padding = "x".repeat(65_536 - event("1", r#","data":"""#).len());
    let one = |id: &str| event(id, &format!(r#","data":"{padding}""#));
    assert_eq!(one("1").len(), 65_536);
    assert_eq!(gateway.post(&[STRUCTURED], one("1")).await.status, 202);
    assert_eq!(
        gateway
            .post(&[BATCHED], format!("[{}]", one("2")))
            .await
            .status,
        202
    );
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "3"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];
    assert_eq!(gateway.post(&headers, vec![0; 65_000]).await.status, 202);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(one("4").as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let reply = gateway
        .post(&[STRUCTURED, ("content-encoding", "gzip")], gzip)
        .await;
    assert_eq!(reply.status, 202, "{reply:?}");
    let messages = messages(&broker).await;
    assert_eq!(&messages[3].payload[..], one("4").as_bytes());
}
