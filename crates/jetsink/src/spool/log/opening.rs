//! Opens a log in whatever state its folder is.
//!
//! The newest segment has the index ranges of the older ones, so only it is read first; [`Backlog::scan`] reads
//! the others while new events are appended. An index below the highest `durable_below` that is neither
//! found nor marked as delivered is damaged. Above that, an incomplete end is torn, or was damaged before
//! the writer became idle. All whole records are delivered; those above are first written again, since
//! the page cache may show records that the disk lost.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tracing::error;

use super::disk::{Disk, DiskFile};
use super::event::{NewRecord, split, subject_in};
use super::format::{HEAD, Head, Kind, NONE, Start, State, VERSION, decode_runs, put_record};
use super::index::{Index, Segment};
use super::places::{Place, Places};
use super::reserve::{self, is_full};
use super::scan::{Tail, scan};
use super::writer::{Log, PREPARED, SEAL_STEP, lock, parse_name, seal_page};
use crate::message::subject::Subject;
use crate::outcome::SpoolError;

/// The last offset at which the second start record is searched, if the first one is damaged.
const MAX_START: u64 = 1 << 20;

/// More indexes than a segment can have: 16 MiB of the smallest records are 300,000.
const MAX_INDEXES: u64 = 1 << 20;

/// The cost of damage to a spool's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolLoss {
    /// Records that were synced and can't be read any more: events, dead letters, or notes of the spool.
    pub damaged: u64,
    /// Bytes of an incomplete end: a write that a crash or power cut interrupted before it was
    /// acknowledged, or records that were damaged within 20 ms of their write.
    pub torn_bytes: u64,
    /// Files without a readable record.
    pub unreadable_files: u64,
}

impl SpoolLoss {
    /// Whether nothing is lost.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for SpoolLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the spool was damaged; records lost: {}", self.damaged)?;
        if self.torn_bytes > 0 {
            let bytes = self.torn_bytes;
            write!(
                f,
                "; its end is torn, or was damaged within 20 ms of its write: {bytes} bytes"
            )?;
        }
        if self.unreadable_files > 0 {
            write!(f, "; unreadable files: {}", self.unreadable_files)?;
        }
        Ok(())
    }
}

/// The part of an open log that is not scanned.
#[derive(Debug)]
pub(crate) struct Backlog {
    index: Arc<Mutex<Index>>,
    /// The contents of segments that were read during the opening.
    contents: BTreeMap<u64, Contents>,
    counted: Counted,
    /// Indexes of records that others replace.
    replaced: Vec<u64>,
}

/// The records of one segment.
#[derive(Debug, Default)]
struct Contents {
    start: Option<(u64, Start)>,
    entries: Vec<Entry>,
    gone: Vec<(u64, u64)>,
    /// The part of `gone` that the last mark added: nothing proves that it is on the disk.
    last_gone: Vec<(u64, u64)>,
    /// The latest state, and its index.
    state: Option<(u64, State)>,
    states: Vec<u64>,
    /// Indexes and sizes of records with a damaged body.
    broken: Vec<(u64, u64)>,
    durable: u64,
    tail: Tail,
    /// Records that are no start.
    records: u64,
    starts: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    place: Place,
    /// None of a dead letter.
    subject: Option<Subject>,
    replaces: u64,
}

