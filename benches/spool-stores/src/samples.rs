//! The records: events of a real supervisor's runs, over and over.

use std::sync::LazyLock;

use crate::store::{Result, Store};

static LINES: LazyLock<Vec<&'static [u8]>> = LazyLock::new(|| {
    include_bytes!("../../../samples/cellos-events.jsonl")
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect()
});

/// The record that belongs under this key.
pub(crate) fn record(key: u64) -> &'static [u8] {
    LINES[(key % LINES.len() as u64) as usize]
}

pub(crate) fn group(first: u64, count: u64) -> Vec<&'static [u8]> {
    (first..first + count).map(record).collect()
}

pub(crate) fn mean_bytes() -> u64 {
    LINES.iter().map(|line| line.len() as u64).sum::<u64>() / LINES.len() as u64
}

/// Appends the records `0..count` in groups of 256.
pub(crate) fn fill(store: &mut dyn Store, count: u64) -> Result<()> {
    for first in (0..count).step_by(256) {
        store.append(first, &group(first, (count - first).min(256)))?;
    }
    Ok(())
}
