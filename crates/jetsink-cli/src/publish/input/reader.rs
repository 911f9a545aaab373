//! Reads one file or pipe to its end and sends its lines in batches.

use bytes::Bytes;
use jetsink::{Binding, BindingError};
use tokio::sync::mpsc;

use super::{BadLine, Batch, Line, LineLocation};
use crate::lines::{LineContent, Lines, MAX_LINE, content};
use crate::publish::settings::Settings;

/// A batch is sent when it contains this many bytes, or when the next read would block.
pub(super) const BATCH_BYTES: usize = 128 << 10;

/// The capacity of the channel, in batches.
const BATCHES_AHEAD: usize = 8;

/// Reading stops: the receiver is gone, or a read error was sent.
#[derive(Debug)]
pub(super) struct Stopped;

/// Reads lines and converts them to envelopes.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) binding: Binding,
    pub(super) sender: mpsc::Sender<Batch>,
}

impl Reader {
    pub(super) fn new(settings: &Settings) -> (Self, mpsc::Receiver<Batch>) {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let reader = Self {
            binding: settings.binding.clone(),
            sender,
        };
        (reader, batches)
    }

    pub(super) fn send(&self, batch: Batch) -> Result<(), Stopped> {
        self.sender.blocking_send(batch).map_err(|_| Stopped)
    }

    /// Reads to the end. Lines before `from_line`, counted from 1, are skipped.
    pub(super) fn read(
        &self,
        source: Lines,
        mut location: LineLocation,
        from_line: u64,
    ) -> Result<(), Stopped> {
        let last = self.read_open_ended(source, location.clone(), from_line)?;
        if last + 1 < from_line {
            location.line = last + 1;
            let reason = format!("it ends here, before --from-line {from_line}");
            self.send(Batch::Failed { location, reason })?;
            return Err(Stopped);
        }
        Ok(())
    }

    /// Reads to the end; returns the number of the last line.
    pub(super) fn read_open_ended(
        &self,
        mut source: Lines,
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
            if location.line >= from_line
                && let Some(line) = check(raw, location.clone(), &self.binding)
            {
                bytes += line.raw.len();
                lines.push(line);
            }
            // A single line from a pipe is sent at once.
            if bytes >= BATCH_BYTES || (!source.has_next() && !lines.is_empty()) {
                self.send(Batch::Lines(std::mem::take(&mut lines)))?;
                bytes = 0;
            }
        }
        if !lines.is_empty() {
            self.send(Batch::Lines(lines))?;
        }
        Ok(location.line - 1)
    }
}

/// Converts a line; `None` for an empty line.
pub(super) fn check(raw: Bytes, location: LineLocation, binding: &Binding) -> Option<Line> {
    let raw = match content(raw, location.line) {
        LineContent::Text(raw) => raw,
        LineContent::Empty => return None,
        LineContent::TooLong => {
            return Some(Line {
                location,
                raw: Bytes::new(),
                event: Err(BadLine {
                    column: MAX_LINE + 1,
                    message: format!("the line is longer than {MAX_LINE} bytes"),
                }),
                checkpoint: None,
            });
        }
    };
    let event = binding.envelope(raw.clone()).map_err(|error| match error {
        BindingError::Event(error) => {
            let may_pass = error.rule.is_some_and(|rule| !rule.is_always_enforced());
            let hint = if may_pass {
                "; --lenient accepts it"
            } else {
                ""
            };
            BadLine {
                column: error.column,
                message: format!("not a CloudEvent: {}{hint}", error.message),
            }
        }
        other => BadLine {
            column: 1,
            message: other.to_string(),
        },
    });
    Some(Line {
        location,
        raw,
        event,
        checkpoint: None,
    })
}

#[cfg(test)]
#[path = "tests/reader.rs"]
mod tests;
