//! Standard output: a terminal or not, how wide, and whether anybody still reads it.

use std::io::{self, IsTerminal as _, stdout};
use std::os::fd::AsFd as _;

use console::Term;
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

use super::line::Look;

/// Where the terminal does not say.
const USUAL_WIDTH: u16 = 80;

/// Asked anew for each line: windows are resized.
pub(super) fn look(as_json: bool, environment: impl Fn(&str) -> Option<String>) -> Look {
    if as_json {
        return Look::Json;
    }
    if !stdout().is_terminal() {
        return Look::Tabs;
    }
    let size = Term::stdout().size_checked();
    let width = size.map_or(USUAL_WIDTH, |(_, columns)| columns);
    let no_colour = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = environment("TERM").is_some_and(|term| term == "dumb");
    Look::Terminal {
        width: if width == 0 { USUAL_WIDTH } else { width }.into(),
        coloured: !no_colour && !dumb,
    }
}

/// Ends when nobody reads standard output any more, also while there is nothing to write; never where
/// that can't be known.
pub(super) async fn closed() {
    if wait_until_closed().await.is_err() {
        std::future::pending().await
    }
}

/// Of a duplicate, whose end closes nothing, and which is written to by nobody, and so may block.
async fn wait_until_closed() -> io::Result<()> {
    // A file can't be watched, and has no reader to go away.
    let output = Sender::from_owned_fd_unchecked(stdout().as_fd().try_clone_to_owned()?)?;
    loop {
        if output.ready(Interest::WRITABLE).await?.is_write_closed() {
            return Ok(());
        }
        // There is room, which is not what is waited for.
        let _: io::Result<()> = output.try_io(|| Err(io::ErrorKind::WouldBlock.into()));
    }
}
