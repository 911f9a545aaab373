//! An event that a transport such as HTTP delivered in binary mode: attributes as text, data as bytes.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::content::{header_value, is_json, push_trace};
use super::envelope::{HeaderError, Headers};
use super::event::UnreadableText;
use super::routing::Routing;
use super::rules::{self, EventRule};
use super::tenant::tenant_of;

const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// The tenant in an event's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTenant<'a> {
    /// `data.tenantId`, else `data.correlation.tenantId`. Not checked yet.
    Named(Cow<'a, str>),
    /// The event has no data, or JSON without a tenant.
    Absent,
    /// The data cannot be searched: it is Base64, or not JSON. It may belong to any tenant.
    Unreadable,
}

impl<'a> EventTenant<'a> {
    /// The named tenant.
    #[must_use]
    pub fn named(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Named(name) => Some(name),
            Self::Absent | Self::Unreadable => None,
        }
    }
}

/// An attribute of an event in binary mode breaks a rule. `Display` is one line, with the attribute and the clause of
/// the specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct BinaryEventError {
    /// The broken rule.
    pub rule: EventRule,
    /// The attribute, the rule and its clause in the specification.
    pub message: String,
}

impl BinaryEventError {
    fn new(rule: EventRule, name: &str, value: Option<&str>) -> Self {
        let json = value.and_then(|value| serde_json::to_string(value).ok());
        Self {
            rule,
            message: rule.broken_by(name, json.as_deref()),
        }
    }
}

/// A CloudEvents 1.0 event in binary mode: its attributes in their canonical string form, and its data.
///
/// ```
/// use jetsink::{BinaryEvent, Binding, ContentMode};
///
/// let attributes = [
///     ("specversion", "1.0"),
///     ("id", "1"),
///     ("source", "/shop"),
///     ("type", "order.placed"),
///     ("datacontenttype", "application/json"),
/// ];
/// let owned = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
/// let event = BinaryEvent::new(owned, r#"{"tenantId":"acme"}"#.into())?;
///
/// let binding = Binding::new("shop.{tenantId}".parse()?).mode(ContentMode::Binary);
/// let envelope = binding.binary_envelope(&event, |tenant| tenant.named())?;
/// assert_eq!(envelope.subject().as_str(), "shop.acme");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryEvent {
    attributes: Vec<(String, String)>,
    data: Bytes,
}

impl BinaryEvent {
    /// Checks the attributes by CloudEvents 1.0.2. `datacontenttype` is one of them. `data` can be anything.
    ///
    /// # Errors
    /// [`BinaryEventError`] for the first attribute that breaks a rule.
    pub fn new(
        attributes: impl IntoIterator<Item = (String, String)>,
        data: Bytes,
    ) -> Result<Self, BinaryEventError> {
        let attributes: Vec<(String, String)> = attributes.into_iter().collect();
        for (index, (name, value)) in attributes.iter().enumerate() {
            if attributes[..index]
                .iter()
                .any(|(earlier, _)| earlier == name)
            {
                return Err(BinaryEventError::new(
                    EventRule::RepeatedAttribute,
                    name,
                    None,
                ));
            }
            check(name, value)
                .map_err(|rule| BinaryEventError::new(rule, name, shown(rule, value)))?;
        }
        for name in REQUIRED {
            if !attributes.iter().any(|(present, _)| present == name) {
                return Err(BinaryEventError::new(
                    EventRule::MissingAttribute,
                    name,
                    None,
                ));
            }
        }
        Ok(Self { attributes, data })
    }

    /// Returns an attribute's text.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        attributes.find_map(|(n, value)| (n == name).then_some(&**value))
    }

    /// Returns names and values of all attributes, in the order in which they were received.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(n, v)| (&**n, &**v))
    }

    /// Returns the data.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    fn required(&self, name: &str) -> Cow<'_, str> {
        // Checked when it was made.
        Cow::Borrowed(self.attribute(name).unwrap_or_default())
    }

    pub(crate) fn routing(&self, others: &[String]) -> Result<Routing<'_>, UnreadableText> {
        let (tenant, is_opaque) = self.tenant()?;
        let attribute = |name: &str| self.attribute(name).map(Cow::Borrowed);
        Ok(Routing {
            specversion: self.required("specversion"),
            id: self.required("id"),
            source: self.required("source"),
            event_type: self.required("type"),
            traceparent: attribute("traceparent"),
            tracestate: attribute("tracestate"),
            tenant: tenant.map(Cow::Owned),
            is_opaque,
            others: others.iter().map(|name| attribute(name)).collect(),
        })
    }

    /// The tenant, and whether the data cannot be searched for it. Data without a declared type is not assumed to be
    /// JSON (JSON format 1.0.3-wip, section 3.1).
    fn tenant(&self) -> Result<(Option<String>, bool), UnreadableText> {
        if self.data.is_empty() {
            return Ok((None, false));
        }
        let declared = self.attribute("datacontenttype");
        if declared.is_none() || !is_json(declared) {
            return Ok((None, true));
        }
        match serde_json::from_slice::<&RawValue>(&self.data) {
            Ok(data) => Ok((tenant_of(Some(data))?, false)),
            Err(_) => Ok((None, true)),
        }
    }

    /// Section 3.1.3 of the NATS binding.
    pub(crate) fn headers(&self, routing: &Routing<'_>) -> Result<Headers, HeaderError> {
        let mut headers = Headers::default();
        for (name, value) in &self.attributes {
            headers.push(format!("ce-{name}"), header_value(value))?;
        }
        let (parent, state) = (&routing.traceparent, &routing.tracestate);
        push_trace(&mut headers, parent.as_deref(), state.as_deref());
        Ok(headers)
    }
}

fn check(name: &str, value: &str) -> Result<(), EventRule> {
    match name {
        "specversion" => rules::check_specversion(value),
        "id" | "type" => rules::check_required(value),
        "source" => rules::check_source(value),
        // The member of the JSON format is no attribute.
        "data" => Err(EventRule::AttributeName),
        _ => rules::check_name(name).and_then(|()| rules::check_text(name, value)),
    }
}

fn shown(rule: EventRule, value: &str) -> Option<&str> {
    match rule {
        EventRule::RequiredEmpty | EventRule::AttributeName | EventRule::SubjectEmpty => None,
        _ => Some(value),
    }
}

#[cfg(test)]
#[path = "../tests/message/received.rs"]
mod tests;
