//! The only module that prints: results on standard output; notes, progress and the log on standard error.

mod display;
mod log;

use std::io::{self, Write as _};
use std::sync::OnceLock;

use indicatif::HumanCount;
use jetsink::{LastFailure, NatsPublisher, Sink};

use crate::failure::Failure;
pub(crate) use display::{progress_bar, progress_lines};
pub(crate) use log::{LogFrom, start_log, start_log_with};

/// Prints the failure that ends the command.
pub(crate) fn failure(failure: &Failure) {
    to_stderr(&format!("jetsink: {failure}"));
}

/// The first error of writing to standard output.
static OUTPUT_FAILURE: OnceLock<io::Error> = OnceLock::new();

/// The error that kept results from standard output. A closed pipe is not an error.
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

/// Prints one line of a result. Returns `false` if standard output can't be written.
pub(crate) fn print(text: &str) -> bool {
    wrote(writeln!(std::io::stdout(), "{text}"))
}

/// Prints one line of bytes.
pub(crate) fn print_bytes(line: &[u8]) -> bool {
    let mut output = std::io::stdout().lock();
    wrote(
        output
            .write_all(line)
            .and_then(|()| output.write_all(b"\n")),
    )
}

/// Prints text that contains its line ends.
pub(crate) fn print_as_is(text: &[u8]) {
    wrote(std::io::stdout().write_all(text));
}

/// Prints a note on standard error.
pub(crate) fn note(text: &str) {
    to_stderr(&format!("jetsink: {text}"));
}

/// Prints a line on standard error, above the display of progress. Write errors are ignored.
pub(crate) fn to_stderr(text: &str) {
    display::above(|| {
        let _ = writeln!(std::io::stderr(), "{text}");
    });
}

/// The reason why events are left in a spool, if known.
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

/// The damaged records of a spool in a summary, after its other parts.
pub(crate) fn damaged_part(damaged: u64) -> String {
    match damaged {
        0 => String::new(),
        _ => format!(", {} damaged and lost", counted(damaged, "record")),
    }
}

pub(crate) fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", HumanCount(count))
}
