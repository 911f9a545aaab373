use super::*;
use crate::{Headers, MessageId, Subject};

fn answer(payload: &str) -> Message {
    Message {
        subject: "inbox.1".into(),
        reply: None,
        payload: payload.to_owned().into(),
        headers: None,
        status: None,
        description: None,
        length: 0,
    }
}

#[test]
fn time_to_live_is_the_rest_when_sent_in_whole_seconds() {
    let at = |millis| SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(millis);
    let subject = Subject::new("a").unwrap();
    let envelope = Envelope::new(subject, "{}".into()).with_expiry(at(10_000));
    for (now, ttl) in [(0, "10"), (1, "10"), (1_000, "9"), (9_999, "1")] {
        let (map, size) = headers(&envelope, None, || at(now)).unwrap();
        assert_eq!(map.get("Nats-TTL").map(|v| v.as_str()), Some(ttl));
        let written = format!("NATS/1.0\r\nNats-TTL: {ttl}\r\n\r\n");
        assert_eq!(size, written.len());
    }
    for time in [10_000, 20_000] {
        let error = headers(&envelope, None, || at(time)).unwrap_err();
        assert_eq!(error, PublishError::Expired);
    }
}

#[test]
fn header_size_is_the_number_of_bytes_that_the_client_writes() {
    let mut extra = Headers::default();
    extra.push("ce-id", "1").unwrap();
    let envelope = Envelope::new(Subject::new("a").unwrap(), "".into())
        .with_headers(extra)
        .with_message_id(MessageId::new("s.1").unwrap());
    let (map, size) = headers(&envelope, Some("S"), || SystemTime::UNIX_EPOCH).unwrap();
    let written = "NATS/1.0\r\nce-id: 1\r\nNats-Msg-Id: s.1\r\nNats-Expected-Stream: S\r\n\r\n";
    assert_eq!(size, written.len());
    assert_eq!(map.get("Nats-Msg-Id").map(|v| v.as_str()), Some("s.1"));
}

#[test]
fn probe_has_no_message_id_and_replaces_the_callers_expectation() {
    let mut extra = Headers::default();
    extra.push("ce-id", "1").unwrap();
    for name in ["Nats-Expected-Last-Sequence", "Nats-TTL"] {
        extra.push(name, "7").unwrap();
    }
    let envelope = Envelope::new(Subject::new("a").unwrap(), "".into())
        .with_headers(extra)
        .with_message_id(MessageId::new("s.1").unwrap());
    let (map, size) = probe_headers(&envelope, None).unwrap();
    let expected = map.get_all("Nats-Expected-Last-Sequence");
    let expected: Vec<&str> = expected.map(HeaderValue::as_str).collect();
    assert_eq!(expected, [i64::MAX.to_string()]);
    assert_eq!(map.get("ce-id").map(HeaderValue::as_str), Some("1"));
    assert_eq!(map.len(), 2, "{map:?}");
    let written =
        "NATS/1.0\r\nce-id: 1\r\nNats-Expected-Last-Sequence: 9223372036854775807\r\n\r\n";
    assert_eq!(size, written.len());
}

#[test]
fn last_sequence_is_parsed_from_its_refusal_only() {
    let of = |code, text: &str| {
        last_sequence(&Refusal {
            code,
            text: text.to_owned(),
        })
    };
    assert_eq!(of(10_071, "wrong last sequence: 42"), Some(42));
    assert_eq!(of(10_071, "wrong last sequence: 0"), Some(0));
    assert_eq!(of(10_164, "wrong last sequence"), None);
    assert_eq!(of(10_071, "wrong last sequence"), None);
    assert_eq!(of(10_077, "maximum messages exceeded: 7"), None);
}

