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

/// The next events of a subject.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) subject: Subject,
    /// The index to read from.
    pub(crate) from: u64,
    /// The maximum number of events.
    pub(crate) limit: usize,
}

/// Places to read, in the order of their indexes, and whether there are more behind them.
struct Selection {
    places: Vec<Place>,
    /// The index behind the last one.
    next: u64,
    more: bool,
}

/// Places of a segment that one read covers, each with the number of its selection.
struct Run {
    segment: u64,
    id: u64,
    name: String,
    places: Vec<(usize, Place)>,
}

/// Events of a subject, from index `from` on: up to `limit`.
pub(crate) fn events(
    index: &Mutex<Index>,
    subject: &Subject,
    from: u64,
    limit: usize,
) -> io::Result<Chunk> {
    let subject = subject.clone();
    let wanted = Wanted {
        subject,
        from,
        limit,
    };
    let mut chunks = events_of_many(index, &[wanted])?;
    Ok(chunks.remove(0))
}

/// Events of several subjects, a chunk for each. The reads follow the order of the log, and the bytes are
/// bounded for all subjects together: the last ones may get nothing yet.
pub(crate) fn events_of_many(index: &Mutex<Index>, wanted: &[Wanted]) -> io::Result<Vec<Chunk>> {
    let select = |index: &Index| {
        let mut bytes = 0;
        let select = |wanted: &Wanted| {
            let places = index.subjects.get(&wanted.subject);
            select(index, places, wanted.from, wanted.limit, &mut bytes)
        };
        wanted.iter().map(select).collect()
    };
    let decode = |number: usize, head: &Head, body: &Bytes| {
        decode_event(head, body, wanted.get(number).map(|wanted| &wanted.subject))
    };
    read(index, select, Kind::Event, decode)
}

/// Dead letters, from index `from` on: up to `limit`.
pub(crate) fn letters(
    index: &Mutex<Index>,
    from: u64,
    limit: usize,
) -> io::Result<Chunk<DeadRecord>> {
    let select = |index: &Index| vec![select(index, Some(&index.letters), from, limit, &mut 0)];
    let decode = |_, head: &Head, body: &Bytes| decode_letter(head, body);
    let mut chunks = read(index, select, Kind::DeadLetter, decode)?;
    Ok(chunks.remove(0))
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
    let (runs, files) = {
        let index = lock(index);
        let firsts = index
            .subjects
            .values()
            .filter_map(|places| first_of(&index, places));
        let oldest = firsts.min_by_key(|place| place.index);
        let places = oldest.map(|place| (0, place)).into_iter().collect();
        (runs(&index, places), Arc::clone(&index.files))
    };
    let Some(run) = runs.first() else {
        return Ok(None);
    };
    let file = files.get(run.id, &run.name)?;
    let bytes = read_bytes(&*file, run.places[0].1)?;
    Ok(Head::decode(&bytes, run.id).map(|head| head.time))
}

/// Sorts subjects by the index of their first event; those without one come last.
pub(crate) fn in_log_order(index: &Mutex<Index>, subjects: Vec<Subject>) -> Vec<Subject> {
    let mut subjects: Vec<(u64, Subject)> = {
        let index = lock(index);
        let first = |subject: &Subject| first_of(&index, index.subjects.get(subject)?);
        let order = |subject: &Subject| first(subject).map_or(u64::MAX, |place| place.index);
        let subjects = subjects.into_iter();
        subjects.map(|subject| (order(&subject), subject)).collect()
    };
    subjects.sort_unstable();
    subjects.into_iter().map(|(_, subject)| subject).collect()
}

fn first_of(index: &Index, places: &Places) -> Option<Place> {
    select(index, Some(places), 0, 1, &mut 0).places.pop()
}

/// The next live places. `bytes` counts the bytes of all selections of a read.
fn select(
    index: &Index,
    places: Option<&Places>,
    from: u64,
    limit: usize,
    bytes: &mut u64,
) -> Selection {
    let (mut selected, mut next) = (Vec::new(), from);
    let places = places.into_iter().flat_map(|places| places.from(from));
    for place in places.take_while(|place| place.index < index.visible_end) {
        let segment = index.segment_of(place.index);
        let Some(segment) = segment.filter(|segment| !segment.is_gone(place.index)) else {
            continue;
        };
        if selected.len() == limit || *bytes >= MAX_BYTES {
            let (places, more) = (selected, true);
            return Selection { places, next, more };
        }
        *bytes += place.size;
        next = place.index + 1;
        let offset = segment.offset(place);
        selected.push(Place { offset, ..place });
    }
    let (places, more) = (selected, false);
    Selection { places, next, more }
}

