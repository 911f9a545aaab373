//! The tables of the spool's file, and what a transaction does to them.

use std::collections::HashMap;

use bytes::Bytes;
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction,
};

use super::dead::DeadLetter;
use super::record::{Damage, Record};
use crate::message::subject::Subject;

/// The layout of the tables below.
pub(super) const FORMAT: u64 = 1;

pub(super) type EventKey = (&'static [u8], u64);
/// Subject and index to record: one subject's events stand together, in their order.
pub(super) const EVENTS: TableDefinition<'_, EventKey, &[u8]> = TableDefinition::new("events");
pub(super) const DEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("dead letters");
/// Stream to a sequence number below which nothing that is spooled here is stored.
const BASELINES: TableDefinition<'_, &[u8], u64> = TableDefinition::new("baselines");
const META: TableDefinition<'_, &[u8], u64> = TableDefinition::new("meta");
const META_FORMAT: &[u8] = b"format";
const META_NEXT_INDEX: &[u8] = b"next index";
const META_REPLAY_BEGAN: &[u8] = b"replay began";

/// Changes that are made together or not at all.
#[derive(Debug, Default, Clone)]
pub(crate) struct Batch {
    /// Subject, index and encoded record.
    pub(crate) append: Vec<(Subject, u64, Vec<u8>)>,
    /// Delivered.
    pub(crate) remove: Vec<(Subject, u64)>,
    /// Refused for good.
    pub(crate) bury: Vec<DeadLetter>,
    /// Dead letters that someone has dealt with.
    pub(crate) unbury: Vec<u64>,
    /// All of them, in place of those that were there.
    pub(crate) baselines: Option<Vec<(String, u64)>>,
    /// Bytes that are free once this is done.
    pub(crate) freed_bytes: u64,
    /// Whether replay may have sent something of what is here.
    pub(crate) replay_began: Option<bool>,
}

impl Batch {
    /// Adds the changes of `later`, which come after these.
    pub(crate) fn merge(&mut self, later: Self) {
        self.append.extend(later.append);
        self.remove.extend(later.remove);
        self.bury.extend(later.bury);
        self.unbury.extend(later.unbury);
        self.freed_bytes += later.freed_bytes;
        self.baselines = later.baselines.or(self.baselines.take());
        self.replay_began = later.replay_began.or(self.replay_began);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.append.is_empty()
            && self.remove.is_empty()
            && self.bury.is_empty()
            && self.unbury.is_empty()
            && self.baselines.is_none()
            && self.replay_began.is_none()
    }
}

/// What a file held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) lanes: HashMap<Subject, Lane>,
    pub(crate) dead: Lane,
    pub(crate) next_index: u64,
    pub(crate) replay_began: bool,
    pub(crate) baselines: HashMap<String, u64>,
}

/// How much there is of one kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

impl Lane {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.events += 1;
        self.bytes += bytes;
    }
}

pub(super) fn apply(transaction: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    let mut events = transaction.open_table(EVENTS)?;
    let mut meta = transaction.open_table(META)?;
    for (subject, index, record) in &batch.append {
        events.insert((subject.as_str().as_bytes(), *index), record.as_slice())?;
    }
    if let Some(highest) = batch.append.iter().map(|(_, index, _)| index + 1).max() {
        let next = meta.get(META_NEXT_INDEX)?.map_or(0, |next| next.value());
        meta.insert(META_NEXT_INDEX, next.max(highest))?;
    }
    for (subject, mut indexes) in by_subject(&batch.remove) {
        // Together, since a page is then rewritten once, not once for each event on it.
        indexes.sort_unstable();
        let (Some(first), Some(last)) = (indexes.first(), indexes.last()) else {
            continue;
        };
        let (first, last) = ((subject, *first), (subject, *last));
        events.retain_in(first..=last, |(_, index), _| {
            indexes.binary_search(&index).is_err()
        })?;
    }
    if !batch.bury.is_empty() || !batch.unbury.is_empty() {
        let mut dead = transaction.open_table(DEAD)?;
        for letter in &batch.bury {
            let record = &letter.record;
            let subject = record.envelope.subject().as_str().as_bytes();
            events.remove((subject, record.index))?;
            dead.insert(record.index, letter.encode().as_slice())?;
        }
        for index in &batch.unbury {
            dead.remove(index)?;
        }
    }
    if let Some(current) = &batch.baselines {
        let mut baselines = transaction.open_table(BASELINES)?;
        baselines.retain(|_, _| false)?;
        for (stream, sequence) in current {
            baselines.insert(stream.as_bytes(), sequence)?;
        }
    }
    if let Some(began) = batch.replay_began {
        meta.insert(META_REPLAY_BEGAN, u64::from(began))?;
    }
    Ok(())
}

