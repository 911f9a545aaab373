//! A CloudEvent as JSON, read without copying: validated, the bytes kept.
//!
//! Source: CloudEvents 1.0.2 and the JSON event format 1.0.2; `docs/guide/cloudevents.md` lists each rule.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::rules::{EventRule, Validation};
use super::tenant::tenant_of;
use super::{event_reader, rules};

/// Characters of a message that is not our own.
const MAX_FOREIGN_MESSAGE: usize = 200;

/// Bytes of a text that is not JSON of an event, for its message.
const MAX_START: usize = 256;

/// The error of bytes that are not a valid CloudEvent.
///
/// The text is one line of bounded length, and safe to print: quotes of the event are cut off, and characters that are
/// not printable are escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (line {line}, column {column})")]
#[non_exhaustive]
pub struct EventError {
    /// The broken rule; `None` if the bytes are not JSON.
    pub rule: Option<EventRule>,
    /// The attribute, the rule and its clause in the specification, without the place.
    pub message: String,
    /// The line within the event's bytes, from 1.
    pub line: usize,
    /// The column within that line, from 1, in bytes.
    pub column: usize,
}

impl EventError {
    /// `at` is the offset in `json`.
    pub(super) fn new(
        rule: EventRule,
        member: &str,
        value: Option<&str>,
        json: &[u8],
        at: usize,
    ) -> Self {
        let before = &json[..at.min(json.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n');
        Self {
            rule: Some(rule),
            message: rule.broken_by(member, value),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            column: before.len() - line_start.map_or(0, |at| at + 1) + 1,
        }
    }
}

impl From<serde_json::Error> for EventError {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = text.strip_suffix(&place).unwrap_or(&text);
        Self {
            rule: None,
            message: message.chars().take(MAX_FOREIGN_MESSAGE).collect(),
            line: error.line().max(1),
            column: error.column().max(1),
        }
    }
}

/// A string that has no text, because it has an unpaired surrogate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{member} has an unpaired surrogate and cannot be read as text")]
#[non_exhaustive]
pub struct UnreadableText {
    /// The attribute, or the path of a member of the data.
    pub member: String,
}

impl UnreadableText {
    pub(super) fn of(member: &str) -> Self {
        Self {
            member: rules::Quoted(member).to_string(),
        }
    }
}

/// A CloudEvents 1.0 event in the JSON format, borrowed from its bytes.
///
/// ```
/// use jetsink::CloudEvent;
///
/// let bytes = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"tenantId":"acme"}}"#;
/// let event = CloudEvent::from_json(bytes)?;
/// assert_eq!((event.id(), event.source(), event.event_type()), ("1", "/s", "t"));
/// assert_eq!(event.tenant()?.as_deref(), Some("acme"));
///
/// let error = CloudEvent::from_json(br#"{"specversion":"1.0","id":"1","type":"t"}"#).unwrap_err();
/// assert_eq!(
///     error.message,
///     "required attribute `source` is missing (CloudEvents 1.0.2, REQUIRED Attributes)"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct CloudEvent<'a> {
    pub(super) specversion: Cow<'a, str>,
    pub(super) id: Cow<'a, str>,
    pub(super) source: Cow<'a, str>,
    pub(super) event_type: Cow<'a, str>,
    /// Every attribute except the four above, in order, with its JSON value; nulls left out.
    pub(crate) attributes: Vec<(Cow<'a, str>, &'a RawValue)>,
    pub(crate) data: Option<&'a RawValue>,
    /// A string of valid Base64, unless read leniently.
    pub(crate) data_base64: Option<&'a RawValue>,
    pub(super) deviation: Option<Box<EventError>>,
}