/// Joins places to as few reads as possible.
fn runs(index: &Index, mut places: Vec<(usize, Place)>) -> Vec<Run> {
    places.sort_unstable_by_key(|(_, place)| place.index);
    let mut runs: Vec<Run> = Vec::new();
    for (of, place) in places {
        // It was selected under the same lock.
        let Some(segment) = index.segment_of(place.index) else {
            continue;
        };
        match runs.last_mut() {
            Some(run) if run.segment == segment.first && run.reaches(&place) => {
                run.places.push((of, place));
            }
            _ => runs.push(Run {
                segment: segment.first,
                id: segment.id,
                name: segment.name.clone(),
                places: vec![(of, place)],
            }),
        }
    }
    runs
}

impl Run {
    fn end(&self) -> u64 {
        self.places
            .last()
            .map_or(0, |(_, place)| place.offset + place.size)
    }

    /// Whether the place follows with a gap that is not larger than itself: such a gap costs less than another
    /// read, and at most doubles the memory.
    fn reaches(&self, place: &Place) -> bool {
        let gap = place.offset.checked_sub(self.end());
        gap.is_some_and(|gap| gap <= place.size)
    }

    /// The bytes of each place. A place that can't be read costs only itself.
    fn read(&self, files: &Files) -> io::Result<Vec<Result<Bytes, Damage>>> {
        let missing = || self.places.iter().map(|_| Err(Damage::Missing)).collect();
        let file = match files.get(self.id, &self.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(missing()),
            file => file?,
        };
        let places = || self.places.iter().map(|(_, place)| *place);
        let start = self.places[0].1.offset;
        let whole = Place::new(0, start, self.end() - start);
        if let Ok(bytes) = read_bytes(&*file, whole) {
            let part = |place: Place| {
                let from = ((place.offset - start) as usize).min(bytes.len());
                let to = (from + place.size as usize).min(bytes.len());
                Ok(bytes.slice(from..to))
            };
            return Ok(places().map(part).collect());
        }
        let single = |place| read_bytes(&*file, place);
        let parts: Vec<io::Result<Bytes>> = places().map(single).collect();
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
    select: impl Fn(&Index) -> Vec<Selection>,
    kind: Kind,
    decode: impl Fn(usize, &Head, &Bytes) -> Option<T>,
) -> io::Result<Vec<Chunk<T>>> {
    loop {
        let (selections, runs, files, rewrites) = {
            let index = lock(index);
            let selections = select(&index);
            let places = selections.iter().enumerate().flat_map(|(of, selection)| {
                let places = selection.places.iter();
                places.map(move |place| (of, *place))
            });
            let runs = runs(&index, places.collect());
            (selections, runs, Arc::clone(&index.files), index.rewrites)
        };
        let mut chunks: Vec<Chunk<T>> = selections.iter().map(Chunk::of).collect();
        for run in runs {
            for ((of, place), bytes) in run.places.iter().zip(run.read(&files)?) {
                let record =
                    bytes.and_then(|bytes| split(&bytes, run.id).map_err(|_| Damage::Checksum));
                let record = record.and_then(|(head, body)| {
                    let is_it = head.index == place.index && head.kind == kind;
                    let decoded = is_it.then(|| decode(*of, &head, &body)).flatten();
                    decoded.ok_or(Damage::Fields)
                });
                chunks[*of].entries.push((place.index, place.size, record));
            }
        }
        let index = lock(index);
        let may_be_moved = index.is_replacing || index.rewrites != rewrites;
        let mut is_damaged = false;
        for chunk in &mut chunks {
            // One that has left meanwhile may be overwritten by now.
            chunk
                .entries
                .retain(|(at, _, record)| record.is_ok() || !index.is_gone(*at));
            is_damaged |= chunk.entries.iter().any(|(.., record)| record.is_err());
        }
        if may_be_moved && is_damaged {
            drop(index);
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        return Ok(chunks);
    }
}

impl<T> Chunk<T> {
    /// The chunk of a selection, without its records.
    fn of(selection: &Selection) -> Self {
        Self {
            entries: Vec::with_capacity(selection.places.len()),
            next: selection.next,
            more: selection.more,
        }
    }
}
