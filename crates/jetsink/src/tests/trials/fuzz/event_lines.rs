//! Lines that should be CloudEvents.

use bytes::Bytes;
use serde_json::Value;
use trial::{Dice, Trial};

use crate::message::event::CloudEvent;
use crate::message::routing::Routing;
use crate::message::rules::Validation;
use crate::message::subject::check_tenant_id;
use crate::tests::trials::fuzz::bounded;
use crate::tests::trials::fuzz::mutate::mutated;
use crate::{Binding, ContentMode, Envelope, event_json};

const REAL: &[u8] = include_bytes!("../../../../../../samples/cellos-events.jsonl");

const MADE_UP: [&[u8]; 4] = [
    br#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#,
    br#"{"specversion":"1.0","id":"a b\r\n","source":"/\u00fc%","type":"t","num":7,"flag":true,"time":null,"datacontenttype":"text/plain","traceparent":"00-1-2-01","data":"h\u00e9"}"#,
    br#"{"type":"t","source":"s","id":"1","specversion":"1.0","data_base64":"AAEC/w=="}"#,
    br#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"tenantId":"a.b","correlation":{"tenantId":"x"},"list":[1,2.5e-3,[],{}]}}"#,
];

const WORDS: [&[u8]; 41] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"null",
    b"true",
    b"-0",
    b"1e999",
    b"\"id\":\"\"",
    b"\"data\":",
    b"\"data\":{\"tenantId\":\"acme\"}",
    b"\"tenantId\":\"a*\"",
    b"\"correlation\":{\"tenantId\":\"b\"}",
    b"\"data_base64\":\"AA==\"",
    b"\"traceparent\":\"00-\\n\"",
    b"\"specversion\":\"1.0\"",
    b"\"specversion\":\"0.3\"",
    b"\\u0000",
    b"\\ud800",
    b"\\u0064",
    b"\xc3\xa9",
    b"\xe2\x80\xa8",
    b"\xff",
    b"\r\n",
    b"\"a\":1,",
    b"[[",
    b"{\"a\":",
    b"\"Extension\":1,",
    b"\"time\":\"2026-11-23T09:14:60Z\",",
    b"\"subject\":\"\",",
    b"\"datacontenttype\":\"text/plain;a=b\",",
    b"\"dataschema\":\"urn:a\",",
    b"\"tracestate\":\"a=1\",",
    b"2147483648",
    b"1.0",
    b"\xc2\x85",
    b"\xef\xbf\xbf",
];

const BOTH: [Validation; 2] = [Validation::Full, Validation::Lenient];

fn made(mode: ContentMode, validation: Validation, line: &[u8]) -> Option<Envelope> {
    let template = "events.{tenantId}.{subject|none}".parse().unwrap();
    let line = Bytes::copy_from_slice(line);
    let binding = Binding::new(template).mode(mode).validation(validation);
    bounded(line.len(), 128, || match binding.envelope(line) {
        Ok(envelope) => Some(envelope),
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains(char::is_control), "{error:?}");
            assert!(error.len() < 1_000, "{error:?}");
            None
        }
    })
}

/// The tenant by a plain reading of the whole event.
fn plain_tenant(event: &Value) -> &str {
    let data = &event["data"];
    let tenant = data["tenantId"].as_str();
    let tenant = tenant.or_else(|| data["correlation"]["tenantId"].as_str());
    tenant.unwrap_or("single")
}

fn look_at(line: &[u8]) {
    let read = BOTH.map(|validation| {
        bounded(line.len(), 128, || {
            CloudEvent::from_json_with(line, validation).ok()
        })
    });
    // Lenient reading takes more, and says so.
    let is_valid = read[0].is_some();
    let without_deviation = |event: &CloudEvent<'_>| event.deviation().is_none();
    assert_eq!(read[1].as_ref().is_some_and(without_deviation), is_valid);
    if let Some(quick) = Routing::read(line, &[]) {
        let slow = read[0]
            .as_ref()
            .expect("the quick reader takes no more than the thorough one");
        assert_eq!((&*quick.id, &*quick.source), (slow.id(), slow.source()));
        assert_eq!(&*quick.event_type, slow.event_type());
        assert_eq!(quick.tenant, slow.tenant().unwrap().map(Into::into));
        assert_eq!(quick.traceparent, slow.traceparent());
    }
    for (validation, read) in BOTH.into_iter().zip(&read) {
        look_at_envelopes(line, validation, read.as_ref());
    }
}

fn look_at_envelopes(line: &[u8], validation: Validation, read: Option<&CloudEvent<'_>>) {
    let structured = made(ContentMode::Structured, validation, line);
    let binary = made(ContentMode::Binary, validation, line);
    let Some(event) = read else {
        assert!(structured.is_none() && binary.is_none());
        return;
    };
    // An accepted event is exported as a line that is accepted again.
    for envelope in [&structured, &binary].into_iter().flatten() {
        let exported = event_json(envelope).unwrap();
        let again = CloudEvent::from_json_with(&exported, validation);
        assert!(again.is_ok(), "{}", String::from_utf8_lossy(&exported));
    }
    // A number too large for it is none of our business; it goes on as it came.
    let Ok(plain) = serde_json::from_slice::<Value>(line) else {
        return;
    };
    for (name, text) in [
        ("specversion", event.specversion()),
        ("id", event.id()),
        ("source", event.source()),
        ("type", event.event_type()),
    ] {
        assert_eq!(plain[name].as_str(), Some(text));
    }
    let tenant = plain_tenant(&plain);
    if check_tenant_id(tenant).is_err() {
        assert!(structured.is_none() && binary.is_none(), "{tenant:?}");
    }
    let Some(structured) = structured else { return };
    for envelope in [Some(&structured), binary.as_ref()].into_iter().flatten() {
        let subject = envelope.subject().as_str();
        let tokens: Vec<&str> = subject.split('.').collect();
        assert_eq!(tokens.len(), 3, "{subject}");
        assert_eq!(tokens[..2], ["events", tenant]);
        let is_valid = envelope.deviation().is_none();
        assert_eq!(is_valid, event.deviation().is_none());
    }
    assert_eq!(structured.payload(), line);
    let exported = event_json(&structured).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&exported).unwrap(), plain);
    if let Some(binary) = binary {
        let exported: Value = serde_json::from_slice(&event_json(&binary).unwrap()).unwrap();
        for name in ["specversion", "id", "source", "type", "time", "subject"] {
            let text = plain[name].as_str().map(Value::from);
            assert!(
                text.is_none() || exported.get(name) == text.as_ref(),
                "{name}"
            );
        }
    }
}

#[test]
fn any_line_has_the_subject_of_a_plain_reading_and_no_panic() {
    let corpus: Vec<&[u8]> = REAL
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .collect();
    let corpus: Vec<&[u8]> = corpus.into_iter().step_by(7).chain(MADE_UP).collect();
    Trial::new("fuzz-event-lines", 2_000).run(|dice: &mut Dice| {
        look_at(&mutated(dice, &corpus, &WORDS));
    });
}
