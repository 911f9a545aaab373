//! Envelope back to the event's JSON, as the JSON event format has it on one line.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::envelope::Envelope;

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
    let header = |name: &str| {
        let mut headers = envelope.headers().iter();
        headers.find_map(|(n, value)| (n == name).then_some(value))
    };
    if header("ce-specversion").is_some() {
        return Ok(Value::Object(binary_event(envelope))
            .to_string()
            .into_bytes());
    }
    let structured =
        header("content-type").is_some_and(|t| t.starts_with("application/cloudevents"));
    if !structured {
        return Err(ExportError::NotACloudEvent);
    }
    let payload = envelope.payload();
    if !payload.contains(&b'\n') && !payload.contains(&b'\r') {
        return Ok(payload.to_vec());
    }
    let event: Value =
        serde_json::from_slice(payload).map_err(|error| ExportError::NotJson(error.to_string()))?;
    Ok(event.to_string().into_bytes())
}

fn binary_event(envelope: &Envelope) -> Map<String, Value> {
    let mut event = Map::new();
    for (name, value) in envelope.headers().iter() {
        if let Some(attribute) = name.strip_prefix("ce-") {
            let text = percent_decode_str(value).decode_utf8_lossy().into_owned();
            event.insert(attribute.to_owned(), Value::String(text));
        }
    }
    let payload = envelope.payload();
    if payload.is_empty() {
        return event;
    }
    let declared = event.get("datacontenttype").and_then(Value::as_str);
    let as_json = if crate::binding::is_json(declared) {
        serde_json::from_slice(payload).ok()
    } else {
        std::str::from_utf8(payload).ok().map(Value::from)
    };
    match as_json {
        Some(data) => event.insert("data".to_owned(), data),
        None => {
            use base64::Engine as _;
            let encoded = base64::engine::general_purpose::STANDARD.encode(payload);
            event.insert("data_base64".to_owned(), Value::String(encoded))
        }
    };
    event
}
