//! Escapes untrusted text and fits it into columns. Pure.

use console::measure_text_width;

/// Escapes control characters, invisible characters, and characters that change the direction or
/// combine with others. A backslash is doubled, so that escapes are unambiguous.
pub(super) fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' => harmless.push(c),
            c => harmless.extend(c.escape_debug()),
        }
    }
    harmless
}

/// Escapes the first bytes, to at max `max` characters.
pub(super) fn harmless_start(bytes: &[u8], max: usize) -> String {
    // A character has at max 4 bytes, so these contain enough. The last one may be incomplete.
    let start = &bytes[..bytes.len().min(max.saturating_mul(4))];
    let mut text = String::new();
    for chunk in start.utf8_chunks() {
        text += &harmless(chunk.valid());
        for byte in chunk.invalid() {
            text += &format!("\\x{byte:02x}");
        }
    }
    let cut = start.len() < bytes.len();
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None if cut => text + "…",
        None => text,
    }
}

/// Escapes in JSON the characters that affect a terminal. They occur only in strings, in which the
/// escape has the same meaning.
pub(super) fn harmless_json(json: &str) -> String {
    let mut harmless = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        let acts = !c.is_ascii() && c.escape_debug().len() > 1;
        if acts || c == '\u{7f}' {
            for unit in c.encode_utf16(&mut units) {
                harmless += &format!("\\u{unit:04x}");
            }
        } else {
            harmless.push(c);
        }
    }
    harmless
}

/// The end that is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Beginning,
    End,
}

/// Exactly `width` columns wide.
pub(super) fn fitted(text: &str, width: usize, cut: Cut) -> String {
    let is = measure_text_width(text);
    if is <= width {
        return format!("{text}{}", " ".repeat(width - is));
    }
    let room = width.saturating_sub(1);
    let mut kept = Vec::new();
    let mut used = 0;
    let mut take = |c: char| {
        used += measure_text_width(c.encode_utf8(&mut [0; 4]));
        let fits = used <= room;
        if fits {
            kept.push(c);
        }
        fits
    };
    match cut {
        Cut::End => {
            let _ = text.chars().all(&mut take);
            kept.push('…');
        }
        Cut::Beginning => {
            let _ = text.chars().rev().all(&mut take);
            kept.push('…');
            kept.reverse();
        }
    }
    let kept: String = kept.into_iter().collect();
    let missing = width.saturating_sub(measure_text_width(&kept));
    match cut {
        Cut::End => kept + &" ".repeat(missing),
        Cut::Beginning => " ".repeat(missing) + &kept,
    }
}

#[cfg(test)]
#[path = "tests/text.rs"]
mod tests;
