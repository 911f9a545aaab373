//! Texts from outside in error messages: one line, of bounded length.

/// The maximum number of characters of a text from outside.
pub(crate) const MAX_TEXT: usize = 200;

/// Bounds the text, and escapes line ends and control characters; quotes are kept.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars().take(MAX_TEXT) {
        match character {
            '"' | '\'' | '\\' => line.push(character),
            _ => line.extend(character.escape_debug()),
        }
    }
    line
}
