//! Numbers and times as the page shows them. A number and its unit stay on one line.

/// A number with its thousands separated.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun.
pub(super) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// A time in its two largest units.
pub(super) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}\u{a0}s"),
        (0, 0, minutes, seconds) => format!("{minutes}\u{a0}min {seconds}\u{a0}s"),
        (0, hours, minutes, _) => format!("{hours}\u{a0}h {minutes}\u{a0}min"),
        (days, hours, ..) => format!("{days}\u{a0}d {hours}\u{a0}h"),
    }
}

/// The time of an answer, with three digits at most.
pub(super) fn latency(seconds: f64) -> String {
    let millis = seconds * 1_000.0;
    match millis {
        _ if millis < 10.0 => format!("{millis:.2}\u{a0}ms"),
        _ if millis < 100.0 => format!("{millis:.1}\u{a0}ms"),
        _ if millis < 1_000.0 => format!("{millis:.0}\u{a0}ms"),
        _ => format!("{seconds:.2}\u{a0}s"),
    }
}

/// A rate per second.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        _ if per_second == 0.0 => "0".to_owned(),
        _ if per_second < 10.0 => format!("{per_second:.2}"),
        _ if per_second < 100.0 => format!("{per_second:.1}"),
        _ => count(per_second as u64),
    }
}

/// A size in the largest unit that leaves at least 1.
pub(super) fn bytes(number: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, unit)| number >= *unit) {
        None => format!("{number} bytes"),
        Some((name, unit)) => format!("{:.1}\u{a0}{name}", number as f64 / *unit as f64),
    }
}

/// Replaces control characters, and those that change the direction of the text around them.
pub(super) fn printable(text: &str) -> String {
    let is_unprintable = |letter: char| {
        let turns = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
        turns || letter.is_control()
    };
    text.replace(is_unprintable, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(counted(1, "event"), "1 event");
        assert_eq!(
            [0, 59, 61, 3_661, 90_000].map(duration),
            [
                "0\u{a0}s",
                "59\u{a0}s",
                "1\u{a0}min 1\u{a0}s",
                "1\u{a0}h 1\u{a0}min",
                "1\u{a0}d 1\u{a0}h"
            ]
        );
        assert_eq!(
            [0.000_25, 0.0123, 0.123, 1.5].map(latency),
            ["0.25\u{a0}ms", "12.3\u{a0}ms", "123\u{a0}ms", "1.50\u{a0}s"]
        );
        assert_eq!(
            [0.0, 0.05, 12.34, 4_321.0].map(rate),
            ["0", "0.05", "12.3", "4,321"]
        );
        assert_eq!(
            [5, 1 << 20, 3 << 29].map(bytes),
            ["5 bytes", "1.0\u{a0}MiB", "1.5\u{a0}GiB"]
        );
        assert_eq!(printable("a\u{202e}b\nc"), "a\u{fffd}b\u{fffd}c");
    }
}
