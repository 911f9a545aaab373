//! The configuration file: TOML whose keys are the names of the flags.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::failure::Failure;

/// The least similarity of a suggested key.
const SIMILAR: f64 = 0.75;

/// The entries of a file by key.
#[derive(Debug, Default)]
pub(super) struct File(BTreeMap<String, Entry>);

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A line and a column of the file, each from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    /// The place of a byte.
    fn of(text: &str, at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}:{}", self.line, self.column)
    }
}

#[derive(Debug)]
pub(super) enum Value {
    Switch(bool),
    /// A text or a number.
    One(String),
    Many(Vec<String>),
}

impl File {
    /// Reads a file, and checks that it has no other keys than these.
    pub(super) fn read(path: &Path, keys: &[String]) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|source| Failure::File {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, keys).map_err(|(place, reason)| Failure::Toml {
            place: format!("{}:{place}", path.display()),
            reason,
        })
    }

    /// An error has its place.
    fn parse(text: &str, keys: &[String]) -> Result<Self, (Place, String)> {
        let place = |at: usize| Place::of(text, at);
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            (place(at), error.message().replace('\n', "; "))
        })?;
        let mut entries = BTreeMap::new();
        for (key, value) in table.get_ref() {
            let name = key.get_ref().as_ref();
            if !keys.iter().any(|known| known == name) {
                let at = place(key.span().start);
                return Err((at, unknown(name, value.get_ref(), keys)));
            }
            let place = place(value.span().start);
            let value =
                read(value.get_ref()).map_err(|reason| (place, format!("{name}: {reason}")))?;
            entries.insert(name.to_owned(), Entry { place, value });
        }
        Ok(Self(entries))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.0.get(key)
    }
}

fn unknown(key: &str, value: &DeValue<'_>, keys: &[String]) -> String {
    let written = key.replace('_', "-").to_lowercase();
    match nearest(&written, keys) {
        _ if matches!(value, DeValue::Table(_)) => {
            format!("unknown table {key:?}; the keys have no tables, write them at the top")
        }
        Some(known) => format!("unknown key {key:?}; did you mean {known:?}?"),
        None => format!("unknown key {key:?}; the keys are the flags of jetsink serve --help"),
    }
}

/// The known name that `written` probably means.
pub(super) fn nearest<'a, T: AsRef<str>>(written: &str, known: &'a [T]) -> Option<&'a T> {
    let similarity = |known: &&T| strsim::jaro_winkler(known.as_ref(), written);
    let nearest = known
        .iter()
        .max_by(|one, other| similarity(one).total_cmp(&similarity(other)));
    nearest.filter(|known| similarity(known) >= SIMILAR)
}

fn read(value: &DeValue<'_>) -> Result<Value, String> {
    match value {
        DeValue::Boolean(on) => Ok(Value::Switch(*on)),
        DeValue::Array(values) => {
            let values = values.iter().map(|value| one(value.get_ref()));
            values.collect::<Result<_, _>>().map(Value::Many)
        }
        value => one(value).map(Value::One),
    }
}

fn one(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        // The number as it is written: 660 is a mode, and 0o660 is not 432.
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        _ => Err("it takes a text or a decimal number".to_owned()),
    }
}
