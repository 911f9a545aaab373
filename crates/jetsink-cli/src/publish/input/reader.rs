//! Reads one file or pipe to its end and sends its lines in batches.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use jetsink::{Binding, BindingError, CloudEvent, Envelope, Validation};
use tokio::sync::mpsc;

use super::foreign::{hint, is_row};
use super::trail::{ChainProgress, HEAD_WAIT, Trail};
use super::values::{Position, Step, Value, Values};
use super::{BadLine, Batch, Line, LineLocation, Stops};
use crate::lines::{LineContent, Lines, MAX_LINE, content};
use crate::output::note;
use crate::publish::arguments::{Format, OnBrokenChain};
use crate::publish::settings::Settings;

/// A batch is sent when it contains this many bytes, or when the next read would block.
pub(super) const BATCH_BYTES: usize = 128 << 10;

/// The most bytes by which a line's attributes grow in binary mode and back: a stream stores no more bytes of headers than
/// these.
const MAX_GROWTH: usize = 64 << 10;

/// The capacity of the channel, in batches.
const BATCHES_AHEAD: usize = 8;

/// Reading stops: the receiver is gone, or a read error was sent.
#[derive(Debug)]
pub(super) struct Stopped;

/// Reads lines and converts them to envelopes.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) binding: Binding,
    format: Format,
    on_broken_chain: OnBrokenChain,
    pub(super) sender: mpsc::Sender<Batch>,
}

impl Reader {
    pub(super) fn new(settings: &Settings) -> (Self, mpsc::Receiver<Batch>) {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let reader = Self {
            binding: settings.binding.clone(),
            format: settings.format,
            on_broken_chain: settings.on_broken_chain,
            sender,
        };
        (reader, batches)
    }

    pub(super) fn send(&self, batch: Batch) -> Result<(), Stopped> {
        self.sender.blocking_send(batch).map_err(|_| Stopped)
    }

    /// The format of a source's lines. A file is named before its first line is read.
    pub(super) fn line_format(&self, file: Option<(&Path, &File)>) -> LineFormat {
        match (self.format, file) {
            (Format::Lines | Format::Json, _) => LineFormat::Events,
            (Format::CellosAuditTrail, None) => {
                LineFormat::Trail(Box::new(Trail::new(self.on_broken_chain)))
            }
            (Format::CellosAuditTrail, Some((path, file))) => {
                LineFormat::Trail(Box::new(Trail::of_file(path, file, self.on_broken_chain)))
            }
        }
    }

    /// Reads to the end. Lines or events before `from_line`, counted from 1, are skipped.
    pub(super) fn read(
        &self,
        source: Box<dyn Read + Send>,
        mut format: LineFormat,
        mut location: LineLocation,
        from_line: u64,
    ) -> Result<(), Stopped> {
        let last = match self.format {
            Format::Lines | Format::CellosAuditTrail => {
                self.read_open_ended(Lines::new(source), &mut format, location.clone(), from_line)?
            }
            Format::Json => self.read_values(Values::new(source), location.clone(), from_line)?,
        };
        if last + 1 < from_line {
            location.line = last + 1;
            let reason = format!("it ends here, before --from-line {from_line}");
            self.send(Batch::Failed { location, reason })?;
            return Err(Stopped);
        }
        Ok(())
    }

