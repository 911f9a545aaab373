//! Messages back to JSON, those of other publishers among them.

use super::*;

const BINARY: [(&str, &str); 5] = [
    ("ce-specversion", "1.0"),
    ("ce-datacontenttype", "application/json"),
    ("ce-id", "a%20b"),
    ("ce-source", "/s"),
    ("ce-type", "t"),
];

#[test]
fn json_data_comes_back_as_it_is_written() {
    let data = b"{\"n\": 12345678901234567890123,\r\n \"f\": 1.10}";
    let json = json_of_message(&BINARY, data).unwrap();
    assert_eq!(
        String::from_utf8(json).unwrap(),
        r#"{"datacontenttype":"application/json","id":"a b","source":"/s","specversion":"1.0","type":"t","data":{"n": 12345678901234567890123,   "f": 1.10}}"#
    );
    let json = json_of_message(&BINARY, b"{no").unwrap();
    let event: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(event["data_base64"], "e25v");
}

#[test]
fn a_structured_event_is_one_line_and_has_to_be_json() {
    let structured = [(
        "content-type",
        "application/cloudevents+json; charset=utf-8",
    )];
    let line = json_of_message(&structured, b"{\n\"a\":\r\n1e400}").unwrap();
    assert_eq!(line, b"{ \"a\":  1e400}");
    let error = json_of_message(&structured, b"{\n").unwrap_err();
    assert!(matches!(error, ExportError::NotJson(_)), "{error}");
    let error = json_of_message(&[], b"{}").unwrap_err();
    assert_eq!(error, ExportError::NotACloudEvent);
}

#[test]
fn binary_data_without_a_type_is_not_taken_for_json() {
    let undeclared = [BINARY[0], BINARY[2], BINARY[3], BINARY[4]];
    let json = json_of_message(&undeclared, b"123").unwrap();
    let event: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(event["data_base64"], "MTIz");
    assert_eq!(event.get("data"), None);
    assert_eq!(event.get("datacontenttype"), None);
}

// A reviewer's finding: application/octet-stream became a string of control characters, and UTF-16 became other text.
#[test]
fn data_is_a_string_only_if_its_type_is_text_in_utf_8() {
    for declared in [
        "text/plain",
        "TEXT/HTML; Charset=UTF-8",
        "text/csv;header=present;charset=\"us-ascii\"",
        "application/xml",
        "application/soap+xml; charset=utf-8; action=x",
        "image/svg+xml",
        "application/yaml",
        "application/x-www-form-urlencoded",
    ] {
        let event = event_of(declared, b"a b");
        assert_eq!(event["data"], "a b", "{declared}");
        assert_eq!(event.get("data_base64"), None, "{declared}");
    }
    for (declared, payload) in [
        ("application/octet-stream", &b"\0\x01\x02"[..]),
        ("application/protobuf", b"a b"),
        ("application/cbor", b"a"),
        ("image/png", b"a"),
        ("application/vnd.x+protobuf", b"a"),
        ("text/plain;charset=utf-16le", b"a\0b\0"),
        ("text/plain; charset=iso-8859-1", b"\xc3\xa9"),
        ("application/xml; charset=\"UTF-16\"", b"<\0"),
        ("text/plain; charset=", b"a"),
        ("nonsense", b"a"),
        ("", b"a"),
    ] {
        let event = event_of(declared, payload);
        let encoded = event["data_base64"].as_str().unwrap();
        use base64::Engine as _;
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
        assert_eq!(decoded.unwrap(), payload, "{declared}");
        assert_eq!(event.get("data"), None, "{declared}");
    }
}

fn event_of(declared: &str, payload: &[u8]) -> Value {
    let headers = [BINARY[0], ("ce-datacontenttype", declared)];
    serde_json::from_slice(&json_of_message(&headers, payload).unwrap()).unwrap()
}

#[test]
fn header_values_are_unquoted_and_percent_decoded_once() {
    for (value, text) in [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("%41", "A"),
        ("%2541", "%41"),
        ("\"a b\"", "a b"),
        ("\"a\\\"b\\\\%20c\"", "a\"b\\ c"),
        ("\"", "\""),
        ("a\"b\"", "a\"b\""),
        ("", ""),
        ("100%", "100%"),
    ] {
        let json = json_of_message(&[BINARY[0], ("ce-x", value)], b"").unwrap();
        let event: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(event["x"], text, "{value}");
    }
    for invalid in ["%C0%A0", "%ff", "%ED%A0%80"] {
        let error = json_of_message(&[BINARY[0], ("ce-x", invalid)], b"").unwrap_err();
        let name = "`ce-x`".to_owned();
        assert_eq!(error, ExportError::NotUtf8 { name }, "{invalid}");
    }
}

#[test]
fn the_content_mode_is_found_without_regard_to_case() {
    for headers in [
        &[(
            "Content-Type",
            "Application/CloudEvents+JSON; charset=UTF-8",
        )][..],
        &[("content-type", " application/cloudevents")],
        &[
            ("ce-specversion", "1.0"),
            ("CONTENT-TYPE", "application/cloudevents+json"),
        ],
    ] {
        assert_eq!(
            content_mode(headers),
            Some(ContentMode::Structured),
            "{headers:?}"
        );
    }
    let binary = [
        ("Content-Type", "application/json"),
        ("CE-SpecVersion", "1.0"),
        ("Ce-Id", "1"),
    ];
    assert_eq!(content_mode(&binary), Some(ContentMode::Binary));
    let json = json_of_message(&binary, b"").unwrap();
    assert_eq!(json, br#"{"id":"1","specversion":"1.0"}"#);
    for headers in [
        &[][..],
        &[("content-type", "application/json")],
        &[("content-type", "appliçation/cloudevents")],
    ] {
        assert_eq!(content_mode(headers), None);
    }
}

#[test]
fn an_exported_event_has_every_attribute_as_a_member() {
    let json = r#"{"specversion":"1.0","id":"1 €","source":"/s","type":"t","subject":"s u","time":"2026-11-23T09:14:05Z","dataschema":"urn:x","datacontenttype":"text/plain","partitionkey":"k","num":7,"data":"h\u00e9 \n"}"#;
    let binding = crate::Binding::new("e".parse().unwrap()).mode(ContentMode::Binary);
    let exported = event_json(&binding.envelope(json.into()).unwrap()).unwrap();
    let mut expected: Value = serde_json::from_str(json).unwrap();
    expected["num"] = "7".into();
    assert_eq!(
        serde_json::from_slice::<Value>(&exported).unwrap(),
        expected
    );
    // Sent as bytes by another publisher.
    let binary = json_of_message(&BINARY[..1], b"\xff\x00").unwrap();
    assert_eq!(binary, br#"{"data_base64":"/wA=","specversion":"1.0"}"#);
    let text = [BINARY[0], ("ce-datacontenttype", "text/plain")];
    let event: Value = serde_json::from_slice(&json_of_message(&text, b"\xff").unwrap()).unwrap();
    assert_eq!(event["data_base64"], "/w==");
}
