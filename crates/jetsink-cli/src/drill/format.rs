//! Text for people: nothing that a record holds can end a tag, and numbers come with their units.

use std::fmt;

use indicatif::HumanCount;

/// Text of a record as it may stand in HTML and SVG, between tags or in an attribute.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '&' => to.write_str("&amp;"),
            '<' => to.write_str("&lt;"),
            '>' => to.write_str("&gt;"),
            '"' => to.write_str("&quot;"),
            '\'' => to.write_str("&#39;"),
            letter if is_unfit(letter) => fmt::Write::write_char(to, char::REPLACEMENT_CHARACTER),
            letter => fmt::Write::write_char(to, letter),
        })
    }
}

/// XML has no place for these, or they turn the text around them the other way.
fn is_unfit(letter: char) -> bool {
    match letter {
        '\t' | '\n' | '\r' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => true,
        letter => letter.is_control(),
    }
}

/// Such as `28,411`.
pub(in crate::drill) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// Such as `74 ns`, `310 µs`, `2.003 s`: four digits at most, zeros at their end left out.
pub(in crate::drill) fn duration(seconds: f64) -> String {
    let (value, unit) = match seconds {
        seconds if !seconds.is_finite() => return "?".to_owned(),
        seconds if seconds < 999.95e-9 => (seconds * 1e9, "ns"),
        seconds if seconds < 999.95e-6 => (seconds * 1e6, "µs"),
        seconds if seconds < 999.95e-3 => (seconds * 1e3, "ms"),
        seconds => (seconds, "s"),
    };
    format!("{} {unit}", digits(value))
}

/// A tick of an axis that ends there: short enough to stand beside it.
pub(super) fn amount(value: f64, end: f64) -> String {
    if value > 0.0 && end >= 1e6 {
        format!("{} M", digits(value / 1e6))
    } else {
        digits(value)
    }
}

/// Four digits at most, separated by thousands.
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
    fn no_text_ends_a_tag_or_an_attribute() {
        let text = Text("<script>\"a\" & 'b'</script>").to_string();
        assert_eq!(
            text,
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;"
        );
    }

    #[test]
    fn letters_that_xml_refuses_or_that_turn_text_around_are_replaced() {
        assert_eq!(Text("a\0b\u{1b}[1m").to_string(), "a\u{fffd}b\u{fffd}[1m");
        assert_eq!(Text("a\u{202e}b\u{ffff}").to_string(), "a\u{fffd}b\u{fffd}");
        assert_eq!(Text("ä\tπ\n🚀").to_string(), "ä\tπ\n🚀");
    }

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
