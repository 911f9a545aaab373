use super::*;
use crate::{Binding, ContentMode, Envelope};

fn attributes(rest: &[(&str, &str)]) -> Vec<(String, String)> {
    let required = [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/s"),
        ("type", "t"),
    ];
    let all = required.iter().chain(rest);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn binary(rest: &[(&str, &str)], data: &'static [u8]) -> BinaryEvent {
    BinaryEvent::new(attributes(rest), Bytes::from_static(data)).unwrap()
}

fn tenant(event: &BinaryEvent) -> Option<EventTenant<'static>> {
    let mut seen = None;
    let binding = Binding::new("e.{tenantId}".parse().unwrap()).mode(ContentMode::Binary);
    let _ = binding.binary_envelope(event, |tenant| {
        seen = Some(match tenant {
            EventTenant::Named(name) => EventTenant::Named(Cow::Owned(name.into_owned())),
            EventTenant::Absent => EventTenant::Absent,
            EventTenant::Unreadable => EventTenant::Unreadable,
        });
        None
    });
    seen
}

fn header<'e>(envelope: &'e Envelope, name: &str) -> Option<&'e str> {
    let mut headers = envelope.headers().iter();
    headers.find_map(|(n, value)| (n == name).then_some(value))
}

#[test]
fn each_rule_of_an_attribute_is_enforced() {
    for (name, value, rule) in [
        ("specversion", "0.3", EventRule::SpecVersion),
        ("id", "", EventRule::RequiredEmpty),
        ("id", "a\u{7}", EventRule::ControlCharacter),
        ("source", "a b", EventRule::Source),
        ("type", "\u{fffe}", EventRule::Noncharacter),
        ("time", "yesterday", EventRule::Time),
        ("subject", "", EventRule::SubjectEmpty),
        ("dataschema", "relative", EventRule::DataSchema),
        ("datacontenttype", "nonsense", EventRule::DataContentType),
        ("data", "x", EventRule::AttributeName),
        ("data_base64", "x", EventRule::AttributeName),
        ("My-Name", "x", EventRule::AttributeName),
        ("extension", "\n", EventRule::ControlCharacter),
    ] {
        let mut event = attributes(&[]);
        event.retain(|(n, _)| n != name);
        event.push((name.to_owned(), value.to_owned()));
        let error = BinaryEvent::new(event, Bytes::new()).unwrap_err();
        assert_eq!(error.rule, rule, "{name} {value:?}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    let twice = attributes(&[("id", "2")]);
    let error = BinaryEvent::new(twice, Bytes::new()).unwrap_err();
    assert_eq!(error.rule, EventRule::RepeatedAttribute);
    for name in REQUIRED {
        let mut event = attributes(&[]);
        event.retain(|(n, _)| n != name);
        let error = BinaryEvent::new(event, Bytes::new()).unwrap_err();
        assert_eq!(error.rule, EventRule::MissingAttribute);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn data_that_is_not_json_names_no_tenant_and_is_unreadable() {
    let json = ("datacontenttype", "application/json");
    let named = binary(&[json], br#"{"tenantId":"acme"}"#);
    assert_eq!(tenant(&named), Some(EventTenant::Named("acme".into())));
    let correlated = binary(
        &[("datacontenttype", "Application/Cloud+JSON; charset=utf-8")],
        br#"{"correlation":{"tenantId":"acme"}}"#,
    );
    assert_eq!(tenant(&correlated), Some(EventTenant::Named("acme".into())));
    for (attributes, data) in [
        (&[json][..], &b"{}"[..]),
        (&[json], b"[1]"),
        (&[json], b"\"text\""),
        (&[], b""),
    ] {
        assert_eq!(tenant(&binary(attributes, data)), Some(EventTenant::Absent));
    }
    for (attributes, data) in [
        (&[json][..], &b"{"[..]),
        (&[json], b"\xff"),
        (&[], br#"{"tenantId":"acme"}"#),
        (&[("datacontenttype", "text/plain")], b"{}"),
    ] {
        let event = binary(attributes, data);
        assert_eq!(tenant(&event), Some(EventTenant::Unreadable));
    }
}

#[test]
fn structured_event_with_base64_or_other_text_is_unreadable_by_both_readers() {
    for (rest, expected) in [
        (r#","data_base64":"aGk=""#, EventTenant::Unreadable),
        (r#","data":"hi""#, EventTenant::Absent),
        (
            r#","datacontenttype":"text/xml","data":"<a/>""#,
            EventTenant::Unreadable,
        ),
        (
            r#","data":"<a/>","datacontenttype":"text/xml""#,
            EventTenant::Unreadable,
        ),
        (
            r#","datacontenttype":"text/xml","data":{}"#,
            EventTenant::Absent,
        ),
        ("", EventTenant::Absent),
    ] {
        for mode in [ContentMode::Structured, ContentMode::Binary] {
            let json = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t"{rest}}}"#);
            let binding = Binding::new("e".parse().unwrap()).mode(mode);
            let envelope = binding.envelope_with_tenant(json.into(), |tenant| {
                assert_eq!(tenant, expected, "{rest}");
                None
            });
            envelope.unwrap();
        }
    }
}

#[test]
fn binary_event_is_sent_as_it_was_received_or_as_json() {
    let event = binary(
        &[
            ("datacontenttype", "text/plain"),
            ("subject", "größe 5%"),
            ("traceparent", "00-1-2-01"),
        ],
        b"hi",
    );
    let binding = Binding::new("e.{subject}".parse().unwrap());
    let sent = binding
        .clone()
        .mode(ContentMode::Binary)
        .binary_envelope(&event, |tenant| tenant.named())
        .unwrap();
    assert_eq!(sent.subject().as_str(), "e.größe%205%25");
    assert_eq!(header(&sent, "ce-subject"), Some("gr%C3%B6%C3%9Fe%205%25"));
    assert_eq!(header(&sent, "ce-datacontenttype"), Some("text/plain"));
    assert_eq!(header(&sent, "traceparent"), Some("00-1-2-01"));
    assert_eq!(&sent.payload()[..], b"hi");
    let sent = binding
        .binary_envelope(&event, |tenant| tenant.named())
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(sent.payload()).unwrap();
    assert_eq!(json["subject"], "größe 5%");
    assert_eq!(json["data"], "hi");
    assert_eq!(
        header(&sent, "content-type"),
        Some("application/cloudevents+json")
    );
}

#[test]
fn chosen_tenant_fills_the_subject_and_is_checked() {
    let binding = Binding::new("e.{tenantId}".parse().unwrap());
    let event = binary(&[], b"");
    let of = |tenant: &'static str| binding.binary_envelope(&event, |_| Some(tenant.into()));
    assert_eq!(of("acme").unwrap().subject().as_str(), "e.acme");
    assert!(of("a.b").is_err());
}
