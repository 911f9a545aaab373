//! Lines that should be CloudEvents.

use bytes::Bytes;
use serde_json::Value;
use trial::{Dice, Trial};

use crate::message::event::CloudEvent;
use crate::message::routing::Routing;
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

const WORDS: [&[u8]; 32] = [
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
];

fn made(mode: ContentMode, line: &[u8]) -> Option<Envelope> {
    let template = "events.{tenantId}.{type}".parse().unwrap();
    let line = Bytes::copy_from_slice(line);
    bounded(line.len(), 64, || {
        match Binding::new(template).mode(mode).envelope(line) {
            Ok(envelope) => Some(envelope),
            Err(error) => {
                assert!(!error.to_string().contains('\n'), "{error:?}");
                None
            }
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
    let read = bounded(line.len(), 64, || CloudEvent::from_json(line).ok());
    if let Some(quick) = Routing::read(line) {
        let slow = read
            .as_ref()
            .expect("the quick reader takes no more than the thorough one");
        assert_eq!((&*quick.id, &*quick.source), (slow.id(), slow.source()));
        assert_eq!(&*quick.event_type, slow.event_type());
        assert_eq!(quick.tenant.as_deref(), slow.tenant().as_deref());
        assert_eq!(quick.traceparent, slow.traceparent());
    }
    let structured = made(ContentMode::Structured, line);
    let binary = made(ContentMode::Binary, line);
    let Some(event) = read else {
        assert!(structured.is_none() && binary.is_none());
        return;
    };
    // A number too large for it is none of our business; it goes on as it came.
    let Ok(plain) = serde_json::from_slice::<Value>(line) else {
        return;
    };
    assert_eq!(plain["specversion"], "1.0");
    assert_eq!(plain["id"].as_str(), Some(event.id()));
    assert_eq!(plain["source"].as_str(), Some(event.source()));
    assert_eq!(plain["type"].as_str(), Some(event.event_type()));
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
    }
    assert_eq!(structured.payload(), line);
    let exported = event_json(&structured).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&exported).unwrap(), plain);
    if let Some(binary) = binary {
        let exported: Value = serde_json::from_slice(&event_json(&binary).unwrap()).unwrap();
        for name in ["id", "source", "type"] {
            assert_eq!(exported[name], plain[name]);
        }
    }
}

#[test]
fn no_line_panics_and_an_event_goes_where_a_plain_reading_sends_it() {
    let corpus: Vec<&[u8]> = REAL
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .collect();
    let corpus: Vec<&[u8]> = corpus.into_iter().step_by(7).chain(MADE_UP).collect();
    Trial::new("fuzz-event-lines", 2_000).run(|dice: &mut Dice| {
        look_at(&mutated(dice, &corpus, &WORDS));
    });
}
