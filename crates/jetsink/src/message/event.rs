//! A CloudEvent as JSON, read without copying: the required attributes checked, the bytes kept.
//!
//! Source: CloudEvents 1.0.2, sections 3 (attributes) and JSON event format 1.0.2, section 3.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Why bytes are not a CloudEvent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (line {line}, column {column})")]
pub struct EventError {
    /// What is wrong, without the place.
    pub message: String,
    /// The line within the event's bytes, from 1.
    pub line: usize,
    /// The column within that line, from 1, in bytes.
    pub column: usize,
}

impl From<serde_json::Error> for EventError {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        Self {
            message: text.strip_suffix(&place).unwrap_or(&text).to_owned(),
            line: error.line().max(1),
            column: error.column().max(1),
        }
    }
}

/// A CloudEvents 1.0 event in the JSON format, borrowed from its bytes.
///
/// ```
/// use jetsink::event::CloudEvent;
///
/// let bytes = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"tenantId":"acme"}}"#;
/// let event = CloudEvent::from_json(bytes)?;
/// assert_eq!((event.id(), event.source(), event.event_type()), ("1", "/s", "t"));
/// assert_eq!(event.tenant().as_deref(), Some("acme"));
///
/// let error = CloudEvent::from_json(br#"{"specversion":"1.0","id":"1","type":"t"}"#).unwrap_err();
/// assert_eq!(error.message, "missing required attribute `source`");
/// # Ok::<(), jetsink::event::EventError>(())
/// ```
#[derive(Debug, Clone)]
pub struct CloudEvent<'a> {
    id: Cow<'a, str>,
    source: Cow<'a, str>,
    event_type: Cow<'a, str>,
    /// Every attribute but the three above, in order, with its JSON value; nulls left out.
    pub(crate) attributes: Vec<(Cow<'a, str>, &'a RawValue)>,
    pub(crate) data: Option<&'a RawValue>,
    pub(crate) data_base64: Option<Cow<'a, str>>,
}

impl<'a> CloudEvent<'a> {
    /// Reads one event.
    ///
    /// `specversion` must be `1.0`; `id`, `source` and `type` non-empty strings; attribute names
    /// lower-case letters and digits; `data` and `data_base64` not both there. An attribute that is
    /// `null` counts as absent.
    ///
    /// # Errors
    /// [`EventError`] with the place, for anything else, JSON syntax included.
    pub fn from_json(bytes: &'a [u8]) -> Result<Self, EventError> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let fields = deserializer.deserialize_map(Attributes)?;
        deserializer.end()?;
        Ok(Self {
            id: fields.id,
            source: fields.source,
            event_type: fields.event_type,
            attributes: fields.others,
            data: fields.data,
            data_base64: fields.data_base64,
        })
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

    /// The distributed tracing extension's `traceparent`, where it is a string.
    #[must_use]
    pub fn traceparent(&self) -> Option<Cow<'a, str>> {
        let (_, value) = self.attributes.iter().find(|(n, _)| n == "traceparent")?;
        string_of(value)
    }

    /// The tenant: `data.tenantId` where that is a string, else `data.correlation.tenantId` where
    /// that is one, else none. Of repeated keys the last counts, as for most JSON readers.
    #[must_use]
    pub fn tenant(&self) -> Option<String> {
        let data: Object = serde_json::from_str(self.data?.get()).ok()?;
        data.tenant.or_else(|| {
            serde_json::from_str::<Object>(data.correlation?.get())
                .ok()?
                .tenant
        })
    }
}

/// The text of a JSON value that is a string.
pub(crate) fn string_of(value: &RawValue) -> Option<Cow<'_, str>> {
    // `Cow` as a whole would never borrow; the wrapper's attribute makes it do so.
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Text<'t>(#[serde(borrow)] Cow<'t, str>);
    serde_json::from_str::<Text<'_>>(value.get())
        .ok()
        .map(|t| t.0)
}

struct Attributes;

struct Fields<'a> {
    id: Cow<'a, str>,
    source: Cow<'a, str>,
    event_type: Cow<'a, str>,
    others: Vec<(Cow<'a, str>, &'a RawValue)>,
    data: Option<&'a RawValue>,
    data_base64: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl<'de> Visitor<'de> for Attributes {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent as a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut id, mut source, mut event_type, mut specversion) = (None, None, None, None);
        let (mut data, mut data_base64) = (None, None);
        let mut others: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(8);
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let value: &'de RawValue = map.next_value()?;
            let slot = match &*name {
                "id" => &mut id,
                "source" => &mut source,
                "type" => &mut event_type,
                "specversion" => &mut specversion,
                "data" => {
                    once(&mut data, value, &name)?;
                    continue;
                }
                "data_base64" => {
                    if value.get() != "null" {
                        once(&mut data_base64, text(value, &name)?, &name)?;
                    }
                    continue;
                }
                _ => {
                    check_attribute_name(&name)?;
                    if others.iter().any(|(other, _)| *other == name) {
                        return Err(repeated(&name));
                    }
                    if value.get() != "null" {
                        check_attribute_value(value, &name)?;
                        others.push((name, value));
                    }
                    continue;
                }
            };
            let text = text(value, &name)?;
            if text.is_empty() {
                return Err(de::Error::custom(format_args!(
                    "attribute `{name}` is empty"
                )));
            }
            once(slot, text, &name)?;
        }
        let missing = |name| de::Error::custom(format_args!("missing required attribute `{name}`"));
        let specversion: Cow<'_, str> = specversion.ok_or_else(|| missing("specversion"))?;
        if specversion != "1.0" {
            return Err(de::Error::custom(format_args!(
                "specversion is {specversion:?}; only \"1.0\" is known"
            )));
        }
        if data_base64.is_some() && data.is_some() {
            return Err(de::Error::custom("both `data` and `data_base64` are there"));
        }
        Ok(Fields {
            id: id.ok_or_else(|| missing("id"))?,
            source: source.ok_or_else(|| missing("source"))?,
            event_type: event_type.ok_or_else(|| missing("type"))?,
            others,
            data,
            data_base64,
        })
    }
}

