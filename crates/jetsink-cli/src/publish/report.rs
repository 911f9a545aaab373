//! What `jetsink publish` tells: progress, what was not stored, the summary.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jetsink::circuit::State;
use jetsink::{Delivery, EmitError, NatsPublisher, Receipt, Sink, Subject};
use serde::Serialize;

use super::input::{BadLine, Place};
use super::settings::Settings;
use crate::output::{counted, print, to_stderr, why_left};

/// How often the progress is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// How often a line of it is written where there is no terminal.
const LINE: Duration = Duration::from_secs(1);

/// Everything that is counted; the fields of `--json`.
#[derive(Debug, Default, Serialize)]
struct Counts {
    /// Events read, bad lines not among them.
    read: u64,
    /// Events that a stream acknowledged, duplicates among them.
    stored: u64,
    /// Of these, those that the stream had already.
    duplicates: u64,
    /// Lines that are no event.
    bad_lines: u64,
    /// Events that the broker or a limit refused.
    failed: u64,
    /// Events that were not sent, or not answered, when the broker went away.
    not_reached: u64,
    /// Of the last two, those that may be stored all the same.
    unknown: u64,
    /// With `--spool`: events that went into the spool.
    spooled: u64,
    /// Events that were delivered from the spool, those of earlier runs among them.
    delivered_from_spool: u64,
    /// Of all that is in the spool, this is left.
    left_in_spool: u64,
    /// Events in the spool that were refused for good, or waited for too long.
    dead_letters: u64,
    /// Of these, those of this run.
    new_dead_letters: u64,
    /// Bytes of the events that are stored.
    bytes: u64,
    /// The streams, and the last sequence number in each.
    streams: BTreeMap<String, u64>,
    /// With `--dry-run`: the subjects, and how many events go to each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    subjects: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    counts: &'a Counts,
    seconds: f64,
    events_per_second: f64,
    resume: Option<Resume>,
    first_not_stored: Option<Resume>,
    exit_code: u8,
}

#[derive(Serialize)]
struct Resume {
    file: String,
    line: u64,
}

impl Resume {
    fn at(place: &Place) -> Self {
        Self {
            file: place.file.display().to_string(),
            line: place.line,
        }
    }
}

/// Lines that were given up on.
fn counts_of(counts: &Counts) -> u64 {
    counts.bad_lines + counts.failed
}

pub(crate) struct Report {
    counts: Counts,
    started: Instant,
    bar: ProgressBar,
    /// Bytes of lines that are dealt with, for the bar.
    done: u64,
    next_frame: tokio::time::Instant,
    /// The first line that was given up on, for its own fault or its subject's.
    first_not_stored: Option<Place>,
    /// Progress in a pipe: a line from time to time.
    in_lines: bool,
}

