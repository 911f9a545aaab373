//! The thread that reads followed logs, one after another, and sends their lines.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use super::generation::{AtEnd, Readable, Reading, Time};
use super::live::{FixedFile, LiveFile, LiveState};
use super::track::{Checkpoint, Clock, Track, Tracks, identify};
use crate::lines::Lines;
use crate::publish::input::decode::Form;
use crate::publish::input::reader::{BATCH_BYTES, Converted, LineFormat, Reader, Stopped};
use crate::publish::input::trail::{ChainProgress, HEAD_WAIT, ReadBefore};
use crate::publish::input::{Batch, Line, LineLocation, Stops};

/// The wait between two looks at files without new lines: after new lines, and after a second without any.
const POLL: Duration = Duration::from_millis(20);
const IDLE_POLL: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(1);

/// A generation that is being read.
struct Current {
    number: u64,
    version: u32,
    name: Arc<str>,
    lines: Lines,
    format: LineFormat,
    /// The position at which it was opened.
    start: Start,
    /// The rows before that position, if their breaks are still to be reported.
    unreported: Option<ChainProgress>,
    /// The lines before this offset were read before. A chain is verified from its first line.
    wanted_from: u64,
    location: LineLocation,
    offset: u64,
    state: LiveState,
    /// Whether its beginning was sent.
    is_opened: bool,
    /// The report of a break that was found when it was opened.
    lost: Option<Line>,
    /// Time at which its end was read first while rows are missing there.
    short_since: Option<Time>,
}

/// The position behind the lines that were read before a generation was opened.
#[derive(Clone, Copy)]
struct Start {
    offset: u64,
    line: u64,
    chain: Option<ChainProgress>,
}

pub(super) struct LogReader {
    reader: Reader,
    tracks: Tracks,
    clock: Clock,
    /// By the addresses of their tracks.
    currents: HashMap<*const Track, Current>,
}

/// Reads until the command ends.
pub(super) fn read_logs(reader: Reader, tracks: Tracks, clock: Clock) {
    let mut logs = LogReader {
        reader,
        tracks,
        clock,
        currents: HashMap::new(),
    };
    let mut last_line = clock.now();
    while !logs.reader.sender.is_closed() {
        match logs.round() {
            Err(Stopped) => return,
            Ok(true) => last_line = clock.now(),
            Ok(false) if clock.now() < last_line + IDLE => sleep(POLL),
            Ok(false) => sleep(IDLE_POLL),
        }
    }
}

impl LogReader {
    /// Reads a batch of each log. Returns whether there was any.
    fn round(&mut self) -> Result<bool, Stopped> {
        let mut has_read = false;
        for track in self.tracks.all() {
            has_read |= self.step(&track)?;
        }
        Ok(has_read)
    }

    /// Reads a batch of one log. Returns whether the log may have more at once.
    fn step(&mut self, track: &Arc<Track>) -> Result<bool, Stopped> {
        let now = self.clock.now();
        let Some(reading) = track.history().next(now) else {
            return Ok(false);
        };
        let key = Arc::as_ptr(track);
        let mut current = match self.currents.remove(&key) {
            Some(current)
                if (current.number, current.version) == (reading.number, reading.version) =>
            {
                current
            }
            _ => match Current::open(track, &self.reader, reading) {
                Ok(current) => current,
                Err((number, error)) => {
                    track.history().unreadable(number, error.to_string());
                    return Ok(true);
                }
            },
        };
        let may_continue = current.read(track, &self.reader, now)?;
        self.currents.insert(key, current);
        Ok(may_continue)
    }
}

impl Readable<Arc<File>> {
    /// Its content from the first byte.
    fn whole(&self) -> Box<dyn io::Read + Send> {
        let (file, form) = match self {
            Self::File(file, _) => (file, Form::Plain),
            Self::Fixed(file, form) => (file, *form),
        };
        let file = Arc::clone(file);
        form.decode(FixedFile { file, offset: 0 })
    }
}

