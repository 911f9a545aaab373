//! Headers and payload of an event in structured and in binary mode.
//!
//! Source: NATS Protocol Binding for CloudEvents 1.0.3-wip, sections 3.1 (binary) and 3.2 (structured).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::binding::BindingError;
use super::envelope::{CONTENT_TYPE, Headers, STRUCTURED, TRACEPARENT};
use super::event::{CloudEvent, string_of, text_of};
use super::routing::Routing;
use super::rules::Quoted;
use super::subject::push_percent_encoded;

/// A longer trace header is not sent: the W3C's `traceparent` has 55 bytes, and a `tracestate` of 512 is to be
/// passed on.
const MAX_TRACE_HEADER: usize = 512;

impl Routing<'_> {
    pub(super) fn structured_headers(&self) -> Headers {
        structured_headers(self.traceparent.as_deref(), self.tracestate.as_deref())
    }
}

/// The headers of a structured event. A trace that does not fit into headers stays in the payload only.
#[must_use]
pub fn structured_headers(traceparent: Option<&str>, tracestate: Option<&str>) -> Headers {
    let mut headers = Headers::default();
    headers.push_checked(CONTENT_TYPE, STRUCTURED);
    push_trace(&mut headers, traceparent, tracestate);
    headers
}

/// `traceparent`, and `tracestate` beside it, as W3C Trace Context has them.
pub(super) fn push_trace(
    headers: &mut Headers,
    traceparent: Option<&str>,
    tracestate: Option<&str>,
) {
    let fits = |text: &&str| !text.is_empty() && text.len() <= MAX_TRACE_HEADER;
    let is_visible = |text: &&str| text.bytes().all(|b| b.is_ascii_graphic());
    let is_printable = |text: &&str| text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    let Some(traceparent) = traceparent.filter(fits).filter(is_visible) else {
        return;
    };
    headers.push_checked(TRACEPARENT, traceparent.to_owned());
    if let Some(tracestate) = tracestate.filter(fits).filter(is_printable) {
        headers.push_checked("tracestate", tracestate.trim_matches(' ').to_owned());
    }
}

/// Percent-encodes space, `"`, `%` and all outside U+0021 to U+007E (binding, section 3.1.3.2).
pub(super) fn header_value(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'"' && byte != b'%' {
            value.push(char::from(byte));
        } else {
            push_percent_encoded(&mut value, byte);
        }
    }
    value
}

/// Section 3.1.3 of the binding. A JSON event without `datacontenttype` implies `application/json`, which it keeps
/// in another format only if that says so (CloudEvents 1.0.2, datacontenttype); for `data_base64` it implies nothing.
pub(super) fn binary_headers(
    event: &CloudEvent<'_>,
    routing: &Routing<'_>,
) -> Result<Headers, BindingError> {
    let mut headers = Headers::default();
    headers.push("ce-specversion", header_value(event.specversion()))?;
    headers.push("ce-id", header_value(event.id()))?;
    headers.push("ce-source", header_value(event.source()))?;
    headers.push("ce-type", header_value(event.event_type()))?;
    let mut is_declared = false;
    for (name, value) in &event.attributes {
        let shown = Quoted(name);
        if value.get().starts_with(['{', '[']) {
            let reason = format!("attribute {shown} is neither a string, a boolean nor a number");
            return Err(BindingError::NotBinary(reason));
        }
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            let reason =
                format!("attribute name {shown} has upper-case letters, which headers do not keep");
            return Err(BindingError::NotBinary(reason));
        }
        is_declared |= name == "datacontenttype";
        headers.push(format!("ce-{name}"), header_value(&text_of(name, value)?))?;
    }
    if !is_declared && event.data.is_some() && event.data_base64.is_none() {
        headers.push("ce-datacontenttype", "application/json")?;
    }
    let (parent, state) = (&routing.traceparent, &routing.tracestate);
    push_trace(&mut headers, parent.as_deref(), state.as_deref());
    Ok(headers)
}

pub(super) fn binary_payload(event: &CloudEvent<'_>) -> Result<Bytes, BindingError> {
    let refuse = |reason: &str| Err(BindingError::NotBinary(reason.to_owned()));
    match (event.data, event.data_base64) {
        (None, None) => Ok(Bytes::new()),
        (Some(_), Some(_)) => refuse("it has both `data` and `data_base64`"),
        (None, Some(encoded)) => {
            let decoded = string_of(encoded).and_then(|text| STANDARD.decode(text.as_bytes()).ok());
            decoded.map_or_else(
                || refuse("`data_base64` is not Base64"),
                |data| Ok(data.into()),
            )
        }
        (Some(data), None) => {
            if !holds_json(event)
                && let Some(text) = string_of(data)
            {
                return Ok(Bytes::copy_from_slice(text.as_bytes()));
            }
            Ok(Bytes::copy_from_slice(data.get().as_bytes()))
        }
    }
}

/// Whether the data cannot be searched for a tenant: Base64, or text that is not JSON.
pub(super) fn is_opaque(event: &CloudEvent<'_>) -> bool {
    let is_text = event.data.is_some_and(|data| data.get().starts_with('"'));
    event.data_base64.is_some() || (is_text && !holds_json(event))
}

/// Whether the data is JSON by its declared type.
fn holds_json(event: &CloudEvent<'_>) -> bool {
    let declared = event.attribute("datacontenttype").ok().flatten();
    is_json(declared.as_deref())
}

/// Whether a `datacontenttype` means JSON; an absent one of a JSON event does (JSON format, section 3.1).
pub(crate) fn is_json(declared: Option<&str>) -> bool {
    declared.is_none_or(|declared| {
        let media_type = declared.split(';').next().unwrap_or_default().trim();
        let subtype = media_type.rsplit('/').next().unwrap_or_default();
        subtype.eq_ignore_ascii_case("json") || subtype.to_ascii_lowercase().ends_with("+json")
    })
}
