//! `docs/serve/binding.md` names a test for each MUST of the HTTP binding: each of them exists and runs.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

use std::path::Path;

/// The sections of the binding that have a MUST.
const SECTIONS: [&str; 10] = [
    "1.4", "3", "3.1.1", "3.1.3", "3.1.3.1", "3.1.3.2", "3.2.1", "3.2.3", "3.3", "3.3.2",
];

#[test]
fn each_named_test_exists_and_runs() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(package.join("../../docs/serve/binding.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let rows = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim));
    let rows: Vec<Vec<&str>> = rows.map(Iterator::collect).collect();
    let rows: Vec<&Vec<&str>> = rows.iter().filter(|row| row[2].contains('`')).collect();
    for row in &rows {
        let named: Vec<&str> = row[2].split('`').collect();
        let [_, file, _, test, _] = named[..] else {
            panic!("{row:?} names no test");
        };
        let source = std::fs::read_to_string(package.join(file)).unwrap();
        let at = source.find(&format!("fn {test}("));
        let at = at.unwrap_or_else(|| panic!("{file} has no test {test}"));
        let attributes = source[..at].trim_end_matches("async ").trim_end();
        let attribute = attributes.rsplit('\n').next().unwrap().trim();
        let runs = ["#[test]", "#[tokio::test"].iter();
        assert!(
            runs.clone().any(|start| attribute.starts_with(start)),
            "{test} does not run"
        );
    }
    for section in SECTIONS {
        assert!(
            rows.iter().any(|row| row[0] == section),
            "no row for section {section}"
        );
    }
}
