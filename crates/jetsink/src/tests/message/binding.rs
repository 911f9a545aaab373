//! Envelopes of events in both modes.

use super::super::content::header_value;
use super::*;

fn binding(mode: ContentMode, id: MessageIdRule) -> Binding {
    Binding::new("e.{tenantId}".parse().unwrap())
        .mode(mode)
        .message_id(id)
        .validation(Validation::Lenient)
}

fn header<'a>(envelope: &'a Envelope, name: &str) -> Option<&'a str> {
    envelope
        .headers()
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, v)| v)
}

const EVENT: &str = r#"{"specversion":"1.0","id":"a b\r\n","source":"/ü%","type":"t","num":7,"flag":true,"time":null,"datacontenttype":"text/plain","traceparent":"00-1-2-01","data":"hé"}"#;

#[test]
fn structured_keeps_the_bytes_and_carries_no_ce_header() {
    let envelope = binding(ContentMode::Structured, MessageIdRule::PerEmit)
        .envelope(EVENT.into())
        .unwrap();
    assert_eq!(&envelope.payload()[..], EVENT.as_bytes());
    assert_eq!(
        header(&envelope, "content-type"),
        Some("application/cloudevents+json")
    );
    assert_eq!(header(&envelope, "traceparent"), Some("00-1-2-01"));
    assert!(
        envelope
            .headers()
            .iter()
            .all(|(n, _)| !n.starts_with("ce-"))
    );
}

#[test]
fn binary_percent_encodes_every_byte_that_is_not_visible_ascii() {
    let envelope = binding(ContentMode::Binary, MessageIdRule::PerEmit)
        .envelope(EVENT.into())
        .unwrap();
    let expected = [
        ("ce-specversion", "1.0"),
        ("ce-id", "a%20b%0D%0A"),
        ("ce-source", "/%C3%BC%25"),
        ("ce-type", "t"),
        ("ce-num", "7"),
        ("ce-flag", "true"),
        ("ce-datacontenttype", "text/plain"),
        ("ce-traceparent", "00-1-2-01"),
        ("traceparent", "00-1-2-01"),
    ];
    assert_eq!(envelope.headers().iter().collect::<Vec<_>>(), expected);
    assert_eq!(&envelope.payload()[..], "hé".as_bytes());
}

fn event(rest: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t"{rest}}}"#)
}

fn of(template: &str, mode: ContentMode, rest: &str) -> Result<Envelope, BindingError> {
    let binding = Binding::new(template.parse().unwrap()).mode(mode);
    binding.envelope(event(rest).into())
}

fn lenient(template: &str, mode: ContentMode, rest: &str) -> Result<Envelope, BindingError> {
    let binding = Binding::new(template.parse().unwrap()).mode(mode);
    let binding = binding.validation(Validation::Lenient);
    binding.envelope(event(rest).into())
}

const BOTH: [ContentMode; 2] = [ContentMode::Structured, ContentMode::Binary];