impl Contents {
    fn read(file: &dyn DiskFile, id: u64) -> io::Result<Self> {
        let mut contents = Self::default();
        let mut last: Option<Subject> = None;
        let tail = scan(file, id, |offset, head, body| {
            contents.durable = contents.durable.max(head.durable_below);
            let is_start = head.kind == Kind::Start;
            contents.records += u64::from(!is_start);
            let Some(mut body) = body else {
                contents.broken.push((head.index, head.size()));
                return;
            };
            contents.starts += u64::from(is_start);
            match head.kind {
                Kind::Event | Kind::DeadLetter => {
                    let is_event = head.kind == Kind::Event;
                    let subject = subject_in(body).filter(|_| is_event);
                    let subject = subject.and_then(|text| match &last {
                        Some(last) if last.as_str() == text => Some(last.clone()),
                        _ => Subject::new(text).ok(),
                    });
                    if is_event {
                        if subject.is_none() {
                            // Counts as damaged: an event has a subject.
                            return;
                        }
                        last.clone_from(&subject);
                    }
                    contents.entries.push(Entry {
                        place: Place {
                            index: head.index,
                            offset,
                            size: head.size(),
                        },
                        subject,
                        replaces: head.replaces,
                    });
                }
                Kind::State => {
                    if let Some(state) = State::decode(&mut body) {
                        contents.states.push(head.index);
                        contents.state = Some((head.index, state));
                    }
                }
                Kind::Start => {
                    if let Ok(Some(start)) = Start::decode(body) {
                        contents.start = Some((head.index, start));
                    }
                }
                Kind::Delivered => {
                    contents.last_gone = decode_runs(body).collect();
                    contents.gone.extend(&contents.last_gone);
                }
                Kind::Seal => {}
            }
        })?;
        contents.tail = tail;
        contents.forget_impossible();
        Ok(contents)
    }

    /// Ignores what no writer makes although its checksum matches.
    fn forget_impossible(&mut self) {
        let start = self.start.as_ref().map(|(first, _)| *first);
        let end = start
            .or(self.lowest())
            .unwrap_or(0)
            .saturating_add(MAX_INDEXES);
        self.entries.retain(|entry| entry.place.index < end);
        self.states.retain(|index| *index < end);
        self.durable = self.durable.min(end);
    }

    /// Whether nothing was ever written to the file, except zeros.
    fn is_blank(&self) -> bool {
        self.records == 0 && self.starts == 0 && self.tail.garbage == 0 && self.broken.is_empty()
    }

    fn lowest(&self) -> Option<u64> {
        let states = self.states.iter().copied();
        states
            .chain(self.entries.iter().map(|entry| entry.place.index))
            .min()
    }

    /// Behind the highest index.
    fn highest(&self) -> u64 {
        let states = self.states.iter().copied();
        let indexes = states.chain(self.entries.iter().map(|entry| entry.place.index));
        indexes.max().map_or(0, |index| index.saturating_add(1))
    }

    /// The indexes from `first` to `end` that are neither found nor delivered.
    fn missing(&self, first: u64, end: u64) -> Vec<u64> {
        let mut known: Vec<(u64, u64)> = self.gone.clone();
        known.extend(self.states.iter().map(|index| (*index, 1)));
        known.extend(self.entries.iter().map(|entry| (entry.place.index, 1)));
        known.sort_unstable();
        let mut missing = Vec::new();
        let mut next = first;
        for (index, count) in known.into_iter().chain([(end, 0)]) {
            missing.extend(next..index.min(end));
            next = next.max(index.saturating_add(count));
        }
        missing
    }
}

/// The right to change the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Write {
        segment_bytes: u64,
        prepares: bool,
    },
    /// Changes nothing.
    Read,
}

