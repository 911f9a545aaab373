//! `jetsink drill`: rehearses an outage and compares each emit's result with the stream.

mod about;
pub(crate) mod arguments;
mod broker;
mod contender;
mod event;
mod format;
mod http;
mod record;
mod recorder;
mod report;
mod run;
mod script;
mod setup;
mod streams;
mod summary;
mod verdict;
mod view;

use std::path::Path;

use jetsink::SinkSettings;

use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::output::{self, LogFrom};
use crate::runtime::runtime;
use arguments::Drill;
use record::Record;

pub(crate) fn run(arguments: &Drill) -> Result<u8, Failure> {
    output::start_log(0, LogFrom::Error);
    check(arguments)?;
    let sink = SinkSettings::default().deadline(arguments.deadline)?;
    // A report that can't be written is an error before the drill, not after it.
    for path in arguments.report.iter().chain(&arguments.picture) {
        check_writable(path)?;
    }
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::new().map_err(Failure::Runtime)?;
        if arguments.names_a_broker() {
            setup::with_given_broker(arguments, sink, &mut signals).await
        } else {
            setup::with_own_broker(arguments, sink, &mut signals).await
        }
    })?;
    // Does not wait for an emit that has no answer.
    runtime.shutdown_background();
    write(arguments, &ended.record)?;
    match (ended.interrupt, ended.failure) {
        (Some(interrupt), failure) => {
            failure.iter().for_each(output::failure);
            Ok(interrupt.exit_code())
        }
        (None, Some(failure)) => Err(failure),
        (None, None) => Ok(u8::from(!ended.record.is_kept())),
    }
}

/// Checks combinations of flags.
fn check(arguments: &Drill) -> Result<(), Failure> {
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    let is_own = !arguments.names_a_broker();
    if is_own && (arguments.subject.is_some() || arguments.duration.is_some()) {
        return usage("--subject and --duration need a broker of yours: --server or --context");
    }
    let connection = &arguments.connection;
    let login = [
        &connection.user,
        &connection.password,
        &connection.token,
        &connection.creds,
    ];
    if is_own && login.iter().any(|flag| flag.is_some()) {
        return usage("a login needs a broker of yours: --server or --context");
    }
    if arguments.report.is_some() && arguments.report == arguments.picture {
        return usage("--report and --picture name the same file");
    }
    Ok(())
}

/// Checks that a file can be written, without creating it.
fn check_writable(path: &Path) -> Result<(), Failure> {
    let failed = |source| Failure::File {
        path: path.to_owned(),
        source,
    };
    let is_new = !path.exists();
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path);
    drop(file.map_err(failed)?);
    if is_new {
        std::fs::remove_file(path).map_err(failed)?;
    }
    Ok(())
}

/// Prints the verdict and writes the files.
fn write(arguments: &Drill, record: &Record) -> Result<(), Failure> {
    // Standard output first: the disk may be full.
    if arguments.json {
        let mut json = serde_json::json!(record);
        json["kept"] = match (record.is_kept(), record.about.unread) {
            // Without reading the streams nothing proves that every promise was kept.
            (true, true) => serde_json::Value::Null,
            (kept, _) => kept.into(),
        };
        output::print(&json.to_string());
    } else {
        summary::lines(record)
            .iter()
            .all(|line| output::print(line));
    }
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).map_err(|source| Failure::File {
            path: path.to_owned(),
            source,
        })
    };
    if let Some(path) = &arguments.picture {
        write(path, report::picture(record))?;
    }
    if let Some(path) = &arguments.report {
        write(path, report::html(record))?;
        if !arguments.quiet {
            output::note(&format!("the report is in {}", path.display()));
        }
    }
    Ok(())
}