    /// Reads JSON values to the end; returns the number of the last one.
    fn read_values(
        &self,
        mut source: Values,
        mut location: LineLocation,
        from_event: u64,
    ) -> Result<u64, Stopped> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        let mut number = 0;
        loop {
            let step = source.step();
            // An event from a pipe is sent at once.
            let is_due = bytes >= BATCH_BYTES || !matches!(step, Step::Value(_));
            if is_due && !lines.is_empty() {
                self.send(Batch::Lines(std::mem::take(&mut lines)))?;
                bytes = 0;
            }
            match step {
                Step::End => return Ok(number),
                Step::NeedsBytes => {
                    if let Err(error) = source.fill() {
                        location.event = Some(number + 1);
                        let reason = error.to_string();
                        self.send(Batch::Failed { location, reason })?;
                        return Err(Stopped);
                    }
                }
                Step::Value(value) => {
                    number += 1;
                    (location.line, location.event) = (value.start.line, Some(number));
                    // The end of a broken stream is never skipped: the events behind it would be lost silently.
                    if number >= from_event || value.ends_input {
                        bytes += value.raw.len();
                        lines.push(check_value(value, location.clone(), &self.binding));
                    }
                }
            }
        }
    }

    /// Reads to the end; returns the number of the last line.
    pub(super) fn read_open_ended(
        &self,
        mut source: Lines,
        format: &mut LineFormat,
        mut location: LineLocation,
        from_line: u64,
    ) -> Result<u64, Stopped> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        loop {
            location.line += 1;
            let (raw, _) = match source.next() {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(error) => {
                    self.send(Batch::Lines(std::mem::take(&mut lines)))?;
                    let reason = error.to_string();
                    self.send(Batch::Failed { location, reason })?;
                    return Err(Stopped);
                }
            };
            let wanted = location.line >= from_line;
            let converted = format.convert(raw, &location, &self.binding, wanted);
            for line in converted.into_iter().flatten() {
                bytes += line.raw.len();
                lines.push(line);
            }
            // A single line from a pipe is sent at once.
            if bytes >= BATCH_BYTES || (!source.has_next() && !lines.is_empty()) {
                self.send(Batch::Lines(std::mem::take(&mut lines)))?;
                bytes = 0;
            }
        }
        location.line -= 1;
        if format.is_short(&[]) {
            self.send(Batch::Lines(std::mem::take(&mut lines)))?;
            std::thread::sleep(HEAD_WAIT);
        }
        lines.extend(format.end(&location));
        if format.has_unverified_end() {
            let file = location.file.display();
            note(&format!(
                "{file}: the end of the trail was not verified: there is no .head file beside it"
            ));
        }
        if !lines.is_empty() {
            self.send(Batch::Lines(lines))?;
        }
        Ok(location.line)
    }
}

/// The result of a line: a break of a chain before it, and its event or the reason why it has none.
pub(super) type Converted = [Option<Line>; 2];

/// The format of a source's lines.
#[derive(Debug)]
pub(super) enum LineFormat {
    /// An event per line.
    Events,
    Trail(Box<Trail>),
}

impl LineFormat {
    /// Converts a line. One that is not `wanted` was published before; it counts in a chain only.
    pub(super) fn convert(
        &mut self,
        raw: Bytes,
        location: &LineLocation,
        binding: &Binding,
        wanted: bool,
    ) -> Converted {
        match self {
            Self::Events if wanted => [None, check(raw, location.clone(), binding)],
            Self::Events => [None, None],
            Self::Trail(trail) => trail.next(raw, location, binding, wanted),
        }
    }

    /// Whether the last line is one of this format, and no part of one.
    pub(super) fn is_line(&self, converted: &Converted) -> bool {
        match self {
            Self::Events => converted.iter().flatten().all(|line| line.event.is_ok()),
            Self::Trail(trail) => trail.is_row,
        }
    }

    /// The rows of a chain that were read.
    pub(super) fn progress(&self) -> Option<ChainProgress> {
        match self {
            Self::Events => None,
            Self::Trail(trail) => Some(trail.progress()),
        }
    }

    /// Whether rows of a chain are missing at the end of the source, so far; `rest` has the bytes behind the last line end.
    pub(super) fn is_short(&self, rest: &[u8]) -> bool {
        match self {
            Self::Events => false,
            Self::Trail(trail) => trail.is_short(rest),
        }
    }

    /// Whether nothing is known with which the end of a chain can be checked.
    fn has_unverified_end(&self) -> bool {
        match self {
            Self::Events => false,
            Self::Trail(trail) => trail.has_unverified_end(),
        }
    }

    /// Checks the end of the source; `location` is its last line.
    pub(super) fn end(&mut self, location: &LineLocation) -> Option<Line> {
        match self {
            Self::Events => None,
            Self::Trail(trail) => trail.end(location),
        }
    }
}

