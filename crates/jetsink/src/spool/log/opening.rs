//! Opens a log in whatever state its folder is.
//!
//! The newest segment has the index ranges of the older ones, so only it is read first; [`Backlog::scan`] reads
//! the others while new events are appended. An index below the highest `durable_below` that is neither
//! found nor marked as delivered is damaged. Above that, an incomplete end is torn, or was damaged before
//! the writer became idle. Whole records there are written once more, in their places, before they count: the
//! page cache may show records that the disk lost.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::error;

use super::active::Active;
use super::backlog::{Backlog, Unscanned};
use super::contents::{Contents, Ending};
use super::disk::{Disk, DiskFile};
use super::event::NewRecord;
use super::format::{Range, State, VERSION, put_record};
use super::index::Segment;
use super::reserve::{self, is_full};
use super::rewrite::TEMPORARY;
use super::scan::scan;
use super::seal::{self, Seal};
use super::writer::{Failed, Log, parse_name};
use crate::outcome::SpoolError;
use crate::spool::clock::Clock;
use crate::sync::lock;

/// Opens the log in a folder that is locked. New segments get about `segment_bytes`; without it nothing is changed.
///
/// # Errors
/// [`SpoolError`]: another format, or the disk.
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    segment_bytes: Option<u64>,
) -> Result<(Log, Backlog), SpoolError> {
    let names = disk.list().map_err(disk.failed("listing its files"))?;
    if names.iter().any(|name| name == "spool.redb") {
        let path = disk.path().join("spool.redb");
        return Err(SpoolError::OldStore { path });
    }
    let writes = segment_bytes.is_some();
    let mut log = Log::new(Arc::clone(&disk), segment_bytes.unwrap_or(0));
    let mut segments = Vec::new();
    for name in names {
        if name.ends_with(TEMPORARY) && writes {
            let removed = disk.remove(&name);
            removed.map_err(disk.failed("removing an unused segment"))?;
        } else if name == seal::NAME {
            let read = log.seals.read(&*disk);
            read.map_err(disk.failed("opening its seal"))?;
        } else if let Some((number, id)) = parse_name(&name) {
            segments.push((number, id, name));
        }
    }
    segments.sort_unstable();
    let sealed = log.seals.last;
    log.clock = Clock::start(sealed.map(|seal| seal.clock), SystemTime::now);
    log.next_number = segments.last().map_or(1, |(number, ..)| number + 1);
    let mut opening = Opening {
        backlog: Backlog::new(Arc::clone(&log.index)),
        disk,
        sealed,
        writes,
        ranges: HashMap::new(),
        left: Vec::new(),
        newest: None,
        next: u64::MAX,
        is_lost: false,
        to_remove: Vec::new(),
    };
    for (_, id, name) in segments.into_iter().rev() {
        opening.add(id, name)?;
    }
    opening.finish(&mut log)?;
    Ok((log, opening.backlog))
}

/// An opening that has added the newer segments.
struct Opening {
    backlog: Backlog,
    disk: Arc<dyn Disk>,
    sealed: Option<Seal>,
    writes: bool,
    /// The ranges of older segments, by id.
    ranges: HashMap<u64, Range>,
    /// Indexes that have left without a mark in their segment: a newer segment says so.
    left: Vec<u64>,
    newest: Option<Newest>,
    /// The first index of the next newer segment.
    next: u64,
    /// Whether the newest segment is missing or unreadable.
    is_lost: bool,
    to_remove: Vec<String>,
}

/// The newest segment that can be read.
struct Newest {
    id: u64,
    name: String,
    first: u64,
    /// Behind its last index.
    end: u64,
    tail: u64,
    ending: Ending,
    /// Whether it is written to again.
    continues: bool,
}

