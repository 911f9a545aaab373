//! Valid and invalid members of each class of values, beside an implementation that is not ours where there is one.

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use jiff::civil::Date;
use proptest::prelude::*;
use regex::Regex;

use super::*;

fn assert_each(check: impl Fn(&str) -> bool, valid: &[&str], invalid: &[&str]) {
    for text in valid {
        assert!(check(text), "{text:?} is valid");
    }
    for text in invalid {
        assert!(!check(text), "{text:?} is not valid");
    }
}

fn time(text: &str) -> bool {
    check_text("time", text).is_ok()
}

#[test]
fn time_is_a_timestamp_of_rfc_3339() {
    let valid = [
        "1985-04-12T23:20:50.52Z",
        "1996-12-19T16:39:57-08:00",
        "1937-01-01T12:00:27.87+00:20",
        "2026-11-23t09:14:05z",
        "2026-11-23T09:14:05.020997960+00:00",
        "2026-11-23T09:14:05-00:00",
        "2026-11-23T00:00:00+23:59",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999999999999Z",
        "2024-02-29T00:00:00Z",
        "2000-02-29T00:00:00Z",
    ];
    let invalid = [
        "",
        "yesterday",
        "1763889245",
        "2026-11-23",
        "2026-11-23T09:14:05",
        "2026-11-23 09:14:05Z",
        "2026-11-23T09:14Z",
        "2026-11-23T09:14:05.Z",
        "2026-11-23T09:14:05,5Z",
        "2026-11-23T09:14:05+01",
        "2026-11-23T09:14:05+0100",
        "2026-11-23T09:14:05+24:00",
        "2026-11-23T09:14:05+01:60",
        "2026-11-23T09:14:05ZZ",
        "2026-11-23T09:14:05Z ",
        " 2026-11-23T09:14:05Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T09:60:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "26-11-23T09:14:05Z",
        "+2026-11-23T09:14:05Z",
        "2026-11-23T9:14:05Z",
        "2026-1a-23T09:14:05Z",
        "２026-11-23T09:14:05Z",
        "20261123T091405Z",
        "2026-327T09:14:05Z",
        "2026-W48-1T09:14:05Z",
    ];
    assert_each(time, &valid, &invalid);
}

#[test]
fn second_60_exists_in_the_last_minute_of_a_month_in_utc() {
    let valid = [
        "1990-12-31T23:59:60Z",
        "1990-12-31T15:59:60-08:00",
        "1998-12-31T23:59:60.123z",
        "2015-07-01T01:59:60+02:00",
        "2015-06-30T23:59:60Z",
        "2017-01-01T08:59:60+09:00",
        "1972-02-29T23:59:60Z",
    ];
    let invalid = [
        "1998-12-31T23:59:61Z",
        "1998-12-31T23:58:60Z",
        "1998-12-31T22:59:60Z",
        "1998-12-30T23:59:60Z",
        "1998-12-31T23:59:60+01:00",
        "2015-07-01T23:59:60+02:00",
        "2015-06-30T01:59:60+02:00",
        "1971-02-29T23:59:60Z",
    ];
    assert_each(time, &valid, &invalid);
}

#[test]
fn the_days_of_each_month_are_those_of_a_calendar_that_is_not_ours() {
    for year in (0..=9_999).step_by(7).chain(1_895..=2_105) {
        for month in 0..=13_i8 {
            for day in [0, 1, 27, 28, 29, 30, 31, 32_i8] {
                let text = format!("{year:04}-{month:02}-{day:02}T00:00:00Z");
                assert_eq!(time(&text), Date::new(year, month, day).is_ok(), "{text}");
            }
        }
    }
}

proptest! {
    #[test]
    fn a_timestamp_that_is_taken_is_one_for_jiff(
        text in "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,9})?([Zz]|[+-][0-2][0-9]:[0-6][0-9])",
    ) {
        // That library has no second 60 and a narrower range of years at its ends.
        if time(&text) && !text[17..].starts_with("60") && !text.starts_with("9999") && !text.starts_with("0000") {
            prop_assert!(text.parse::<jiff::Timestamp>().is_ok(), "{}", text);
        }
    }
}

/// The grammar of RFC 2045, section 5.1, with optional spaces around the semicolon.
fn media_type_of_the_rfc() -> Regex {
    let token = r#"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"#;
    let quoted = r#""(?:[ !#-\[\]-~]|\\[ -~])*""#;
    let parameter = format!(" *; *{token}=(?:{token}|{quoted})");
    Regex::new(&format!("^{token}/{token}(?:{parameter})*$")).unwrap()
}

fn media_type(text: &str) -> bool {
    check_text("datacontenttype", text).is_ok()
}

