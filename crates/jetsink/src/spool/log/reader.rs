//! Reads events and dead letters at their places.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::disk::DiskFile;
use super::event::{decode_event, decode_letter, split};
use super::format::{Head, Kind};
use super::index::Index;
use super::opening::read_record;
use super::places::{Place, Places};
use super::writer::lock;
use crate::message::subject::Subject;
use crate::spool::record::{Damage, DeadRecord, Record};

/// A read returns at most this many bytes, plus the record that exceeds the limit.
const MAX_BYTES: u64 = 1 << 20;

/// A record, or the damage to it, with its index and bytes.
pub(crate) type Entry<T> = (u64, u64, Result<T, Damage>);

/// Some records, in their order.
#[derive(Debug)]
pub(crate) struct Chunk<T = Record> {
    pub(crate) entries: Vec<Entry<T>>,
    /// The index of the next read.
    pub(crate) next: u64,
    /// Whether there may be more.
    pub(crate) more: bool,
}

/// Places that lie one behind the other in a segment.
struct Run {
    id: u64,
    file: Arc<dyn DiskFile>,
    places: Vec<Place>,
}

/// Events of a subject, from index `from` on: up to `limit`.
pub(crate) fn events(
    index: &Mutex<Index>,
    subject: &Subject,
    from: u64,
    limit: usize,
) -> io::Result<Chunk> {
    let runs = {
        let index = lock(index);
        let places = index.subjects.get(subject);
        collect(&index, places, from, limit)
    };
    let decode = |head: &Head, body: &Bytes| decode_event(head, body, Some(subject));
    read(index, runs, from, Kind::Event, decode)
}

/// Dead letters, from index `from` on: up to `limit`.
pub(crate) fn letters(
    index: &Mutex<Index>,
    from: u64,
    limit: usize,
) -> io::Result<Chunk<DeadRecord>> {
    let runs = {
        let index = lock(index);
        collect(&index, Some(&index.letters), from, limit)
    };
    read(index, runs, from, Kind::DeadLetter, decode_letter)
}

/// Events and their bytes by subject, and dead letters.
pub(crate) fn count(index: &Mutex<Index>) -> (HashMap<Subject, (u64, u64)>, (u64, u64)) {
    let index = lock(index);
    let count = |places: &Places| {
        let live = places.from(0).filter(|place| !index.is_gone(place.index));
        live.fold((0, 0), |(count, bytes), place| {
            (count + 1, bytes + place.size)
        })
    };
    let subjects = index.subjects.iter();
    let subjects = subjects.map(|(subject, places)| (subject.clone(), count(places)));
    let subjects = subjects.filter(|(_, (events, _))| *events > 0).collect();
    (subjects, count(&index.letters))
}

/// When the oldest event was spooled, in milliseconds since the Unix epoch.
pub(crate) fn oldest(index: &Mutex<Index>) -> io::Result<Option<u64>> {
    let run = {
        let index = lock(index);
        let first = |places| collect(&index, Some(places), 0, 1).0.into_iter().next();
        let firsts = index.subjects.values().filter_map(first);
        firsts.min_by_key(|run| run.places[0].index)
    };
    let Some(run) = run else { return Ok(None) };
    let bytes = read_record(&*run.file, run.places[0])?;
    Ok(Head::decode(&bytes, run.id).map(|head| head.time))
}

/// The runs to read, and whether there is more behind them.
fn collect(index: &Index, places: Option<&Places>, from: u64, limit: usize) -> (Vec<Run>, bool) {
    let mut runs: Vec<Run> = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    for place in places.into_iter().flat_map(|places| places.from(from)) {
        let Some(segment) = index
            .segment_of(place.index)
            .filter(|s| !s.is_gone(place.index))
        else {
            continue;
        };
        if count == limit || bytes >= MAX_BYTES {
            return (runs, true);
        }
        count += 1;
        bytes += place.size;
        match runs.last_mut() {
            Some(run) if run.id == segment.id && run.end() == place.offset => {
                run.places.push(place)
            }
            _ => runs.push(Run {
                id: segment.id,
                file: Arc::clone(&segment.file),
                places: vec![place],
            }),
        }
    }
    (runs, false)
}

impl Run {
    fn end(&self) -> u64 {
        self.places
            .last()
            .map_or(0, |place| place.offset + place.size)
    }
}

fn read<T>(
    index: &Mutex<Index>,
    (runs, more): (Vec<Run>, bool),
    from: u64,
    kind: Kind,
    decode: impl Fn(&Head, &Bytes) -> Option<T>,
) -> io::Result<Chunk<T>> {
    let mut entries = Vec::new();
    for run in runs {
        let start = run.places[0].offset;
        let whole = Place {
            size: run.end() - start,
            ..run.places[0]
        };
        let bytes = read_record(&*run.file, whole)?;
        for place in run.places {
            let from = ((place.offset - start) as usize).min(bytes.len());
            let to = (from + place.size as usize).min(bytes.len());
            let record = split(&bytes.slice(from..to), run.id).map_err(|_| Damage::Checksum);
            let record = record.and_then(|(head, body)| {
                let is_it = head.index == place.index && head.kind == kind;
                let decoded = is_it.then(|| decode(&head, &body)).flatten();
                decoded.ok_or(Damage::Fields)
            });
            entries.push((place.index, place.size, record));
        }
    }
    // One that has left meanwhile may be overwritten by now.
    entries.retain(|(at, _, record)| record.is_ok() || !lock(index).is_gone(*at));
    let next = entries.last().map_or(from, |(index, ..)| index + 1);
    Ok(Chunk {
        entries,
        next,
        more,
    })
}
