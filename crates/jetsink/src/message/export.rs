//! Envelope back to the event's JSON, as the JSON event format has it on one line.

use std::borrow::Cow;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::binding::ContentMode;
use super::content::is_json;
use super::envelope::{CONTENT_TYPE, Envelope, HeaderError, Headers};
use super::rules::Quoted;

/// The error of an envelope without an event that can be written as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Neither of the two content modes.
    #[error(
        "not a CloudEvent: it has neither the content type of structured mode nor a ce-specversion"
    )]
    NotACloudEvent,
    /// Its payload should be JSON.
    #[error("its payload is not JSON: {0}")]
    NotJson(String),
    /// A header's percent-encoding gives no UTF-8, which the binding forbids to accept.
    #[error("its header {name} is not UTF-8 once percent-decoded")]
    NotUtf8 {
        /// The header's name in backticks, cut off if it is long.
        name: String,
    },
}

/// Returns the event in an envelope as one line of JSON, without a line end.
///
/// A structured event's bytes stay as they are, unless they have line breaks. Integers and booleans of a binary
/// event become strings, because headers have only text. Its payload becomes `data` if its declared type is JSON, or text
/// in UTF-8 or ASCII such as `text/plain` or `application/xml`; else `data_base64`.
///
/// ```
/// use jetsink::{Binding, ContentMode, event_json};
///
/// let json = r#"{"specversion":"1.0","id":"1","source":"/demo","type":"t","datacontenttype":"application/json","data":{"a":1}}"#;
/// let binding = Binding::new("events".parse()?).mode(ContentMode::Binary);
/// let line = event_json(&binding.envelope(json.into())?)?;
/// let (back, event): (serde_json::Value, serde_json::Value) =
///     (serde_json::from_slice(&line)?, serde_json::from_str(json)?);
/// assert_eq!(back, event);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ExportError`] for an envelope that did not come from a [`Binding`](crate::Binding).
pub fn event_json(envelope: &Envelope) -> Result<Vec<u8>, ExportError> {
    let headers: Vec<(&str, &str)> = envelope.headers().iter().collect();
    json_of_message(&headers, envelope.payload())
}

/// How an event lies in a message with these headers; `None` if they are not those of an event.
///
/// Names of headers and media types compare without regard to case (NATS binding, section 3).
pub(crate) fn content_mode(headers: &[(&str, &str)]) -> Option<ContentMode> {
    const PREFIX: &str = "application/cloudevents";
    let value = |name: &str| {
        let mut headers = headers.iter();
        headers.find_map(|(n, value)| n.eq_ignore_ascii_case(name).then_some(*value))
    };
    let content_type = value(CONTENT_TYPE).map(|value| value.trim_ascii().as_bytes());
    let start = content_type.and_then(|value| value.get(..PREFIX.len()));
    if start.is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes())) {
        return Some(ContentMode::Structured);
    }
    value("ce-specversion").map(|_| ContentMode::Binary)
}

/// The same of a message in whatever form it comes.
pub(crate) fn json_of_message(
    headers: &[(&str, &str)],
    payload: &[u8],
) -> Result<Vec<u8>, ExportError> {
    match content_mode(headers) {
        None => Err(ExportError::NotACloudEvent),
        Some(ContentMode::Binary) => binary_event(headers, payload),
        Some(ContentMode::Structured) => {
            on_one_line(payload).map_err(|error| ExportError::NotJson(error.to_string()))
        }
    }
}

/// The JSON of an event whose attributes are these headers.
pub(crate) fn json_of_binary(headers: &Headers, payload: &[u8]) -> Result<Bytes, HeaderError> {
    let headers: Vec<(&str, &str)> = headers.iter().collect();
    match binary_event(&headers, payload) {
        Ok(json) => Ok(json.into()),
        // The headers were encoded here.
        Err(_) => Err(HeaderError::Name {
            name: "`ce-*`".to_owned(),
        }),
    }
}

