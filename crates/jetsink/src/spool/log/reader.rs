//! Reads events and dead letters at their places.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tracing::warn;

use super::disk::DiskFile;
use super::event::{decode_event, decode_letter, split};
use super::format::{Head, Kind, PAGE};
use super::index::Index;
use super::places::{Place, Places};
use crate::message::subject::Subject;
use crate::outcome::SpoolError;
use crate::spool::record::{Damage, DeadRecord, Record};
use crate::sync::lock;

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
    /// Why the next record can't be read at present: its segment can't be opened, or no part of it can be read.
    pub(crate) failed: Option<SpoolError>,
}

/// The next events of a subject.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) subject: Subject,
    /// The index to read from.
    pub(crate) from: u64,
    /// The maximum number of events.
    pub(crate) limit: usize,
}

/// Places of a segment that one read covers, each with the number of its chunk.
struct Run {
    segment: u64,
    id: u64,
    name: Arc<str>,
    places: Vec<(usize, Place)>,
}

/// Selects places under the lock of the index.
struct Selection<'a> {
    index: &'a Index,
    /// With the numbers of their chunks.
    places: Vec<(usize, Place)>,
    bytes: u64,
}

/// Events of several subjects, a chunk for each. The reads follow the order of the log, and the bytes are
/// bounded for all subjects together: the last ones may get nothing yet.
pub(crate) fn events(index: &Mutex<Index>, wanted: &[Wanted]) -> Vec<Chunk> {
    let select = |selection: &mut Selection<'_>| {
        let numbered = wanted.iter().enumerate();
        let chunks = numbered.map(|(number, wanted)| {
            let pending = selection.index.subjects.get(&wanted.subject);
            let places = pending.map(|pending| &pending.places);
            selection.select(number, places, wanted.from, wanted.limit)
        });
        chunks.collect()
    };
    let decode = |number: usize, head: &Head, body: &Bytes| {
        decode_event(head, body, wanted.get(number).map(|wanted| &wanted.subject))
    };
    read(index, select, Kind::Event, decode)
}

/// Dead letters, from index `from` on: up to `limit`.
pub(crate) fn letters(index: &Mutex<Index>, from: u64, limit: usize) -> Chunk<DeadRecord> {
    let select = |selection: &mut Selection<'_>| {
        vec![selection.select(0, Some(&selection.index.letters), from, limit)]
    };
    let decode = |_, head: &Head, body: &Bytes| decode_letter(head, body);
    read(index, select, Kind::DeadLetter, decode).remove(0)
}

/// When the oldest event was spooled, in milliseconds since the Unix epoch.
pub(crate) fn oldest(index: &Mutex<Index>) -> Result<Option<u64>, SpoolError> {
    let Some(subject) = subjects(index).into_iter().next() else {
        return Ok(None);
    };
    let wanted = Wanted {
        subject,
        from: 0,
        limit: 1,
    };
    let chunk = events(index, &[wanted]).remove(0);
    if let Some(error) = chunk.failed {
        return Err(error);
    }
    let records = chunk.entries.into_iter().map(|(.., record)| record);
    let mut spooled_at = records.map(|record| Some(record.ok()?.spooled_at));
    Ok(spooled_at.next().flatten())
}

/// The subjects with pending events, by the index of the first one; those without one on the disk come last.
pub(crate) fn subjects(index: &Mutex<Index>) -> Vec<Subject> {
    let subjects = lock(index).subjects.keys().cloned().collect();
    in_log_order(index, subjects)
}

/// Sorts subjects by the index of their first event; those without one come last.
pub(crate) fn in_log_order(index: &Mutex<Index>, subjects: Vec<Subject>) -> Vec<Subject> {
    let index = lock(index);
    let first = |subject: &Subject| index.first_of(index.subjects.get(subject)?);
    let first = |subject: Subject| (first(&subject).unwrap_or(u64::MAX), subject);
    let mut subjects: Vec<_> = subjects.into_iter().map(first).collect();
    drop(index);
    subjects.sort_unstable_by_key(|(first, _)| *first);
    subjects.into_iter().map(|(_, subject)| subject).collect()
}

impl Selection<'_> {
    /// Selects the next live places of a chunk.
    fn select<T>(
        &mut self,
        number: usize,
        places: Option<&Places>,
        from: u64,
        limit: usize,
    ) -> Chunk<T> {
        let mut chunk = Chunk {
            entries: Vec::new(),
            next: from,
            more: false,
            failed: None,
        };
        let selected = self.places.len();
        let places = places.into_iter().flat_map(|places| places.from(from));
        for place in places.take_while(|place| place.index < self.index.visible_end) {
            let segment = self.index.segment_of(place.index);
            let Some(segment) = segment.filter(|segment| !segment.is_gone(place.index)) else {
                continue;
            };
            if self.places.len() - selected == limit || self.bytes >= MAX_BYTES {
                chunk.more = true;
                break;
            }
            self.bytes += place.size;
            chunk.next = place.index + 1;
            let offset = segment.offset(place);
            self.places.push((number, Place { offset, ..place }));
        }
        chunk.entries.reserve_exact(self.places.len() - selected);
        chunk
    }

    /// Joins the places to as few reads as possible.
    fn runs(mut self) -> Vec<Run> {
        self.places.sort_unstable_by_key(|(_, place)| place.index);
        let mut runs: Vec<Run> = Vec::new();
        for (number, place) in self.places {
            // It was selected under the same lock.
            let Some(segment) = self.index.segment_of(place.index) else {
                continue;
            };
            match runs.last_mut() {
                Some(run) if run.segment == segment.first && run.reaches(&place) => {
                    run.places.push((number, place));
                }
                _ => runs.push(Run {
                    segment: segment.first,
                    id: segment.id,
                    name: Arc::clone(&segment.name),
                    places: vec![(number, place)],
                }),
            }
        }
        runs
    }
}

