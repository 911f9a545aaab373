//! The spool compared with its parts: appends with a bare `write` and `fdatasync` of the same groups, replay with raw
//! async-nats, the same window and ids, and an opening after a kill with one read of the files.
//!
//! `cargo bench -p jetsink --bench spool`, with `append`, `append-subjects`, `replay`, `replay-subjects` or `opening`
//! behind `--` for some of them. `JETSINK_ROUNDS` (9), `JETSINK_EVENTS` (100,000 replayed) and `JETSINK_CALLERS` (one
//! number instead of several) set the length. Exits with 1 if a ratio is missed.
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

use std::process::ExitCode;

use bytes::Bytes;
use common::{Rounds, from_environment, shown};
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

/// The required ratios, and the missed ones.
#[derive(Debug, Default)]
struct Bounds {
    missed: Vec<String>,
}

impl Bounds {
    fn at_least(&mut self, what: &str, ratios: &Rounds, bound: f64) {
        self.print(what, ratios, "at least", bound, ratios.median() >= bound);
    }

    fn at_most(&mut self, what: &str, ratios: &Rounds, bound: f64) {
        self.print(what, ratios, "at most", bound, ratios.median() <= bound);
    }

    fn print(&mut self, what: &str, ratios: &Rounds, side: &str, bound: f64, is_kept: bool) {
        let verdict = if is_kept { "reached" } else { "MISSED" };
        println!(
            "  {what}: {}, required {side} {bound:.2}: {verdict}",
            shown(ratios)
        );
        if !is_kept {
            self.missed.push(format!(
                "{what}: {:.3}, required {side} {bound:.2}",
                ratios.median()
            ));
        }
    }

    fn end(self) -> ExitCode {
        for missed in &self.missed {
            println!("MISSED {missed}");
        }
        ExitCode::from(u8::from(!self.missed.is_empty()))
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