/// JSON without its line breaks: within its strings there are none, and elsewhere they say nothing.
fn on_one_line(json: &[u8]) -> serde_json::Result<Vec<u8>> {
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let mut line = json.to_vec();
    if line.iter().any(is_break) {
        serde_json::from_slice::<IgnoredAny>(json)?;
        for byte in line.iter_mut().filter(|byte| is_break(byte)) {
            *byte = b' ';
        }
    }
    Ok(line)
}

fn binary_event(headers: &[(&str, &str)], payload: &[u8]) -> Result<Vec<u8>, ExportError> {
    let mut event = Map::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        // The payload is the data; attributes of these names do not exist.
        if let Some(attribute) = name.strip_prefix("ce-")
            && !matches!(attribute, "data" | "data_base64")
        {
            let Some(text) = header_text(value) else {
                let name = Quoted(&name).to_string();
                return Err(ExportError::NotUtf8 { name });
            };
            event.insert(attribute.to_owned(), Value::String(text));
        }
    }
    Ok(json_with_payload(event, payload))
}

/// Reverses `header_value` of the binding. Also accepts quoted strings, lower-case digits and needless percent-encoding,
/// which section 3.1.3.2 allows to other publishers.
fn header_text(value: &str) -> Option<String> {
    let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let unquoted = quoted.map(|quoted| {
        let mut text = String::with_capacity(quoted.len());
        let mut characters = quoted.chars();
        while let Some(character) = characters.next() {
            let escaped = (character == '\\').then(|| characters.next()).flatten();
            text.push(escaped.unwrap_or(character));
        }
        text
    });
    let text = percent_decode_str(unquoted.as_deref().unwrap_or(value)).decode_utf8();
    text.ok().map(Cow::into_owned)
}

/// Whether data of a declared type is text that is the same in UTF-8. Other data is binary, which JSON has as Base64 (JSON
/// format, section 3.1.1).
fn is_text(declared: &str) -> bool {
    let mut parts = declared.split(';');
    let media_type = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let (top, subtype) = media_type.split_once('/').unwrap_or_default();
    let format = subtype.rsplit('+').next().unwrap_or_default();
    let is_text = top == "text"
        || matches!(
            format,
            "xml" | "yaml" | "javascript" | "x-www-form-urlencoded"
        );
    is_text
        && parts.all(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_matches('"');
            !name.trim().eq_ignore_ascii_case("charset")
                || ["utf-8", "utf8", "us-ascii"]
                    .iter()
                    .any(|charset| charset.eq_ignore_ascii_case(value))
        })
}

/// Without a declared type, binary data is not assumed to be JSON (JSON format 1.0.3-wip, section 3.1).
fn json_with_payload(mut event: Map<String, Value>, payload: &[u8]) -> Vec<u8> {
    let declared = event.get("datacontenttype").and_then(Value::as_str);
    let is_json = declared.is_some() && is_json(declared);
    let is_text = declared.is_some_and(is_text) && !is_json;
    if payload.is_empty() {
        return Value::Object(event).to_string().into_bytes();
    }
    if is_json {
        // As it is written: a number may have more digits than a `Value` holds.
        if serde_json::from_slice::<&RawValue>(payload).is_ok()
            && let Ok(data) = on_one_line(payload)
        {
            let mut json = Value::Object(event).to_string().into_bytes();
            json.pop();
            json.extend_from_slice(b",\"data\":");
            json.extend_from_slice(&data);
            json.push(b'}');
            return json;
        }
    } else if is_text && let Ok(text) = std::str::from_utf8(payload) {
        event.insert("data".to_owned(), text.into());
        return Value::Object(event).to_string().into_bytes();
    }
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(payload);
    event.insert("data_base64".to_owned(), Value::String(encoded));
    Value::Object(event).to_string().into_bytes()
}

#[cfg(test)]
#[path = "../tests/message/export.rs"]
mod tests;