/// Opens the log in a folder that is locked.
///
/// # Errors
/// [`SpoolError`]: another format, or the disk.
pub(crate) fn open(disk: Arc<dyn Disk>, access: Access) -> Result<(Log, Backlog), SpoolError> {
    let (writes, segment_bytes, prepares) = match access {
        Access::Write {
            segment_bytes,
            prepares,
        } => (true, segment_bytes, prepares),
        Access::Read => (false, 0, false),
    };
    let path = disk.path().to_owned();
    let failed = |doing| {
        let path = path.clone();
        move |error: io::Error| SpoolError::io(&path, doing, &error)
    };
    let mut found = Vec::new();
    let mut has_reserve = false;
    for name in disk.list().map_err(failed("listing its files"))? {
        if name == "spool.redb" {
            let path = path.join(name);
            return Err(SpoolError::OldStore { path });
        }
        if name.ends_with(PREPARED) && writes {
            disk.remove(&name)
                .map_err(failed("removing an unused segment"))?;
        } else if name == reserve::NAME {
            has_reserve = true;
        } else if let Some((number, id)) = parse_name(&name) {
            found.push((number, id, name));
        }
    }
    found.sort_unstable();
    let mut log = Log::new(Arc::clone(&disk), segment_bytes, prepares);
    if has_reserve {
        log.reserve.found();
    }
    let next_number = found.last().map_or(1, |(number, ..)| number + 1);
    let mut opened = Vec::new();
    let mut ranges = HashMap::new();
    for (_, id, name) in found.into_iter().rev() {
        let file = disk.open(&name).map_err(failed("opening a segment"))?;
        let start = read_start(&*file, id).map_err(failed("reading a segment"))?;
        match start {
            Err(found) => {
                return Err(SpoolError::Format {
                    path: path.join(name),
                    found: u64::from(found),
                    expected: u64::from(VERSION),
                });
            }
            // The newest that knows of a segment is right.
            Ok(Some((_, start))) => {
                for (older, (first, end)) in start.older {
                    let end = end.min(first.saturating_add(MAX_INDEXES));
                    ranges.entry(older).or_insert((first, end));
                }
            }
            Ok(None) => {}
        }
        opened.push((id, name, file));
    }
    let mut backlog = Backlog {
        index: Arc::clone(&log.index),
        contents: BTreeMap::new(),
        counted: Counted::default(),
        replaced: Vec::new(),
    };
    let mut newest: Option<Undecided> = None;
    // The first index of the next newer segment.
    let mut next = None;
    let mut is_unreadable = false;
    let mut to_remove = Vec::new();
    let mut empty_newest = None;
    for (id, name, file) in opened {
        let range = ranges.get(&id).copied().filter(|_| newest.is_some());
        let (first, end, contents) = match range {
            Some((first, end)) => (first, end, None),
            None => {
                let mut contents =
                    Contents::read(&*file, id).map_err(failed("reading a segment"))?;
                if newest.is_none() && writes && prove_end(&*file, id, &contents).is_ok_and(|p| p) {
                    contents = Contents::read(&*file, id).map_err(failed("reading a segment"))?;
                }
                if contents.is_blank() {
                    // A kill came between the creation of the file and its first write.
                    to_remove.push(name);
                    continue;
                }
                let start = contents.start.as_ref().map(|(first, _)| *first);
                let Some(first) = start.or(contents.lowest()) else {
                    is_unreadable = true;
                    backlog.counted.loss.unreadable_files += 1;
                    let aside = format!("{name}.unreadable");
                    let moved = if !writes {
                        Ok(())
                    } else if contents.tail.garbage == 0 {
                        disk.remove(&name)
                    } else {
                        disk.rename(&name, &aside)
                    };
                    moved.map_err(failed("setting an unreadable segment aside"))?;
                    continue;
                };
                let end = match next {
                    // Later records are undecided.
                    None if writes => contents.durable.max(first),
                    None => contents.durable.max(first).max(contents.highest()),
                    // The indexes of a newer segment do not belong to this one.
                    Some(next) => contents.highest().max(contents.durable).min(next),
                };
                (first, end, Some(contents))
            }
        };
        let is_newest = newest.is_none();
        if is_newest && let Some(contents) = &contents {
            let undecided = Undecided::read(&*file, id, contents, end);
            newest = Some(undecided.map_err(failed("reading the end of a segment"))?);
        }
        next = Some(first);
        if first < end {
            let segment = Segment::new(id, name, file, first, end);
            lock(&log.index).segments.insert(first, segment);
            backlog
                .contents
                .extend(contents.map(|contents| (first, contents)));
        } else if is_newest {
            empty_newest = Some(name);
        } else {
            to_remove.push(name);
        }
    }
    // Its start alone may have the latest state, which holds for older segments: it stays with them.
    to_remove.extend(empty_newest.filter(|_| lock(&log.index).segments.is_empty()));
    let mut newest = newest.unwrap_or_default();
    if is_unreadable {
        newest.state = State::unknown();
    }
    log.continue_at(next_number, newest.durable, newest.state);
    backlog.counted.loss.torn_bytes = newest.torn;
    if !writes {
        return Ok((log, backlog));
    }
    if newest.torn > 0 || newest.highest > newest.durable || is_unreadable {
        backlog.undecided(&newest.entries);
        let records: Vec<_> = newest.records.iter().collect();
        let mut written = log.append(&records);
        if written.as_ref().is_err_and(|failed| is_full(&failed.error)) && log.reserve.release() {
            written = log.append(&records);
        }
        let doing = failed("writing the end of a segment again");
        written.map_err(|failed| doing(failed.error))?;
    }
    if !to_remove.is_empty() {
        // They must not come back once the segment is gone that says they are empty.
        let removed = to_remove.iter().try_for_each(|name| disk.remove(name));
        let synced = removed.and_then(|()| disk.sync());
        synced.map_err(failed("removing an empty segment"))?;
    }
    Ok((log, backlog))
}