#[test]
fn binary_data_is_json_text_or_decoded_base64() {
    let payload = |rest| {
        let envelope = of("e", ContentMode::Binary, rest).unwrap();
        envelope.payload().to_vec()
    };
    assert_eq!(payload(r#","data":{"a": 1}"#), br#"{"a": 1}"#);
    let declared = r#","data":"x","datacontenttype":"application/json""#;
    assert_eq!(payload(declared), b"\"x\"");
    assert_eq!(
        payload(r#","data":"x","datacontenttype":"TEXT/Plain; a=b""#),
        b"x"
    );
    assert_eq!(
        payload(r#","data":"x","datacontenttype":"a/B+JSON""#),
        b"\"x\""
    );
    assert_eq!(payload(r#","data_base64":"AAE=""#), [0, 1]);
    assert!(payload("").is_empty());
    assert_eq!(payload(r#","data":null"#), b"null");
}

#[test]
fn binary_mode_makes_the_implied_json_type_explicit_but_not_for_base64() {
    let declared = |rest| {
        let envelope = of("e", ContentMode::Binary, rest).unwrap();
        header(&envelope, "ce-datacontenttype").map(str::to_owned)
    };
    let json = Some("application/json".to_owned());
    assert_eq!(declared(r#","data":{"a":1}"#), json);
    assert_eq!(declared(r#","data":"x","datacontenttype":null"#), json);
    assert_eq!(declared(r#","data":null"#), json);
    assert_eq!(declared(r#","data_base64":"MTIz""#), None);
    assert_eq!(declared(""), None);
    let own = Some("text/plain".to_owned());
    assert_eq!(
        declared(r#","data":"x","datacontenttype":"text/plain""#),
        own
    );
}

#[test]
fn a_tenant_that_cannot_be_read_is_refused_and_never_filed_under_single() {
    for data in [
        r#"{"tenantId":"\ud800"}"#,
        r#"{"tenantId":"acme\udc00"}"#,
        r#"{"correlation":{"tenantId":"\ud800"}}"#,
        r#"{"tenantId":"\ud800","correlation":{"tenantId":"b"}}"#,
    ] {
        let rest = format!(",\"data\":{data}");
        for mode in BOTH {
            for result in [
                of("e.{tenantId}", mode, &rest),
                lenient("e.{tenantId}", mode, &rest),
            ] {
                let error = result.unwrap_err();
                assert!(
                    matches!(error, BindingError::Unreadable(_)),
                    "{data}: {error}"
                );
            }
            let envelope = of("e.all", mode, &rest).unwrap();
            assert_eq!(
                envelope.subject().as_str(),
                "e.all",
                "the tenant decides nothing"
            );
        }
    }
    let neighbour = r#","data":{"\ud800":1,"tenantId":"acme"}"#;
    for mode in BOTH {
        let envelope = of("e.{tenantId}", mode, neighbour).unwrap();
        assert_eq!(envelope.subject().as_str(), "e.acme");
    }
}

#[test]
fn a_template_attribute_that_cannot_be_read_or_is_missing_is_refused() {
    let unpaired = r#","partitionkey":"\ud800""#;
    for mode in BOTH {
        let error = of("e.{partitionkey}", mode, unpaired).unwrap_err();
        assert!(matches!(error, BindingError::Event(_)), "{error}");
        for template in ["e.{partitionkey}", "e.{partitionkey|none}"] {
            let error = lenient(template, mode, unpaired).unwrap_err();
            assert!(matches!(error, BindingError::Unreadable(_)), "{error}");
        }
        for absent in ["", r#","partitionkey":null"#] {
            let error = of("e.{partitionkey}", mode, absent).unwrap_err();
            let name = "partitionkey".to_owned();
            let missing = SubjectError::MissingAttribute { name };
            assert_eq!(error, BindingError::Subject(missing));
            let envelope = of("e.{partitionkey|none}", mode, absent).unwrap();
            assert_eq!(envelope.subject().as_str(), "e.none");
        }
    }
    assert!(lenient("e", ContentMode::Structured, unpaired).is_ok());
}

#[test]
fn any_attribute_fills_a_template() {
    let rest =
        r#","subject":"a.b","partitionkey":"k","num":7,"flag":true,"time":"2026-11-23T09:14:05Z""#;
    for (template, subject) in [
        ("e.{id}.{source}.{type}.{specversion}", "e.1.s.t.1%2E0"),
        ("e.{subject}", "e.a%2Eb"),
        ("e.{subject:levels}", "e.a.b"),
        ("e.{partitionkey}.{num}.{flag}", "e.k.7.true"),
        ("e.{time}", "e.2026-11-23T09:14:05Z"),
        ("e.{tenantId}.{subject:levels}", "e.single.a.b"),
        ("e.{num}.{num}", "e.7.7"),
    ] {
        for mode in BOTH {
            let envelope = of(template, mode, rest).unwrap();
            assert_eq!(envelope.subject().as_str(), subject, "{template}");
        }
    }
}

#[test]
fn unpaired_surrogates_in_attributes_are_refused_and_never_encoded_again() {
    let rest = r#","ext":"\uDEAD""#;
    for mode in BOTH {
        let error = of("e", mode, rest).unwrap_err();
        assert!(error.to_string().contains("unpaired surrogate"), "{error}");
    }
    let envelope = lenient("e", ContentMode::Structured, rest).unwrap();
    assert_eq!(envelope.payload(), event(rest).as_bytes(), "as it came");
    let error = lenient("e", ContentMode::Binary, rest).unwrap_err();
    assert!(matches!(error, BindingError::Unreadable(_)), "{error}");
}

#[test]
fn lenient_event_without_a_form_as_headers_is_refused_in_binary_mode() {
    for rest in [
        r#","ext":{"a":1}"#,
        r#","ext":[1]"#,
        r#","Upper":1"#,
        r#","data":1,"data_base64":"AA==""#,
        r#","data_base64":"?""#,
        r#","data_base64":7"#,
    ] {
        assert!(
            lenient("e", ContentMode::Structured, rest).is_ok(),
            "{rest}"
        );
        let error = lenient("e", ContentMode::Binary, rest).unwrap_err();
        assert!(
            matches!(error, BindingError::NotBinary(_)),
            "{rest}: {error}"
        );
    }
    let long = format!(",\"{}: \":1", "\u{202e}x".repeat(1_000));
    let error = lenient("e", ContentMode::Binary, &long).unwrap_err();
    assert!(error.to_string().len() < 1_000, "{error}");
    assert!(!error.to_string().contains('\u{202e}'), "{error}");
    let envelope = lenient("e", ContentMode::Binary, r#","n":1.50,"time":"x y""#).unwrap();
    assert_eq!(header(&envelope, "ce-n"), Some("1.50"));
    assert_eq!(header(&envelope, "ce-time"), Some("x%20y"));
    assert_eq!(envelope.deviation(), Some(crate::EventRule::IntegerForm));
}

#[test]
fn validation_is_full_unless_asked_otherwise_and_leniency_is_seen_on_the_envelope() {
    let invalid = r#","time":"yesterday""#;
    for mode in BOTH {
        assert!(matches!(
            of("e", mode, invalid),
            Err(BindingError::Event(_))
        ));
        let envelope = lenient("e", mode, invalid).unwrap();
        assert_eq!(envelope.deviation(), Some(crate::EventRule::Time));
        assert_eq!(of("e", mode, "").unwrap().deviation(), None);
        assert_eq!(lenient("e", mode, "").unwrap().deviation(), None);
    }
}

#[test]
fn a_trace_that_does_not_fit_into_headers_stays_in_the_event() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let long = "x".repeat(513);
    for (traceparent, tracestate, expected) in [
        (
            parent,
            "rojo=00f067,congo=t61",
            (Some(parent), Some("rojo=00f067,congo=t61")),
        ),
        (parent, "a=1, b=2", (Some(parent), Some("a=1, b=2"))),
        (parent, &long, (Some(parent), None)),
        (parent, "é=1", (Some(parent), None)),
        (parent, "", (Some(parent), None)),
        ("00 1", "a=1", (None, None)),
        ("é", "a=1", (None, None)),
        (&long, "a=1", (None, None)),
        ("", "a=1", (None, None)),
    ] {
        let rest = format!(r#","traceparent":"{traceparent}","tracestate":"{tracestate}""#);
        for mode in BOTH {
            let envelope = of("e", mode, &rest).unwrap();
            let found = (
                header(&envelope, "traceparent"),
                header(&envelope, "tracestate"),
            );
            assert_eq!(found, expected, "{rest}");
            match mode {
                ContentMode::Structured => assert_eq!(envelope.payload(), event(&rest).as_bytes()),
                ContentMode::Binary => {
                    let attribute = header(&envelope, "ce-traceparent");
                    assert_eq!(attribute, Some(&*header_value(traceparent)));
                }
            }
        }
    }
    let envelope = of("e", ContentMode::Structured, r#","tracestate":"a=1""#).unwrap();
    assert_eq!(
        header(&envelope, "tracestate"),
        None,
        "not without a traceparent"
    );
}

#[test]
fn ids_differ_where_any_part_differs() {
    let id = |subject: &str, source: &str, id: &str| {
        identity(&Subject::new(subject).unwrap(), source, id).unwrap()
    };
    assert_ne!(id("e", "a", "b c"), id("e", "a b", "c"));
    assert_ne!(id("e", "a", "bc"), id("e", "ab", "c"));
    assert_ne!(id("e.a", "b", "c"), id("e.b", "b", "c"), "another tenant");
    assert_eq!(id("e", "a", "b"), id("e", "a", "b"));
    let one = content_id(&Subject::new("e.a").unwrap(), b"x").unwrap();
    let other_tenant = content_id(&Subject::new("e.b").unwrap(), b"x").unwrap();
    assert_ne!(one, other_tenant);
}

#[test]
fn source_and_id_of_one_tenant_never_suppress_those_of_another() {
    let binding =
        Binding::new("events.{tenantId}".parse().unwrap()).message_id(MessageIdRule::SourceAndId);
    let id = |tenant: &str| {
        let json = event(&format!(r#","data":{{"tenantId":"{tenant}"}}"#));
        let envelope = binding.envelope(json.into()).unwrap();
        envelope.message_id().unwrap().clone()
    };
    assert_ne!(id("acme"), id("other"));
    assert_eq!(id("acme"), id("acme"));
}

#[test]
fn an_event_of_64_kib_passes_in_both_modes() {
    let padding = (64 << 10) - event(r#","data":"""#).len();
    let rest = format!(r#","data":"{}""#, "x".repeat(padding));
    assert_eq!(event(&rest).len(), 64 << 10);
    for mode in BOTH {
        let payload = of("e", mode, &rest).unwrap().payload().len();
        assert!(payload >= padding, "{payload}");
    }
}

#[test]
fn expirytime_is_read_if_asked_for_in_both_modes_and_forms() {
    let json = |time: &str| -> Bytes {
        format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","expirytime":"{time}"}}"#
        )
        .into()
    };
    let at = |millis| std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis);
    for mode in [ContentMode::Structured, ContentMode::Binary] {
        let ignoring = binding(mode, MessageIdRule::PerEmit);
        let reading = ignoring.clone().reads_expirytime(true);
        for (time, millis) in [
            ("2026-11-30T00:00:00Z", 1_795_996_800_000),
            ("2026-11-30t01:00:00.5+01:00", 1_795_996_800_500),
            ("1960-01-01T00:00:00Z", 0),
        ] {
            let envelope = reading.envelope(json(time)).unwrap();
            assert_eq!(envelope.expires_at(), Some(at(millis)), "{time}");
            assert_eq!(ignoring.envelope(json(time)).unwrap().expires_at(), None);
        }
        assert_eq!(reading.envelope(EVENT.into()).unwrap().expires_at(), None);
        for bad in ["tomorrow", "2026-11-30", ""] {
            let error = reading.envelope(json(bad)).unwrap_err();
            let is_expiry = matches!(error, BindingError::Expiry(_));
            assert!(is_expiry, "{bad}: {error}");
        }
    }
    let event = BinaryEvent::new(
        [
            ("specversion", "1.0"),
            ("id", "1"),
            ("source", "/s"),
            ("type", "t"),
            ("expirytime", "2026-11-30T00:00:00Z"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
        Bytes::new(),
    );
    let reading = binding(ContentMode::Binary, MessageIdRule::PerEmit).reads_expirytime(true);
    let envelope = reading.binary_envelope(&event.unwrap(), |_| None).unwrap();
    assert_eq!(envelope.expires_at(), Some(at(1_795_996_800_000)));
}
