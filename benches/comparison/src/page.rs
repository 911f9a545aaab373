//! A run as text for a terminal, and as the page docs/evidence/comparison.md.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value, context};

use crate::Result;
use crate::findings::{Run, Table};
use crate::machine::Machine;

const PAGE: &str = include_str!("page.md");

/// Aligned for a terminal.
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

/// The page docs/evidence/comparison.md.
///
/// # Errors
/// The template is wrong.
pub(crate) fn page(run: &Run) -> Result<String> {
    let tables: Vec<Value> = run.tables.iter().map(markdown).collect();
    let values = context! { machine => machine(&run.machine).trim_end(), tables };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut syntax = SyntaxConfig::builder();
    syntax
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true);
    environment.set_syntax(syntax.build()?);
    Ok(environment.render_str(PAGE, values)?)
}

fn markdown(table: &Table) -> Value {
    let mut cells = cells(table);
    let head = cells.remove(0);
    context! { heading => table.scenario.heading(), head, rows => cells }
}

/// The first row contains the contenders, the first column the names of the findings.
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
    #![allow(clippy::unwrap_used)] // a panic is how a test fails

    use super::*;
    use crate::contender::Contender;
    use crate::findings::{Findings, Part};
    use crate::scenarios::Scenario;

    #[test]
    fn table_has_a_column_per_contender_and_a_dash_without_a_finding() {
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
        let expected = "## Results\n\n### The stream takes 10 events and discards new ones: 50 events\n\n\
            |  | jetsink | published 0.5.1 |\n\
            | --- | ---: | ---: |\n\
            | returned Ok | 0 | 1,831 |\n\
            | longest emit | over 60 s | – |\n\n## Explanation\n";
        let text = text(&table);
        let run = Run {
            machine: Machine {
                processor: "a processor".to_owned(),
                ..Machine::default()
            },
            tables: vec![table],
        };
        let page = page(&run).unwrap();
        assert!(page.starts_with("# Comparison\n"));
        assert!(page.contains("\n\na processor, 0 cores; "), "{page}");
        assert!(page.contains(expected), "{page}");
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines[1], "  returned Ok           0            1,831");
    }
}