/// The end of the newest segment: nothing proves that it is on the disk.
#[derive(Debug, Default)]
struct Undecided {
    /// The index where it begins.
    durable: u64,
    highest: u64,
    entries: Vec<Entry>,
    records: Vec<NewRecord>,
    torn: u64,
    /// The state at its end.
    state: State,
}

impl Undecided {
    fn read(file: &dyn DiskFile, id: u64, contents: &Contents, durable: u64) -> io::Result<Self> {
        let entries = contents
            .entries
            .iter()
            .filter(|entry| entry.place.index >= durable);
        let mut entries: Vec<_> = entries.cloned().collect();
        entries.sort_unstable_by_key(|entry| entry.place.index);
        let mut records = Vec::new();
        for entry in &entries {
            let bytes = read_record(file, entry.place)?;
            let (head, body) = split(&bytes, id).map_err(|_| io::ErrorKind::InvalidData)?;
            records.push(NewRecord::copied(head, body, entry.subject.clone()));
        }
        let highest = contents.highest().max(durable);
        let holes = contents.missing(durable, highest).len() as u64;
        // A segment is begun with both of its starts and its first records.
        let is_cut = u64::from(contents.records == 0 && contents.starts < 2);
        let broken = contents
            .broken
            .iter()
            .filter(|(index, _)| *index >= highest);
        let broken: u64 = broken.map(|(_, size)| size).sum();
        let torn = contents.tail.garbage + broken + (holes + is_cut) * HEAD as u64;
        let (state_at, state) = match (&contents.state, &contents.start) {
            (Some((index, state)), _) => (*index, state.clone()),
            (None, Some((index, start))) => (*index, start.state.clone()),
            (None, None) => (0, State::unknown()),
        };
        let is_whole = torn == 0 && contents.missing(state_at, durable).is_empty();
        Ok(Self {
            durable,
            highest,
            entries,
            records,
            torn,
            // A lost record may have been a state.
            state: if is_whole { state } else { State::unknown() },
        })
    }
}

/// Writes the records at the end whose sync nothing proves again, in their places, and seals them: the
/// page cache may show what the disk lost. Needs no room. Returns whether it was done, which takes an end
/// that is whole.
fn prove_end(file: &dyn DiskFile, id: u64, contents: &Contents) -> io::Result<bool> {
    let (durable, highest) = (contents.durable, contents.highest());
    let is_whole = contents.tail.garbage == 0
        && contents.starts >= 2
        && contents.broken.is_empty()
        && contents.missing(durable, highest).is_empty();
    let mut head = [0; HEAD];
    file.read_at(0, &mut head)?;
    let start = Head::decode(&head, id).filter(|head| head.kind == Kind::Start);
    let (Some(start), true) = (start, is_whole && highest > durable) else {
        return Ok(false);
    };
    let proven = contents.entries.iter().map(|entry| entry.place);
    let proven = proven.filter(|place| place.index < durable);
    let mut offset = proven
        .map(|place| place.offset + place.size)
        .max()
        .unwrap_or(0);
    while offset < contents.tail.end {
        let size = (contents.tail.end - offset).min(1 << 20);
        let bytes = read_record(
            file,
            Place {
                index: 0,
                offset,
                size,
            },
        )?;
        file.write_at(offset, &mut [IoSlice::new(&bytes)])?;
        offset += size;
    }
    file.sync()?;
    seal(file, id, seal_page(start.size()), highest)?;
    Ok(true)
}

