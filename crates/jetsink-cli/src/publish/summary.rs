//! The summary of a run: text on standard error, or one JSON object on standard output.

use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::counts::Counts;
use super::input::LineLocation;
use super::settings::Settings;
use crate::output::{counted, print, to_stderr};

/// A finished run.
pub(super) struct Summary<'a> {
    pub(super) counts: &'a Counts,
    pub(super) elapsed: Duration,
    /// The line to resume from, if reading ended early.
    pub(super) resume: Option<&'a LineLocation>,
    /// The first line that was read and not stored.
    pub(super) first_not_stored: Option<&'a LineLocation>,
    pub(super) exit_code: u8,
}

/// The object of `--json`.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    counts: &'a Counts,
    seconds: f64,
    events_per_second: f64,
    resume: Option<JsonLine>,
    first_not_stored: Option<JsonLine>,
    exit_code: u8,
}

#[derive(Serialize)]
struct JsonLine {
    file: String,
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<u64>,
}

impl JsonLine {
    fn at(location: &LineLocation) -> Self {
        Self {
            file: location.file.display().to_string(),
            line: location.line,
            event: location.event,
        }
    }
}

impl Summary<'_> {
    pub(super) fn print(&self, settings: &Settings) {
        if settings.json {
            self.print_json(settings);
        }
        if let Some(location) = self.first_not_stored
            && !settings.dry_run
            && self.counts.rejected() > 0
        {
            let lines = counted(self.counts.rejected(), "line");
            let kept = match &settings.rejected {
                None => "--rejected FILE would keep them".to_owned(),
                Some(path) if self.counts.not_kept > 0 => format!(
                    "{} could not be written and lacks {} of them",
                    path.display(),
                    HumanCount(self.counts.not_kept)
                ),
                Some(path) => format!("they are in {}", path.display()),
            };
            to_stderr(&format!(
                "jetsink: {lines} read and not stored, the first at {location}; {kept}"
            ));
        }
        if let Some(location) = self.resume {
            to_stderr(&resume_hint(self.counts, settings, location));
        }
        if settings.quiet || settings.json {
            return;
        }
        let head = if settings.dry_run {
            for (subject, count) in &self.counts.subjects {
                print(&format!("{count:>8} {subject}"));
            }
            checked(self.counts)
        } else {
            stored(self.counts)
        };
        to_stderr(&format!(
            "{head}{}; {} in {:.2} s, {} events/s",
            others(self.counts),
            HumanBytes(self.counts.bytes),
            self.elapsed.as_secs_f64(),
            HumanCount(self.events_per_second(settings) as u64)
        ));
    }

    fn print_json(&self, settings: &Settings) {
        let json = Json {
            counts: self.counts,
            seconds: self.elapsed.as_secs_f64(),
            events_per_second: self.events_per_second(settings),
            resume: self.resume.map(JsonLine::at),
            first_not_stored: self.first_not_stored.map(JsonLine::at),
            exit_code: self.exit_code,
        };
        if let Ok(text) = serde_json::to_string(&json) {
            print(&text);
        }
    }

    fn events_per_second(&self, settings: &Settings) -> f64 {
        let events = if settings.dry_run {
            self.counts.read
        } else {
            self.counts.stored
        };
        events as f64 / self.elapsed.as_secs_f64().max(0.000_001)
    }
}

fn checked(counts: &Counts) -> String {
    format!(
        "{} checked, {}",
        counted(counts.read, "event"),
        counted(counts.subjects.len() as u64, "subject")
    )
}

fn stored(counts: &Counts) -> String {
    let mut text = format!(
        "{} of {} stored",
        HumanCount(counts.stored),
        counted(counts.read, "event")
    );
    let streams = counts.streams.iter();
    let streams: Vec<String> = streams
        .map(|(stream, last)| format!("{stream} up to sequence {last}"))
        .collect();
    if !streams.is_empty() {
        text.push_str(&format!(" in {}", streams.join(", ")));
    }
    text
}

/// The counts that are not zero, each with a comma before it.
fn others(counts: &Counts) -> String {
    let with = |count: u64, text: &str| (count, format!("{} {text}", HumanCount(count)));
    let plural = |count: u64, noun: &str| (count, counted(count, noun));
    [
        plural(counts.duplicates, "duplicate"),
        plural(counts.bad_lines, "bad line"),
        (counts.lenient, lenient(counts)),
        with(counts.failed, "failed"),
        (counts.unread_files, unread(counts)),
        with(counts.spooled, "spooled"),
        with(counts.delivered_from_spool, "delivered from the spool"),
        with(counts.found_stored, "found stored by a look-up"),
        with(counts.obsolete, "obsolete"),
        plural(counts.possible_duplicates, "possible duplicate"),
        with(counts.left_in_spool, "left in the spool"),
        plural(counts.new_dead_letters, "new dead letter"),
        (counts.damaged, damaged(counts)),
        (counts.damaged_files, damaged_files(counts)),
        with(counts.not_reached, "not reached"),
        with(counts.unknown, "of unknown outcome"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(_, text)| format!(", {text}"))
    .collect()
}

/// Records that the spool has lost.
fn damaged(counts: &Counts) -> String {
    let records = counted(counts.damaged, "record");
    format!("{records} of the spool damaged and lost")
}

/// Files of the spool whose records are lost.
fn damaged_files(counts: &Counts) -> String {
    let files = counted(counts.damaged_files, "file");
    format!("{files} of the spool lost or unreadable")
}

/// Followed files that could not be read to their end.
fn unread(counts: &Counts) -> String {
    let files = counted(counts.unread_files, "file");
    let bytes = match counts.unread_bytes {
        0 => "bytes unknown".to_owned(),
        bytes => format!("at least {} bytes", HumanCount(bytes)),
    };
    format!("{files} not read to the end ({bytes})")
}

/// Events that `--lenient` accepted, by rule.
fn lenient(counts: &Counts) -> String {
    let rules = counts.lenient_rules.iter();
    let rules: Vec<String> = rules
        .map(|(rule, count)| format!("{rule} {}", HumanCount(*count)))
        .collect();
    format!(
        "{} accepted by --lenient ({})",
        HumanCount(counts.lenient),
        rules.join(", ")
    )
}

/// The flags that resume at a line.
pub(super) fn resume_hint(counts: &Counts, settings: &Settings, location: &LineLocation) -> String {
    let mut text = if *location.file == *std::path::Path::new("-") {
        format!(
            "jetsink: resume at {} {} of standard input (--from-line {1})",
            if location.event.is_some() {
                "event"
            } else {
                "line"
            },
            location.number()
        )
    } else {
        let files: Vec<String> = settings.files[location.index..]
            .iter()
            .map(|file| quoted(&file.display().to_string()))
            .collect();
        format!(
            "jetsink: resume with {}--from-line {} {}",
            if location.event.is_some() {
                "--format json "
            } else {
                ""
            },
            location.number(),
            files.join(" ")
        )
    };
    if counts.unknown > 0 {
        text.push_str(&format!(
            "; {} of the events from there on may be stored already: pass --id source-id in both runs \
             to detect them",
            counts.unknown
        ));
    }
    text
}

/// Quotes a word for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
