//! Names that become a token of a JetStream API subject.

use crate::{ConnectSettings, StreamName, StreamNameError, StreamSpec};

/// Names that must never reach a subject: each would split it, widen it or end the protocol line.
const REFUSED: &[&str] = &[
    "",
    "EVENTS\r\nPUB stolen 5\r\nhello\r\n",
    "EVENTS\n",
    "EVENTS\r",
    "two words",
    " EVENTS",
    "tab\there",
    "line\u{2028}separator",
    "no\u{a0}break",
    "nul\0",
    "escape\u{1b}[2J",
    "delete\u{7f}",
    "next\u{85}line",
    "a.b",
    "*",
    "all.>",
    ">",
    "a/b",
    "a\\b",
];

fn too_long() -> String {
    "é".repeat(128)
}

#[test]
fn name_that_would_change_the_subject_is_refused_at_every_entrance() {
    let too_long = too_long();
    for name in REFUSED.iter().copied().chain([too_long.as_str()]) {
        assert!(name.parse::<StreamName>().is_err(), "{name:?}");
        assert!(StreamName::try_from(name.to_owned()).is_err(), "{name:?}");
        assert!(StreamSpec::new(name, ["events.>"]).is_err(), "{name:?}");
        let settings = || ConnectSettings::new("nats://127.0.0.1:4222").unwrap();
        assert!(settings().expected_stream(name).is_err(), "{name:?}");
        assert!(settings().jetstream_domain(name).is_err(), "{name:?}");
    }
}

#[test]
fn inbox_prefix_that_is_not_a_subject_is_refused() {
    let settings = || ConnectSettings::new("nats://127.0.0.1:4222").unwrap();
    for prefix in [
        "",
        ".",
        "a..b",
        "*",
        "a.>",
        "two words",
        "in\r\nPUB x 0",
        "nul\0",
    ] {
        assert!(settings().inbox_prefix(prefix).is_err(), "{prefix:?}");
    }
    for prefix in ["_INBOX", "_APP.in", "_APP.in."] {
        assert!(settings().inbox_prefix(prefix).is_ok(), "{prefix:?}");
    }
}

#[test]
fn name_that_the_server_accepts_is_accepted() {
    let longest = "x".repeat(255);
    for name in [
        "EVENTS",
        "cellos-events_2",
        "$SYS",
        "ünïcode",
        "a:b|c",
        longest.as_str(),
    ] {
        assert_eq!(name.parse::<StreamName>().unwrap().as_str(), name);
    }
}

#[test]
fn error_of_a_name_states_its_kind_in_one_line() {
    let error = |name: &str| name.parse::<StreamName>().unwrap_err();
    assert_eq!(error(""), StreamNameError::Empty);
    assert_eq!(error(&too_long()), StreamNameError::TooLong { bytes: 256 });
    let injected = error("EVENTS\r\nPUB x 0");
    let expected = StreamNameError::Character {
        character: '\r',
        position: 6,
    };
    assert_eq!(injected, expected);
    assert_eq!(
        injected.to_string(),
        "the name contains '\\r' at byte 6; white space, control characters and . * > / \\ are not allowed"
    );
    let spec = StreamSpec::new("\r\n".repeat(10_000), ["events.>"]).unwrap_err();
    let text = spec.to_string();
    assert!(text.len() < 500 && !text.contains(['\r', '\n']), "{text}");
}