/// Converts a line; `None` for an empty line.
fn check(raw: Bytes, location: LineLocation, binding: &Binding) -> Option<Line> {
    let raw = match content(raw, location.line) {
        LineContent::Text(raw) => raw,
        LineContent::Empty => return None,
        LineContent::TooLong => {
            return Some(Line {
                raw: Bytes::new(),
                event: Err(BadLine {
                    line: location.line,
                    column: MAX_LINE + 1,
                    message: format!("the line is longer than {MAX_LINE} bytes"),
                    stops: Stops::Choice,
                }),
                location,
                checkpoint: None,
            });
        }
    };
    let start = Position {
        line: location.line,
        column: 1,
    };
    let is_first = location.line == 1;
    Some(checked(raw, location, start, binding, |raw| {
        hint(raw, is_first)
    }))
}

/// Converts a JSON value.
fn check_value(value: Value, location: LineLocation, binding: &Binding) -> Line {
    match value.problem {
        None => checked(value.raw, location, value.start, binding, |_| None),
        Some(problem) => {
            let is_first = location.event == Some(1);
            let hint = hint(&value.raw, is_first).filter(|_| value.start.column == 1);
            let hint = hint.filter(|hint| !hint.contains("--format json"));
            Line {
                event: Err(BadLine {
                    line: value.start.line,
                    column: value.start.column,
                    message: with_hint(problem, hint),
                    stops: if value.ends_input {
                        Stops::FileByChoice
                    } else {
                        Stops::Choice
                    },
                }),
                location,
                raw: value.raw,
                checkpoint: None,
            }
        }
    }
}

pub(super) fn checked(
    raw: Bytes,
    location: LineLocation,
    start: Position,
    binding: &Binding,
    hint: impl FnOnce(&[u8]) -> Option<String>,
) -> Line {
    let event = binding.envelope(raw.clone());
    let event = event.map_err(|error| bad_line(error, &raw, start, hint));
    Line {
        event: event.and_then(|envelope| exportable(envelope, &raw, start)),
        location,
        raw,
        checkpoint: None,
    }
}

/// Refuses an event that `spool export` would write as a longer line than `publish` takes. Binary mode writes numbers as
/// text, and attributes that the line only implies; data that is neither JSON nor text comes back as Base64.
fn exportable(envelope: Envelope, raw: &[u8], start: Position) -> Result<Envelope, BadLine> {
    let payload = envelope.payload().len();
    if raw.len() + payload / 3 <= MAX_LINE - MAX_GROWTH || payload >= raw.len() {
        return Ok(envelope);
    }
    match jetsink::event_json(&envelope) {
        Ok(line) if line.len() > MAX_LINE => Err(BadLine {
            line: start.line,
            column: start.column,
            message: format!(
                "in binary mode the event takes {} bytes as a line of a spool's export, and a line can have {MAX_LINE}; \
                 send it in structured mode",
                line.len()
            ),
            stops: Stops::Choice,
        }),
        _ => Ok(envelope),
    }
}

fn bad_line(
    error: BindingError,
    raw: &[u8],
    start: Position,
    hint: impl FnOnce(&[u8]) -> Option<String>,
) -> BadLine {
    let BindingError::Event(error) = error else {
        return BadLine {
            line: start.line,
            column: start.column,
            message: error.to_string(),
            stops: Stops::Choice,
        };
    };
    let may_pass = error.rule.is_some_and(|rule| !rule.is_always_enforced()) && !is_row(raw);
    let lenient = may_pass.then(|| CloudEvent::from_json_with(raw, Validation::Lenient));
    let (error, hint) = match lenient {
        Some(Ok(_)) => (error, Some("--lenient accepts it".to_owned())),
        // The line breaks another rule, which is always enforced.
        Some(Err(enforced)) => (enforced, hint(raw)),
        None => (error, hint(raw)),
    };
    BadLine {
        line: start.line + error.line as u64 - 1,
        column: match error.line {
            1 => start.column + error.column - 1,
            _ => error.column,
        },
        message: with_hint(format!("not a CloudEvent: {}", error.message), hint),
        stops: Stops::Choice,
    }
}

fn with_hint(message: String, hint: Option<String>) -> String {
    match hint {
        None => message,
        Some(hint) => format!("{message}; {hint}"),
    }
}

#[cfg(test)]
#[path = "tests/reader.rs"]
mod tests;