impl<'a> CloudEvent<'a> {
    /// Reads one event that is valid by CloudEvents 1.0.2 and its JSON format; [`EventRule`] lists the checks.
    ///
    /// An attribute that is `null` counts as absent. Takes time and memory linear in the length of `bytes`.
    ///
    /// # Errors
    /// [`EventError`] with the place, for the first rule that is broken, and for anything that is not JSON.
    pub fn from_json(bytes: &'a [u8]) -> Result<Self, EventError> {
        Self::from_json_with(bytes, Validation::Full)
    }

    /// Reads one event and checks as many rules as `validation` asks for.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json), for the rules that `validation` enforces.
    pub fn from_json_with(bytes: &'a [u8], validation: Validation) -> Result<Self, EventError> {
        let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace());
        if let Some(at) = start.filter(|at| bytes[*at] != b'{') {
            let rest = &bytes[at..];
            let start = String::from_utf8_lossy(&rest[..rest.len().min(MAX_START)]);
            let rule = EventRule::NotAnObject;
            return Err(EventError::new(rule, "", Some(&start), bytes, at));
        }
        event_reader::read(bytes, validation)
    }

    /// The attribute `id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The attribute `source`.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The attribute `type`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The attribute `specversion`: `1.0`, unless read leniently.
    #[must_use]
    pub fn specversion(&self) -> &str {
        &self.specversion
    }

    /// The first rule that the event breaks although it was read leniently.
    #[must_use]
    pub fn deviation(&self) -> Option<&EventError> {
        self.deviation.as_deref()
    }

    /// Any attribute in its canonical string form; `None` if it is absent. A value that no attribute can have, which
    /// only lenient reading accepts, is returned as JSON.
    ///
    /// # Errors
    /// [`UnreadableText`] for a string with an unpaired surrogate, which only lenient reading takes.
    pub fn attribute(&self, name: &str) -> Result<Option<Cow<'_, str>>, UnreadableText> {
        let known = match name {
            "specversion" => &self.specversion,
            "id" => &self.id,
            "source" => &self.source,
            "type" => &self.event_type,
            _ => {
                let mut attributes = self.attributes.iter();
                let value = attributes.find(|(n, _)| n == name).map(|(_, value)| value);
                return value.map(|value| text_of(name, value)).transpose();
            }
        };
        Ok(Some(Cow::Borrowed(known)))
    }

    /// An attribute's text if it is a string.
    fn string(&self, name: &str) -> Option<Cow<'a, str>> {
        let (_, value) = self.attributes.iter().find(|(n, _)| n == name)?;
        string_of(value)
    }

    /// The distributed tracing extension's `traceparent` if it is a string.
    #[must_use]
    pub fn traceparent(&self) -> Option<Cow<'a, str>> {
        self.string("traceparent")
    }

    /// The distributed tracing extension's `tracestate` if it is a string.
    #[must_use]
    pub fn tracestate(&self) -> Option<Cow<'a, str>> {
        self.string("tracestate")
    }

    /// Returns `data.tenantId` if that is a string, else `data.correlation.tenantId` if that is one, else
    /// `None`. The last of repeated keys counts, as for most JSON readers.
    ///
    /// # Errors
    /// [`UnreadableText`] if that string has an unpaired surrogate: the event has a tenant, but not one that can be
    /// distinguished from others.
    pub fn tenant(&self) -> Result<Option<String>, UnreadableText> {
        tenant_of(self.data)
    }
}

/// The text of a JSON value that is a string without unpaired surrogates.
pub(crate) fn string_of(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Name<'_>>(value.get())
        .ok()
        .map(|text| text.0)
}

/// The text of a string; the JSON of any other value, which is an attribute's canonical string form.
pub(crate) fn text_of<'a>(name: &str, value: &'a RawValue) -> Result<Cow<'a, str>, UnreadableText> {
    if !is_string(value) {
        return Ok(Cow::Borrowed(value.get()));
    }
    string_of(value).ok_or_else(|| UnreadableText::of(name))
}

pub(super) fn is_string(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

/// A JSON string, borrowed if it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

#[cfg(test)]
#[path = "../tests/message/event.rs"]
mod tests;