impl Current {
    fn open(
        track: &Arc<Track>,
        reader: &Reader,
        reading: Reading<Arc<File>>,
    ) -> Result<Self, (u64, io::Error)> {
        let number = reading.number;
        let failed = |error| (number, error);
        let state = LiveState::default();
        let mut format = reader.line_format(match &reading.source {
            Readable::File(file, _) => Some((&*reading.path, &**file)),
            Readable::Fixed(..) => None,
        });
        let location = LineLocation {
            file: Arc::clone(&reading.path),
            index: track.index,
            line: reading.line,
            event: None,
        };
        let mut start = Start {
            offset: reading.offset,
            line: reading.line,
            chain: reading.chain,
        };
        let (mut offset, mut line, mut wanted_from) = (start.offset, start.line, start.offset);
        let (mut unreported, mut lost) = (None, None);
        if let LineFormat::Trail(trail) = &mut format {
            let before = ReadBefore {
                offset,
                line,
                chain: reading.chain,
                previous: reading.previous_chain,
            };
            let content = || reading.source.whole();
            let resumed = trail.resume(before, &location, content).map_err(failed)?;
            (offset, line, wanted_from) = (resumed.offset, resumed.line, resumed.wanted_from);
            start.chain = resumed.chain;
            (unreported, lost) = (resumed.unreported, resumed.lost);
        }
        let lines = match reading.source {
            Readable::File(file, head) => {
                Lines::new(LiveFile::new(file, offset, head, state.clone()).map_err(failed)?)
            }
            Readable::Fixed(file, form @ Form::Plain) => {
                Lines::new(form.decode(FixedFile { file, offset }))
            }
            Readable::Fixed(file, form) => {
                let mut source = form.decode(FixedFile { file, offset: 0 });
                let before = &mut io::Read::take(&mut source, offset);
                io::copy(before, &mut io::sink()).map_err(failed)?;
                Lines::new(source)
            }
        };
        Ok(Self {
            number,
            version: reading.version,
            name: reading.name,
            lines,
            format,
            start,
            unreported,
            wanted_from,
            location: LineLocation { line, ..location },
            offset,
            state,
            is_opened: false,
            lost,
            short_since: None,
        })
    }

    /// Reads a batch. Returns whether there may be more at once.
    fn read(&mut self, track: &Arc<Track>, reader: &Reader, now: Time) -> Result<bool, Stopped> {
        let opening = self.checkpoint(track);
        let mut batch: Vec<Line> = self.lost.take().into_iter().collect();
        let mut bytes = 0;
        let mut at_end = false;
        while bytes < BATCH_BYTES {
            match self.lines.next_whole() {
                Ok(Some((raw, length))) => {
                    bytes += raw.len();
                    batch.extend(self.line(track, reader, raw, length).into_iter().flatten());
                }
                Ok(None) => {
                    at_end = true;
                    break;
                }
                Err(error) => {
                    self.send(track, reader, opening, batch, now)?;
                    track.history().unreadable(self.number, error.to_string());
                    return Ok(true);
                }
            }
        }
        if at_end && !self.state.is_truncated() {
            let verdict = track.history().at_end(self.number, now);
            if verdict == AtEnd::Wait {
                batch.extend(self.missing_rows(track, now));
            } else {
                batch.extend(self.rest(track, reader, verdict).into_iter().flatten());
                batch.extend(self.end(track));
                self.send(track, reader, opening, batch, now)?;
                track.history().finish(self.number);
                return Ok(true);
            }
        }
        self.send(track, reader, opening, batch, now)?;
        if self.state.is_truncated() {
            track.history().truncated(self.number, now);
            return Ok(true);
        }
        Ok(!at_end)
    }

    /// The report that rows are missing at the present end, once that has been so for a while.
    fn missing_rows(&mut self, track: &Arc<Track>, now: Time) -> Option<Line> {
        if !self.format.is_short(self.lines.unfinished()) {
            self.short_since = None;
            return None;
        }
        let since = *self.short_since.get_or_insert(now);
        (now >= since + HEAD_WAIT).then(|| self.end(track))?
    }

