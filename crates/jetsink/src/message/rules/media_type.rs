//! Media types by RFC 2046, in the syntax of RFC 2045, section 5.1.

/// Whether `text` is `type/subtype`, with parameters or without.
///
/// White space is taken around the `;` before a parameter, and nowhere else; comments are not.
pub(super) fn is_media_type(text: &str) -> bool {
    text == "application/json" || parse(text.as_bytes()).is_some()
}

fn parse(text: &[u8]) -> Option<()> {
    let rest = after_token(text)?.strip_prefix(b"/")?;
    let mut rest = after_token(rest)?;
    while !rest.is_empty() {
        rest = after_spaces(rest).strip_prefix(b";")?;
        rest = after_token(after_spaces(rest))?.strip_prefix(b"=")?;
        rest = match rest.strip_prefix(b"\"") {
            None => after_token(rest)?,
            Some(quoted) => after_quoted(quoted)?,
        };
    }
    Some(())
}

fn after_token(text: &[u8]) -> Option<&[u8]> {
    let length = text.iter().take_while(|byte| is_of_token(**byte)).count();
    (length > 0).then(|| &text[length..])
}

/// Visible ASCII without the `tspecials`.
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !br#"()<>@,;:\"/[]?="#.contains(&byte)
}

fn after_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| **byte == b' ').count();
    &text[spaces..]
}

/// The text behind the closing quote.
fn after_quoted(text: &[u8]) -> Option<&[u8]> {
    let printable = |byte: u8| (0x20..0x7f).contains(&byte);
    let mut rest = text;
    loop {
        rest = match *rest {
            [b'"', ref rest @ ..] => return Some(rest),
            [b'\\', escaped, ref rest @ ..] if printable(escaped) => rest,
            [byte, ref rest @ ..] if byte != b'\\' && printable(byte) => rest,
            _ => return None,
        }
    }
}
