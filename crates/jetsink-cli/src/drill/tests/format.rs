use super::*;

#[test]
fn durations_have_the_unit_that_fits() {
    for (seconds, text) in [
        (f64::NAN, "?"),
        (0.0, "0 ns"),
        (74e-9, "74 ns"),
        (1e-6, "1 µs"),
        (999.96e-9, "1 µs"),
        (310.25e-6, "310.2 µs"),
        (0.002, "2 ms"),
        (2.0031, "2.003 s"),
        (15.5, "15.5 s"),
        (100.0, "100 s"),
        (12_345.0, "12,345 s"),
    ] {
        assert_eq!(duration(seconds), text);
    }
}

#[test]
fn ticks_past_a_million_are_short() {
    assert_eq!(amount(500_000.0, 900_000.0), "500,000");
    assert_eq!(amount(500_000.0, 1_200_000.0), "0.5 M");
    assert_eq!(amount(0.0, 1_200_000.0), "0");
    assert_eq!(amount(2e9, 2e9), "2,000 M");
}

#[test]
fn lists_end_with_and() {
    assert_eq!(listed(&[]), "");
    assert_eq!(listed(&["a"]), "a");
    assert_eq!(listed(&["a", "b"]), "a and b");
    assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
}
