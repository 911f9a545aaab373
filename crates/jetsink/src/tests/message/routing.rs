//! The quick reader accepts only valid events, and finds the same in them as the thorough one.

use proptest::prelude::*;

use super::*;
use crate::CloudEvent;

fn assert_as_the_thorough_reader(json: &[u8]) {
    let others = ["time", "subject", "num"].map(str::to_owned);
    let Some(routing) = Routing::read(json, &others) else {
        return;
    };
    let event = CloudEvent::from_json(json).unwrap();
    assert_eq!(routing.specversion, event.specversion());
    assert_eq!(routing.id, event.id());
    assert_eq!(routing.source, event.source());
    assert_eq!(routing.event_type, event.event_type());
    assert_eq!(routing.traceparent, event.traceparent());
    assert_eq!(routing.tracestate, event.tracestate());
    assert_eq!(
        routing.tenant.as_deref(),
        event.tenant().unwrap().as_deref()
    );
    for (name, text) in others.iter().zip(routing.others) {
        assert_eq!(text, event.attribute(name).unwrap(), "{name}");
    }
}

fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null"),
        Just("true"),
        Just("-0.5e3"),
        Just("1e999"),
        Just("18446744073709551616"),
        Just("\"\""),
        Just("\"x\""),
        Just("\"a\\u00e9\\n\""),
        Just("\"\\ud800\""),
        Just("nope"),
    ]
    .prop_map(str::to_owned);
    leaf.prop_recursive(3, 12, 4, |inner| {
        let name = prop_oneof![
            Just("tenantId"),
            Just("correlation"),
            Just("x"),
            Just("tenant\\u0049d"),
        ];
        let members = proptest::collection::vec((name, inner.clone()), 0..4);
        let object = members.prop_map(|members| {
            let members: Vec<String> = members
                .iter()
                .map(|(n, v)| format!("\"{n}\":{v}"))
                .collect();
            format!("{{{}}}", members.join(","))
        });
        let list = proptest::collection::vec(inner, 0..3);
        prop_oneof![
            object,
            list.prop_map(|items| format!("[{}]", items.join(",")))
        ]
    })
}

fn attribute_value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\"2026-11-23T09:14:05Z\""),
        Just("\"2026-11-23T09:14:60Z\""),
        Just("\"AA==\""),
        Just("\"AB==\""),
        Just("\"text/plain; a=b\""),
        Just("\"urn:a\""),
        Just("\"a b\u{7f}\""),
        Just("\"\u{fffe}\""),
        Just("7"),
        Just("-0"),
        Just("7.0"),
        Just("2147483647"),
        Just("2147483648"),
        Just("-2147483649"),
        Just("false"),
    ]
    .prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn quick_reader_accepts_only_events_that_the_thorough_one_accepts(
        members in proptest::collection::vec((
            prop_oneof![
                4 => Just("data"), 1 => Just("data_base64"), 2 => Just("traceparent"),
                1 => Just("id"), 1 => Just("Bad"), 2 => Just("time"), 1 => Just("ty\\u0070e"),
                1 => Just("subject"), 1 => Just("num"), 1 => Just("tracestate"),
                1 => Just("datacontenttype"), 1 => Just("dataschema"),
            ],
            prop_oneof![3 => json_text(), 2 => attribute_value()],
        ), 0..4),
        start in prop_oneof![
            9 => Just(r#"{"specversion":"1.0","id":"1","source":"s","type":"t""#),
            1 => Just(r#"{"specversion":"1.1","id":"1","source":"s","type":"t""#),
            1 => Just(r#"{"specversion":"1.0","id":"","source":"s","type":"t""#),
        ],
        end in prop_oneof![9 => Just("}"), 1 => Just("} x"), 1 => Just("")],
        flipped in proptest::option::weighted(0.3, (0..400_usize, any::<u8>())),
    ) {
        let members: String =
            members.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
        let mut json = format!("{start}{members}{end}").into_bytes();
        if let Some((place, byte)) = flipped
            && let Some(at) = json.get_mut(place)
        {
            *at = byte;
        }
        assert_as_the_thorough_reader(&json);
    }
}

#[test]
fn usual_events_are_taken() {
    let lines = include_str!("../../../../../samples/cellos-events.jsonl");
    for line in lines.lines() {
        assert!(Routing::read(line.as_bytes(), &[]).is_some(), "{line}");
        assert_as_the_thorough_reader(line.as_bytes());
    }
}

#[test]
fn an_event_that_breaks_a_rule_is_left_to_the_thorough_reader() {
    let (mut taken, mut left) = (0, 0);
    let values = [
        "\"\"",
        "\"x\"",
        "7",
        "7.0",
        "2147483648",
        "true",
        "null",
        "{}",
        "[]",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\u{7f}\"",
        "\"\u{9f}\"",
        "\"\u{ffff}\"",
        "\"2026-11-23T09:14:05Z\"",
        "\"urn:x\"",
        "\"a/b\"",
        "\"AA==\"",
    ];
    let names = [
        "specversion",
        "id",
        "source",
        "type",
        "time",
        "subject",
        "datacontenttype",
        "dataschema",
        "data",
        "data_base64",
        "traceparent",
        "ext",
        "Ext",
        "",
    ];
    for name in names {
        for value in values {
            let required = [
                ("specversion", "\"1.0\""),
                ("id", "\"1\""),
                ("source", "\"s\""),
                ("type", "\"t\""),
            ];
            let members = required.iter().filter(|(n, _)| *n != name);
            let members: String = members.map(|(n, v)| format!("\"{n}\":{v},")).collect();
            let json = format!("{{{members}\"{name}\":{value}}}");
            assert_as_the_thorough_reader(json.as_bytes());
            match Routing::read(json.as_bytes(), &[]) {
                Some(_) => taken += 1,
                None => left += 1,
            }
        }
    }
    assert!(taken > 60 && left > 100, "{taken} {left}");
}
