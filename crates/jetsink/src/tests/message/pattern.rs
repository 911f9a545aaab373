use proptest::prelude::*;
use regex::Regex;

use super::*;

fn pattern(text: &str) -> SubjectPattern {
    SubjectPattern::new(text).unwrap()
}

#[test]
fn malformed_pattern_returns_an_error_that_names_the_character() {
    for (text, expected) in [
        ("", "subject pattern is empty"),
        ("a..b", "subject has an empty token at byte 2"),
        ("a.", "subject has an empty token at byte 2"),
        (".", "subject has an empty token at byte 0"),
        (
            "a.>.b",
            "subject pattern has '>' at byte 2: '>' must be the last token",
        ),
        (
            "a.b*",
            "subject pattern has '*' at byte 3: a wildcard must be a whole token",
        ),
        (
            ">a",
            "subject pattern has '>' at byte 0: a wildcard must be a whole token",
        ),
        (
            "a.b c",
            "subject pattern has ' ' at byte 3: white space ends a subject",
        ),
        (
            "a\0",
            "subject pattern has '\\0' at byte 1: control characters are not allowed in subjects",
        ),
    ] {
        let error = SubjectPattern::new(text).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text:?}");
    }
    let long = "a".repeat(MAX_SUBJECT + 1);
    let error = SubjectPattern::new(long).unwrap_err();
    assert!(matches!(error, SubjectError::TooLong { .. }), "{error}");
}

#[test]
fn pattern_of_a_system_subject_is_allowed() {
    assert!(pattern("$JS.API.>").matches("$JS.API.INFO"));
}

#[test]
fn pattern_covers_another_or_only_a_part_of_it() {
    for (wide, narrow, all) in [
        ("events.>", "events.*", true),
        ("events.*", "events.*", true),
        (">", "events.a.b", true),
        ("events.a", "events.*", false),
        ("events.a", "events.a", true),
        ("events.*", "events.a.b", false),
        ("events.*.b", "events.a.b", true),
        ("events.>", "events", false),
        ("events.a.b", "events.a", false),
        ("events.>", "events.>", true),
        ("events.*", "events.>", false),
        ("events.*.>", "events.>", false),
    ] {
        assert_eq!(
            pattern(wide).covers(&pattern(narrow)),
            all,
            "{wide} {narrow}"
        );
    }
}

/// The naive model: a regular expression per pattern.
fn model(pattern: &SubjectPattern) -> Regex {
    let tokens = pattern.as_str().split('.').map(|token| match token {
        "*" => r"[^.]+".to_owned(),
        ">" => r"[^.]+(\.[^.]+)*".to_owned(),
        literal => regex::escape(literal),
    });
    let expression = tokens.collect::<Vec<String>>().join(r"\.");
    Regex::new(&format!("^{expression}$")).unwrap()
}

/// Returns all subjects of one to four tokens. Two different patterns of at most three tokens over `a` and `b`
/// differ on one of these: `c` represents every token that neither pattern contains.
fn subjects() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut longest = vec![String::new()];
    for _ in 0..4 {
        longest = longest
            .iter()
            .flat_map(|start| ["a", "b", "c"].map(|token| format!("{start}.{token}")))
            .collect();
        all.extend(longest.iter().map(|subject| subject[1..].to_owned()));
    }
    all
}

fn patterns() -> impl Strategy<Value = SubjectPattern> {
    let token = prop::sample::select(vec!["a", "b", "*"]);
    let last = prop::sample::select(vec!["a", "b", "*", ">"]);
    (prop::collection::vec(token, 0..3), last).prop_map(|(mut tokens, last)| {
        tokens.push(last);
        pattern(&tokens.join("."))
    })
}

proptest! {
    #[test]
    fn matches_covers_and_overlaps_agree_with_regular_expressions(
        one in patterns(),
        other in patterns(),
    ) {
        let (is_one, is_other) = (model(&one), model(&other));
        let (mut covers, mut overlaps) = (true, false);
        for subject in subjects() {
            let (in_one, in_other) = (is_one.is_match(&subject), is_other.is_match(&subject));
            prop_assert_eq!(one.matches(&subject), in_one, "{} {}", one, subject);
            covers &= in_one || !in_other;
            overlaps |= in_one && in_other;
        }
        prop_assert_eq!(one.covers(&other), covers, "{} {}", one, other);
        prop_assert_eq!(one.overlaps(&other), overlaps, "{} {}", one, other);
        prop_assert_eq!(other.overlaps(&one), overlaps, "{} {}", other, one);
    }
}
