//! Reads one file or pipe to its end and sends its lines in batches.

use std::sync::Arc;

use bytes::Bytes;
use jetsink::{Binding, BindingError};
use tokio::sync::mpsc;

use super::position::{Checkpoint, FollowedFile};
use super::{BadLine, Batch, Line, LineLocation};
use crate::lines::{LineContent, Lines, MAX_LINE, content};
use crate::publish::settings::Settings;

/// A batch is sent when it contains this many bytes, or when the next read would block.
const BATCH_BYTES: usize = 128 << 10;

/// The capacity of the channel, in batches.
const BATCHES_AHEAD: usize = 8;

/// Reading stops: the receiver is gone, or a read error was sent.
#[derive(Debug)]
pub(super) struct Stopped;

/// The position at which reading begins in a file.
#[derive(Debug, Default)]
pub(super) struct Start {
    pub(super) offset: u64,
    /// Lines before this one are skipped, counted from 1.
    pub(super) from_line: u64,
    pub(super) followed: Option<Arc<FollowedFile>>,
}

impl Start {
    pub(super) fn from_line(from_line: u64) -> Self {
        Self {
            from_line,
            ..Self::default()
        }
    }
}

/// Reads lines and converts them to envelopes.
pub(super) struct Reader {
    binding: Binding,
    /// Whether message ids are derived from the lines' offsets, so that they are the same after a
    /// crash.
    ids_by_offset: bool,
    pub(super) sender: mpsc::Sender<Batch>,
}

impl Reader {
    pub(super) fn new(settings: &Settings) -> (Self, mpsc::Receiver<Batch>) {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let reader = Self {
            binding: settings.binding.clone(),
            ids_by_offset: settings.position.is_some(),
            sender,
        };
        (reader, batches)
    }

    pub(super) fn send(&self, batch: Batch) -> Result<(), Stopped> {
        self.sender.blocking_send(batch).map_err(|_| Stopped)
    }

    /// Reads to the end; returns the offset and the number of the last line.
    pub(super) fn read(
        &self,
        mut source: Lines,
        mut location: LineLocation,
        start: &Start,
    ) -> Result<(u64, u64), Stopped> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        let mut offset = start.offset;
        let checkpoint = |offset, line| {
            let file = start.followed.clone()?;
            Some(Checkpoint { file, offset, line })
        };
        // Sent with the first line: the file's first bytes are known only then.
        let mut opened = checkpoint(offset, location.line);
        loop {
            location.line += 1;
            let (raw, length) = match source.next() {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(error) => {
                    self.send(Batch::Lines(std::mem::take(&mut lines)))?;
                    let reason = error.to_string();
                    self.send(Batch::Failed { location, reason })?;
                    return Err(Stopped);
                }
            };
            if raw.last() != Some(&b'\n')
                && start.followed.as_ref().is_some_and(|f| f.is_truncated())
            {
                break;
            }
            let began = offset;
            offset += length;
            if location.line >= start.from_line
                && let Some(mut line) = check(raw, location.clone(), &self.binding)
            {
                if let (true, Some(file)) = (self.ids_by_offset, &start.followed) {
                    line.event = line.event.map(|event| file.identify(event, began));
                }
                line.checkpoint = checkpoint(offset, location.line);
                bytes += line.raw.len();
                lines.push(line);
            }
            // A single line from a pipe is sent at once.
            if bytes >= BATCH_BYTES || (!source.has_next() && !lines.is_empty()) {
                if let Some(first) = opened.take() {
                    self.send(Batch::Opened(first))?;
                }
                self.send(Batch::Lines(std::mem::take(&mut lines)))?;
                bytes = 0;
            }
        }
        if location.line < start.from_line {
            let from_line = start.from_line;
            let reason = format!("it ends here, before --from-line {from_line}");
            self.send(Batch::Failed { location, reason })?;
            return Err(Stopped);
        }
        if !lines.is_empty() {
            if let Some(first) = opened {
                self.send(Batch::Opened(first))?;
            }
            self.send(Batch::Lines(lines))?;
        }
        Ok((offset, location.line - 1))
    }
}

/// Converts a line; `None` for an empty line.
fn check(raw: Bytes, location: LineLocation, binding: &Binding) -> Option<Line> {
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
