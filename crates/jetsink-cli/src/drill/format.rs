//! Formats numbers with their units.

use indicatif::HumanCount;

/// Such as `28,411`.
pub(super) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// Such as `74 ns`, `310 µs`, `2.003 s`: at most four digits, without trailing zeros.
pub(super) fn duration(seconds: f64) -> String {
    let (value, unit) = match seconds {
        seconds if !seconds.is_finite() => return "?".to_owned(),
        seconds if seconds < 999.95e-9 => (seconds * 1e9, "ns"),
        seconds if seconds < 999.95e-6 => (seconds * 1e6, "µs"),
        seconds if seconds < 999.95e-3 => (seconds * 1e3, "ms"),
        seconds => (seconds, "s"),
    };
    format!("{} {unit}", digits(value))
}

/// A tick of an axis that ends at `end`, short enough for the space beside it.
pub(super) fn amount(value: f64, end: f64) -> String {
    if value > 0.0 && end >= 1e6 {
        format!("{} M", digits(value / 1e6))
    } else {
        digits(value)
    }
}

/// At most four digits, with thousands separators.
pub(super) fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        value if value < 10.0 => 3,
        value if value < 100.0 => 2,
        value if value < 1_000.0 => 1,
        value => return count(value.round() as u64),
    };
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Such as `a`, `a and b`, `a, b and c`.
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
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
}
