//! Reads the members of an event's JSON object, and checks each by the rules of CloudEvents 1.0.2.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::event::{CloudEvent, EventError, Name, is_string, string_of};
use super::rules::{self, EventRule, Validation};

/// Reads an event.
///
/// # Errors
/// [`EventError`] for the first rule that is broken and enforced, and for anything that is not JSON.
pub(super) fn read(bytes: &[u8], validation: Validation) -> Result<CloudEvent<'_>, EventError> {
    let mut reader = Reader::new(bytes, validation);
    let mut broken = None;
    let members = Members {
        reader: &mut reader,
        broken: &mut broken,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = deserializer.deserialize_map(members);
    if let Some(error) = broken {
        return Err(error);
    }
    read?;
    deserializer.end()?;
    reader.finish()
}

/// Hands each member to the reader.
struct Members<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// The error that ended reading: an error of serde keeps only a text.
    broken: &'r mut Option<EventError>,
}

impl<'de> Visitor<'de> for Members<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent as a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let value: &'de RawValue = map.next_value()?;
            if let Err(error) = self.reader.take(name, value) {
                *self.broken = Some(error);
                return Err(de::Error::custom(""));
            }
        }
        Ok(())
    }
}

/// Collects and checks the members of an event.
struct Reader<'a> {
    json: &'a [u8],
    validation: Validation,
    /// Also of members that are `null`: they are repeated, too, if there is another one.
    names: HashSet<Cow<'a, str>>,
    specversion: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    event_type: Option<Cow<'a, str>>,
    attributes: Vec<(Cow<'a, str>, &'a RawValue)>,
    data: Option<&'a RawValue>,
    data_base64: Option<&'a RawValue>,
    deviation: Option<Box<EventError>>,
}

impl<'a> Reader<'a> {
    fn new(json: &'a [u8], validation: Validation) -> Self {
        Self {
            json,
            validation,
            names: HashSet::with_capacity(16),
            specversion: None,
            id: None,
            source: None,
            event_type: None,
            attributes: Vec::with_capacity(8),
            data: None,
            data_base64: None,
            deviation: None,
        }
    }

    fn take(&mut self, name: Cow<'a, str>, value: &'a RawValue) -> Result<(), EventError> {
        if !self.names.insert(name.clone()) {
            self.found(EventRule::RepeatedAttribute, &name, value)?;
        }
        let is_null = value.get() == "null";
        match &*name {
            "data" => self.data = Some(value),
            "data_base64" if is_null => {}
            "data_base64" => {
                if !string_of(value).is_some_and(|text| rules::is_base64(&text)) {
                    self.found(EventRule::DataBase64, &name, value)?;
                }
                self.data_base64 = Some(value);
            }
            "specversion" | "id" | "source" | "type" if is_null => {}
            "specversion" => {
                self.specversion = Some(self.required(&name, value, rules::check_specversion)?);
            }
            "id" => self.id = Some(self.required(&name, value, rules::check_required)?),
            "source" => self.source = Some(self.required(&name, value, rules::check_source)?),
            "type" => self.event_type = Some(self.required(&name, value, rules::check_required)?),
            _ => {
                let checked = rules::check_name(&name);
                self.checked(checked, &name, value)?;
                if !is_null {
                    self.checked(check_value(&name, value), &name, value)?;
                    self.attributes.push((name, value));
                }
            }
        }
        Ok(())
    }

    fn required(
        &mut self,
        name: &str,
        value: &'a RawValue,
        check: rules::Check,
    ) -> Result<Cow<'a, str>, EventError> {
        let unreadable = if is_string(value) {
            EventRule::RequiredSurrogate
        } else {
            EventRule::RequiredType
        };
        let Some(text) = string_of(value) else {
            return Err(self.error(unreadable, name, value));
        };
        self.checked(check(&text), name, value)?;
        Ok(text)
    }

    fn checked(
        &mut self,
        result: Result<(), EventRule>,
        name: &str,
        value: &RawValue,
    ) -> Result<(), EventError> {
        match result {
            Ok(()) => Ok(()),
            Err(rule) => self.found(rule, name, value),
        }
    }

    /// Notes the first rule that is broken and not enforced.
    fn found(&mut self, rule: EventRule, name: &str, value: &RawValue) -> Result<(), EventError> {
        if rule.is_always_enforced() || self.validation == Validation::Full {
            return Err(self.error(rule, name, value));
        }
        if self.deviation.is_none() {
            self.deviation = Some(Box::new(self.error(rule, name, value)));
        }
        Ok(())
    }

    fn error(&self, rule: EventRule, name: &str, value: &RawValue) -> EventError {
        // The value is a part of the JSON.
        let at = (value.get().as_ptr() as usize).saturating_sub(self.json.as_ptr() as usize);
        let shown = match rule {
            EventRule::MissingAttribute
            | EventRule::RepeatedAttribute
            | EventRule::RequiredEmpty
            | EventRule::AttributeName
            | EventRule::SubjectEmpty
            | EventRule::DataTwice => None,
            _ => Some(value.get()),
        };
        EventError::new(rule, name, shown, self.json, at)
    }

    fn finish(mut self) -> Result<CloudEvent<'a>, EventError> {
        if let (Some(_), Some(base64)) = (self.data, self.data_base64) {
            self.found(EventRule::DataTwice, "data_base64", base64)?;
        }
        // At the closing brace.
        let (json, end) = (
            self.json,
            self.json.trim_ascii_end().len().saturating_sub(1),
        );
        let present = |text: Option<Cow<'a, str>>, name| {
            text.ok_or_else(|| EventError::new(EventRule::MissingAttribute, name, None, json, end))
        };
        Ok(CloudEvent {
            specversion: present(self.specversion, "specversion")?,
            id: present(self.id, "id")?,
            source: present(self.source, "source")?,
            event_type: present(self.event_type, "type")?,
            attributes: self.attributes,
            data: self.data,
            data_base64: self.data_base64,
            deviation: self.deviation,
        })
    }
}

/// Checks the value of an attribute that is not required.
fn check_value(name: &str, value: &RawValue) -> Result<(), EventRule> {
    let json = value.get();
    match json.as_bytes().first() {
        Some(b'"') => match string_of(value) {
            Some(text) => rules::check_text(name, &text),
            None => Err(EventRule::Surrogate),
        },
        Some(b'{' | b'[') => Err(EventRule::AttributeType),
        Some(b't' | b'f') => rules::check_other_type(name),
        _ => rules::check_other_type(name).and_then(|()| rules::check_number(json)),
    }
}
