//! The table, for people and for `docs/reliability.md`.

use super::outcome::Outcome;
use super::run::Run;

const HEAD: [&str; 6] = ["trial", "count", "failures", "bound", "seed", "time"];

/// One row's cells.
fn cells(run: &Run) -> [String; 6] {
    let unit = run.trial.counts.unit();
    let (count, failures, bound) = match run.outcome() {
        None => ("-".to_owned(), "did not end".to_owned(), "-".to_owned()),
        Some(outcome) => (
            counted(outcome, unit),
            outcome.failures.to_string(),
            outcome.bound(run.trial.counts),
        ),
    };
    [
        run.trial.name.to_owned(),
        count,
        failures,
        bound,
        seeds(run),
        format!("{:.0} s", run.took.as_secs_f64()),
    ]
}

fn counted(outcome: Outcome, unit: &str) -> String {
    let count = thousands(outcome.count);
    match outcome.events {
        None => format!("{count} {unit}"),
        Some(events) => format!("{count} {unit}, {} events", thousands(events)),
    }
}

/// Of a trial in parts the first and the last.
fn seeds(run: &Run) -> String {
    match run.parts.as_slice() {
        [] => "-".to_owned(),
        [part] => part.seed.to_string(),
        [first, .., last] => format!("{} to {}", first.seed, last.seed),
    }
}

/// In columns.
pub(crate) fn plain(runs: &[Run]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(runs.iter().map(cells));
    let widths = [0, 1, 2, 3, 4, 5].map(|column| {
        let widths = rows.iter().map(|row: &[String; 6]| row[column].len());
        widths.max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let padded = row.iter().zip(widths);
        let padded: Vec<String> = padded
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// As Markdown, with what passes.
pub(crate) fn markdown(runs: &[Run]) -> String {
    let mut text = format!("| {} | what passes |\n", HEAD.join(" | "));
    text.push_str("| --- | ---: | ---: | --- | ---: | ---: | --- |\n");
    for run in runs {
        let cells = cells(run).join(" | ");
        text.push_str(&format!("| {cells} | {} |\n", run.trial.passes));
    }
    text
}

pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let texts = [0, 999, 1_000, 1_234_567].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
