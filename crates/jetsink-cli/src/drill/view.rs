//! The live view of a drill, for a terminal of 80 columns. [`Frame`] formats the lines; `indicatif`
//! draws them.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::format::{count, duration};
use super::record::CircuitState;
use crate::output::progress_lines;

/// The content of the view at one time.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) at: Duration,
    /// The expected end.
    pub(super) end: Duration,
    /// The current fault.
    pub(super) now: String,
    pub(super) contenders: Vec<Row>,
    /// Notes, the latest one last.
    pub(super) notes: Vec<String>,
}

/// One contender of a [`Frame`].
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) per_second: f64,
    pub(super) median: Option<f64>,
    pub(super) longest: Option<f64>,
    pub(super) circuit: Option<CircuitState>,
    pub(super) spooled: Option<u64>,
    pub(super) ok: u64,
    pub(super) failed: u64,
}

/// The number of notes that are shown.
const NOTES: usize = 4;

impl Frame {
    /// Two lines of headings, one line per contender, and the notes: always the same number of lines.
    pub(super) fn lines(&self) -> Vec<String> {
        let clock = |time: Duration| format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60);
        let mut lines = vec![
            format!("{} of {}  {}", clock(self.at), clock(self.end), self.now),
            format!(
                "{:<20} {:>6} {:>8} {:>8}  {:<7} {:>7} {:>9} {:>7}",
                "", "per s", "median", "longest", "circuit", "spooled", "Ok", "error"
            ),
        ];
        lines.extend(self.contenders.iter().map(Row::line));
        let notes = self
            .notes
            .iter()
            .skip(self.notes.len().saturating_sub(NOTES));
        lines.extend(notes.cloned());
        lines.resize(2 + self.contenders.len() + NOTES, String::new());
        lines
    }
}

impl Row {
    fn line(&self) -> String {
        let time = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), duration);
        let circuit = match self.circuit {
            None => "-",
            Some(CircuitState::Connected) => "closed",
            Some(CircuitState::Reconnecting) => "open",
        };
        format!(
            "{:<20} {:>6.0} {:>8} {:>8}  {circuit:<7} {:>7} {:>9} {:>7}",
            self.name,
            self.per_second,
            time(self.median),
            time(self.longest),
            self.spooled.map_or_else(|| "-".to_owned(), count),
            count(self.ok),
            count(self.failed),
        )
    }
}

/// Lines on standard error that are redrawn in place.
pub(super) struct View {
    all: MultiProgress,
    lines: Vec<ProgressBar>,
}

impl View {
    pub(super) fn new() -> Self {
        Self {
            all: progress_lines(),
            lines: Vec::new(),
        }
    }

    pub(super) fn show(&mut self, frame: &Frame) {
        for (number, text) in frame.lines().into_iter().enumerate() {
            if self.lines.len() == number {
                let line = self.all.add(ProgressBar::new_spinner());
                // The template is valid; otherwise the default style is used.
                if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                    line.set_style(style);
                }
                self.lines.push(line);
            }
            self.lines[number].set_message(text);
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // The verdict is printed in its place. A closed terminal is not an error.
        let _ = self.all.clear();
    }
}

#[cfg(test)]
#[path = "tests/view.rs"]
mod tests;
