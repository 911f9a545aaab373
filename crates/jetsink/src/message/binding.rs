//! Event to envelope: the CloudEvents NATS binding, structured or binary, and the message id rule.
//!
//! Source: NATS Protocol Binding for CloudEvents 1.0.3-wip, sections 3.1 (binary) and 3.2
//! (structured).

use std::borrow::Cow;

use base64::Engine as _;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::envelope::{CONTENT_TYPE, Envelope, HeaderError, Headers, MessageId, STRUCTURED};
use super::event::{CloudEvent, EventError, string_of};
use super::routing::Routing;
use super::subject::{
    Subject, SubjectError, SubjectTemplate, TemplateValues, TenantPolicy, push_percent_encoded,
};

/// How an event lies in a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContentMode {
    /// The event's JSON, byte for byte, as payload (`content-type: application/cloudevents+json`).
    #[default]
    Structured,
    /// The attributes as `ce-*` headers, the data as payload.
    Binary,
}

/// Which events count as the same one for the stream's duplicate window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MessageIdRule {
    /// None but the retries of one emit: the sink mints `<sink>.<n>` for each.
    #[default]
    PerEmit,
    /// Those with the same `source` and `id`, which is the identity that CloudEvents defines.
    /// Choose it for sources that keep to it; one that sends a constant id would have all but its
    /// first event thrown away.
    SourceAndId,
    /// Those with the same subject and the same bytes (SHA-256).
    Content,
}

/// Why an event can't become an envelope. Nothing was sent; trying again gives the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindingError {
    /// Not a CloudEvent.
    #[error("not a CloudEvent: {0}")]
    Event(#[from] EventError),
    /// It gives no subject.
    #[error("the event gives no valid subject: {0}; correct the event or the template")]
    Subject(#[from] SubjectError),
    /// Its data can't be sent in binary mode.
    #[error("data_base64 is not base64: {0}")]
    Base64(String),
    /// Its attributes can't be sent as headers.
    #[error("the event gives no valid header: {0}")]
    Header(#[from] HeaderError),
}

/// Makes envelopes of events by one set of rules. The event's tenant is `data.tenantId` where that is a string, else
/// `data.correlation.tenantId`, else `single`.
///
/// ```
/// use jetsink::{Binding, SubjectTemplate};
///
/// let binding = Binding::new("cellos.events.{tenantId}".parse()?);
/// let json = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"tenantId":"acme"}}"#;
/// let envelope = binding.envelope(json.as_slice().into())?;
/// assert_eq!(envelope.subject().as_str(), "cellos.events.acme");
/// assert_eq!(&envelope.payload()[..], json);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Binding {
    template: SubjectTemplate,
    tenant_policy: TenantPolicy,
    mode: ContentMode,
    message_id: MessageIdRule,
}

impl Binding {
    /// Defaults: tenant ids that are no token are refused, structured mode, an id per emit.
    #[must_use]
    pub fn new(template: SubjectTemplate) -> Self {
        Self {
            template,
            tenant_policy: TenantPolicy::default(),
            mode: ContentMode::default(),
            message_id: MessageIdRule::default(),
        }
    }

    /// What to do with tenant ids that are no subject token. Default: refuse.
    #[must_use]
    pub fn tenant_policy(mut self, policy: TenantPolicy) -> Self {
        self.tenant_policy = policy;
        self
    }

    /// Structured or binary. Default: structured.
    #[must_use]
    pub fn mode(mut self, mode: ContentMode) -> Self {
        self.mode = mode;
        self
    }

    /// Which events count as the same one. Default: none but the retries of one emit.
    #[must_use]
    pub fn message_id(mut self, rule: MessageIdRule) -> Self {
        self.message_id = rule;
        self
    }

    /// Checks the JSON of one event and makes its envelope.
    ///
    /// Costs one reading of the JSON; in structured mode the payload is `json` itself, not a copy.
    ///
    /// # Errors
    /// [`BindingError`]: not a CloudEvent, no valid subject (a tenant id that is refused, for example), or, in
    /// binary mode, no valid data or headers. Nothing was sent, and the same event gives the same error again.
    pub fn envelope(&self, json: Bytes) -> Result<Envelope, BindingError> {
        let address = if self.mode == ContentMode::Structured
            && let Some(routing) = Routing::read(&json)
        {
            let headers = structured_headers(routing.traceparent.as_deref())?;
            self.address(&routing, &json, headers, None)?
        } else {
            let event = CloudEvent::from_json(&json)?;
            let traceparent = event.traceparent();
            let (headers, payload) = match self.mode {
                ContentMode::Structured => (structured_headers(traceparent.as_deref())?, None),
                ContentMode::Binary => (binary_headers(&event)?, Some(binary_payload(&event)?)),
            };
            let routing = Routing {
                id: event.id().into(),
                source: event.source().into(),
                event_type: event.event_type().into(),
                traceparent,
                tenant: event.tenant().map(Cow::Owned),
            };
            self.address(&routing, &json, headers, payload)?
        };
        let Address {
            subject,
            message_id,
            headers,
            payload,
        } = address;
        let envelope = Envelope::new(subject, payload.unwrap_or(json)).with_headers(headers);
        Ok(match message_id {
            None => envelope,
            Some(id) => envelope.with_message_id(id),
        })
    }

    fn address(
        &self,
        event: &Routing<'_>,
        json: &[u8],
        headers: Headers,
        payload: Option<Bytes>,
    ) -> Result<Address, BindingError> {
        let values = TemplateValues {
            tenant: event.tenant.as_deref(),
            event_type: &event.event_type,
            source: &event.source,
        };
        let subject = self.template.resolve(&values, self.tenant_policy)?;
        let message_id = match self.message_id {
            MessageIdRule::PerEmit => None,
            MessageIdRule::SourceAndId => Some(source_and_id(&event.source, &event.id)?),
            MessageIdRule::Content => Some(content_id(&subject, json)?),
        };
        Ok(Address {
            subject,
            message_id,
            headers,
            payload,
        })
    }
}

/// An envelope whose payload may be the event's JSON as it is.
struct Address {
    subject: Subject,
    message_id: Option<MessageId>,
    headers: Headers,
    payload: Option<Bytes>,
}

/// The headers of a structured event. A `traceparent` that is not visible ASCII stays in the payload
/// only: it is nobody's trace.
///
/// # Errors
/// None in practice: both values are checked here.
pub fn structured_headers(traceparent: Option<&str>) -> Result<Headers, HeaderError> {
    let mut headers = Headers::default();
    headers.push(CONTENT_TYPE, STRUCTURED)?;
    if let Some(value) = traceparent.filter(|v| is_visible_ascii(v)) {
        headers.push("traceparent", value.to_owned())?;
    }
    Ok(headers)
}

fn is_visible_ascii(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// `<source> <id>`, each percent-encoded; the space is what neither can hold.
fn source_and_id(source: &str, id: &str) -> Result<MessageId, HeaderError> {
    MessageId::new(format!("{} {}", header_value(source), header_value(id)))
}

fn content_id(subject: &Subject, json: &[u8]) -> Result<MessageId, HeaderError> {
    let digest = Sha256::new()
        .chain_update(subject.as_str())
        .chain_update([0])
        .chain_update(json)
        .finalize();
    MessageId::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest))
}

