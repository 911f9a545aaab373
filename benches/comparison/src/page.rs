//! A run as text for a terminal, and as the page docs/comparison.md.

use std::fmt::Write as _;

use crate::findings::{Run, Table};
use crate::machine::Machine;

const HEAD: &str = include_str!("page/head.md");
const TAIL: &str = include_str!("page/tail.md");

/// A table as text, aligned for a terminal.
pub(crate) fn text(table: &Table) -> String {
    let rows = cells(table);
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| {
            rows.iter()
                .map(|row| width(&row[column]))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = format!(
        "\n{} [{}]\n",
        table.scenario.heading(),
        table.scenario.name()
    );
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let gap = " ".repeat(widths[column] - width(cell));
            match column {
                0 => text.push_str(&format!("  {cell}{gap}")),
                _ => text.push_str(&format!("  {gap}{cell}")),
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// The whole page: introduction, tables, explanations.
pub(crate) fn page(run: &Run) -> String {
    let mut page = HEAD.replace("{{machine}}", machine(&run.machine).trim_end());
    for table in &run.tables {
        page.push_str(&markdown(table));
    }
    page.push_str(TAIL);
    page
}

fn markdown(table: &Table) -> String {
    let mut text = format!("\n### {}\n\n", table.scenario.heading());
    for (number, row) in cells(table).iter().enumerate() {
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if number == 0 {
            let _ = writeln!(text, "| --- |{}", " ---: |".repeat(row.len() - 1));
        }
    }
    text
}

/// The cells of a table: the first row is the head, the first column the names of the figures.
fn cells(table: &Table) -> Vec<Vec<String>> {
    let titles = table
        .parts
        .iter()
        .map(|part| part.contender.title().to_owned());
    let mut rows = vec![std::iter::once(String::new()).chain(titles).collect()];
    for what in table.rows() {
        let values = table
            .parts
            .iter()
            .map(|part| match part.findings.value(what) {
                Some(value) => value.to_string(),
                None => "–".to_owned(),
            });
        rows.push(std::iter::once(what.to_owned()).chain(values).collect());
    }
    rows
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

pub(crate) fn machine(machine: &Machine) -> String {
    let loads = machine.loads.iter().copied();
    let least = loads.clone().fold(f64::INFINITY, f64::min);
    let most = loads.fold(0.0, f64::max);
    format!(
        "{}, {} cores; {}; {}; {}. Commit {}, {}. The machine's load over the last minute, taken \
         between the scenarios: {least:.1} to {most:.1}.\n",
        machine.processor,
        machine.cores,
        machine.nats_server,
        machine.rustc,
        machine.packages.join(", "),
        machine.commit,
        machine.date,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Contender;
    use crate::findings::{Findings, Part};
    use crate::scenarios::Scenario;

    #[test]
    fn a_table_has_a_column_for_each_contender_and_a_dash_where_nothing_was_found() {
        let mut first = Findings::default();
        first
            .add("returned Ok", 0_usize)
            .add("longest emit", "over 60 s");
        let mut second = Findings::default();
        second.add("returned Ok", 1_831_usize);
        let part = |contender, findings| Part {
            contender,
            findings,
        };
        let table = Table {
            scenario: Scenario::Full,
            parts: vec![
                part(Contender::Jetsink, first),
                part(Contender::Published, second),
            ],
        };
        let expected = "\n### The stream takes 10 events and discards new ones: 50 events\n\n\
            |  | jetsink | published 0.5.1 |\n\
            | --- | ---: | ---: |\n\
            | returned Ok | 0 | 1,831 |\n\
            | longest emit | over 60 s | – |\n";
        assert_eq!(markdown(&table), expected);
        let text = text(&table);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines[1], "  returned Ok           0            1,831");
    }
}