#[test]
fn datacontenttype_is_a_media_type_of_rfc_2046() {
    let valid = [
        "application/json",
        "text/xml",
        "TEXT/Plain; CharSet=utf-8",
        "application/vnd.apache.thrift.binary",
        "application/cloudevents+json;charset=\"utf-8\"",
        "multipart/mixed; boundary=\"a b\\\"c;=/\" ; x=1",
        "x/y;z=\"\"",
        "a/b;c=d;e=f",
    ];
    let invalid = [
        "",
        "json",
        "application/",
        "/json",
        "application/json/x",
        "application /json",
        "application/ json",
        " application/json",
        "application/json ",
        "application/json;",
        "application/json; charset",
        "application/json; charset=",
        "application/json; =utf-8",
        "application/json; charset = utf-8",
        "application/json, text/plain",
        "application/json charset=utf-8",
        "text/plain; a=\"b",
        "text/plain; a=\"b\\",
        "text/plain; a=\"b\"c",
        "text/plain; a=b c",
        "text/plain (comment)",
        "text/plain; a=\"\u{7f}\"",
        "text/plain; a=\"é\"",
        "text/plain; a=ü",
        "text/plain\n",
        "te xt/plain",
        "text/[plain]",
    ];
    assert_each(media_type, &valid, &invalid);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_media_type_is_one_by_the_grammar_as_written_in_the_rfc(
        text in prop_oneof![
            r#"[a/;=" \\é(]{0,10}"#,
            r#"[!-~]{1,3}/[!-~]{1,3} ?(; ?[a-z=]{1,3}=("[ -~]{0,3}"|[!-~]{1,2})){0,2}"#,
        ],
    ) {
        thread_local!(static GRAMMAR: Regex = media_type_of_the_rfc());
        let expected = GRAMMAR.with(|grammar| grammar.is_match(&text));
        prop_assert_eq!(media_type(&text), expected, "{:?}", text);
    }

    #[test]
    fn base64_is_accepted_as_by_a_strict_decoder(text in "[AQgwZz19+/=. _-]{0,12}") {
        prop_assert_eq!(is_base64(&text), STANDARD.decode(&text).is_ok(), "{:?}", text);
    }
}

#[test]
fn data_base64_is_padded_base64_of_rfc_4648() {
    let valid = ["", "AA==", "AAE=", "AAEC", "+/+/", "eyAieHl6IjogMTIzIH0="];
    let invalid = [
        "A", "AA", "AAA", "AA=", "A===", "====", "=", "AAEC=", "AA==AA==", "AB==", "AAF=", "_-_-",
        "AAEC\n", "AA EC", "AAé", "?",
    ];
    assert_each(is_base64, &valid, &invalid);
}

#[test]
fn source_is_a_uri_reference_of_rfc_3986() {
    let valid = [
        "https://github.com/cloudevents",
        "mailto:cncf-wg-serverless@lists.cncf.io",
        "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "/cloudevents/spec/pull/123",
        "/sensors/tn-1234567/alerts",
        "1-555-123-4567",
        "cellos-supervisor",
        "//example.com",
        "//",
        "?query",
        "#fragment",
        "a/b:c",
        "http://[2001:db8::7]:8080/a?b=c#d",
        "http://[v1.fe80::a+en1]/",
        "http://user:pw@host:/%C3%BC",
        "tag:a,2026:b",
        ".",
        "%20",
    ];
    let invalid = [
        "",
        " ",
        "a b",
        "/ü",
        "a\\b",
        "<a>",
        "a\"b",
        "{a}",
        "a|b",
        "a^b",
        "a`b",
        "%",
        "%2",
        "%zz",
        "1:2",
        ":a",
        "a_b:c",
        "http://[::1",
        "http://[::1]x/",
        "http://[1.2.3.4]/",
        "http://a:b/",
        "http://a b/",
        "a#b#c",
        "a[b]",
        "\u{7f}",
        "a\u{0}",
        "\u{a0}",
    ];
    assert_each(|text| check_source(text).is_ok(), &valid, &invalid);
}

#[test]
fn dataschema_is_an_absolute_uri_of_rfc_3986() {
    let valid = [
        "https://example.com/schema.json",
        "http://example.com/a?version=1",
        "urn:example:schema:1",
        "a:",
        "schema+v1:x",
    ];
    let invalid = [
        "",
        "#",
        "/schema.json",
        "schema.json",
        "//example.com/schema",
        "https://example.com/schema.json#/definitions/a",
        "https://example.com/a b",
        "https://example.com/ü",
        "1a:b",
        ":",
    ];
    assert_each(
        |text| check_text("dataschema", text).is_ok(),
        &valid,
        &invalid,
    );
}

#[test]
fn strings_have_neither_control_characters_nor_noncharacters() {
    for code in 0..=u32::from(char::MAX) {
        let Some(character) = char::from_u32(code) else {
            continue; // a surrogate: no Rust string has one
        };
        let expected = match code {
            0..=0x1f | 0x7f..=0x9f => Err(EventRule::ControlCharacter),
            0xfdd0..=0xfdef => Err(EventRule::Noncharacter),
            _ if code % 0x10000 >= 0xfffe => Err(EventRule::Noncharacter),
            _ => Ok(()),
        };
        let mut bytes = [0; 4];
        let alone = &*character.encode_utf8(&mut bytes);
        assert_eq!(check_text("extension", alone), expected, "U+{code:04X}");
        if code % 0x101 == 0 || expected.is_err() {
            let within = format!("{}{character}x", "plain text of some length, ".repeat(3));
            for name in ["extension", "subject", "traceparent"] {
                assert_eq!(check_text(name, &within), expected, "U+{code:04X}");
            }
            assert_eq!(check_required(&within), expected, "U+{code:04X}");
        }
    }
}

