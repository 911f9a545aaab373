//! The characters of strings, and how strings from outside are shown.

use std::fmt::{self, Write as _};

use super::EventRule;

/// Characters of a name or a value that a message shows.
const MAX_SHOWN: usize = 64;

/// Checks the characters of a string; Rust's own have no unpaired surrogates.
pub(super) fn check_characters(text: &str) -> Result<(), EventRule> {
    if is_printable_ascii(text.as_bytes()) {
        return Ok(());
    }
    for character in text.chars() {
        if character.is_control() {
            return Err(EventRule::ControlCharacter);
        }
        if is_noncharacter(character) {
            return Err(EventRule::Noncharacter);
        }
    }
    Ok(())
}

/// Without an early end, so that many bytes are looked at at a time.
fn is_printable_ascii(text: &[u8]) -> bool {
    let others = text.iter().fold(0, |others, byte| {
        others | u8::from(byte.wrapping_sub(0x20) > 0x5e)
    });
    others == 0
}

/// U+FDD0 to U+FDEF, and the last two code points of each plane.
fn is_noncharacter(character: char) -> bool {
    let code = u32::from(character);
    (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

/// A name from outside between backticks: one line, printable, bounded in length.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('`')?;
        write_bounded(f, self.0)?;
        f.write_char('`')
    }
}

/// A piece of JSON from outside as it is written there: one line, printable, bounded in length.
pub(super) struct Json<'a>(pub(super) &'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bounded(f, self.0)
    }
}

/// A text from outside in one line: line ends and control characters are escaped, quotes are not.
pub(crate) struct OneLine<'a>(pub(crate) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|character| write_printable(f, character))
    }
}

fn write_printable(f: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    match character {
        '"' | '\'' | '\\' => f.write_char(character),
        _ => write!(f, "{}", character.escape_debug()),
    }
}

fn write_bounded(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut characters = text.chars();
    for character in characters.by_ref().take(MAX_SHOWN) {
        write_printable(f, character)?;
    }
    if characters.next().is_some() {
        f.write_char('…')?;
    }
    Ok(())
}
