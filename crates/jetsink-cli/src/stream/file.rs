//! Reads stream specifications from a TOML file.

use std::path::Path;
use std::time::Duration;

use jetsink::StreamSpec;
use serde::{Deserialize, Deserializer};

use super::arguments::{Limits, StorageKind};
use crate::failure::Failure;
use crate::units::{parse_bytes, parse_duration};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    stream: Vec<Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    name: String,
    subjects: Vec<String>,
    #[serde(default, deserialize_with = "duration")]
    retention_floor: Option<Duration>,
    #[serde(default)]
    storage: Option<TableStorage>,
    replicas: Option<u8>,
    #[serde(default, deserialize_with = "duration")]
    duplicate_window: Option<Duration>,
    #[serde(default, deserialize_with = "bytes")]
    max_bytes: Option<u64>,
    #[serde(default)]
    deny_delete: bool,
    #[serde(default)]
    deny_purge: bool,
    #[serde(default)]
    allow_ttl: bool,
    compression: Option<bool>,
    placement_cluster: Option<String>,
    #[serde(default)]
    placement_tags: Vec<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TableStorage {
    File,
    Memory,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text)
        .map(Some)
        .map_err(serde::de::Error::custom)
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_bytes(&text)
        .map(Some)
        .map_err(serde::de::Error::custom)
}

/// Reads the streams of a file, in its order.
pub(super) fn read(path: &Path) -> Result<Vec<StreamSpec>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|source| Failure::File {
        path: path.to_owned(),
        source,
    })?;
    let wrong = |line: Option<usize>, reason: String| Failure::Toml {
        place: match line {
            Some(line) => format!("{}:{line}", path.display()),
            None => path.display().to_string(),
        },
        reason,
    };
    let file: File = toml::from_str(&text).map_err(|error| {
        let line = error.span().and_then(|span| text.get(..span.start));
        let line = line.map(|before| before.matches('\n').count() + 1);
        wrong(line, error.message().replace('\n', "; "))
    })?;
    if file.stream.is_empty() {
        return Err(wrong(None, "there is no [[stream]] in it".to_owned()));
    }
    let specs = file.stream.into_iter().map(Table::spec);
    specs
        .collect::<Result<_, _>>()
        .map_err(|error: Failure| wrong(None, error.to_string()))
}

impl Table {
    fn spec(self) -> Result<StreamSpec, Failure> {
        let limits = Limits {
            retention_floor: self.retention_floor,
            storage: self.storage.map(|storage| match storage {
                TableStorage::File => StorageKind::File,
                TableStorage::Memory => StorageKind::Memory,
            }),
            replicas: self.replicas,
            duplicate_window: self.duplicate_window,
            max_bytes: self.max_bytes,
            deny_delete: self.deny_delete,
            deny_purge: self.deny_purge,
            allow_ttl: self.allow_ttl,
            compression: self.compression,
            placement_cluster: self.placement_cluster,
            placement_tags: self.placement_tags,
        };
        limits.put_on(StreamSpec::new(self.name, self.subjects)?)
    }
}
