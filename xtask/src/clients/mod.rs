//! Programs that are not ours, against what we publish.

mod install;
pub(crate) mod languages;
mod ledger;
mod report;
mod scenarios;
mod server;
mod stage;

use std::path::Path;

use crate::checks::jetsink_command;

pub(crate) use install::{Whose, supervisor};
use scenarios::{Row, Scenario};
pub(crate) use stage::command;

/// Everything, and writes `docs/clients.md`.
///
/// # Errors
/// What could not be built or run, and each thing that is wrong with our sink. What is wrong with the
/// published one is in the table.
pub(crate) async fn run() -> Result<(), String> {
    languages::run().await?;
    let server = install::server()?;
    let jetsink = jetsink_command()?;
    let mut rows = Vec::new();
    let mut views = Vec::new();
    for whose in [Whose::Ours, Whose::Published] {
        let supervisor = supervisor(whose)?;
        rows.extend(play(whose, &supervisor, &jetsink).await?);
        views.push(server::view(whose, &supervisor, &server).await?);
    }
    println!("\n{}\n{}", report::table(&rows), report::views(&views));
    judge(&rows)?;
    let incomplete = |view: &&server::View| view.whose == Whose::Ours && !view.is_complete();
    if let Some(view) = views.iter().find(incomplete) {
        return Err(format!("cellos-server does not show all: {view:?}"));
    }
    report::write(&rows, &views)
}

/// All that happens to supervisors with our sink.
///
/// # Errors
/// As [`run`].
pub(crate) async fn ours(supervisor: &Path) -> Result<(), String> {
    let jetsink = jetsink_command()?;
    let rows = play(Whose::Ours, supervisor, &jetsink).await?;
    println!("\n{}", report::table(&rows));
    judge(&rows)
}

async fn play(whose: Whose, supervisor: &Path, jetsink: &Path) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for scenario in Scenario::ALL {
        if whose == Whose::Published && scenario.has_spool() {
            continue;
        }
        println!("{}, {}", scenario.title(), whose.name());
        let row = scenario.play(whose, supervisor, jetsink).await;
        rows.push(row.map_err(|e| format!("{}, {}: {e}", scenario.title(), whose.name()))?);
    }
    Ok(rows)
}

fn judge(rows: &[Row]) -> Result<(), String> {
    let ours = rows.iter().filter(|row| row.whose == Whose::Ours);
    let wrong: Vec<String> = ours
        .filter(|row| !row.tally.is_clean() || row.succeeded != row.runs)
        .map(|row| format!("{row:?}"))
        .collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}