#[test]
fn required_attributes_and_subject_are_not_empty() {
    assert_eq!(check_required(""), Err(EventRule::RequiredEmpty));
    assert_eq!(check_source(""), Err(EventRule::RequiredEmpty));
    assert_eq!(check_text("subject", ""), Err(EventRule::SubjectEmpty));
    assert_eq!(check_text("extension", ""), Ok(()));
}

#[test]
fn specversion_is_1_0() {
    assert_eq!(check_specversion("1.0"), Ok(()));
    for other in ["", "1", "1.0.2", "1.1", "0.3", "1.0 ", "１.0"] {
        assert_eq!(
            check_specversion(other),
            Err(EventRule::SpecVersion),
            "{other}"
        );
    }
}

#[test]
fn attribute_names_are_lower_case_letters_and_digits() {
    let valid = ["a", "9", "comexampleextension1", "datab", &"x".repeat(300)];
    let invalid = [
        "",
        "A",
        "a-b",
        "a_b",
        "a b",
        "ä",
        "a\0",
        "aB",
        "a.b",
        "data_base64",
    ];
    assert_each(|name| check_name(name).is_ok(), &valid, &invalid);
}

#[test]
fn numbers_are_integers_of_32_bits() {
    for valid in ["0", "-0", "7", "-2147483648", "2147483647"] {
        assert_eq!(check_number(valid), Ok(()), "{valid}");
    }
    for float in ["0.5", "7.0", "-1.0", "1e3", "1E3", "1e-3", "0e0"] {
        assert_eq!(check_number(float), Err(EventRule::IntegerForm), "{float}");
    }
    let huge = "9".repeat(5_000);
    for large in ["2147483648", "-2147483649", "18446744073709551616", &huge] {
        assert_eq!(check_number(large), Err(EventRule::IntegerRange), "{large}");
    }
}

#[test]
fn quote_in_a_message_is_one_short_printable_line() {
    let long = "\u{1b}[31m\r\n\u{202e}\u{2028}é\"".repeat(100_000);
    for rule in EventRule::ALL {
        let message = rule.broken_by(&long, Some(&long));
        assert!(message.len() < 2_000, "{} bytes", message.len());
        assert!(message.contains(rule.clause()), "{message}");
        let safe = |c: char| !c.is_control() && !matches!(c, '\u{202e}' | '\u{2028}');
        assert!(message.chars().all(safe), "{message}");
    }
    let message = EventRule::Time.broken_by("time", Some("\"a\\\"b é\""));
    assert!(message.contains(r#"`time` must be a timestamp of RFC 3339, not "a\"b é" ("#));
}

/// The rows of the tables in `docs/guide/cloudevents.md`: cells without the outer bars.
fn rows() -> Vec<Vec<String>> {
    let page = include_str!("../../../../../docs/guide/cloudevents.md");
    let is_ruler = |line: &str| line.starts_with("| ---");
    let lines: Vec<&str> = page.lines().collect();
    let rows = lines
        .windows(2)
        .filter(|pair| pair[0].starts_with("| ") && !is_ruler(pair[0]) && !is_ruler(pair[1]));
    rows.map(|pair| {
        let cells = pair[0].trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

/// The words in backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn the_table_of_the_specification_names_every_rule_and_tests_that_exist() {
    let rows = rows();
    let mut sources = String::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/.."
    ))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                sources += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let mut traced = Vec::new();
    for row in &rows {
        let [requirement, clause, rule, tests] = &row[..] else {
            panic!("a row has four cells: {row:?}");
        };
        assert!(!requirement.is_empty() && !clause.is_empty(), "{row:?}");
        for name in names(rule) {
            let rule = EventRule::ALL.iter().find(|rule| rule.name() == name);
            traced.push(*rule.unwrap_or_else(|| panic!("there is no rule {name:?}")));
        }
        assert!(names(tests).count() > 0, "no test: {row:?}");
        for test in names(tests) {
            let test = test.rsplit("::").next().unwrap();
            let count = sources.matches(&format!("fn {test}(")).count();
            assert_eq!(count, 1, "tests named {test}: {row:?}");
        }
    }
    for rule in EventRule::ALL {
        assert!(traced.contains(rule), "the table lacks {:?}", rule.name());
        let clauses = rows
            .iter()
            .filter(|row| names(&row[2]).any(|n| n == rule.name()));
        let clauses: Vec<&str> = clauses.map(|row| row[1].as_str()).collect();
        assert!(
            clauses.iter().any(|clause| clause.contains(rule.clause())),
            "{:?} says {:?}, the table {clauses:?}",
            rule.name(),
            rule.clause(),
        );
    }
}
