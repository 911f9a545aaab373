//! The results, for the terminal and for `docs/evidence/clients.md`.

use anyhow::Result;
use minijinja::{Value, context};
use nats_local::NATS_SERVER_VERSION;

use super::install::{SinkOf, VERSION};
use super::scenarios::{Row, Scenario};
use super::server::View;
use crate::page::{self, Tree, render};

const PAGE: &str = include_str!("clients.md");
const SCENARIOS: &str = include_str!("scenarios.md");
const VIEWS: &str = include_str!("views.md");

pub(super) const FILE: &str = "docs/evidence/clients.md";

/// Both tables, as Markdown; only the first if there are no views.
///
/// # Errors
/// A template is wrong.
pub(crate) fn tables(rows: &[Row], seen: &[View]) -> Result<String> {
    let mut text = scenarios(rows)?;
    if !seen.is_empty() {
        text.push('\n');
        text.push_str(&views(seen)?);
    }
    Ok(text)
}

/// Writes the page with the figures of a run that began with `tree`.
///
/// # Errors
/// As [`page::write`].
pub(crate) fn write(rows: &[Row], seen: &[View], tree: &Tree) -> Result<()> {
    let values = context! {
        version => VERSION,
        nats_server => NATS_SERVER_VERSION,
        scenarios => scenarios(rows)?,
        views => views(seen)?,
    };
    page::write(FILE, PAGE, values, tree)
}

fn scenarios(rows: &[Row]) -> Result<String> {
    let both = rows.iter().any(|row| row.sink_of == SinkOf::Published);
    let needs_spool = |scenario: &Scenario| both && scenario.has_spool();
    let not_played = Scenario::ALL.into_iter().filter(needs_spool);
    let values = context! {
        rows => rows.iter().map(row).collect::<Vec<Value>>(),
        not_played => not_played.map(Scenario::title).collect::<Vec<_>>(),
    };
    render(SCENARIOS, values)
}

fn row(row: &Row) -> Value {
    let tally = &row.tally;
    context! {
        title => row.scenario.title(),
        sink => row.sink_of.name(),
        succeeded => row.succeeded,
        runs => row.runs,
        emitted => tally.emitted,
        stored => tally.stored,
        dead_letters => tally.dead_letters,
        lost => tally.findings.lost.len(),
        duplicated => tally.findings.duplicated.len(),
        out_of_place => tally.out_of_place(),
    }
}

fn views(seen: &[View]) -> Result<String> {
    let views = seen.iter().map(|view| {
        context! {
            sink => view.sink_of.name(),
            cells => view.cells,
            complete => view.complete,
            stored => view.stored,
            listed => view.listed,
        }
    });
    render(VIEWS, context! { views => views.collect::<Vec<Value>>() })
}

#[cfg(test)]
#[path = "tests/report.rs"]
mod tests;
