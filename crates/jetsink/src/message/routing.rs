//! Reads the parts of a structured event's JSON that its envelope needs, in one pass over the bytes.
//!
//! This reader is quick and may give up: an event that it does not accept is read again by
//! [`CloudEvent::from_json_with`](crate::message::event::CloudEvent::from_json_with), which decides, and reports the
//! error and its place. That one accepts every event that this one does, and finds the same in it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::event::Name;
use super::rules;

/// More attributes than an event has, as a rule.
const MAX_ATTRIBUTES: usize = 16;

/// The attributes that choose subject, message id and headers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Routing<'a> {
    pub(crate) specversion: Cow<'a, str>,
    pub(crate) id: Cow<'a, str>,
    pub(crate) source: Cow<'a, str>,
    pub(crate) event_type: Cow<'a, str>,
    pub(crate) traceparent: Option<Cow<'a, str>>,
    pub(crate) tracestate: Option<Cow<'a, str>>,
    pub(crate) tenant: Option<Cow<'a, str>>,
    /// Whether the data cannot be searched for a tenant: Base64, or text that is not JSON.
    pub(crate) is_opaque: bool,
    /// The texts of the other attributes that were asked for, in the order in which they were.
    pub(crate) others: Vec<Option<Cow<'a, str>>>,
}

impl<'a> Routing<'a> {
    /// Reads a valid event, and the texts of the attributes `others`. `None` if the thorough reader must decide.
    pub(crate) fn read(json: &'a [u8], others: &[String]) -> Option<Self> {
        let text = std::str::from_utf8(json).ok()?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let routing = deserializer.deserialize_map(Event { others }).ok()?;
        deserializer.end().ok()?;
        Some(routing)
    }
}

struct Event<'o> {
    others: &'o [String],
}

impl<'de> Visitor<'de> for Event<'_> {
    type Value = Routing<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut id, mut source, mut event_type, mut specversion) = (None, None, None, None);
        let (mut data, mut has_base64) = (None, false);
        let (mut traceparent, mut tracestate) = (None, None);
        let mut is_json = true;
        let mut others = vec![None; self.others.len()];
        let mut names = [""; MAX_ATTRIBUTES];
        let mut known = 0;
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let (slot, check): (_, rules::Check) = match &*name {
                "id" => (&mut id, rules::check_required),
                "source" => (&mut source, rules::check_source),
                "type" => (&mut event_type, rules::check_required),
                "specversion" => (&mut specversion, rules::check_specversion),
                "data" => {
                    if data.replace(map.next_value::<Value<'de>>()?).is_some() {
                        return Err(give_up());
                    }
                    continue;
                }
                "data_base64" => {
                    match map.next_value::<Value<'de>>()? {
                        Value::Text(text) if !has_base64 && rules::is_base64(&text) => {
                            has_base64 = true;
                        }
                        _ => return Err(give_up()),
                    }
                    continue;
                }
                _ => {
                    let Cow::Borrowed(name) = name else {
                        return Err(give_up());
                    };
                    rules::check_name(name).map_err(broken)?;
                    let repeated = names[..known].contains(&name);
                    let place = names.get_mut(known).filter(|_| !repeated);
                    *place.ok_or_else(give_up)? = name;
                    known += 1;
                    let text = match map.next_value::<Value<'de>>()? {
                        Value::Null => continue,
                        Value::Text(text) => {
                            rules::check_text(name, &text).map_err(broken)?;
                            match name {
                                "traceparent" => traceparent = Some(text.clone()),
                                "tracestate" => tracestate = Some(text.clone()),
                                "datacontenttype" => is_json = super::content::is_json(Some(&text)),
                                _ => {}
                            }
                            text
                        }
                        Value::Scalar(scalar) => {
                            rules::check_other_type(name).map_err(broken)?;
                            scalar
                        }
                        Value::Other | Value::Object { .. } => return Err(give_up()),
                    };
                    if let Some(place) = self.others.iter().position(|other| other == name) {
                        others[place] = Some(text);
                    }
                    continue;
                }
            };
            match map.next_value::<Value<'de>>()? {
                Value::Text(text) if slot.is_none() => {
                    check(&text).map_err(broken)?;
                    *slot = Some(text);
                }
                _ => return Err(give_up()),
            }
        }
        if data.is_some() && has_base64 {
            return Err(give_up());
        }
        Ok(Routing {
            specversion: specversion.ok_or_else(give_up)?,
            id: id.ok_or_else(give_up)?,
            source: source.ok_or_else(give_up)?,
            event_type: event_type.ok_or_else(give_up)?,
            traceparent,
            tracestate,
            is_opaque: has_base64 || (!is_json && matches!(data, Some(Value::Text(_)))),
            tenant: data.and_then(Value::tenant),
            others,
        })
    }
}

fn give_up<E: de::Error>() -> E {
    E::custom("")
}

fn broken<E: de::Error>(_: rules::EventRule) -> E {
    give_up()
}

/// As much of a JSON value as matters here.
enum Value<'a> {
    Null,
    Text(Cow<'a, str>),
    /// A boolean, or an integer that an attribute can have, in its canonical string form.
    Scalar(Cow<'a, str>),
    /// A list, or a number that no attribute has.
    Other,
    Object {
        tenant: Option<Cow<'a, str>>,
        /// The tenant of its member `correlation`.
        of_correlation: Option<Cow<'a, str>>,
    },
}

impl<'a> Value<'a> {
    fn tenant(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Object {
                tenant,
                of_correlation,
            } => tenant.or(of_correlation),
            Self::Null | Self::Text(_) | Self::Scalar(_) | Self::Other => None,
        }
    }

    fn own_tenant(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Object { tenant, .. } => tenant,
            Self::Null | Self::Text(_) | Self::Scalar(_) | Self::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        let text = if value { "true" } else { "false" };
        Ok(Value::Scalar(Cow::Borrowed(text)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(match i32::try_from(value) {
            Ok(value) => Value::Scalar(Cow::Owned(value.to_string())),
            Err(_) => Value::Other,
        })
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(match i32::try_from(value) {
            Ok(value) => Value::Scalar(Cow::Owned(value.to_string())),
            Err(_) => Value::Other,
        })
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut tenant, mut of_correlation) = (None, None);
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            // The last of repeated keys counts.
            match &*name {
                "tenantId" => {
                    tenant = match map.next_value::<Value<'de>>()? {
                        Value::Text(text) => Some(text),
                        _ => None,
                    }
                }
                "correlation" => of_correlation = map.next_value::<Value<'de>>()?.own_tenant(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object {
            tenant,
            of_correlation,
        })
    }
}

#[cfg(test)]
#[path = "../tests/message/routing.rs"]
mod tests;