    /// The report that rows are missing at the end.
    fn end(&mut self, track: &Arc<Track>) -> Option<Line> {
        let broken = self.format.end(&self.location)?;
        Some(self.pass(track, broken))
    }

    /// Sets the position behind a break, unless the break ends the run.
    fn pass(&self, track: &Arc<Track>, broken: Line) -> Line {
        let is_passed = !matches!(&broken.event, Err(bad) if bad.stops == Stops::Command);
        Line {
            checkpoint: is_passed.then(|| self.checkpoint(track)),
            ..broken
        }
    }

    /// Converts the bytes behind the last line end, if they are a line.
    fn rest(&mut self, track: &Arc<Track>, reader: &Reader, verdict: AtEnd) -> Converted {
        let Some((raw, length)) = self.lines.rest() else {
            return Converted::default();
        };
        let (offset, location) = (self.offset, self.location.clone());
        let converted = self.line(track, reader, raw, length);
        if verdict == AtEnd::FinishCopy && !self.format.is_line(&converted) {
            // The copy ends within a line.
            (self.offset, self.location) = (offset, location);
            return Converted::default();
        }
        converted
    }

    fn line(
        &mut self,
        track: &Arc<Track>,
        reader: &Reader,
        raw: bytes::Bytes,
        length: u64,
    ) -> Converted {
        let began = self.offset;
        self.offset += length;
        self.location.line += 1;
        let is_skipped = self.number == 1 && self.location.line < track.from_line;
        let wanted = !is_skipped && self.offset > self.wanted_from;
        let (location, binding) = (&self.location, &reader.binding);
        let [broken, line] = self.format.convert(raw, location, binding, wanted);
        // The position stays before a row until that has a result.
        let broken = broken.map(|broken| match line {
            None => self.pass(track, broken),
            Some(_) => broken,
        });
        let line = line.map(|mut line| {
            if track.position.is_some() {
                let name = &self.name;
                line.event = line.event.map(|event| identify(event, name, began));
            }
            line.checkpoint = Some(self.checkpoint(track));
            line
        });
        [broken, line]
    }

    /// The position behind the lines that were read by this run or an earlier one.
    fn checkpoint(&self, track: &Arc<Track>) -> Checkpoint {
        let Start {
            offset,
            line,
            chain,
        } = if self.offset <= self.wanted_from {
            // The next run reports no break again that this one has reported.
            let reported = self.unreported.filter(|unreported| {
                let read = self.format.progress();
                read.is_some_and(|read| read.breaks == unreported.breaks)
            });
            Start {
                chain: reported.or(self.start.chain),
                ..self.start
            }
        } else {
            Start {
                offset: self.offset,
                line: self.location.line,
                chain: self.format.progress(),
            }
        };
        Checkpoint {
            track: Arc::clone(track),
            number: self.number,
            offset,
            line,
            chain,
        }
    }

    fn send(
        &mut self,
        track: &Arc<Track>,
        reader: &Reader,
        opening: Checkpoint,
        batch: Vec<Line>,
        now: Time,
    ) -> Result<(), Stopped> {
        let passed = self.checkpoint(track);
        // The position never passes a break that ends the run: its generation stays unread.
        let sent = batch.last().map(|last| {
            let checkpoint = last.checkpoint.as_ref();
            checkpoint.map_or(passed.offset, |checkpoint| checkpoint.offset)
        });
        let mut history = track.history();
        history.read(self.number, passed.offset, passed.line, sent);
        history.read_chain(self.number, passed.chain);
        if !batch.is_empty() || passed.offset != opening.offset {
            // The position that is saved behind these lines has to identify their content.
            history.read_start(self.number, self.state.head(), now);
        }
        drop(history);
        if batch.is_empty() {
            return Ok(());
        }
        if !std::mem::replace(&mut self.is_opened, true) {
            reader.send(Batch::Opened(opening))?;
        }
        reader.send(Batch::Lines(batch))
    }
}
