//! Names of rotated files.
//!
//! A rotated file has the name of its log with a stamp, before or behind the extension, and possibly a
//! compression's: `ev.jsonl.1`, `ev.jsonl-20261130.gz`, `ev-2026-11-30T00-16-00.000.jsonl`, `ev.2026-11-30.0.jsonl`.

use std::cmp::Ordering;
use std::ffi::OsStr;

const COMPRESSED: [&[u8]; 3] = [b".gz", b".zst", b".zstd"];

/// Stamps that are words.
const WORDS: [&[u8]; 3] = [b"old", b"prev", b"bak"];

/// A stamp with this number of digits is a date or a time; one with fewer is a number.
const DATE_DIGITS: usize = 6;

/// The part of a name that distinguishes the rotated files of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    is_dated: bool,
    numbers: Vec<u64>,
    /// Whether it is behind the whole name of the log.
    is_suffix: bool,
}

impl Stamp {
    /// The stamp of the files that `base` is rotated to; `None` for other names and for `base` itself.
    pub(super) fn of(base: &OsStr, name: &OsStr) -> Option<Self> {
        let (base, name) = (base.as_encoded_bytes(), name.as_encoded_bytes());
        let plain = uncompressed(name);
        if plain == Some(base) {
            return Some(Self::read(b"", true)); // compressed in place
        }
        let plain = plain.unwrap_or(name);
        if let Some(stamp) = plain.strip_prefix(base) {
            return is_stamp(stamp).then(|| Self::read(stamp, true));
        }
        let dot = base.iter().rposition(|byte| *byte == b'.')?;
        let (stem, extension) = base.split_at(dot);
        let stamp = plain.strip_prefix(stem)?.strip_suffix(extension)?;
        (dot > 0 && is_stamp(stamp)).then(|| Self::read(stamp, false))
    }

    fn read(stamp: &[u8], is_suffix: bool) -> Self {
        let digits = stamp.iter().filter(|byte| byte.is_ascii_digit()).count();
        let groups = stamp.split(|byte| !byte.is_ascii_digit());
        let numbers = groups.filter(|group| !group.is_empty());
        let number = |group: &[u8]| {
            group.iter().fold(0_u64, |number, digit| {
                number
                    .saturating_mul(10)
                    .saturating_add(u64::from(digit - b'0'))
            })
        };
        Self {
            is_dated: digits >= DATE_DIGITS,
            numbers: numbers.map(number).collect(),
            is_suffix,
        }
    }

    /// Whether the name belongs to its log without doubt, even if every name of the folder can be a log: `part-2.jsonl`
    /// is not necessarily rotated from `part.jsonl`.
    pub(super) fn is_certain(&self) -> bool {
        self.is_dated || self.is_suffix
    }

    /// Compares the ages of two rotated files, the older one first. Dates count up, numbers count down; a date and a
    /// number can't be compared.
    pub(super) fn by_age(&self, other: &Self) -> Option<Ordering> {
        match (self.is_dated, other.is_dated) {
            (true, true) => Some(self.numbers.cmp(&other.numbers)),
            (false, false) => Some(other.numbers.cmp(&self.numbers)),
            _ => None,
        }
    }
}

/// Whether a file of this name is going to contain compressed bytes.
pub(super) fn is_compression(name: &OsStr) -> bool {
    uncompressed(name.as_encoded_bytes()).is_some()
}

/// The name without the extension of its compression; `None` if it has none.
fn uncompressed(name: &[u8]) -> Option<&[u8]> {
    let mut extensions = COMPRESSED.iter();
    extensions.find_map(|extension| name.strip_suffix(*extension))
}

/// Whether this is a separator and a date, a number or a word.
fn is_stamp(text: &[u8]) -> bool {
    let Some((separator, stamp)) = text.split_first() else {
        return false;
    };
    let is_number = || {
        stamp.first().is_some_and(u8::is_ascii_digit)
            && stamp
                .iter()
                .all(|byte| byte.is_ascii_digit() || b".-_:+TZ".contains(byte))
    };
    b".-_".contains(separator) && (WORDS.contains(&stamp) || is_number())
}

/// The name with its date as one character; `None` for a name without a date. Files of one log that never has a name
/// without a date have it in common.
pub(super) fn undated(name: &OsStr) -> Option<Vec<u8>> {
    let name = name.as_encoded_bytes();
    let plain = uncompressed(name).unwrap_or(name);
    let separator = |byte: &u8| b".-_:+TZ".contains(byte);
    let start = plain.iter().position(u8::is_ascii_digit)?;
    let length = plain[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit() || separator(byte))
        .count();
    let stamp = &plain[start..start + length];
    let digits = stamp.iter().filter(|byte| byte.is_ascii_digit()).count();
    // A separator behind the last digit belongs to the rest.
    let end = stamp.iter().rposition(u8::is_ascii_digit)? + 1 + start;
    (digits >= DATE_DIGITS).then(|| [&plain[..start], b"*", &plain[end..]].concat())
}

#[cfg(test)]
#[path = "tests/names.rs"]
mod tests;
