//! Reads events and dead letters at their places.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::backlog::Count;
use super::disk::DiskFile;
use super::event::{decode_event, decode_letter, split};
use super::files::Files;
use super::format::{Head, Kind};
use super::index::Index;
use super::places::{Place, Places};
use super::writer::lock;
use crate::message::subject::Subject;
use crate::spool::record::{Damage, DeadRecord, Record};

/// A read returns at most this many bytes, plus the record that exceeds the limit.
const MAX_BYTES: u64 = 1 << 20;

/// The earliest page of a second start record.
const SECOND_PAGE: u64 = 4_096;

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
    segment: u64,
    id: u64,
    name: String,
    places: Vec<Place>,
}

/// Events of a subject, from index `from` on: up to `limit`.
pub(crate) fn events(
    index: &Mutex<Index>,
    subject: &Subject,
    from: u64,
    limit: usize,
) -> io::Result<Chunk> {
    let decode = |head: &Head, body: &Bytes| decode_event(head, body, Some(subject));
    let places = |index: &Index| collect(index, index.subjects.get(subject), from, limit);
    read(index, places, from, Kind::Event, decode)
}

/// Dead letters, from index `from` on: up to `limit`.
pub(crate) fn letters(
    index: &Mutex<Index>,
    from: u64,
    limit: usize,
) -> io::Result<Chunk<DeadRecord>> {
    let places = |index: &Index| collect(index, Some(&index.letters), from, limit);
    read(index, places, from, Kind::DeadLetter, decode_letter)
}

/// Events and their bytes by subject, and dead letters.
pub(crate) fn count(index: &Mutex<Index>) -> (HashMap<Subject, Count>, Count) {
    let index = lock(index);
    let count = |places: &Places| {
        let mut count = Count::default();
        for place in places.from(0).filter(|place| !index.is_gone(place.index)) {
            let bytes = place.size;
            count.add(Count { events: 1, bytes });
        }
        count
    };
    let subjects = index.subjects.iter();
    let subjects = subjects.map(|(subject, places)| (subject.clone(), count(places)));
    let subjects = subjects.filter(|(_, count)| count.events > 0).collect();
    (subjects, count(&index.letters))
}

/// When the oldest event was spooled, in milliseconds since the Unix epoch.
pub(crate) fn oldest(index: &Mutex<Index>) -> io::Result<Option<u64>> {
    let (run, files) = {
        let index = lock(index);
        let first = |places| collect(&index, Some(places), 0, 1).0.into_iter().next();
        let firsts = index.subjects.values().filter_map(first);
        let oldest = firsts.min_by_key(|run| run.places[0].index);
        (oldest, Arc::clone(&index.files))
    };
    let Some(run) = run else { return Ok(None) };
    let file = files.get(run.id, &run.name)?;
    let bytes = read_bytes(&*file, run.places[0])?;
    Ok(Head::decode(&bytes, run.id).map(|head| head.time))
}

/// The runs to read, and whether there is more behind them.
fn collect(index: &Index, places: Option<&Places>, from: u64, limit: usize) -> (Vec<Run>, bool) {
    let mut runs: Vec<Run> = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    for place in places.into_iter().flat_map(|places| places.from(from)) {
        let segment = index.segment_of(place.index);
        let Some(segment) = segment.filter(|segment| !segment.is_gone(place.index)) else {
            continue;
        };
        if count == limit || bytes >= MAX_BYTES {
            return (runs, true);
        }
        count += 1;
        bytes += place.size;
        let offset = segment.offset(place);
        let place = Place { offset, ..place };
        match runs.last_mut() {
            Some(run) if run.segment == segment.first && run.end() == offset => {
                run.places.push(place)
            }
            _ => runs.push(Run {
                segment: segment.first,
                id: segment.id,
                name: segment.name.clone(),
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

    /// The bytes of each place. A place that can't be read costs only itself.
    fn read(&self, files: &Files) -> io::Result<Vec<Result<Bytes, Damage>>> {
        let missing = || self.places.iter().map(|_| Err(Damage::Missing)).collect();
        let file = match files.get(self.id, &self.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(missing()),
            file => file?,
        };
        let start = self.places[0].offset;
        let size = self.end() - start;
        let whole = Place {
            size,
            ..self.places[0]
        };
        if let Ok(bytes) = read_bytes(&*file, whole) {
            let part = |place: &Place| {
                let from = ((place.offset - start) as usize).min(bytes.len());
                let to = (from + place.size as usize).min(bytes.len());
                Ok(bytes.slice(from..to))
            };
            return Ok(self.places.iter().map(part).collect());
        }
        let single = |place: &Place| read_bytes(&*file, *place);
        let parts: Vec<io::Result<Bytes>> = self.places.iter().map(single).collect();
        if parts.iter().all(Result::is_err) {
            // Is it this place, or the whole disk?
            let mut byte = [0];
            let first = file.read_at(0, &mut byte);
            first.or_else(|_| file.read_at(SECOND_PAGE, &mut byte))?;
        }
        let parts = parts.into_iter();
        Ok(parts
            .map(|part| part.map_err(|_| Damage::Unreadable))
            .collect())
    }
}

/// The bytes of a record, or of the file's rest if that is shorter.
fn read_bytes(file: &dyn DiskFile, place: Place) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(place.size).unwrap_or(usize::MAX)];
    let read = file.read_at(place.offset, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes.into())
}

fn read<T>(
    index: &Mutex<Index>,
    places: impl Fn(&Index) -> (Vec<Run>, bool),
    from: u64,
    kind: Kind,
    decode: impl Fn(&Head, &Bytes) -> Option<T>,
) -> io::Result<Chunk<T>> {
    loop {
        let (runs, more, files, rewrites) = {
            let index = lock(index);
            let (runs, more) = places(&index);
            (runs, more, Arc::clone(&index.files), index.rewrites)
        };
        let mut entries = Vec::new();
        for run in runs {
            for (place, bytes) in run.places.iter().zip(run.read(&files)?) {
                let record =
                    bytes.and_then(|bytes| split(&bytes, run.id).map_err(|_| Damage::Checksum));
                let record = record.and_then(|(head, body)| {
                    let is_it = head.index == place.index && head.kind == kind;
                    let decoded = is_it.then(|| decode(&head, &body)).flatten();
                    decoded.ok_or(Damage::Fields)
                });
                entries.push((place.index, place.size, record));
            }
        }
        let index = lock(index);
        // One that has left meanwhile may be overwritten by now.
        entries.retain(|(at, _, record)| record.is_ok() || !index.is_gone(*at));
        let may_be_moved = index.is_replacing || index.rewrites != rewrites;
        if may_be_moved && entries.iter().any(|(.., record)| record.is_err()) {
            drop(index);
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let next = entries.last().map_or(from, |(index, ..)| index + 1);
        return Ok(Chunk {
            entries,
            next,
            more,
        });
    }
}
