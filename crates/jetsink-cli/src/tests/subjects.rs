use super::*;

#[test]
fn filter_covers_a_pattern_or_only_a_part_of_it() {
    for (filter, pattern, all) in [
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
    ] {
        assert_eq!(covers(filter, pattern), all, "{filter} {pattern}");
    }
}
