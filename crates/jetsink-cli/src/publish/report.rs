//! Output of a run while it lasts: progress, and a line for each event that was not stored.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar};
use jetsink::CircuitState as State;
use jetsink::{Delivery, EmitError, Envelope, NatsPublisher, Receipt, Scope, Sink};

use super::counts::Counts;
use super::input::{BadLine, LineLocation, Loss, Stops};
use super::limited_reports::LimitedReports;
use super::run::reached;
use super::settings::Settings;
use super::summary::{Summary, resume_hint};
use crate::output::{counted, note, progress_bar, to_stderr, why_left};

/// The interval between two drawings on a terminal.
const FRAME: Duration = Duration::from_millis(100);

/// The interval between two lines of progress without a terminal.
const LINE: Duration = Duration::from_secs(1);

pub(super) struct Report {
    counts: Counts,
    bad_lines: LimitedReports,
    failed_events: LimitedReports,
    unread_files: LimitedReports,
    started: Instant,
    bar: ProgressBar,
    /// Bytes of lines with a result, for the bar.
    done: u64,
    next_frame: tokio::time::Instant,
    /// The first line that was not stored because of its content or its subject.
    first_not_stored: Option<LineLocation>,
    /// Whether progress is printed as lines, because standard error is not a terminal.
    in_lines: bool,
}

impl Report {
    pub(super) fn new(settings: &Settings, total_bytes: Option<u64>) -> Self {
        let template = match total_bytes {
            Some(_) => "{bar:16} {percent:>3}% {msg}, {bytes}, ETA {eta}",
            None => "{spinner} {msg}, {bytes}, {elapsed}",
        };
        let bar = progress_bar(settings.show_progress, total_bytes, template);
        Self {
            counts: Counts::default(),
            bad_lines: LimitedReports::new("bad line", settings.show),
            failed_events: LimitedReports::new("failed event", settings.show),
            unread_files: LimitedReports::new("unread file", settings.show),
            started: Instant::now(),
            bar,
            done: 0,
            next_frame: tokio::time::Instant::now(),
            first_not_stored: None,
            in_lines: settings.show_progress && !std::io::stderr().is_terminal(),
        }
    }

    pub(super) fn read(&mut self, envelope: &Envelope) {
        self.counts.read(envelope);
    }

    pub(super) fn checked(&mut self, envelope: &Envelope, bytes: usize) {
        self.counts.checked(envelope, bytes);
    }

    pub(super) fn stored(&mut self, delivery: &Delivery, bytes: usize) {
        self.done += bytes as u64 + 1;
        self.counts.delivered(delivery, bytes);
    }

    /// `fails` says whether a bad line ends the run.
    pub(super) fn bad_line(
        &mut self,
        location: &LineLocation,
        bad: &BadLine,
        bytes: usize,
        fails: bool,
    ) {
        self.not_stored(location);
        self.counts.bad_lines += 1;
        self.counts.breaks += u64::from(bad.stops == Stops::Command);
        self.done += bytes as u64 + 1;
        let now = tokio::time::Instant::now();
        self.end_periods(now);
        // A line that ends its file or the run is always reported.
        let ends_input = match bad.stops {
            Stops::Command | Stops::FileByChoice => true,
            Stops::Choice => fails,
            Stops::Nothing => false,
        };
        if ends_input || self.bad_lines.admit(1, location, now) {
            let file = location.file.display();
            to_stderr(&format!(
                "{file}:{}:{}: {}",
                bad.line, bad.column, bad.message
            ));
        }
    }

    fn limited(&mut self) -> [&mut LimitedReports; 3] {
        [
            &mut self.bad_lines,
            &mut self.failed_events,
            &mut self.unread_files,
        ]
    }

    /// Prints the reports that were left out in the periods that are over, as a count.
    fn end_periods(&mut self, now: tokio::time::Instant) {
        for reports in self.limited() {
            if reports.period_ends().is_some_and(|ends| ends <= now) {
                reports.end_period().iter().for_each(|text| note(text));
            }
        }
    }

    /// Prints the reports that were left out so far, as a count.
    fn left_out(&mut self) {
        for reports in self.limited() {
            reports.end_period().iter().for_each(|text| note(text));
        }
    }

    /// Remembers the first location.
    fn not_stored(&mut self, location: &LineLocation) {
        self.first_not_stored
            .get_or_insert_with(|| location.clone());
    }

    pub(super) fn failed(&mut self, location: &LineLocation, error: &EmitError, unknown: bool) {
        self.not_stored(location);
        self.counts.failed += 1;
        self.counts.unknown += u64::from(unknown);
        let now = tokio::time::Instant::now();
        self.end_periods(now);
        if self.failed_events.admit(1, location, now) {
            to_stderr(&format!("{location}: {}", described(error)));
        }
    }

    pub(super) fn failures(&self) -> u64 {
        self.counts.failed
    }

    pub(super) fn too_many_failures(&self, max: u64) {
        to_stderr(&format!(
            "jetsink: stopping after {max} events that were not stored (--max-failures)"
        ));
    }

    pub(super) fn gave_up(&self, location: &LineLocation, error: &EmitError) {
        to_stderr(&format!("{location}: {}", described(error)));
    }

    pub(super) fn not_reached(&mut self, unknown: bool) {
        self.counts.not_reached += 1;
        self.counts.unknown += u64::from(unknown);
    }

