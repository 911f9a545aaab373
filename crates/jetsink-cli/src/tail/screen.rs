//! Standard output: whether it is a terminal, its width, and whether it is still open.

use std::io::{self, IsTerminal as _, stdout};
use std::os::fd::AsFd as _;

use console::Term;
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

use super::line::Look;

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
    if wait_until_closed().await.is_err() {
        std::future::pending().await
    }
}

/// Watches a duplicate of the descriptor: dropping it does not close standard output.
async fn wait_until_closed() -> io::Result<()> {
    // Fails for a file, which has no reader.
    let output = Sender::from_owned_fd_unchecked(stdout().as_fd().try_clone_to_owned()?)?;
    loop {
        if output.ready(Interest::WRITABLE).await?.is_write_closed() {
            return Ok(());
        }
        // Writable, but not closed.
        let _: io::Result<()> = output.try_io(|| Err(io::ErrorKind::WouldBlock.into()));
    }
}