#[test]
fn answers_are_parsed_by_their_content() {
    let stored = answer(r#"{"stream":"S","seq":7,"duplicate":true}"#);
    let ack = acknowledgement(&stored, Some("S")).unwrap();
    assert_eq!(
        (ack.stream.as_str(), ack.sequence, ack.duplicate),
        ("S", 7, true)
    );
    assert!(matches!(
        acknowledgement(&stored, Some("T")),
        Err(PublishError::WrongStream { .. })
    ));

    let full = answer(
        r#"{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"S","seq":0}"#,
    );
    let error = acknowledgement(&full, None).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.scope()),
        ("maximum messages exceeded (code 10077)", Scope::Subject)
    );

    for odd in [
        "",
        "+ACK",
        "{}",
        "[]",
        r#"{"stream":"","seq":0}"#,
        r#"{"stream":"S","seq":0}"#,
        "\n\u{1b}",
    ] {
        let error = acknowledgement(&answer(odd), None).unwrap_err();
        assert!(
            matches!(error, PublishError::NotAnAcknowledgement(_)),
            "{odd:?}: {error}"
        );
        assert!(!error.to_string().contains('\n'));
    }
}

#[test]
fn refusal_is_blamed_on_the_events_own_headers_only() {
    let with = |name: &'static str| {
        let mut headers = Headers::default();
        headers.push(name, "1").unwrap();
        Envelope::new(Subject::new("a").unwrap(), "".into()).with_headers(headers)
    };
    let scope = |code, name| {
        let refusal = Refusal {
            code,
            text: String::new(),
        };
        blame_headers(PublishError::Refused(refusal), &with(name)).scope()
    };
    assert_eq!(scope(10_060, "Nats-Expected-Stream"), Scope::Event);
    assert_eq!(scope(10_060, "Nats-TTL"), Scope::Subject);
    assert_eq!(scope(10_299, "Nats-New"), Scope::Event, "an unknown code");
    assert_eq!(scope(10_299, "ce-id"), Scope::Subject);
    assert_eq!(scope(10_077, "Nats-TTL"), Scope::Subject, "a full stream");
    assert_eq!(scope(10_023, "Nats-TTL"), Scope::Broker);
    for passing in [10_118, 10_158, 10_163, 10_167, 10_194] {
        let scope = scope(passing, "Nats-TTL");
        assert_eq!(scope, Scope::Subject, "{passing}: it may be stored later");
    }
    let staged = PublishError::NotAnAcknowledgement(String::new());
    let staged = |name| blame_headers(staged.clone(), &with(name)).scope();
    assert_eq!(staged("Nats-Batch-Id"), Scope::Event);
    assert_eq!(staged("ce-id"), Scope::Subject);
}

#[test]
fn violation_contains_its_subject() {
    let of = |text| violation(text).map(|(subject, kind)| (subject.into_owned(), kind));
    let publish = |subject: &str| Some((subject.to_owned(), Violation::Publish));
    assert_eq!(
        of("Permissions Violation for Publish to \"a.b\""),
        publish("a.b")
    );
    assert_eq!(
        of("'Permissions Violation for Subscription to \"_INBOX.x.*\" using queue \"q\"'"),
        Some(("_INBOX.x.*".to_owned(), Violation::Subscribe))
    );
    let quoted = r#"Permissions Violation for Publish to "a.\"b\\.\u200b\xc3\xa9\U0001f600é""#;
    assert_eq!(of(quoted), publish("a.\"b\\.\u{200b}é\u{1f600}é"));
    assert_eq!(of("Stale Connection"), None);
    assert_eq!(of("Permissions Violation for Publish to \"a"), None);
}

#[test]
fn broken_limit_is_read_from_the_servers_words() {
    assert_eq!(
        broken_limit("Maximum Payload Violation"),
        Some(Limit::Payload)
    );
    assert_eq!(
        broken_limit("maximum control line exceeded"),
        Some(Limit::ControlLine)
    );
    assert_eq!(broken_limit("Stale Connection"), None);
}

#[test]
fn error_of_the_connection_is_not_about_a_message() {
    for about_a_message in [
        "Maximum Payload Violation",
        "maximum control line exceeded",
        "Unknown Protocol Operation",
    ] {
        assert!(may_be_about_a_message(about_a_message), "{about_a_message}");
    }
    for other in [
        "Stale Connection",
        "User Authentication Expired",
        "User Authentication Revoked",
        "Server Shutdown",
        "Slow Consumer",
    ] {
        assert!(!may_be_about_a_message(other), "{other}");
    }
}
