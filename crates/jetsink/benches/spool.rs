//! The spool compared with its parts: appends with a bare `write` and `fdatasync` of the same groups, replay with raw
//! async-nats, the same window and ids, and an opening after a kill with one read of the files.
//!
//! `cargo bench -p jetsink --bench spool`, with `append`, `append-subjects`, `replay`, `replay-subjects` or `opening`
//! behind `--` for some of them. `JETSINK_ROUNDS` (9), `JETSINK_EVENTS` (100,000 replayed) and `JETSINK_CALLERS` (one
//! number instead of several) set the length. Exits with 1 if a ratio is missed. The last
//! lines are the table of `docs/evidence/performance.md`.
//!
//! Both sides of a ratio run in each round, in alternating order. A ratio is the median of the rounds' ratios, printed
//! with its spread.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a benchmark fails
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]

#[path = "spool/append.rs"]
mod append;
mod common;
#[path = "spool/opening.rs"]
mod opening;
#[path = "spool/replay.rs"]
mod replay;

use std::fmt;
use std::process::ExitCode;

use bytes::Bytes;
use common::{Rounds, figure, from_environment};
use jetsink::{Envelope, MessageId, SpoolSettings, Subject};

/// The size of a usual lifecycle event.
const PAYLOAD_BYTES: usize = 574;

/// The subjects of the parts with many.
const MANY_SUBJECTS: u64 = 100_000;

fn main() -> ExitCode {
    if let Some(orders) = std::env::var_os(opening::CHILD) {
        opening::child(orders.to_str().unwrap());
        return ExitCode::SUCCESS;
    }
    // `cargo bench` adds `--bench`.
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let runs = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    let rounds = from_environment("JETSINK_ROUNDS", 9).max(1);
    let events = from_environment("JETSINK_EVENTS", 100_000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut bounds = Bounds::default();
    if runs("append") {
        runtime.block_on(append::beside_a_bare_log(rounds, &mut bounds));
    }
    if runs("append-subjects") {
        runtime.block_on(append::many_subjects(rounds, &mut bounds));
    }
    if runs("replay") {
        runtime.block_on(replay::one_subject(rounds, events, &mut bounds));
    }
    if runs("replay-subjects") {
        runtime.block_on(replay::many_subjects(rounds, &mut bounds));
    }
    if runs("opening") {
        opening::after_a_kill(rounds, &mut bounds);
    }
    bounds.end()
}

/// The required ratios and the measured ones, as rows of the table in `docs/evidence/performance.md`.
#[derive(Debug, Default)]
struct Bounds {
    rows: Vec<String>,
    is_missed: bool,
}

/// The side on which a ratio must be.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn is_kept(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::AtMost(bound) => ratio <= bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "at least {bound:.2}"),
            Self::AtMost(bound) => write!(f, "at most {bound:.2}"),
        }
    }
}

impl Bounds {
    /// Compares two sides, round by round.
    fn compare(&mut self, what: &str, ours: &Rounds, theirs: &Rounds, bound: Bound) {
        let ratios = ours.ratios(theirs);
        let is_kept = bound.is_kept(ratios.median());
        let verdict = if is_kept { "" } else { ", MISSED" };
        let (low, high) = ratios.spread();
        let ratio = format!("{:.2} ({low:.2} … {high:.2})", ratios.median());
        println!("  ratio: {ratio}, required: {bound}{verdict}\n");
        let (ours, theirs) = (figure(ours.median()), figure(theirs.median()));
        self.rows.push(format!(
            "| {what} | {ours} | {theirs} | {ratio} | {bound}{verdict} |"
        ));
        self.is_missed |= !is_kept;
    }

    fn end(self) -> ExitCode {
        println!("| measured | ours | beside | ratio (spread) | required |");
        println!("| --- | ---: | ---: | --- | --- |");
        for row in &self.rows {
            println!("{row}");
        }
        ExitCode::from(u8::from(self.is_missed))
    }
}

fn envelope_of(subject: &Subject, number: u64) -> Envelope {
    let id = MessageId::new(format!("bench.{number}")).unwrap();
    Envelope::new(subject.clone(), Bytes::from(vec![b'x'; PAYLOAD_BYTES])).with_message_id(id)
}

/// The subjects `events.t0`, `events.t1` and so on.
fn subjects(count: u64) -> Vec<Subject> {
    let subject = |number| Subject::new(format!("events.t{number}")).unwrap();
    (0..count).map(subject).collect()
}

/// The subject of the event with this number: all in turn.
fn subject_of(subjects: &[Subject], number: u64) -> &Subject {
    &subjects[(number % subjects.len() as u64) as usize]
}

fn settings(folder: &std::path::Path) -> SpoolSettings {
    SpoolSettings::new(folder).limit_bytes(8 << 30).unwrap()
}
