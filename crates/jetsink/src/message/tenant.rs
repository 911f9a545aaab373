//! The tenant in an event's data.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::event::{UnreadableText, is_string, text_of};

/// Returns the tenant as [`CloudEvent::tenant`](super::event::CloudEvent::tenant) describes it.
pub(super) fn tenant_of(data: Option<&RawValue>) -> Result<Option<String>, UnreadableText> {
    let Some(data) = Object::read(data, "data")? else {
        return Ok(None);
    };
    if let Some(tenant) = data.tenant {
        return readable(tenant, "data.tenantId").map(Some);
    }
    let Some(correlation) = Object::read(data.correlation, "data.correlation")? else {
        return Ok(None);
    };
    let tenant = correlation.tenant;
    tenant
        .map(|tenant| readable(tenant, "data.correlation.tenantId"))
        .transpose()
}

fn readable(value: &RawValue, member: &str) -> Result<String, UnreadableText> {
    text_of(member, value).map(Cow::into_owned)
}

/// The two members of an object that can carry a tenant; everything else is skipped.
#[derive(Default)]
struct Object<'a> {
    /// Only if it is a string.
    tenant: Option<&'a RawValue>,
    correlation: Option<&'a RawValue>,
}

impl<'a> Object<'a> {
    /// `None` if the value is not an object.
    fn read(value: Option<&'a RawValue>, member: &str) -> Result<Option<Self>, UnreadableText> {
        let Some(value) = value.filter(|value| value.get().starts_with('{')) else {
            return Ok(None);
        };
        serde_json::from_str(value.get())
            .map(Some)
            .map_err(|_| UnreadableText::of(member))
    }
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
                while let Some(key) = map.next_key::<Key>()? {
                    let value: &'de RawValue = map.next_value()?;
                    match key {
                        Key::Tenant => object.tenant = is_string(value).then_some(value),
                        Key::Correlation => object.correlation = Some(value),
                        Key::Other => {}
                    }
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A key of an object that can carry a tenant. Read as bytes, so that a key with an unpaired surrogate is one of
/// the others.
enum Key {
    Tenant,
    Correlation,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_bytes<E: de::Error>(self, key: &[u8]) -> Result<Key, E> {
                Ok(match key {
                    b"tenantId" => Key::Tenant,
                    b"correlation" => Key::Correlation,
                    _ => Key::Other,
                })
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