/// Writes a seal over the older one of the two.
fn seal(file: &dyn DiskFile, id: u64, page: u64, highest: u64) -> io::Result<()> {
    let mut oldest = None;
    for slot in [page, page + SEAL_STEP] {
        let mut bytes = [0; HEAD];
        file.read_at(slot, &mut bytes)?;
        let sealed = Head::decode(&bytes, id).map(|head| head.durable_below);
        if oldest.is_none_or(|(before, _)| sealed < before) {
            oldest = Some((sealed, slot));
        }
    }
    let slot = oldest.map_or(page, |(_, slot)| slot);
    let mut bytes = Vec::new();
    let head = Head::of(Kind::Seal, highest, highest, &[]);
    put_record(&head, id, &[], &mut bytes);
    file.write_at(slot, &mut [IoSlice::new(&bytes)])?;
    file.sync()
}

impl State {
    /// Everything may be stored, anywhere in each stream.
    fn unknown() -> Self {
        Self {
            replay_began: true,
            baselines: BTreeMap::new(),
        }
    }
}

/// The bytes of a record.
pub(crate) fn read_record(file: &dyn DiskFile, place: Place) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(place.size).unwrap_or(usize::MAX)];
    let read = file.read_at(place.offset, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes.into())
}

/// The start record of a segment with its first index, from either place.
fn read_start(file: &dyn DiskFile, id: u64) -> io::Result<Result<Option<(u64, Start)>, u32>> {
    let mut head = [0; HEAD];
    for offset in (0..MAX_START).step_by(4_096) {
        if file.read_at(offset, &mut head)? < HEAD {
            break;
        }
        let Some(head) = Head::decode(&head, id).filter(|head| head.kind == Kind::Start) else {
            continue;
        };
        let (index, size) = (head.index, head.size());
        let place = Place {
            index,
            offset,
            size,
        };
        if let Ok((_, body)) = split(&read_record(file, place)?, id) {
            return Ok(Start::decode(&body).map(|start| start.map(|start| (index, start))));
        }
    }
    Ok(Ok(None))
}

/// The number and bytes of a log's events and dead letters.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Events and their bytes, by subject.
    pub(crate) subjects: HashMap<Subject, (u64, u64)>,
    pub(crate) letters: (u64, u64),
    pub(crate) loss: SpoolLoss,
}

impl Counted {
    fn of(&mut self, subject: Option<&Subject>) -> &mut (u64, u64) {
        let Some(subject) = subject else {
            return &mut self.letters;
        };
        if !self.subjects.contains_key(subject) {
            self.subjects.insert(subject.clone(), (0, 0));
        }
        self.subjects.entry(subject.clone()).or_default()
    }

    fn add(&mut self, subject: Option<&Subject>, bytes: u64) {
        let counts = self.of(subject);
        counts.0 += 1;
        counts.1 += bytes;
    }
}

