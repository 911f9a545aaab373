//! All that the command prints goes through here: what was asked for, notes beside it, the log.

use std::io::{self, Write as _};
use std::sync::OnceLock;

use indicatif::HumanCount;
use jetsink::{LastFailure, NatsPublisher, Sink};
use tracing_subscriber::filter::LevelFilter;

use crate::failure::Failure;

/// Logs go to standard error, only errors and what `-v` asks for where they would be in the way.
pub(crate) fn start_log(verbose: u8, in_the_way: bool) {
    let level = match verbose {
        0 if in_the_way => LevelFilter::ERROR,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}

/// A failure that ends the command.
pub(crate) fn failure(failure: &Failure) {
    to_stderr(&format!("jetsink: {failure}"));
}

/// The first failure to write what was asked for.
static OUTPUT_FAILURE: OnceLock<io::Error> = OnceLock::new();

/// Why what was asked for is not all on standard output. A reader that went away has had enough,
/// which is none.
pub(crate) fn output_failure() -> Option<&'static io::Error> {
    wrote(std::io::stdout().flush());
    OUTPUT_FAILURE.get()
}

fn wrote(result: io::Result<()>) -> bool {
    match result {
        Ok(()) => true,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                let _ = OUTPUT_FAILURE.set(error);
            }
            false
        }
    }
}

/// One line of what was asked for. False once nobody takes it.
pub(crate) fn print(text: &str) -> bool {
    wrote(writeln!(std::io::stdout(), "{text}"))
}

/// The same, of bytes.
pub(crate) fn print_bytes(line: &[u8]) -> bool {
    let mut output = std::io::stdout().lock();
    wrote(
        output
            .write_all(line)
            .and_then(|()| output.write_all(b"\n")),
    )
}

/// A text that has its own line ends.
pub(crate) fn print_as_is(text: &[u8]) {
    wrote(std::io::stdout().write_all(text));
}

/// Something to know beside what was asked for.
pub(crate) fn note(text: &str) {
    to_stderr(&format!("jetsink: {text}"));
}

/// Nobody reading is no error.
pub(crate) fn to_stderr(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Why events are still in a spool, where that is known.
pub(crate) fn why_left(sink: &Sink<NatsPublisher>) -> Option<String> {
    if let Some(error) = sink.publisher().connect_error() {
        return Some(format!("events are left in the spool: {error}"));
    }
    sink.status().last_failure.as_ref().map(because)
}

fn because(failure: &LastFailure) -> String {
    match &failure.subject {
        None => format!("events are left in the spool: {}", failure.error),
        Some(subject) => {
            let error = &failure.error;
            format!("events are left in the spool: {error} (subject {subject})")
        }
    }
}

pub(crate) fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", HumanCount(count))
}