fn by_subject(places: &[(Subject, u64)]) -> HashMap<&[u8], Vec<u64>> {
    let mut lanes: HashMap<&[u8], Vec<u64>> = HashMap::new();
    for (subject, index) in places {
        let subject = subject.as_str().as_bytes();
        lanes.entry(subject).or_default().push(*index);
    }
    lanes
}

/// The file's format.
pub(super) fn set_up(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let format = {
        let mut meta = transaction.open_table(META)?;
        let found = meta.get(META_FORMAT)?.map(|format| format.value());
        match found {
            Some(format) if format != FORMAT => return Ok(format),
            Some(format) => format,
            None => {
                meta.insert(META_FORMAT, FORMAT)?;
                FORMAT
            }
        }
    };
    transaction.open_table(EVENTS)?;
    transaction.open_table(DEAD)?;
    transaction.open_table(BASELINES)?;
    transaction.commit()?;
    Ok(format)
}

/// Changes nothing, and syncs what was there before.
pub(super) fn sync(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert(META_FORMAT, FORMAT)?;
    transaction.commit()?;
    Ok(())
}

pub(super) fn count(database: &Database) -> Result<Contents, redb::Error> {
    let transaction = database.begin_read()?;
    let mut contents = Contents::default();
    let mut highest = None;
    let mut lane: Option<(Subject, Lane)> = None;
    for entry in transaction.open_table(EVENTS)?.iter()? {
        let (key, value) = entry?;
        let (subject, index) = key.value();
        let bytes = value.value().len() as u64;
        match &mut lane {
            Some((current, lane)) if current.as_str().as_bytes() == subject => lane.add(bytes),
            _ => {
                let subject = std::str::from_utf8(subject)
                    .ok()
                    .and_then(|text| Subject::new(text).ok())
                    .ok_or_else(|| redb::Error::Corrupted("a key holds no subject".to_owned()))?;
                let mut next = Lane::default();
                next.add(bytes);
                contents.lanes.extend(lane.replace((subject, next)));
            }
        }
        highest = highest.max(Some(index));
    }
    contents.lanes.extend(lane);
    let dead = transaction.open_table(DEAD)?;
    for entry in dead.iter()? {
        let (index, value) = entry?;
        contents.dead.add(value.value().len() as u64);
        highest = highest.max(Some(index.value()));
    }
    for entry in transaction.open_table(BASELINES)?.iter()? {
        let (stream, sequence) = entry?;
        let stream = String::from_utf8_lossy(stream.value()).into_owned();
        contents.baselines.insert(stream, sequence.value());
    }
    let meta = transaction.open_table(META)?;
    let next_index = meta.get(META_NEXT_INDEX)?.map_or(0, |next| next.value());
    contents.next_index = next_index.max(highest.map_or(0, |index| index + 1));
    contents.replay_began = meta.get(META_REPLAY_BEGAN)?.is_some_and(|b| b.value() != 0);
    Ok(contents)
}

pub(super) fn decode(subject: &[u8], index: u64, bytes: &[u8]) -> Result<Record, Damage> {
    under_its_key(subject, index, Record::decode(bytes)?)
}

/// As [`decode`]; the record shares its payload with `buffer`, which `bytes` are a part of.
pub(super) fn decode_shared(
    subject: &Subject,
    index: u64,
    bytes: &[u8],
    buffer: &Bytes,
) -> Result<Record, Damage> {
    let record = Record::decode_shared(bytes, buffer, subject)?;
    under_its_key(subject.as_str().as_bytes(), index, record)
}

/// A record whose own words differ from its key is somebody else's.
fn under_its_key(subject: &[u8], index: u64, record: Record) -> Result<Record, Damage> {
    let same = record.index == index && record.envelope.subject().as_str().as_bytes() == subject;
    if same {
        Ok(record)
    } else {
        Err(Damage::Fields)
    }
}

#[cfg(test)]
#[path = "tests/tables.rs"]
mod tests;
