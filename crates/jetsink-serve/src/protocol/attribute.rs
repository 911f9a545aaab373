//! The value of an attribute from the value of its header (HTTP binding 1.0.2, section 3.1.3.2).

use percent_encoding::percent_decode_str;

/// The error of a header's value that is not the value of an attribute. `Display` names the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AttributeError {
    #[error("has a byte outside U+0020 to U+007E; percent-encode it as UTF-8")]
    NotVisible,
    #[error("begins with a quote that does not end it; escape or percent-encode quotes")]
    Unquoted,
    #[error("has a '%' without two hexadecimal digits; encode it as %25")]
    Percent,
    #[error("is not UTF-8 once percent-decoded")]
    NotUtf8,
}

/// Unescapes a quoted string, then percent-decodes once.
///
/// A sender must percent-encode all but visible ASCII, and `%` itself. A raw byte is refused and not guessed at: some
/// clients send Latin-1, whose bytes can also be read as UTF-8.
pub(crate) fn decode(value: &[u8]) -> Result<String, AttributeError> {
    if value.iter().any(|byte| !(0x20..=0x7e).contains(byte)) {
        return Err(AttributeError::NotVisible);
    }
    let text = std::str::from_utf8(value).map_err(|_| AttributeError::NotVisible)?;
    let unquoted = match text.strip_prefix('"') {
        None => None,
        Some(rest) => Some(unquote(rest).ok_or(AttributeError::Unquoted)?),
    };
    let text = unquoted.as_deref().unwrap_or(text);
    if !is_percent_encoded(text) {
        return Err(AttributeError::Percent);
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| AttributeError::NotUtf8)
}

/// Unescapes the rest of a quoted string (RFC 7230, section 3.2.6). `None` if its end is not the end of the text.
fn unquote(rest: &str) -> Option<String> {
    let mut text = String::with_capacity(rest.len());
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return characters.as_str().is_empty().then_some(text),
            '\\' => text.push(characters.next()?),
            character => text.push(character),
        }
    }
}

fn is_percent_encoded(text: &str) -> bool {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    let mut signs = (0..bytes.len()).filter(|at| bytes[*at] == b'%');
    signs.all(|at| is_digit(bytes.get(at + 1)) && is_digit(bytes.get(at + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // HTTP binding 1.0.2, section 3.1.3.2: "any HTTP header value MUST first be unescaped with respect to double-quoted
    // strings"; "A single round of percent-decoding MUST then be performed".
    #[test]
    fn quoted_strings_are_unescaped_and_then_percent_decoded_once() {
        for (header, text) in [
            ("plain", "plain"),
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("%e2%82%ac", "€"),
            ("needless%41", "needlessA"),
            ("%2541", "%41"),
            ("a b", "a b"),
            (r#""a \"quoted\" text""#, r#"a "quoted" text"#),
            (r#""a \\ b""#, r"a \ b"),
            (r#""%41\%41""#, "AA"),
            (r#"in"side"#, r#"in"side"#),
            (r#""""#, ""),
            ("", ""),
        ] {
            assert_eq!(decode(header.as_bytes()).as_deref(), Ok(text), "{header}");
        }
    }

    #[test]
    fn values_that_no_sender_may_send_are_refused() {
        for (header, error) in [
            (&b"gr\xfc\xdfe"[..], AttributeError::NotVisible),
            ("größe".as_bytes(), AttributeError::NotVisible),
            (b"a\tb", AttributeError::NotVisible),
            (b"\"open", AttributeError::Unquoted),
            (b"\"", AttributeError::Unquoted),
            (b"\"a\" b", AttributeError::Unquoted),
            (b"\"a\\", AttributeError::Unquoted),
            (b"100%", AttributeError::Percent),
            (b"%zz", AttributeError::Percent),
            (b"%ff", AttributeError::NotUtf8),
            (b"%C3", AttributeError::NotUtf8),
            // An overlong slash, and a surrogate.
            (b"%C0%AF", AttributeError::NotUtf8),
            (b"%ED%A0%80", AttributeError::NotUtf8),
        ] {
            assert_eq!(decode(header), Err(error), "{header:?}");
        }
    }
}