impl Opening {
    fn add(&mut self, id: u64, name: String) -> Result<(), SpoolError> {
        // The newest segment that knows of another is right.
        if let Some(range) = self.ranges.remove(&id) {
            self.insert(id, name, range, None);
            return Ok(());
        }
        let disk = Arc::clone(&self.disk);
        let file = disk.open(&name);
        let file = file.map_err(disk.failed("opening a segment"))?;
        let contents = Contents::read(&*file, id);
        let contents = contents.map_err(disk.failed("reading a segment"))?;
        if let Some(found) = contents.other_version {
            return Err(SpoolError::Format {
                path: disk.path().join(name),
                found: u64::from(found),
                expected: u64::from(VERSION),
            });
        }
        self.left.extend(contents.left());
        if let Some(start) = &contents.start {
            for (older, range) in &start.older {
                self.ranges.entry(*older).or_insert(range.bounded());
            }
        }
        match contents.first {
            Some(first) => self.insert_read(id, name, first, contents),
            // A kill came between the creation of the file and its first write, or the seal knows better.
            None if contents.tail.garbage == 0 => self.to_remove.push(name),
            None => {
                self.is_lost = true;
                self.backlog.loss.unreadable_files += 1;
                if self.writes {
                    let moved = disk.rename(&name, &format!("{name}.unreadable"));
                    moved.map_err(disk.failed("setting an unreadable segment aside"))?;
                }
            }
        }
        Ok(())
    }

    fn insert_read(&mut self, id: u64, name: String, first: u64, mut contents: Contents) {
        let mut end = contents.end.max(contents.durable).max(first);
        if self.newest.is_none() {
            let sealed = self.sealed.filter(|seal| seal.segment == id);
            let sealed = sealed.map_or(0, |seal| seal.durable_below);
            let durable = contents.durable.max(first).max(sealed);
            let ending = contents.ending(durable);
            let holes = ending.holes.iter().map(|index| (*index, 1));
            contents.gone.extend(holes);
            end = end.max(durable);
            self.newest = Some(Newest {
                id,
                name: name.clone(),
                first,
                end,
                tail: contents.tail.end,
                ending,
                continues: end > first && contents.starts >= 2 && !contents.tail.is_unreadable,
            });
        }
        // The indexes of a newer segment do not belong to this one.
        let end = end.min(self.next);
        let bytes = contents.entries.iter().map(|entry| entry.place.size).sum();
        self.insert(id, name, Range { first, end, bytes }, Some(contents));
    }

    fn insert(&mut self, id: u64, name: String, range: Range, contents: Option<Contents>) {
        let Range { first, end, .. } = range;
        self.next = first;
        if end <= first {
            self.to_remove.push(name);
            return;
        }
        let mut segment = Segment::new(id, &name, range);
        segment.tail = contents.as_ref().map_or(0, |contents| contents.tail.end);
        lock(&self.backlog.index).add_segment(segment);
        self.backlog.unscanned.push(Unscanned { range, contents });
    }

