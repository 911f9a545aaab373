//! Events that are valid, events that break each rule, and JSON at its edges.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;

/// An event with more members than the required ones.
fn event(rest: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t"{rest}}}"#)
}

fn full(json: &str) -> Result<CloudEvent<'_>, EventError> {
    CloudEvent::from_json(json.as_bytes())
}

fn lenient(json: &str) -> Result<CloudEvent<'_>, EventError> {
    CloudEvent::from_json_with(json.as_bytes(), Validation::Lenient)
}

fn tenant(data: &str) -> Result<Option<String>, UnreadableText> {
    full(&event(&format!(r#","data":{data}"#)))
        .unwrap()
        .tenant()
}

fn some(tenant: &str) -> Result<Option<String>, UnreadableText> {
    Ok(Some(tenant.to_owned()))
}

#[test]
fn the_tenant_is_the_datas_else_the_correlations() {
    assert_eq!(tenant(r#"{"tenantId":"a"}"#), some("a"));
    assert_eq!(tenant(r#"{"correlation":{"tenantId":"b"}}"#), some("b"));
    let both = r#"{"correlation":{"tenantId":"b"},"tenantId":"a"}"#;
    assert_eq!(tenant(both), some("a"));
    let not_a_string = r#"{"tenantId":7,"correlation":{"tenantId":"b"}}"#;
    assert_eq!(tenant(not_a_string), some("b"));
    assert_eq!(tenant(r#"{"tenantId":"x","tenantId":"y"}"#), some("y"));
    assert_eq!(tenant(r#"{"tenantId":"x","tenantId":7}"#), Ok(None));
    for none in [
        "null",
        "[]",
        "\"text\"",
        "{}",
        r#"{"tenantId":null}"#,
        r#"{"correlation":"x"}"#,
        r#"{"tenantId":{"tenantId":"x"}}"#,
    ] {
        assert_eq!(tenant(none), Ok(None), "{none}");
    }
    assert_eq!(tenant(r#"{"tenantId":"a\u0000b"}"#), some("a\0b"));
    assert_eq!(tenant(r#"{"tenant\u0049d":"a"}"#), some("a"));
}

#[test]
fn a_tenant_that_cannot_be_read_is_not_absent() {
    for (data, member) in [
        (r#"{"tenantId":"\ud800"}"#, "`data.tenantId`"),
        (r#"{"tenantId":"a\udc00b"}"#, "`data.tenantId`"),
        (
            r#"{"tenantId":"ok","tenantId":"\ud800x"}"#,
            "`data.tenantId`",
        ),
        (
            r#"{"tenantId":"\ud800","correlation":{"tenantId":"b"}}"#,
            "`data.tenantId`",
        ),
        (
            r#"{"correlation":{"tenantId":"\ud800"}}"#,
            "`data.correlation.tenantId`",
        ),
    ] {
        let error = tenant(data).unwrap_err();
        assert_eq!(error.member, member, "{data}");
    }
}

#[test]
fn unreadable_neighbours_do_not_hide_a_tenant() {
    for data in [
        r#"{"\ud800":1,"tenantId":"acme"}"#,
        r#"{"x":"\ud800","tenantId":"acme"}"#,
        r#"{"x":{"\ud800":"\ud800"},"tenantId":"acme"}"#,
        r#"{"tenantId":"\ud800","tenantId":"acme"}"#,
        r#"{"correlation":{"\udfff":"x","tenantId":"acme"}}"#,
        r#"{"tenantId":1e999,"correlation":{"tenantId":"acme"}}"#,
    ] {
        assert_eq!(tenant(data), some("acme"), "{data}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let data = format!(r#"{{"deep":{deep},"tenantId":"acme"}}"#);
    assert_eq!(tenant(&data), some("acme"));
}

/// For each rule, members that break it beside the required ones.
const BROKEN: [(EventRule, &str); 41] = [
    (EventRule::RepeatedAttribute, r#","id":"2""#),
    (EventRule::RepeatedAttribute, r#","\u0069d":"2""#),
    (EventRule::RepeatedAttribute, r#","a":1,"a":1"#),
    (EventRule::RepeatedAttribute, r#","a":null,"a":"2""#),
    (EventRule::RepeatedAttribute, r#","a":"2","a":null"#),
    (EventRule::RepeatedAttribute, r#","specversion":null"#),
    (EventRule::RepeatedAttribute, r#","data":1,"data":1"#),
    (
        EventRule::RepeatedAttribute,
        r#","data_base64":null,"data_base64":"""#,
    ),
    (EventRule::AttributeName, r#","Bad-Name":1"#),
    (EventRule::AttributeName, r#","":1"#),
    (EventRule::AttributeName, r#","tenantId":null"#),
    (EventRule::AttributeType, r#","ext":{}"#),
    (EventRule::AttributeType, r#","ext":["x"]"#),
    (EventRule::AttributeType, r#","time":7"#),
    (EventRule::AttributeType, r#","subject":true"#),
    (EventRule::AttributeType, r#","dataschema":{}"#),
    (EventRule::AttributeType, r#","datacontenttype":1.5"#),
    (EventRule::IntegerForm, r#","ext":1.5"#),
    (EventRule::IntegerForm, r#","ext":1e3"#),
    (EventRule::IntegerForm, r#","ext":7.0"#),
    (EventRule::IntegerForm, r#","ext":1e999"#),
    (EventRule::IntegerRange, r#","ext":2147483648"#),
    (EventRule::IntegerRange, r#","ext":-2147483649"#),
    (EventRule::ControlCharacter, r#","ext":"a\u0007b""#),
    (EventRule::ControlCharacter, r#","subject":"a\nb""#),
    (EventRule::ControlCharacter, ",\"ext\":\"\u{85}\""),
    (EventRule::ControlCharacter, ",\"ext\":\"\u{7f}\""),
    (EventRule::Surrogate, r#","ext":"\uDEAD""#),
    (EventRule::Surrogate, r#","subject":"\ud800\u0041""#),
    (EventRule::Noncharacter, r#","ext":"\ufffe""#),
    (EventRule::Noncharacter, r#","ext":"\ud83f\udfff""#),
    (EventRule::Time, r#","time":"yesterday""#),
    (EventRule::Time, r#","time":"""#),
    (EventRule::DataContentType, r#","datacontenttype":"json""#),
    (EventRule::DataContentType, r#","datacontenttype":"""#),
    (EventRule::DataSchema, r##","dataschema":"#""##),
    (EventRule::DataSchema, r#","dataschema":"""#),
    (EventRule::SubjectEmpty, r#","subject":"""#),
    (EventRule::DataBase64, r#","data_base64":"?""#),
    (EventRule::DataBase64, r#","data_base64":7"#),
    (EventRule::DataTwice, r#","data":1,"data_base64":"AA==""#),
];

/// Whole events that break rules of the required attributes.
fn broken_wholes() -> Vec<(EventRule, String)> {
    let mut wholes = vec![
        (EventRule::NotAnObject, "[]".to_owned()),
        (
            EventRule::NotAnObject,
            format!("\"{}\"", "x".repeat(1 << 20)),
        ),
        (EventRule::NotAnObject, "null".to_owned()),
        (EventRule::NotAnObject, " 7".to_owned()),
        (EventRule::NotAnObject, format!("[{}]", event(""))),
        (EventRule::NotAnObject, format!("\u{feff}{}", event(""))),
        (EventRule::NotAnObject, "\0".to_owned()),
    ];
    let members = [
        ("specversion", "\"1.0\""),
        ("id", "\"1\""),
        ("source", "\"s\""),
        ("type", "\"t\""),
    ];
    for (broken, _) in members {
        let with = |value: Option<&str>| {
            let members = members.iter().filter_map(|(name, usual)| {
                let value = if *name == broken { value } else { Some(*usual) };
                value.map(|value| format!("\"{name}\":{value}"))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        };
        wholes.push((EventRule::MissingAttribute, with(None)));
        wholes.push((EventRule::MissingAttribute, with(Some("null"))));
        for value in ["5", "true", "{}", "[\"1.0\"]"] {
            wholes.push((EventRule::RequiredType, with(Some(value))));
        }
        wholes.push((EventRule::RequiredSurrogate, with(Some(r#""\ud800""#))));
        let (empty, control) = match broken {
            "specversion" => (EventRule::SpecVersion, EventRule::SpecVersion),
            "source" => (EventRule::RequiredEmpty, EventRule::Source),
            _ => (EventRule::RequiredEmpty, EventRule::ControlCharacter),
        };
        wholes.push((empty, with(Some("\"\""))));
        wholes.push((control, with(Some(r#""\u0000""#))));
    }
    wholes.push((EventRule::SpecVersion, event("").replace("1.0", "0.3")));
    wholes.push((EventRule::Source, event("").replace("\"s\"", "\"a b\"")));
    wholes
}

fn every_broken_event() -> Vec<(EventRule, String)> {
    let mut events = broken_wholes();
    events.extend(BROKEN.map(|(rule, rest)| (rule, event(rest))));
    events
}

#[test]
fn an_event_that_breaks_a_rule_is_refused_by_its_name_and_clause() {
    let mut rules = BTreeSet::new();
    for (rule, json) in every_broken_event() {
        let error = full(&json).unwrap_err();
        assert_eq!(error.rule, Some(rule), "{error}");
        assert!(
            error.message.ends_with(&format!("({})", rule.clause())),
            "{error}"
        );
        assert!(error.message.len() < 500, "{error}");
        rules.insert(rule);
    }
    let all: BTreeSet<EventRule> = EventRule::ALL.iter().copied().collect();
    assert_eq!(rules, all, "each rule is tried");
}

#[test]
fn lenient_reading_enforces_routing_rules_and_reports_the_others() {
    for (rule, json) in every_broken_event() {
        match lenient(&json) {
            Ok(event) => {
                assert!(!rule.is_always_enforced(), "{json}");
                assert_eq!(event.deviation().unwrap(), &full(&json).unwrap_err());
            }
            Err(error) => {
                assert!(rule.is_always_enforced(), "{error}");
                assert_eq!(error, full(&json).unwrap_err());
            }
        }
    }
    assert_eq!(lenient(&event("")).unwrap().deviation(), None);
    let json = event(r#","time":"x","subject":"","data":{"tenantId":"a"}"#);
    let event = lenient(&json).unwrap();
    assert_eq!(
        event.deviation().unwrap().rule,
        Some(EventRule::Time),
        "the first"
    );
    assert_eq!(event.tenant(), some("a"));
}

#[test]
fn valid_events_are_taken_and_null_means_absent() {
    for rest in [
        "",
        r#","time":null,"subject":null,"dataschema":null,"datacontenttype":null,"ext":null"#,
        r#","data":null"#,
        r#","data":null,"data_base64":null"#,
        r#","data_base64":"","datacontenttype":"image/png""#,
        r#","data_base64":"AAEC\/w==""#,
        r#","ext":true,"other":false,"num":-2147483648,"zero":-0,"empty":"""#,
        r#","time":"1990-12-31t23:59:60z","subject":"größe \ud83d\ude00""#,
        r#","dataschema":"urn:a:b","datacontenttype":"text/plain; charset=utf-8","data":7"#,
        r#","data":{"a":1,"a":[1e999,"\ud800","\u0000"]}"#,
    ] {
        let json = event(rest);
        full(&json).unwrap_or_else(|error| panic!("{rest}: {error}"));
    }
    let json = event(r#","time":null,"traceparent":null,"subject":"a\"b","num":7,"flag":true"#);
    let event = full(&json).unwrap();
    assert_eq!((event.traceparent(), event.tracestate()), (None, None));
    assert_eq!(event.attributes.len(), 3);
    for (name, text) in [
        ("subject", Some("a\"b")),
        ("num", Some("7")),
        ("flag", Some("true")),
        ("time", None),
        ("id", Some("1")),
        ("source", Some("s")),
        ("type", Some("t")),
        ("specversion", Some("1.0")),
    ] {
        assert_eq!(event.attribute(name).unwrap().as_deref(), text, "{name}");
    }
}

#[test]
fn an_attribute_without_text_is_unreadable_and_not_absent() {
    let json = event(r#","ext":"\ud800""#);
    let error = lenient(&json).unwrap().attribute("ext").unwrap_err();
    assert_eq!(error.member, "`ext`");
}

#[test]
fn an_error_has_the_place_of_the_value() {
    let error = full("{\"specversion\":\"1.0\",\n  \"id\": nope}").unwrap_err();
    assert_eq!(
        (error.line, error.column, error.rule),
        (2, 10, None),
        "{error}"
    );
    let json = "{\"specversion\":\"1.0\",\r\n\n  \"id\": \"1\",\"time\" : \"é\"}";
    let error = full(json).unwrap_err();
    assert_eq!((error.line, error.column), (3, 22), "{error}");
    let error = full(&event("").replace(r#""id":"1","#, "")).unwrap_err();
    assert_eq!((error.line, error.column), (1, 45), "{error}");
    assert_eq!(
        error.to_string(),
        "required attribute `id` is missing (CloudEvents 1.0.2, REQUIRED Attributes) (line 1, column 45)"
    );
}

#[test]
fn text_that_is_not_json_is_refused_with_a_short_message() {
    let long = "x".repeat(1 << 20);
    for json in [
        "{".to_owned(),
        event(" x"),
        event("") + " x",
        event(r#","a":01"#),
        event(r#","a":+1"#),
        event(r#","a":NaN"#),
        event(",\"a\":\"\u{1}\""),
        event(r#","a":"\x""#),
        event(r#","a":"\u12""#),
        event(","),
        event(r#","\ud800":1"#),
        event(r#","data":{"a":1,}"#),
        event(&format!(r#","{long}"#)),
        event(&format!(r#","{long}":{long}"#)),
        format!("{{{}", "\"a\":{".repeat(100_000)),
    ] {
        for error in [full(&json).unwrap_err(), lenient(&json).unwrap_err()] {
            assert_eq!(error.rule, None, "{error}");
            assert!(error.to_string().len() < 300, "{error}");
        }
    }
    for bytes in [
        &b"{\"specversion\":\"1.0\",\"id\":\"\xff\",\"source\":\"s\",\"type\":\"t\"}"[..],
        b"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"data\":\"\xc0\xaf\"}",
        b"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"\xed\xa0\x80\":1}",
        b"",
    ] {
        assert_eq!(CloudEvent::from_json(bytes).unwrap_err().rule, None);
    }
}

#[test]
fn data_may_be_any_json_however_deep() {
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let number = format!(
        "{}.{}e{}",
        "9".repeat(5_000),
        "9".repeat(5_000),
        "9".repeat(300)
    );
    for data in [deep, number] {
        full(&event(&format!(r#","data":{data}"#))).unwrap();
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(200_000), "}".repeat(200_000));
    let json = event(&format!(r#","ext":{deep}"#));
    assert_eq!(
        full(&json).unwrap_err().rule,
        Some(EventRule::AttributeType)
    );
}

/// Repeated names compared pairwise took 7 s for the first of these in an optimized build, and four times as long for
/// the second. A build without optimization takes ten times as long.
#[test]
fn time_is_linear_in_the_number_of_attributes() {
    const GENEROUS: Duration = Duration::from_secs(30);
    let numbered = |count: u32| {
        let members = (0..count).map(|number| format!(r#","a{number}":1"#));
        event(&members.collect::<String>())
    };
    let (many, most) = (numbered(100_000), numbered(200_000));
    let last_twice = format!("{},\"a199999\":1}}", &most[..most.len() - 1]);
    let binding = crate::Binding::new("e".parse().unwrap());
    for (json, repeated) in [(many, false), (most, false), (last_twice, true)] {
        let started = Instant::now();
        let result = full(&json).map(|event| event.attributes.len());
        let rule = result.map_err(|error| error.rule);
        assert_eq!(rule == Err(Some(EventRule::RepeatedAttribute)), repeated);
        assert_eq!(binding.envelope(json.into()).is_err(), repeated);
        let took = started.elapsed();
        println!("{took:?}");
        assert!(took < GENEROUS, "{took:?}");
    }
}
