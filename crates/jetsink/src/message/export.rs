//! Envelope back to the event's JSON, as the JSON event format has it on one line.

use percent_encoding::percent_decode_str;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::envelope::Envelope;

/// Why an envelope holds no event that can be written as JSON.
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
}

/// The event in an envelope as one line of JSON, without a line end.
///
/// A structured event's bytes stay as they are, unless they have line breaks. Of a binary one, integer
/// and boolean attributes come back as strings: the headers do not tell them apart.
///
/// ```
/// use jetsink::{Binding, ContentMode, event_json};
///
/// let json = r#"{"specversion":"1.0","id":"1","source":"/demo","type":"t","data":{"a":1}}"#;
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

/// The same of a message in whatever form it comes.
pub(crate) fn json_of_message(
    headers: &[(&str, &str)],
    payload: &[u8],
) -> Result<Vec<u8>, ExportError> {
    let header = |name: &str| {
        let mut headers = headers.iter();
        headers.find_map(|(n, value)| (*n == name).then_some(*value))
    };
    if header("ce-specversion").is_some() {
        return Ok(binary_event(headers, payload));
    }
    let structured =
        header("content-type").is_some_and(|t| t.starts_with("application/cloudevents"));
    if !structured {
        return Err(ExportError::NotACloudEvent);
    }
    match on_one_line(payload) {
        Ok(line) => Ok(line),
        Err(error) => Err(ExportError::NotJson(error.to_string())),
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

fn binary_event(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut event = Map::new();
    for (name, value) in headers {
        // The payload is the data; attributes of these names there are none.
        if let Some(attribute) = name.strip_prefix("ce-")
            && !matches!(attribute, "data" | "data_base64")
        {
            let text = percent_decode_str(value).decode_utf8_lossy().into_owned();
            event.insert(attribute.to_owned(), Value::String(text));
        }
    }
    let declared = event.get("datacontenttype").and_then(Value::as_str);
    let is_json = crate::message::binding::is_json(declared);
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
    } else if let Ok(text) = std::str::from_utf8(payload) {
        event.insert("data".to_owned(), text.into());
        return Value::Object(event).to_string().into_bytes();
    }
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(payload);
    event.insert("data_base64".to_owned(), Value::String(encoded));
    Value::Object(event).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINARY: [(&str, &str); 4] = [
        ("ce-specversion", "1.0"),
        ("ce-id", "a%20b"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];

    #[test]
    fn json_data_comes_back_as_it_is_written() {
        let data = b"{\"n\": 12345678901234567890123,\r\n \"f\": 1.10}";
        let json = json_of_message(&BINARY, data).unwrap();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            r#"{"id":"a b","source":"/s","specversion":"1.0","type":"t","data":{"n": 12345678901234567890123,   "f": 1.10}}"#
        );
        let json = json_of_message(&BINARY, b"{no").unwrap();
        let event: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(event["data_base64"], "e25v");
    }

    #[test]
    fn a_structured_event_is_one_line_and_has_to_be_json() {
        let structured = [(
            "content-type",
            "application/cloudevents+json; charset=utf-8",
        )];
        let line = json_of_message(&structured, b"{\n\"a\":\r\n1e400}").unwrap();
        assert_eq!(line, b"{ \"a\":  1e400}");
        let error = json_of_message(&structured, b"{\n").unwrap_err();
        assert!(matches!(error, ExportError::NotJson(_)), "{error}");
        let error = json_of_message(&[], b"{}").unwrap_err();
        assert_eq!(error, ExportError::NotACloudEvent);
    }
}
