//! Progress of an audit: a bar on a terminal, otherwise a line every few seconds.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::connection::When;
use crate::output;

/// The number of steps between two updates of the bar.
const STEPS: u64 = 1_024;

/// The interval between two lines without a terminal.
const LINE: Duration = Duration::from_secs(5);

pub(super) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    /// The time of the last line, if lines are printed.
    line: Option<Cell<Instant>>,
    steps: Cell<u64>,
    done: Cell<u64>,
}

impl Progress {
    pub(super) fn none() -> Self {
        Self::new(When::Never, 0, "", "")
    }

    pub(super) fn of_files(when: When, bytes: u64) -> Self {
        let template = "{bar:16} {percent:>3}% {bytes} of {total_bytes} of the files, ETA {eta}";
        Self::new(when, bytes, template, "bytes of the files")
    }

    pub(super) fn of_messages(when: When, messages: u64) -> Self {
        let template = "{bar:16} {percent:>3}% {human_pos} of {human_len} messages, ETA {eta}";
        Self::new(when, messages, template, "messages")
    }

    fn new(when: When, total: u64, template: &str, what: &'static str) -> Self {
        let bar = output::progress_bar(when.applies(), Some(total), template);
        let in_lines = when.applies() && !std::io::stderr().is_terminal();
        let begun = Cell::new(Instant::now());
        Self {
            bar,
            what,
            line: in_lines.then_some(begun),
            steps: Cell::new(0),
            done: Cell::new(0),
        }
    }

    pub(super) fn add(&self, more: u64) {
        self.done.set(self.done.get() + more);
        self.steps.set(self.steps.get() + 1);
        if !self.steps.get().is_multiple_of(STEPS) {
            return;
        }
        self.bar.set_position(self.done.get());
        if let Some(last) = &self.line
            && last.get().elapsed() >= LINE
        {
            last.set(Instant::now());
            self.print_line();
        }
    }

    pub(super) fn finish(self) {
        if self.line.is_some() {
            self.print_line();
        }
        self.bar.finish_and_clear();
    }

    fn print_line(&self) {
        let total = self.bar.length().unwrap_or(0);
        output::note(&format!("{} of {total} {}", self.done.get(), self.what));
    }
}
