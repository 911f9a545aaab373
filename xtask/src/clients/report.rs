//! The table, for the screen and for `docs/clients.md`.

use std::fmt::Write as _;
use std::process::Command;

use nats_local::NATS_SERVER_VERSION;

use super::install::{VERSION, Whose};
use super::scenarios::{Row, Scenario};
use super::server::View;
use crate::root;

pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| scenario | sink | successful runs | returned `Ok` | stored | in the DLQ | lost | twice | out of place |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for row in rows {
        let tally = &row.tally;
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} of {} | {} | {} | {} | {} | {} | {} |",
            row.scenario.title(),
            row.whose.name(),
            row.succeeded,
            row.runs,
            tally.emitted,
            tally.stored,
            tally.dead_letters,
            tally.findings.lost.len(),
            tally.findings.duplicated.len(),
            tally.out_of_place(),
        );
    }
    let both = rows.iter().any(|row| row.whose == Whose::Published);
    let not_played = |scenario: &&Scenario| both && scenario.has_spool();
    for scenario in Scenario::ALL.iter().filter(not_played) {
        let _ = writeln!(
            text,
            "| {} | published | not available: it has no spool | | | | | | |",
            scenario.title()
        );
    }
    text
}

pub(crate) fn views(views: &[View]) -> String {
    let mut text = String::from(
        "| sink | cells run | shown from start to end | messages in the stream | listed as stored |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for view in views {
        let View {
            whose,
            cells,
            complete,
            stored,
            listed,
        } = view;
        let whose = whose.name();
        let _ = writeln!(
            text,
            "| {whose} | {cells} | {complete} | {stored} | {listed} |"
        );
    }
    text
}

/// The page, with the figures of this very run.
///
/// # Errors
/// The page can't be written.
pub(crate) fn write(rows: &[Row], seen: &[View]) -> Result<(), String> {
    let page = format!(
        "{HEAD}\
         Versions: cellos-supervisor and cellos-server {VERSION}, unchanged, from the registry; nats-server \
         {NATS_SERVER_VERSION}; our sink at commit {}.\n\n{}\n{TAIL}\n{}",
        commit(),
        table(rows),
        views(seen)
    );
    let file = root().join("docs/clients.md");
    std::fs::write(&file, page).map_err(|e| format!("{}: {e}", file.display()))
}

fn commit() -> String {
    let mut git = Command::new("git");
    let output = git
        .args(["describe", "--always", "--dirty", "--exclude=*"])
        .current_dir(root())
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

const HEAD: &str = "# Real clients

Published programs, unchanged, that use our sink or read its events. `cargo xtask clients` writes this page with the
figures of its run.

| command | action | in CI |
| --- | --- | --- |
| `cargo xtask clients` | everything on this page, including builds | no: three builds |
| `cargo xtask supervisor` | the supervisor with our sink, in all scenarios below | yes |
| `cargo xtask clients languages` | `nats-py`, `@nats-io`, and the CloudEvents SDKs of Python and JavaScript read both modes, field by field | yes |

## cellos-supervisor

Each run of a cell emits eleven events.

- **Returned `Ok`**: the events in the supervisor's own log, which records an event after the sink has returned `Ok` for it, and
  the two receipts from before each run.
- **Out of place**: at another subject than its own, or behind a later event of its subject. If the subject depends on the
  tenant, the published sink sends seven of the eleven events, and all signed ones, to `single`: most of its `out of place`.
- **Lost**: the published sink loses the events in flight when the process or the broker ends, so its figures vary from run to
  run.

";

const TAIL: &str = "## cellos-server

The server rebuilds its view from the stream when it starts, and adds one more cell while it runs. With our sink the broker
was down during three of the cells, with the spool on; with the published sink it was up all the time.
";