impl Backlog {
    /// Counts the records that are written again.
    fn undecided(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.counted.add(entry.subject.as_ref(), entry.place.size);
            self.replaced
                .extend(Some(entry.replaces).filter(|index| *index != NONE));
        }
    }

    /// The bytes of segments that are not scanned.
    pub(crate) fn bytes(&self) -> u64 {
        let index = lock(&self.index);
        let unscanned = index
            .segments
            .values()
            .filter(|segment| !segment.is_scanned);
        unscanned
            .map(|segment| segment.file.len().unwrap_or(0))
            .sum()
    }

    /// Scans the remaining segments, and counts everything. `None` if `goes_on` ended it.
    pub(crate) fn scan(mut self, goes_on: impl Fn() -> bool) -> Option<Counted> {
        let segments: Vec<_> = {
            let index = lock(&self.index);
            let unscanned = index
                .segments
                .values()
                .filter(|segment| !segment.is_scanned);
            let unscanned = unscanned.map(|s| (s.first, s.end, s.id, Arc::clone(&s.file)));
            unscanned.collect()
        };
        for (first, end, id, file) in segments {
            if !goes_on() {
                return None;
            }
            let contents = match self.contents.remove(&first) {
                Some(contents) => contents,
                None => match Contents::read(&*file, id).or_else(|_| Contents::read(&*file, id)) {
                    Ok(contents) => contents,
                    // It stays as it is, for the next opening.
                    Err(error) => {
                        error!(%error, "a segment of the spool can't be read");
                        self.counted.loss.unreadable_files += 1;
                        continue;
                    }
                },
            };
            let missing = contents.missing(first, end);
            self.counted.loss.damaged += missing.len() as u64;
            self.add(first, end, contents, &missing);
        }
        let mut index = lock(&self.index);
        index.complete();
        for replaced in self.replaced {
            if let Some((subject, bytes)) = index.replace(replaced) {
                let counts = self.counted.of(subject.as_ref());
                *counts = (counts.0.saturating_sub(1), counts.1.saturating_sub(bytes));
            }
        }
        self.counted.subjects.retain(|_, (events, _)| *events > 0);
        Some(self.counted)
    }

    fn add(&mut self, first: u64, end: u64, contents: Contents, missing: &[u64]) {
        let mut index = lock(&self.index);
        let Some(segment) = index.segments.get_mut(&first) else {
            return;
        };
        segment.tail = contents.tail.end;
        segment.is_scanned = true;
        let gone = contents
            .gone
            .into_iter()
            .flat_map(|(index, count)| index.max(first)..index.saturating_add(count).min(end));
        let gone = gone
            .chain(contents.states)
            .filter(|index| (first..end).contains(index));
        for index in gone {
            segment.set_gone(index);
        }
        for index in missing {
            segment.set_gone(*index);
            // So that it is counted once.
            segment.unmarked.push(*index);
        }
        // They are marked again: the page cache may show a mark that the disk lost.
        let last = contents.last_gone.into_iter();
        let last =
            last.flat_map(|(index, count)| index.max(first)..index.saturating_add(count).min(end));
        segment.unmarked.extend(last);
        let mut entries = contents.entries;
        entries.retain(|entry| {
            let index = entry.place.index;
            (first..end).contains(&index) && !segment.is_gone(index)
        });
        entries.sort_by_key(|entry| entry.place.index);
        segment.live = entries.len() as u64;
        for entry in entries {
            self.counted.add(entry.subject.as_ref(), entry.place.size);
            self.replaced
                .extend(Some(entry.replaces).filter(|index| *index != NONE));
            index.insert(entry.subject, entry.place);
        }
    }
}

impl Index {
    /// Takes away a record that another one has replaced; returns its subject and bytes if it was live.
    fn replace(&mut self, index: u64) -> Option<(Option<Subject>, u64)> {
        if self.is_gone(index) {
            return None;
        }
        let find = |places: &Places| {
            places
                .from(index)
                .next()
                .filter(|place| place.index == index)
        };
        let (subject, place) = match find(&self.letters) {
            Some(place) => (None, place),
            None => self.subjects.iter().find_map(|(subject, places)| {
                find(places).map(|place| (Some(subject.clone()), place))
            })?,
        };
        self.leave(index);
        self.trim(subject.as_ref());
        Some((subject, place.size))
    }
}
