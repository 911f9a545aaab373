//! What the envelope of a structured event needs of its JSON, in one pass over the bytes.
//!
//! This reader is quick and may give up: whatever it does not take is read again by
//! [`CloudEvent::from_json`](crate::message::event::CloudEvent::from_json), which decides, and says what is wrong
//! and where. What it does take, that one takes too, and finds the same in it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::event::{Name, check_attribute_name};

/// More attributes than an event has, as a rule.
const MOST_ATTRIBUTES: usize = 16;

/// The attributes that choose subject, message id and headers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Routing<'a> {
    pub(crate) id: Cow<'a, str>,
    pub(crate) source: Cow<'a, str>,
    pub(crate) event_type: Cow<'a, str>,
    pub(crate) traceparent: Option<Cow<'a, str>>,
    pub(crate) tenant: Option<Cow<'a, str>>,
}

impl<'a> Routing<'a> {
    /// `None` where the thorough reader must decide.
    pub(crate) fn read(json: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(json).ok()?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let routing = deserializer.deserialize_map(Event).ok()?;
        deserializer.end().ok()?;
        Some(routing)
    }
}

struct Event;

impl<'de> Visitor<'de> for Event {
    type Value = Routing<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut id, mut source, mut event_type, mut specversion) = (None, None, None, None);
        let (mut data, mut has_base64, mut traceparent) = (None, false, None);
        let mut others = [""; MOST_ATTRIBUTES];
        let mut known = 0;
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let slot = match &*name {
                "id" => &mut id,
                "source" => &mut source,
                "type" => &mut event_type,
                "specversion" => &mut specversion,
                "data" => {
                    if data.replace(map.next_value::<Value<'de>>()?).is_some() {
                        return Err(give_up());
                    }
                    continue;
                }
                "data_base64" => {
                    match map.next_value::<Value<'de>>()? {
                        Value::Null => {}
                        Value::Text(_) if !has_base64 => has_base64 = true,
                        _ => return Err(give_up()),
                    }
                    continue;
                }
                _ => {
                    let Cow::Borrowed(name) = name else {
                        return Err(give_up());
                    };
                    check_attribute_name(name)?;
                    let repeated = others[..known].contains(&name);
                    let place = others.get_mut(known).filter(|_| !repeated);
                    *place.ok_or_else(give_up)? = name;
                    known += 1;
                    match map.next_value::<Value<'de>>()? {
                        Value::Text(text) if name == "traceparent" => traceparent = Some(text),
                        Value::Text(_) | Value::Null | Value::Scalar => {}
                        Value::List | Value::Object { .. } => return Err(give_up()),
                    }
                    continue;
                }
            };
            match map.next_value::<Value<'de>>()? {
                Value::Text(text) if slot.is_none() && !text.is_empty() => *slot = Some(text),
                _ => return Err(give_up()),
            }
        }
        if specversion.as_deref() != Some("1.0") || (data.is_some() && has_base64) {
            return Err(give_up());
        }
        Ok(Routing {
            id: id.ok_or_else(give_up)?,
            source: source.ok_or_else(give_up)?,
            event_type: event_type.ok_or_else(give_up)?,
            traceparent,
            tenant: data.and_then(Value::tenant),
        })
    }
}

fn give_up<E: de::Error>() -> E {
    E::custom("")
}

/// As much of a JSON value as matters here.
enum Value<'a> {
    Null,
    Text(Cow<'a, str>),
    /// A number or a boolean.
    Scalar,
    List,
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
            Self::Null | Self::Text(_) | Self::Scalar | Self::List => None,
        }
    }

    fn own_tenant(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Object { tenant, .. } => tenant,
            Self::Null | Self::Text(_) | Self::Scalar | Self::List => None,
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

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Value::Scalar)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Value::Scalar)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Value::Scalar)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Value::Scalar)
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut tenant, mut of_correlation) = (None, None);
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            // Of repeated ones the last counts.
            match &*name {
                "tenantId" => {
                    tenant = match map.next_value::<Value<'de>>()? {
                        Value::Text(text) => Some(text),
                        Value::Null | Value::Scalar | Value::List | Value::Object { .. } => None,
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::event::CloudEvent;

    fn assert_as_the_thorough_reader(json: &[u8]) {
        let Some(routing) = Routing::read(json) else {
            return;
        };
        let event = CloudEvent::from_json(json).unwrap();
        assert_eq!(routing.id, event.id());
        assert_eq!(routing.source, event.source());
        assert_eq!(routing.event_type, event.event_type());
        assert_eq!(routing.traceparent, event.traceparent());
        assert_eq!(routing.tenant.as_deref(), event.tenant().as_deref());
    }

    fn json_text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null"),
            Just("true"),
            Just("-0.5e3"),
            Just("1e999"),
            Just("18446744073709551616"),
            Just("\"\""),
            Just("\"x\""),
            Just("\"a\\u00e9\\n\""),
            Just("\"\\ud800\""),
            Just("nope"),
        ]
        .prop_map(str::to_owned);
        leaf.prop_recursive(3, 12, 4, |inner| {
            let name = prop_oneof![
                Just("tenantId"),
                Just("correlation"),
                Just("x"),
                Just("tenant\\u0049d"),
            ];
            let members = proptest::collection::vec((name, inner.clone()), 0..4);
            let object = members.prop_map(|members| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(n, v)| format!("\"{n}\":{v}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            });
            let list = proptest::collection::vec(inner, 0..3);
            prop_oneof![
                object,
                list.prop_map(|items| format!("[{}]", items.join(",")))
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_taken_is_what_the_thorough_reader_takes(
            members in proptest::collection::vec((
                prop_oneof![
                    4 => Just("data"), 1 => Just("data_base64"), 2 => Just("traceparent"),
                    1 => Just("id"), 1 => Just("Bad"), 2 => Just("time"), 1 => Just("ty\\u0070e"),
                ],
                json_text(),
            ), 0..4),
            start in prop_oneof![
                9 => Just(r#"{"specversion":"1.0","id":"1","source":"s","type":"t""#),
                1 => Just(r#"{"specversion":"1.1","id":"1","source":"s","type":"t""#),
                1 => Just(r#"{"specversion":"1.0","id":"","source":"s","type":"t""#),
            ],
            end in prop_oneof![9 => Just("}"), 1 => Just("} x"), 1 => Just("")],
            flipped in proptest::option::weighted(0.3, (0..400_usize, any::<u8>())),
        ) {
            let members: String =
                members.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
            let mut json = format!("{start}{members}{end}").into_bytes();
            if let Some((place, byte)) = flipped
                && let Some(at) = json.get_mut(place)
            {
                *at = byte;
            }
            assert_as_the_thorough_reader(&json);
        }
    }

    #[test]
    fn usual_events_are_taken() {
        let lines = include_str!("../../../../samples/cellos-events.jsonl");
        for line in lines.lines() {
            assert!(Routing::read(line.as_bytes()).is_some(), "{line}");
            assert_as_the_thorough_reader(line.as_bytes());
        }
    }
}
