use serde_json::json;

use super::*;

fn outcomes() -> Outcomes {
    let one =
        |name: &str, end: &str| json!({"scenario": {"Mutant": {"name": name}}, "summary": end});
    Outcomes::of(&json!({"outcomes": [
        {"scenario": "Baseline", "summary": "Success"},
        one("crates/jetsink/src/a.rs:1:1: replace < with <= in A::b::<C>", "MissedMutant"),
        one("crates/jetsink/src/a.rs:2:1: replace < with <= in A::b::<C>", "CaughtMutant"),
        one("crates/jetsink/src/b.rs:1:1: replace b with ()", "Timeout"),
        one("crates/jetsink/src/b.rs:2:1: replace c with ()", "Unviable"),
    ]}))
}

#[test]
fn each_end_is_counted_by_file() {
    let outcomes = outcomes();
    let a = &outcomes.by_file()["a.rs"];
    assert_eq!((a.caught, a.missed), (1, 1));
    assert_eq!(outcomes.missed().len(), 1);
    assert_eq!(outcomes.caught().len(), 2);
    assert!(outcomes.summary().starts_with("4 mutants: 1 caught"));
}

#[test]
fn page_has_counts_by_file_and_excused_mutants_with_their_reasons() {
    let name = "crates/jetsink/src/b.rs:7:9: replace | with ^ in B::pack";
    let values = values(&outcomes(), &[(name, "No common bit.")]);
    let values = context! { date => "2026-01-01", commit => "abc", ..values };
    let page = page::render(PAGE, values).unwrap();
    assert!(page.contains("\n| a.rs | 1 | 0 | 0 |\n"), "{page}");
    let row = "\n| `b.rs: replace \\| with ^ in B::pack` | No common bit. |\n";
    assert!(page.ends_with(row), "{page}");
}