impl Run {
    fn end(&self) -> u64 {
        let last = self.places.last();
        last.map_or(0, |(_, place)| place.end())
    }

    /// Whether the place follows with a gap that is not larger than itself: such a gap costs less than another
    /// read, and at most doubles the memory.
    fn reaches(&self, place: &Place) -> bool {
        let gap = place.offset.checked_sub(self.end());
        gap.is_some_and(|gap| gap <= place.size)
    }

    /// The bytes of each place. A place that can't be read costs only itself.
    fn read(&self, file: &dyn DiskFile) -> io::Result<Vec<Result<Bytes, Damage>>> {
        let places = || self.places.iter().map(|(_, place)| *place);
        let start = self.places[0].1.offset;
        let whole = Place::new(0, start, self.end() - start);
        if let Ok(bytes) = read_bytes(file, whole) {
            let at = |offset: u64| (offset - start) as usize;
            let part = |place: Place| Ok(bytes.slice(at(place.offset)..at(place.end())));
            return Ok(places().map(part).collect());
        }
        let parts = places().map(|place| read_bytes(file, place).map_err(|_| Damage::Unreadable));
        let parts: Vec<_> = parts.collect();
        if parts.iter().all(Result::is_err) {
            // Is it this place, or the whole file? Its second start record is on another page.
            let mut byte = [0];
            let first = file.read_at(0, &mut byte);
            first.or_else(|_| file.read_at(PAGE, &mut byte))?;
        }
        Ok(parts)
    }
}

/// The bytes of a record. Those behind the end of a file that was cut are zeros.
fn read_bytes(file: &dyn DiskFile, place: Place) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(place.size).unwrap_or(usize::MAX)];
    file.read_at(place.offset, &mut bytes)?;
    Ok(bytes.into())
}

fn read<T>(
    index: &Mutex<Index>,
    select: impl Fn(&mut Selection<'_>) -> Vec<Chunk<T>>,
    kind: Kind,
    decode: impl Fn(usize, &Head, &Bytes) -> Option<T>,
) -> Vec<Chunk<T>> {
    loop {
        let (mut chunks, runs, disk, (replacements, has_unreadable)) = {
            let index = lock(index);
            let mut selection = Selection {
                index: &index,
                places: Vec::new(),
                bytes: 0,
            };
            let chunks = select(&mut selection);
            let runs = selection.runs();
            let seen = (index.replacements, !index.unreadable.is_empty());
            (chunks, runs, Arc::clone(&index.disk), seen)
        };
        let mut is_damaged = false;
        for runs in runs.chunk_by(|a, b| a.segment == b.segment) {
            let file = disk.open(&runs[0].name);
            for run in runs {
                let read = match &file {
                    Ok(file) => run.read(&**file),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        Ok(vec![Err(Damage::Missing); run.places.len()])
                    }
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                };
                if has_unreadable || read.is_err() {
                    lock(index).note(run.segment, read.as_ref().err());
                }
                let read = read.map_err(disk.failed("reading events"));
                for (at, (number, place)) in run.places.iter().enumerate() {
                    let chunk = &mut chunks[*number];
                    if chunk.failed.is_some() {
                        continue;
                    }
                    let part = match &read {
                        Ok(parts) => parts[at].clone(),
                        Err(error) => {
                            (chunk.next, chunk.more) = (place.index, true);
                            chunk.failed = Some(error.clone());
                            continue;
                        }
                    };
                    let record = part.and_then(|bytes| {
                        let (head, body) = split(&bytes, run.id).map_err(|_| Damage::Checksum)?;
                        let is_it = head.index == place.index && head.kind == kind;
                        let decoded = is_it.then(|| decode(*number, &head, &body));
                        decoded.flatten().ok_or(Damage::Fields)
                    });
                    is_damaged |= record.is_err();
                    chunk.entries.push((place.index, place.size, record));
                }
            }
        }
        // A segment's file was replaced, and the places were those of the other one.
        let is_stale = replacements % 2 == 1 || lock(index).replacements != replacements;
        if !is_damaged || !is_stale {
            return chunks;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Index {
    /// The index of the first event of a subject.
    fn first_of(&self, pending: &super::index::Pending) -> Option<u64> {
        let mut indexes = pending.places.from(0).map(|place| place.index);
        indexes.find(|index| *index < self.visible_end && !self.is_gone(*index))
    }

    /// Notes whether a segment can be read.
    pub(super) fn note(&mut self, first: u64, error: Option<&io::Error>) {
        let Some(error) = error else {
            self.unreadable.remove(&first);
            return;
        };
        if self.unreadable.insert(first) {
            let segment = self.segments.get(&first).map(|segment| &*segment.name);
            warn!(segment, %error, "a segment of the spool can't be read: its events wait");
        }
    }
}
