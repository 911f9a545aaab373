//! Other projects' programs, as publishers and readers beside ours.

mod gateway;
mod install;
pub(crate) mod languages;
mod ledger;
mod lock_file;
mod report;
mod scenarios;
mod server;
mod stage;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::page::Tree;
use crate::process::jetsink_command;

pub(crate) use install::{SinkOf, supervisor};
use scenarios::{Row, Scenario};
pub(crate) use stage::command;

/// Runs all clients and writes `docs/evidence/clients.md`.
///
/// # Errors
/// A program does not build or run, or our sink fails a scenario. Failures of the published sink are in the table.
pub(crate) async fn run() -> Result<()> {
    let tree = Tree::now(report::FILE)?;
    languages::run().await?;
    let server = install::server()?;
    let jetsink = jetsink_command()?;
    let mut rows = Vec::new();
    let mut views = Vec::new();
    for sink_of in [SinkOf::Jetsink, SinkOf::Published] {
        let supervisor = supervisor(sink_of)?;
        rows.extend(play(sink_of, &supervisor, &jetsink).await?);
        views.push(server::view(sink_of, &supervisor, &server).await?);
    }
    println!("\n{}", report::tables(&rows, &views)?);
    judge(&rows)?;
    let incomplete = |view: &&server::View| view.sink_of == SinkOf::Jetsink && !view.is_complete();
    if let Some(view) = views.iter().find(incomplete) {
        bail!("cellos-server does not show all: {view:?}");
    }
    report::write(&rows, &views, &tree)
}

/// Plays all scenarios with a supervisor that has our sink.
///
/// # Errors
/// As [`run`].
pub(crate) async fn ours(supervisor: &Path) -> Result<()> {
    let jetsink = jetsink_command()?;
    let rows = play(SinkOf::Jetsink, supervisor, &jetsink).await?;
    println!("\n{}", report::tables(&rows, &[])?);
    judge(&rows)
}

async fn play(sink_of: SinkOf, supervisor: &Path, jetsink: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for scenario in Scenario::ALL {
        if sink_of == SinkOf::Published && scenario.has_spool() {
            continue;
        }
        let title = format!("{}, {}", scenario.title(), sink_of.name());
        println!("{title}");
        let row = scenario.play(sink_of, supervisor, jetsink).await;
        rows.push(row.context(title)?);
    }
    Ok(rows)
}

fn judge(rows: &[Row]) -> Result<()> {
    let ours = rows.iter().filter(|row| row.sink_of == SinkOf::Jetsink);
    let wrong: Vec<String> = ours
        .filter(|row| !row.tally.is_clean() || row.succeeded != row.runs)
        .map(|row| format!("{row:?}"))
        .collect();
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}