    fn finish(&mut self, log: &mut Log) -> Result<(), SpoolError> {
        let newest = self.newest.take();
        let (first, end) = newest.as_ref().map_or((0, 0), |n| (n.first, n.end));
        let found = newest.as_ref().map(|newest| newest.id);
        let sealed_below = self.sealed.map_or(0, |seal| seal.durable_below);
        if let Some(seal) = self.sealed
            && Some(seal.segment) != found
            && first < sealed_below
        {
            // The newest segment was cut to nothing, or removed.
            let loss = &mut self.backlog.loss;
            loss.unreadable_files += u64::from(!self.is_lost);
            loss.damaged += sealed_below.saturating_sub(seal.first.max(end));
            self.is_lost = true;
        }
        let ending = newest.as_ref().map(|newest| &newest.ending);
        let state = match ending {
            _ if self.is_lost => None,
            Some(ending) => ending.state.clone(),
            None => Some(State::default()),
        };
        let is_known = state.is_some();
        self.backlog.loss.torn_bytes = ending.map_or(0, |ending| ending.torn);
        if self.writes && !self.backlog.loss.is_none() {
            // At once: the next opening finds the repaired files, also if this process is killed now.
            error!("at the opening: {}", self.backlog.loss);
        }
        log.next_index = end.max(sealed_below);
        {
            let mut index = lock(&log.index);
            index.state = state.unwrap_or_else(State::unknown);
            // Before a segment is begun, whose start has them: it may be the only one that the next opening reads.
            index.have_left(&self.left);
        }
        if !self.writes {
            return Ok(());
        }
        let disk = &self.disk;
        // A process that was killed may not have synced a name.
        disk.sync().map_err(disk.failed("syncing its folder"))?;
        if !self.backlog.unscanned.is_empty() {
            // The start of an empty newest segment may have the latest state, which holds for the older ones.
            let is_newest = |name: &String| newest.as_ref().is_some_and(|n| n.name == *name);
            self.to_remove.retain(|name| !is_newest(name));
        }
        let repaired = repair(log, newest, is_known, self.is_lost);
        repaired.map_err(disk.failed("writing the end of a segment again"))?;
        if !self.to_remove.is_empty() {
            // They must not come back once the segment is gone that says they are empty.
            let mut names = self.to_remove.iter();
            let removed = names.try_for_each(|name| disk.remove(name));
            let synced = removed.and_then(|()| disk.sync());
            synced.map_err(disk.failed("removing an empty segment"))?;
        }
        Ok(())
    }
}

/// Writes the unproven end of the newest segment again, and an unknown state if the latest one may be lost. Only
/// the state needs room.
fn repair(
    log: &mut Log,
    newest: Option<Newest>,
    is_state_known: bool,
    is_lost: bool,
) -> io::Result<()> {
    let (mut holes, mut torn, mut is_proven) = (Vec::new(), None, true);
    if let Some(newest) = newest {
        is_proven = newest.ending.is_proven;
        let file = log.disk.open(&newest.name)?;
        if !is_proven {
            let again = || write_again(&*file, newest.id, newest.ending.proven_end);
            match again() {
                // A file system that writes no block in its place.
                Err(error) if is_full(&error) && reserve::release(&*log.disk) => again()?,
                written => written?,
            }
        }
        // The indexes of a lost segment belong to none.
        let continues = newest.continues && !is_lost;
        if let Some(segment) = lock(&log.index).segments.get_mut(&newest.first) {
            segment.unmarked.extend(&newest.ending.holes);
            segment.is_active = continues;
        }
        holes = newest.ending.holes;
        if continues {
            torn = (newest.ending.torn > 0).then_some(newest.id);
            log.active = Some(Active {
                id: newest.id,
                first: newest.first,
                name: newest.name,
                file,
                tail: newest.tail,
                zeros_end: 0,
            });
        }
    }
    if !is_state_known {
        let state = NewRecord::state(&lock(&log.index).state.clone(), &holes);
        let appended = log.append(&[&state]);
        appended.map_err(|Failed { error, .. }| error)?;
        // The rest of the torn end goes, unless the state is in another segment.
        if let Some(active) = log.active.as_ref().filter(|active| Some(active.id) == torn) {
            active.file.set_len(active.tail)?;
            active.file.sync()?;
        }
    } else if !is_proven {
        // Without a seal it is done again the next time.
        let _ = log.seal();
    }
    Ok(())
}

/// Writes the records behind an offset once more.
fn write_again(file: &dyn DiskFile, id: u64, from: u64) -> io::Result<()> {
    let mut written = Ok(());
    let mut bytes = Vec::new();
    scan(file, id, |offset, head, body| {
        if let Some(body) = body.filter(|_| offset >= from && written.is_ok()) {
            bytes.clear();
            put_record(head, id, body, &mut bytes);
            written = file.write_at(offset, &mut [IoSlice::new(&bytes)]);
        }
    })?;
    written?;
    file.sync()
}
