//! Compares events by their meaning: an event in binary mode has no JSON line to compare bytes with.
//! Pure.
//!
//! Attributes are compared as text, JSON data without white space and the order of keys, numbers by
//! their digits, other data byte by byte.

use std::collections::BTreeMap;

use bytes::Bytes;
use jetsink::{Binding, ContentMode, Subject, SubjectTemplate, Validation, event_json};
use serde_json::value::RawValue;

use super::keys::{Hash, hash};

/// The depth that serde_json reads. Deeper text is compared as it is.
const MAX_DEPTH: usize = 128;

pub(super) struct Meanings {
    binding: Binding,
}

impl Meanings {
    pub(super) fn new() -> Result<Self, jetsink::SubjectError> {
        let anywhere = Subject::new("e")?;
        let template = SubjectTemplate::new(anywhere.as_str())?;
        Ok(Self {
            // A stream may have events of publishers that do not validate.
            binding: Binding::new(template)
                .mode(ContentMode::Binary)
                .validation(Validation::Lenient),
        })
    }

    /// Hashes an event's JSON after a conversion to binary mode and back, so that differences that
    /// binary mode loses do not count. `None` if it is not an event.
    pub(super) fn of(&self, json: &Bytes) -> Option<Hash> {
        let envelope = self.binding.envelope(json.clone()).ok()?;
        let json = String::from_utf8(event_json(&envelope).ok()?).ok()?;
        let mut text = String::with_capacity(json.len());
        write(&json, 0, &mut text)?;
        Some(hash(text.as_bytes()))
    }
}

/// Writes JSON without white space and with sorted keys. The last of equal keys counts.
fn write(json: &str, depth: usize, into: &mut String) -> Option<()> {
    let json = json.trim();
    if depth > MAX_DEPTH {
        into.push_str(json);
        return Some(());
    }
    match json.as_bytes().first()? {
        b'{' => {
            let object: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
            into.push('{');
            for (index, (key, value)) in object.iter().enumerate() {
                if index > 0 {
                    into.push(',');
                }
                into.push_str(&serde_json::to_string(key).ok()?);
                into.push(':');
                write(value.get(), depth + 1, into)?;
            }
            into.push('}');
        }
        b'[' => {
            let list: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            into.push('[');
            for (index, value) in list.iter().enumerate() {
                if index > 0 {
                    into.push(',');
                }
                write(value.get(), depth + 1, into)?;
            }
            into.push(']');
        }
        b'"' => {
            let text: String = serde_json::from_str(json).ok()?;
            into.push_str(&serde_json::to_string(&text).ok()?);
        }
        _ => into.push_str(json),
    }
    Some(())
}

#[cfg(test)]
#[path = "tests/meaning.rs"]
mod tests;
