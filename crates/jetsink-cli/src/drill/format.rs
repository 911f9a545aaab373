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
#[path = "tests/format.rs"]
mod tests;