    pub(super) fn read_failed(&self, location: &LineLocation, reason: &str) {
        to_stderr(&format!("{location}: can't be read further: {reason}"));
    }

    /// Reports lines of a followed file that were not read and can't be.
    pub(super) fn unread(&mut self, loss: &Loss) {
        self.counts.unread_files += loss.files;
        self.counts.unread_bytes += loss.bytes.unwrap_or(0);
        metrics::counter!("jetsink_follow_unread_files_total").increment(loss.files);
        metrics::counter!("jetsink_follow_unread_bytes_total").increment(loss.bytes.unwrap_or(0));
        let now = tokio::time::Instant::now();
        self.end_periods(now);
        if self
            .unread_files
            .admit(loss.files, &loss.path.display(), now)
        {
            note(&loss.to_string());
        }
    }

    pub(super) fn note(&self, text: &str) {
        note(text);
    }

    pub(super) fn interrupted(&self, in_flight: usize, max_end: Duration) {
        if in_flight == 0 {
            return; // the command exits at once
        }
        let events = counted(in_flight as u64, "event");
        to_stderr(&format!(
            "jetsink: interrupted; retrying {events} in flight for up to {max_end:?}, once more to give up"
        ));
    }

    /// Reports a signal while the spool empties.
    pub(super) fn interrupted_at_the_end(&self) {
        to_stderr("jetsink: interrupted; every line was read, pending events stay in the spool");
    }

    /// Reports why events are left in the spool.
    pub(super) fn left_because(&self, sink: &Sink<NatsPublisher>) {
        if let Some(reason) = why_left(sink) {
            note(&reason);
        }
    }

    /// `resume` is the first line without a final result.
    pub(super) fn ended_at_once(
        &mut self,
        settings: &Settings,
        resume: Option<&LineLocation>,
        has_in_flight: bool,
    ) {
        self.left_out();
        to_stderr(match has_in_flight {
            true => "jetsink: interrupted twice; events in flight may be stored or not",
            false => "jetsink: interrupted twice",
        });
        if let Some(location) = resume {
            to_stderr(&resume_hint(&self.counts, settings, location));
        }
    }

    /// `dead_before` counts the dead letters of earlier runs.
    pub(super) fn closed(&mut self, receipt: Receipt, dead_before: u64) {
        self.counts.closed(receipt, dead_before);
    }

    /// Sets the number of damaged records of the spool, and of its files without a readable one.
    pub(super) fn damaged(&mut self, records: u64, files: u64) {
        (self.counts.damaged, self.counts.damaged_files) = (records, files);
    }

    /// Sets the number of rejected lines that the file of `--rejected` does not contain.
    pub(super) fn not_kept(&mut self, lines: u64) {
        self.counts.not_kept = lines;
    }

    pub(super) fn all_taken(&self) -> bool {
        self.counts.all_taken()
    }

    pub(super) fn left_in_spool(&self) -> u64 {
        self.counts.left_in_spool
    }

    /// Completes when [`progress`](Self::progress) has something to do.
    pub(super) async fn tick(&self) {
        let frame = self.is_drawn().then_some(self.next_frame);
        let limited = [&self.bad_lines, &self.failed_events, &self.unread_files];
        let periods = limited.map(LimitedReports::period_ends);
        reached(periods.into_iter().flatten().chain(frame).min()).await;
    }

    /// Counts the reports that were left out, at the end of a period; draws the progress, if a frame is due.
    pub(super) fn progress(&mut self, state: impl FnOnce() -> State) {
        let now = tokio::time::Instant::now();
        self.end_periods(now);
        if !self.is_drawn() || now < self.next_frame {
            return;
        }
        self.next_frame = now + if self.in_lines { LINE } else { FRAME };
        self.bar.set_position(self.done);
        let stored = self.counts.stored;
        let rate = stored as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        let events = counted(stored, "event");
        let message = match state() {
            State::Connected => format!("{events}, {}/s", HumanCount(rate as u64)),
            State::Reconnecting { attempt, .. } => {
                format!("{events}, reconnecting (attempt {attempt})")
            }
        };
        if self.in_lines {
            to_stderr(&format!("{message}, {}", HumanBytes(self.done)));
        } else {
            self.bar.set_message(message);
            self.bar.tick();
        }
    }

    fn is_drawn(&self) -> bool {
        !self.bar.is_hidden() || self.in_lines
    }

    pub(super) fn summary(
        &mut self,
        settings: &Settings,
        resume: Option<&LineLocation>,
        exit_code: u8,
    ) {
        self.bar.finish_and_clear();
        self.left_out();
        let summary = Summary {
            counts: &self.counts,
            elapsed: self.started.elapsed(),
            resume,
            first_not_stored: self.first_not_stored.as_ref(),
            exit_code,
        };
        summary.print(settings);
    }
}

/// The text of an error, in terms of the command: the library's text of an open circuit addresses callers of an emit.
fn described(error: &EmitError) -> String {
    let EmitError::CircuitOpen(open) = error else {
        return error.to_string();
    };
    let cause = match open.scope {
        Scope::Broker => "the broker's circuit is open: it was not reached",
        Scope::Subject | Scope::Event | Scope::Local => {
            "its subject's circuit is open: earlier events of the subject failed"
        }
    };
    let probes = counted(u64::from(open.attempt), "failed probe");
    format!("not sent: {cause} ({probes}); publish the line again later, or use --spool")
}

#[cfg(test)]
#[path = "tests/report.rs"]
mod tests;
