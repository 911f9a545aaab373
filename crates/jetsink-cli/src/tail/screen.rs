//! Standard output: whether it is a terminal, its width, and whether it is still open.

use std::io::{IsTerminal as _, stdout};

use console::Term;

use super::line::Look;
use crate::system::stdout_closed;

/// The width if the terminal does not report one.
const DEFAULT_WIDTH: u16 = 80;

/// Determines the format; called per line, since windows are resized.
pub(super) fn look(as_json: bool, environment: impl Fn(&str) -> Option<String>) -> Look {
    if as_json {
        return Look::Json;
    }
    if !stdout().is_terminal() {
        return Look::Tabs;
    }
    let size = Term::stdout().size_checked();
    let width = size.map_or(DEFAULT_WIDTH, |(_, columns)| columns);
    let no_colour = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = environment("TERM").is_some_and(|term| term == "dumb");
    Look::Terminal {
        width: if width == 0 { DEFAULT_WIDTH } else { width }.into(),
        coloured: !no_colour && !dumb,
    }
}

/// Returns when the reader of standard output has closed it, even if nothing is being written. Never
/// returns if that can't be detected.
pub(super) async fn closed() {
    if stdout_closed().await.is_err() {
        std::future::pending().await
    }
}