impl Report {
    pub(crate) fn new(settings: &Settings, total_bytes: Option<u64>) -> Self {
        let target = if settings.show_progress {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let (bar, template) = match total_bytes {
            Some(total) => (
                ProgressBar::with_draw_target(Some(total), target),
                "{bar:16} {percent:>3}% {msg}, {bytes}, ETA {eta}",
            ),
            None => (
                ProgressBar::with_draw_target(None, target),
                "{spinner} {msg}, {bytes}, {elapsed}",
            ),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self {
            counts: Counts::default(),
            started: Instant::now(),
            bar,
            done: 0,
            next_frame: tokio::time::Instant::now(),
            first_not_stored: None,
            in_lines: settings.show_progress && !std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn read(&mut self) {
        self.counts.read += 1;
    }

    pub(crate) fn checked(&mut self, subject: &Subject, bytes: usize) {
        self.counts.read += 1;
        self.counts.bytes += bytes as u64;
        *self.counts.subjects.entry(subject.to_string()).or_default() += 1;
    }

    pub(crate) fn stored(&mut self, delivery: &Delivery, bytes: usize) {
        self.counts.bytes += bytes as u64;
        self.done += bytes as u64 + 1;
        if let Delivery::Spooled = delivery {
            self.counts.spooled += 1;
        }
        if let Delivery::Stored {
            stream,
            sequence,
            duplicate,
        } = delivery
        {
            self.counts.stored += 1;
            self.counts.duplicates += u64::from(*duplicate);
            match self.counts.streams.get_mut(stream) {
                Some(last) => *last = (*last).max(*sequence),
                None => {
                    self.counts.streams.insert(stream.clone(), *sequence);
                }
            }
        }
    }

    pub(crate) fn bad_line(&mut self, place: &Place, bad: &BadLine, bytes: usize) {
        self.not_stored(place);
        self.counts.bad_lines += 1;
        self.done += bytes as u64 + 1;
        self.line(&format!("{place}:{}: {}", bad.column, bad.message));
    }

    /// Remembers the first.
    fn not_stored(&mut self, place: &Place) {
        self.first_not_stored.get_or_insert_with(|| place.clone());
    }

    pub(crate) fn failed(&mut self, place: &Place, error: &EmitError, unknown: bool) {
        self.not_stored(place);
        self.counts.failed += 1;
        self.counts.unknown += u64::from(unknown);
        self.line(&format!("{place}: {error}"));
    }

    pub(crate) fn failures(&self) -> u64 {
        self.counts.failed
    }

    pub(crate) fn too_many_failures(&self, most: u64) {
        self.line(&format!(
            "jetsink: stopping after {most} events that were not stored (--max-failures)"
        ));
    }

    pub(crate) fn gave_up(&self, place: &Place, error: &EmitError) {
        self.line(&format!("{place}: {error}"));
    }

    pub(crate) fn not_reached(&mut self, unknown: bool) {
        self.counts.not_reached += 1;
        self.counts.unknown += u64::from(unknown);
    }

    pub(crate) fn broken(&self, place: &Place, reason: &str) {
        self.line(&format!("{place}: can't be read further: {reason}"));
    }

    pub(crate) fn note(&self, text: &str) {
        self.line(&format!("jetsink: {text}"));
    }

    /// Where the address was left to the system.
    pub(crate) fn metrics_at(&self, address: SocketAddr) {
        self.line(&format!("jetsink: metrics at http://{address}/metrics"));
    }

    pub(crate) fn interrupted(&self, in_flight: usize) {
        if in_flight == 0 {
            return; // nobody has to wait
        }
        let events = counted(in_flight as u64, "event");
        self.line(&format!(
            "jetsink: interrupted; waiting for {events} in flight, once more to give up"
        ));
    }

    /// While the spool empties.
    pub(crate) fn interrupted_at_the_end(&self) {
        self.line("jetsink: interrupted; every line was read, and what waits is in the spool");
    }

    /// Why something is left.
    pub(crate) fn left_because(&self, sink: &Sink<NatsPublisher>) {
        if let Some(reason) = why_left(sink) {
            self.line(&format!("jetsink: {reason}"));
        }
    }

    /// `first` is the oldest of which nothing is known.
    pub(crate) fn ended_at_once(&self, settings: &Settings, first: Option<&Place>) {
        self.line("jetsink: interrupted twice; what was in flight may be stored or not");
        if let Some(place) = first {
            self.resume(settings, place);
        }
    }

    /// `dead_before`: dead letters that were in the spool when it was opened.
    pub(crate) fn closed(&mut self, receipt: Receipt, dead_before: u64) {
        let counts = &mut self.counts;
        counts.delivered_from_spool = receipt.delivered.saturating_sub(counts.stored);
        counts.left_in_spool = receipt.spooled;
        counts.dead_letters = receipt.dead_letters;
        counts.new_dead_letters = receipt.dead_letters.saturating_sub(dead_before);
    }

    pub(crate) fn all_taken(&self) -> bool {
        let counts = &self.counts;
        counts.bad_lines + counts.failed + counts.not_reached + counts.new_dead_letters == 0
    }

    pub(crate) fn left_in_spool(&self) -> u64 {
        self.counts.left_in_spool
    }

    /// Ends when the next frame is due; never where nothing is drawn.
    pub(crate) async fn tick(&self) {
        if self.bar.is_hidden() && !self.in_lines {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep_until(self.next_frame).await;
    }

    /// Draws, if a frame is due.
    pub(crate) fn progress(&mut self, state: impl FnOnce() -> State) {
        let now = tokio::time::Instant::now();
        if (self.bar.is_hidden() && !self.in_lines) || now < self.next_frame {
            return;
        }
        self.next_frame = now + if self.in_lines { LINE } else { FRAME };
        self.bar.set_position(self.done);
        let stored = self.counts.stored;
        let rate = stored as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        let message = match state() {
            State::Connected => format!(
                "{}, {}/s",
                counted(stored, "event"),
                HumanCount(rate as u64)
            ),
            State::Reconnecting { attempt, .. } => {
                format!(
                    "{}, reconnecting (attempt {attempt})",
                    counted(stored, "event")
                )
            }
        };
        if self.in_lines {
            to_stderr(&format!("{message}, {}", HumanBytes(self.done)));
        } else {
            self.bar.set_message(message);
            self.bar.tick();
        }
    }

    pub(crate) fn summary(&self, settings: &Settings, resume: Option<&Place>, exit_code: u8) {
        self.bar.finish_and_clear();
        let seconds = self.started.elapsed().as_secs_f64();
        let events = if settings.dry_run {
            self.counts.read
        } else {
            self.counts.stored
        };
        let events_per_second = events as f64 / seconds.max(0.000_001);
        if settings.json {
            let summary = Summary {
                counts: &self.counts,
                seconds,
                events_per_second,
                resume: resume.map(Resume::at),
                first_not_stored: self.first_not_stored.as_ref().map(Resume::at),
                exit_code,
            };
            if let Ok(text) = serde_json::to_string(&summary) {
                print(&text);
            }
        }
        if let Some(place) = &self.first_not_stored
            && !settings.dry_run
        {
            let lines = counted(counts_of(&self.counts), "line");
            let kept = match &settings.rejected {
                None => "--rejected FILE would keep them".to_owned(),
                Some(path) => format!("they are in {}", path.display()),
            };
            to_stderr(&format!(
                "jetsink: {lines} read and not stored, the first at {place}; {kept}"
            ));
        }
        if let Some(place) = resume {
            self.resume(settings, place);
        }
        if settings.quiet || settings.json {
            return;
        }
        let counts = &self.counts;
        if settings.dry_run {
            for (subject, count) in &counts.subjects {
                print(&format!("{count:>8} {subject}"));
            }
        }
        let mut text = if settings.dry_run {
            format!(
                "{} checked, {}",
                counted(counts.read, "event"),
                counted(counts.subjects.len() as u64, "subject")
            )
        } else {
            let streams: Vec<String> = counts
                .streams
                .iter()
                .map(|(stream, last)| format!("{stream} up to sequence {last}"))
                .collect();
            let mut text = format!(
                "{} of {} stored",
                HumanCount(counts.stored),
                counted(counts.read, "event")
            );
            if !streams.is_empty() {
                text.push_str(&format!(" in {}", streams.join(", ")));
            }
            text
        };
        for (count, what) in [
            (counts.duplicates, counted(counts.duplicates, "duplicate")),
            (counts.bad_lines, counted(counts.bad_lines, "bad line")),
            (
                counts.failed,
                format!("{} failed", HumanCount(counts.failed)),
            ),
            (
                counts.spooled,
                format!("{} spooled", HumanCount(counts.spooled)),
            ),
            (
                counts.delivered_from_spool,
                format!(
                    "{} delivered from the spool",
                    HumanCount(counts.delivered_from_spool)
                ),
            ),
            (
                counts.left_in_spool,
                format!("{} left in the spool", HumanCount(counts.left_in_spool)),
            ),
            (
                counts.new_dead_letters,
                counted(counts.new_dead_letters, "new dead letter"),
            ),
            (
                counts.not_reached,
                format!("{} not reached", HumanCount(counts.not_reached)),
            ),
            (
                counts.unknown,
                format!("{} of unknown outcome", HumanCount(counts.unknown)),
            ),
        ] {
            if count > 0 {
                text.push_str(", ");
                text.push_str(&what);
            }
        }
        text.push_str(&format!(
            "; {} in {seconds:.2} s, {} events/s",
            HumanBytes(counts.bytes),
            HumanCount(events_per_second as u64)
        ));
        to_stderr(&text);
    }

    fn resume(&self, settings: &Settings, place: &Place) {
        let mut text = if *place.file == *std::path::Path::new("-") {
            format!(
                "jetsink: resume at line {} of standard input (--from-line {0})",
                place.line
            )
        } else {
            let files: Vec<String> = settings.files[place.index..]
                .iter()
                .map(|file| quoted(&file.display().to_string()))
                .collect();
            format!(
                "jetsink: resume with --from-line {} {}",
                place.line,
                files.join(" ")
            )
        };
        if self.counts.unknown > 0 {
            text.push_str(&format!(
                "; of those from there on, {} may be stored already: the same --id source-id in both runs tells them apart",
                self.counts.unknown
            ));
        }
        to_stderr(&text);
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| to_stderr(text));
    }
}

/// For a shell to take back.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
