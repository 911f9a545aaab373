use super::*;
use crate::lines::BLOCK;

/// Returns a few bytes per read.
struct Slow(Vec<u8>, usize);

impl Read for Slow {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let length = into.len().min(self.1).min(self.0.len());
        into[..length].copy_from_slice(&self.0[..length]);
        self.0.drain(..length);
        Ok(length)
    }
}

fn values(text: &[u8], at_a_time: usize) -> Vec<Value> {
    let mut values = Values::new(Slow(text.to_vec(), at_a_time));
    let mut found = Vec::new();
    loop {
        match values.step() {
            Step::Value(value) => found.push(value),
            Step::NeedsBytes => values.fill().unwrap(),
            Step::End => return found,
        }
    }
}

#[track_caller]
fn assert_values(text: &str, expected: &[&str]) {
    for at_a_time in [1, 2, 7, 1_000] {
        let found = values(text.as_bytes(), at_a_time);
        assert!(
            found.iter().all(|value| value.problem.is_none()),
            "{found:?}"
        );
        let found: Vec<&[u8]> = found.iter().map(|value| &value.raw[..]).collect();
        let expected: Vec<&[u8]> = expected.iter().map(|text| text.as_bytes()).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn values_are_split_in_every_form_of_stream() {
    assert_values("", &[]);
    assert_values(" \n\t", &[]);
    assert_values("{}{\"a\":1}\n{}", &["{}", "{\"a\":1}", "{}"]);
    assert_values("{\n  \"a\": [\n 1]\n}\n", &["{\n  \"a\": [\n 1]\n}"]);
    assert_values(
        "[{},{\"a\":\"]\"}]\n[] [{}]",
        &["{}", "{\"a\":\"]\"}", "{}"],
    );
    assert_values(
        r#"{"a":"}\"\\"}{"b":"{["}"#,
        &[r#"{"a":"}\"\\"}"#, r#"{"b":"{["}"#],
    );
    assert_values("\u{feff}{}", &["{}"]);
    assert_values("\u{1e}{}\n\u{1e}{}\n", &["{}", "{}"]);
    assert_values(
        "1 true\"a\"null[[1],2]",
        &["1", "true", "\"a\"", "null", "[1]", "2"],
    );
}

#[test]
fn a_value_has_the_position_of_its_first_byte() {
    let found = values(b"[\n {},\n\n   {\n}, {}]", 3);
    let positions = found
        .iter()
        .map(|value| (value.start.line, value.start.column));
    assert_eq!(positions.collect::<Vec<_>>(), [(2, 2), (4, 4), (5, 4)]);
}

#[test]
fn the_stream_ends_at_the_first_byte_that_fits_nowhere() {
    for (text, count, problem) in [
        ("{} }{}", 1, "`}` is not the start"),
        ("[{} {}]", 1, "`,` or `]` is missing"),
        ("[{},]{}", 1, "`]` is not the start"),
        ("[{}", 1, "the array is not closed"),
        ("{} {\"a\":", 1, "the input ends within"),
        ("\"abc", 0, "the input ends within"),
        ("{},{}", 1, "`,` is not the start"),
    ] {
        for at_a_time in [1, 1_000] {
            let found = values(text.as_bytes(), at_a_time);
            assert_eq!(found.len(), count + 1, "{text}");
            let last = found[count].problem.as_ref().unwrap();
            assert!(last.contains(problem), "{text}: {last}");
        }
    }
}

#[test]
fn a_value_that_is_too_long_is_named_and_the_next_one_is_read() {
    for more in [1, 3 * BLOCK] {
        let long = format!("\"{}\"", "x".repeat(MAX_LINE - 1 + more));
        let found = values(format!("[\n{long},{{}}]").as_bytes(), BLOCK);
        assert_eq!(found.len(), 2, "{more}");
        assert_eq!(found[0].start, Position { line: 2, column: 1 });
        assert!(found[0].problem.as_ref().unwrap().contains("longer than"));
        assert_eq!(found[1].raw, &b"{}"[..]);
        assert_eq!(found[1].problem, None);
    }
}
