use super::*;
use crate::process::root;

#[test]
fn comment_above_patterns_is_their_reason() {
    let text = "\
# Not this one.
test_tool = \"nextest\"
exclude_re = [
    # Speed
    # only.
    'a\\.rs:\\d+:\\d+: replace \\+ with \\*',
    'b\\.rs',

    # Equal.
    \"c.rs\",
]
";
    let excuses = read(text).unwrap();
    let reasons: Vec<&str> = excuses.iter().map(|e| e.reason.as_str()).collect();
    assert_eq!(reasons, ["Speed only.", "Speed only.", "Equal."]);
    assert!(excuses[0].fits("src/a.rs:1:22: replace + with * in f"));
    assert!(!excuses[0].fits("src/a.rs:1:22: replace + with - in f"));
}

#[test]
fn pattern_without_a_reason_is_an_error() {
    assert!(read("exclude_re = [\n    'a',\n]\n").is_err());
    assert!(read("exclude_re = [\n    # A reason.\n    '(',\n]\n").is_err());
    assert!(read("").unwrap().is_empty());
}

#[test]
fn settings_of_this_tree_have_a_reason_for_each_pattern_and_globs_of_existing_files() {
    let text = std::fs::read_to_string(root().join(FILE)).unwrap();
    let excuses = read(&text).unwrap();
    assert!(excuses.iter().all(|excuse| excuse.reason.len() > 10));
    let settings: Table = text.parse().unwrap();
    for glob in settings["examine_globs"].as_array().unwrap() {
        let path = root().join(glob.as_str().unwrap().trim_end_matches("/**"));
        assert!(path.exists(), "{glob}");
    }
}