fn repeated<E: de::Error>(name: &str) -> E {
    E::custom(format_args!("attribute `{name}` is there twice"))
}

fn once<T, E: de::Error>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(repeated(name)),
    }
}

fn text<'a, E: de::Error>(value: &'a RawValue, name: &str) -> Result<Cow<'a, str>, E> {
    string_of(value).ok_or_else(|| E::custom(format_args!("attribute `{name}` must be a string")))
}

/// CloudEvents 1.0.2, section 3.1: lower-case ASCII letters and digits.
pub(crate) fn check_attribute_name<E: de::Error>(name: &str) -> Result<(), E> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(E::custom(format_args!(
            "attribute name {name:?} must be lower-case letters and digits"
        )));
    }
    Ok(())
}

/// Attribute values are strings, booleans or integers, never objects or lists (section 3.2).
fn check_attribute_value<E: de::Error>(value: &RawValue, name: &str) -> Result<(), E> {
    match value.get().as_bytes().first() {
        Some(b'{' | b'[') => Err(E::custom(format_args!(
            "attribute `{name}` must be a string, a boolean or an integer"
        ))),
        _ => Ok(()),
    }
}

/// The two members of an object that can carry a tenant; everything else is skipped.
#[derive(Default)]
struct Object<'a> {
    tenant: Option<String>,
    correlation: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut object = Object::default();
                while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
                    match &*name {
                        "tenantId" => {
                            let value: &'de RawValue = map.next_value()?;
                            object.tenant = string_of(value).map(Cow::into_owned);
                        }
                        "correlation" => object.correlation = Some(map.next_value()?),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(rest: &str) -> String {
        format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t"{rest}}}"#)
    }

    fn tenant(data: &str) -> Option<String> {
        let text = event(&format!(r#","data":{data}"#));
        CloudEvent::from_json(text.as_bytes()).unwrap().tenant()
    }

    #[test]
    fn the_tenant_is_the_datas_else_the_correlations() {
        assert_eq!(tenant(r#"{"tenantId":"a"}"#).as_deref(), Some("a"));
        assert_eq!(
            tenant(r#"{"correlation":{"tenantId":"b"}}"#).as_deref(),
            Some("b")
        );
        let both = r#"{"correlation":{"tenantId":"b"},"tenantId":"a"}"#;
        assert_eq!(tenant(both).as_deref(), Some("a"));
        let not_a_string = r#"{"tenantId":7,"correlation":{"tenantId":"b"}}"#;
        assert_eq!(tenant(not_a_string).as_deref(), Some("b"));
        assert_eq!(
            tenant(r#"{"tenantId":"x","tenantId":"y"}"#).as_deref(),
            Some("y")
        );
        for none in [
            "null",
            "[]",
            "\"text\"",
            "{}",
            r#"{"tenantId":null}"#,
            r#"{"correlation":"x"}"#,
        ] {
            assert_eq!(tenant(none), None, "{none}");
        }
        assert_eq!(
            tenant(r#"{"tenantId":"a\u0000b"}"#).as_deref(),
            Some("a\0b")
        );
    }

    #[test]
    fn what_is_not_a_cloud_event_is_named_with_its_place() {
        let cases = [
            ("", "EOF while parsing a value"),
            (
                "[]",
                "invalid type: sequence, expected a CloudEvent as a JSON object",
            ),
            (r#"{"id":"1"}"#, "missing required attribute `specversion`"),
            (
                r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#,
                "specversion is \"0.3\"; only \"1.0\" is known",
            ),
            (
                r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#,
                "attribute `id` is empty",
            ),
            (
                r#"{"specversion":"1.0","id":5,"source":"s","type":"t"}"#,
                "attribute `id` must be a string",
            ),
            (
                r#"{"specversion":"1.0","id":"1","id":"2","source":"s","type":"t"}"#,
                "attribute `id` is there twice",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"t","Bad-Name":1}"#,
                "attribute name \"Bad-Name\" must be lower-case letters and digits",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"t","ext":{}}"#,
                "attribute `ext` must be a string, a boolean or an integer",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data_base64":"AA=="}"#,
                "both `data` and `data_base64` are there",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"t"} x"#,
                "trailing characters",
            ),
        ];
        for (text, message) in cases {
            let error = CloudEvent::from_json(text.as_bytes()).unwrap_err();
            assert_eq!(error.message, message, "{text}");
            assert_eq!(error.line, 1);
        }
        let error =
            CloudEvent::from_json(b"{\"specversion\":\"1.0\",\n  \"id\": nope}").unwrap_err();
        assert_eq!((error.line, error.column), (2, 10), "{error}");
    }

    #[test]
    fn nulls_are_absent_and_escapes_are_read() {
        let text = event(r#","time":null,"traceparent":null,"subject":"a\"b""#);
        let event = CloudEvent::from_json(text.as_bytes()).unwrap();
        assert_eq!(event.traceparent(), None);
        assert_eq!(event.attributes.len(), 1);
        assert_eq!(string_of(event.attributes[0].1).as_deref(), Some("a\"b"));
    }
}
