//! The log on standard error.

use std::io::{self, Write};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::display;

/// The least severe lines of the log without `-v`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFrom {
    /// For commands that move events: their log is read after something failed.
    Warning,
    /// For commands that report problems as their result: a warning would repeat it.
    Error,
}

/// Starts the log. `-v` adds lines, whatever `from` is.
pub(crate) fn start_log(verbose: u8, from: LogFrom) {
    start_log_with(verbose, from, None);
}

/// Starts the log, with the lines of one target at `INFO` whatever `verbose` is.
pub(crate) fn start_log_with(verbose: u8, from: LogFrom, always: Option<&'static str>) {
    let level = match (verbose, from) {
        (0, LogFrom::Error) => LevelFilter::ERROR,
        (0, LogFrom::Warning) => LevelFilter::WARN,
        (1, _) => LevelFilter::INFO,
        (2, _) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let always = always.map(|target| (target, level.max(LevelFilter::INFO)));
    // The engine reports the client's failures itself, once per cause. The client logs each attempt to connect as an
    // error.
    let client = match level {
        LevelFilter::DEBUG | LevelFilter::TRACE => level,
        _ => LevelFilter::OFF,
    };
    // Otherwise a log of warnings has the beginning of an outage, and not its end.
    let recoveries = match from {
        LogFrom::Warning => level.max(LevelFilter::INFO),
        LogFrom::Error => level,
    };
    let filter = Targets::new()
        .with_default(level)
        .with_target("async_nats", client)
        .with_target("jetsink::recovery", recoveries)
        .with_targets(always);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| LogLines)
        .with_ansi(false);
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .init();
}

/// Writes lines of the log, each in one call, above the display of progress. Write errors are ignored.
struct LogLines;

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        display::above(|| {
            let _ = io::stderr().write_all(line);
        });
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
