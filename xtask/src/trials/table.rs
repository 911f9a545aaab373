//! The rows of the table, for the terminal and for `docs/evidence/reliability.md`.

use serde::Serialize;

use super::outcome::Outcome;
use super::run::Run;
use crate::page::thousands;

#[derive(Debug, Serialize)]
pub(crate) struct Row {
    trial: &'static str,
    count: String,
    failures: String,
    bound: String,
    seed: String,
    time: String,
    passes: &'static str,
}

impl Row {
    pub(crate) fn of(run: &Run) -> Self {
        let (count, failures, bound) = match run.outcome() {
            None => ("-".to_owned(), "did not finish".to_owned(), "-".to_owned()),
            Some(outcome) => (
                counted(outcome, run.trial.counts.unit()),
                outcome.failures.to_string(),
                outcome.bound(run.trial.counts),
            ),
        };
        Self {
            trial: run.trial.name,
            count,
            failures,
            bound,
            seed: seeds(run),
            time: format!("{:.0} s", run.took.as_secs_f64()),
            passes: run.trial.passes,
        }
    }

    fn cells(&self) -> [&str; 6] {
        [
            self.trial,
            &self.count,
            &self.failures,
            &self.bound,
            &self.seed,
            &self.time,
        ]
    }
}

fn counted(outcome: Outcome, unit: &str) -> String {
    let count = thousands(outcome.count);
    match outcome.events {
        None => format!("{count} {unit}"),
        Some(events) => format!("{count} {unit}, {} events", thousands(events)),
    }
}

/// The seed, or the first and the last one of a trial in parts.
fn seeds(run: &Run) -> String {
    match run.parts.as_slice() {
        [] => "-".to_owned(),
        [part] => part.seed.to_string(),
        [first, .., last] => format!("{} to {}", first.seed, last.seed),
    }
}

/// The table with aligned columns.
pub(crate) fn plain(runs: &[Run]) -> String {
    let rows: Vec<Row> = runs.iter().map(Row::of).collect();
    let mut table = vec![["trial", "count", "failures", "bound", "seed", "time"]];
    table.extend(rows.iter().map(Row::cells));
    let widths = [0, 1, 2, 3, 4, 5].map(|column| {
        let widths = table.iter().map(|row| row[column].len());
        widths.max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in table {
        let padded = row.iter().zip(widths);
        let padded: Vec<String> = padded
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
#[path = "tests/table.rs"]
mod tests;