/// Percent-encodes space, `"`, `%` and all outside U+0021 to U+007E (binding, section 3.1.3.2).
fn header_value(text: &str) -> String {
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

fn binary_headers(event: &CloudEvent<'_>) -> Result<Headers, BindingError> {
    let mut headers = Headers::default();
    headers.push("ce-specversion", "1.0")?;
    headers.push("ce-id", header_value(event.id()))?;
    headers.push("ce-source", header_value(event.source()))?;
    headers.push("ce-type", header_value(event.event_type()))?;
    for (name, value) in &event.attributes {
        // A string's text; a boolean's or integer's JSON is its canonical form.
        let text = string_of(value).unwrap_or_else(|| value.get().into());
        headers.push(format!("ce-{name}"), header_value(&text))?;
    }
    if let Some(value) = event.traceparent().filter(|v| is_visible_ascii(v)) {
        headers.push("traceparent", value.into_owned())?;
    }
    Ok(headers)
}

fn binary_payload(event: &CloudEvent<'_>) -> Result<Bytes, BindingError> {
    if let Some(encoded) = &event.data_base64 {
        return base64::engine::general_purpose::STANDARD
            .decode(encoded.as_bytes())
            .map(Bytes::from)
            .map_err(|e| BindingError::Base64(e.to_string()));
    }
    let Some(data) = event.data else {
        return Ok(Bytes::new());
    };
    if !holds_json(event)
        && let Some(text) = string_of(data)
    {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    Ok(Bytes::copy_from_slice(data.get().as_bytes()))
}

/// Whether the data is JSON by its declared type.
fn holds_json(event: &CloudEvent<'_>) -> bool {
    let declared = event
        .attributes
        .iter()
        .find(|(name, _)| name == "datacontenttype")
        .and_then(|(_, value)| string_of(value));
    is_json(declared.as_deref())
}

/// Whether a `datacontenttype` means JSON; none does (JSON format, section 3.1).
pub(crate) fn is_json(declared: Option<&str>) -> bool {
    declared.is_none_or(|declared| {
        let media_type = declared.split(';').next().unwrap_or_default().trim();
        let subtype = media_type.rsplit('/').next().unwrap_or_default();
        subtype.eq_ignore_ascii_case("json") || subtype.to_ascii_lowercase().ends_with("+json")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(mode: ContentMode, id: MessageIdRule) -> Binding {
        Binding::new("e.{tenantId}".parse().unwrap())
            .mode(mode)
            .message_id(id)
    }

    fn header<'a>(envelope: &'a Envelope, name: &str) -> Option<&'a str> {
        envelope
            .headers()
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v)
    }

    const EVENT: &str = r#"{"specversion":"1.0","id":"a b\r\n","source":"/ü%","type":"t","num":7,"flag":true,"time":null,"datacontenttype":"text/plain","traceparent":"00-1-2-01","data":"hé"}"#;

    #[test]
    fn structured_keeps_the_bytes_and_carries_no_ce_header() {
        let envelope = binding(ContentMode::Structured, MessageIdRule::PerEmit)
            .envelope(EVENT.into())
            .unwrap();
        assert_eq!(&envelope.payload()[..], EVENT.as_bytes());
        assert_eq!(
            header(&envelope, "content-type"),
            Some("application/cloudevents+json")
        );
        assert_eq!(header(&envelope, "traceparent"), Some("00-1-2-01"));
        assert!(
            envelope
                .headers()
                .iter()
                .all(|(n, _)| !n.starts_with("ce-"))
        );
    }

    #[test]
    fn binary_percent_encodes_every_byte_that_is_not_visible_ascii() {
        let envelope = binding(ContentMode::Binary, MessageIdRule::PerEmit)
            .envelope(EVENT.into())
            .unwrap();
        let expected = [
            ("ce-specversion", "1.0"),
            ("ce-id", "a%20b%0D%0A"),
            ("ce-source", "/%C3%BC%25"),
            ("ce-type", "t"),
            ("ce-num", "7"),
            ("ce-flag", "true"),
            ("ce-datacontenttype", "text/plain"),
            ("ce-traceparent", "00-1-2-01"),
            ("traceparent", "00-1-2-01"),
        ];
        assert_eq!(envelope.headers().iter().collect::<Vec<_>>(), expected);
        assert_eq!(&envelope.payload()[..], "hé".as_bytes());
    }

    #[test]
    fn binary_data_is_json_text_or_decoded_base64() {
        let with = |rest: &str| {
            let json = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t"{rest}}}"#);
            binding(ContentMode::Binary, MessageIdRule::PerEmit).envelope(json.into())
        };
        assert_eq!(
            &with(r#","data":{"a": 1}"#).unwrap().payload()[..],
            br#"{"a": 1}"#
        );
        assert_eq!(
            &with(r#","data":"x","datacontenttype":"application/json""#)
                .unwrap()
                .payload()[..],
            b"\"x\""
        );
        assert_eq!(
            &with(r#","data_base64":"AAE=""#).unwrap().payload()[..],
            [0, 1]
        );
        assert!(with("").unwrap().payload().is_empty());
        assert!(matches!(
            with(r#","data_base64":"?""#),
            Err(BindingError::Base64(_))
        ));
    }

    #[test]
    fn ids_tell_events_apart_where_joining_them_would_not() {
        let id = |source: &str, id: &str| source_and_id(source, id).unwrap();
        assert_ne!(id("a", "b c"), id("a b", "c"));
        assert_ne!(id("a ", "b"), id("a%20", "b"));
        assert_eq!(id("a", "b").as_str(), "a b");
        let one = content_id(&Subject::new("e.a").unwrap(), b"x").unwrap();
        let other_tenant = content_id(&Subject::new("e.b").unwrap(), b"x").unwrap();
        assert_ne!(one, other_tenant);
    }
}
