//! `jetsink drill`: an outage rehearsed, and what came of it.

pub(crate) mod arguments;
mod broker;
mod course;
mod event;
mod lane;
mod outcome;
mod record;
mod recorder;
mod report;
mod script;
mod verdict;
mod view;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jetsink::{
    Binding, ConnectSettings, NatsPublisher, Sink, SinkSettings, SpoolSettings, StreamNameError,
    SubjectTemplate,
};
use tempfile::TempDir;

use crate::connection::{environment, resolve_connection};
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::output;
use crate::runtime::runtime;
use arguments::{Compare, Drill, Spool};
use broker::Broker;
use course::{Course, Ended};
use event::Events;
use lane::{Lane, Outlet};
use record::Record;
use script::Script;

pub(crate) fn run(arguments: &Drill) -> Result<u8, Failure> {
    output::start_log(0, true);
    let connection = &arguments.connection;
    let is_theirs = connection.server.is_some() || connection.context.is_some();
    if !is_theirs && (arguments.subject.is_some() || arguments.duration.is_some()) {
        let text = "--subject and --duration are for a broker of yours: --server or --context";
        return Err(Failure::Usage(text.to_owned()));
    }
    let login = [
        &connection.user,
        &connection.password,
        &connection.token,
        &connection.creds,
    ];
    if !is_theirs && login.iter().any(|flag| flag.is_some()) {
        let text = "a login is for a broker of yours: --server or --context";
        return Err(Failure::Usage(text.to_owned()));
    }
    if arguments.report.is_some() && arguments.report == arguments.picture {
        let text = "--report and --picture name the same file";
        return Err(Failure::Usage(text.to_owned()));
    }
    let sink = SinkSettings::default().deadline(arguments.deadline)?;
    // Before anything is run: an hour's drill that can't be written down is for nothing.
    for path in arguments.report.iter().chain(&arguments.picture) {
        try_file(path)?;
    }
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::new().map_err(Failure::Runtime)?;
        if is_theirs {
            theirs(arguments, sink, &mut signals).await
        } else {
            ours(arguments, sink, &mut signals).await
        }
    })?;
    // A caller whose broker never answered is not waited for.
    runtime.shutdown_background();
    tell(arguments, &ended.record)?;
    match (ended.interrupt, ended.failure) {
        (Some(interrupt), failure) => {
            failure.iter().for_each(output::failure);
            Ok(interrupt.exit_code())
        }
        (None, Some(failure)) => Err(failure),
        (None, None) => Ok(u8::from(!ended.record.is_kept())),
    }
}

/// What ends early if it is interrupted: nothing is under way yet.
async fn until_interrupted<T>(
    signals: &mut Signals,
    set_up: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        ready = set_up => ready,
        interrupt = signals.next() => Err(Failure::Interrupted(interrupt)),
    }
}

/// Against a broker of the drill's own.
async fn ours(
    arguments: &Drill,
    sink: SinkSettings,
    signals: &mut Signals,
) -> Result<Ended, Failure> {
    let (outage, pause) = (arguments.outage, arguments.pause);
    let script = Script::new(&arguments.faults, outage, pause, arguments.cluster)?;
    let folder = spool_folder()?;
    if arguments.cluster && !arguments.quiet {
        output::note("starting three servers, and a replica of each stream on each");
    }
    let set_up = async {
        let names = lanes(arguments);
        let broker = Broker::start(arguments.cluster, names.len()).await?;
        let connect = || {
            let connect = ConnectSettings::new(&broker.urls())?;
            Ok::<_, Failure>(connect.name("jetsink drill"))
        };
        let events = events(arguments);
        let mut lanes = Vec::new();
        for (index, &name) in names.iter().enumerate() {
            let outlet = match name {
                Name::Plain => Outlet::Plain(Box::new(broker.jetstream().await?)),
                Name::Direct | Name::Spooled => {
                    let spool = (name == Name::Spooled).then_some(folder.path());
                    outlet(connect()?, sink.clone(), spool).await?
                }
            };
            let binding = Binding::new(SubjectTemplate::new(broker::subject(index))?);
            let lane = Lane::new(index, name.text(), outlet, binding, events.clone());
            lanes.push(Arc::new(lane));
        }
        let streams = (0..lanes.len()).map(|lane| broker::stream_name(lane).parse());
        let streams: Result<_, StreamNameError> = streams.collect();
        let streams = streams.map_err(|error| Failure::Usage(error.to_string()))?;
        let about = outcome::about(arguments, broker.version().await?, broker.size());
        let reader = NatsPublisher::connect(connect()?).await?;
        let course = Course::new(arguments, about, lanes, streams, 0, reader, events);
        Ok((course, broker))
    };
    let (course, broker) = until_interrupted(signals, set_up).await?;
    course.through(&script, broker, signals).await
}

/// Against a broker that somebody else looks after.
async fn theirs(
    arguments: &Drill,
    sink: SinkSettings,
    signals: &mut Signals,
) -> Result<Ended, Failure> {
    let Some(subject) = &arguments.subject else {
        let text = "--subject SUBJECT is needed with --server or --context: where the load goes";
        return Err(Failure::Usage(text.to_owned()));
    };
    let folder = spool_folder()?;
    let set_up = async {
        let connect = || {
            let connect = resolve_connection(&arguments.connection, environment)?;
            Ok::<_, Failure>(connect.name("jetsink drill"))
        };
        let binding = Binding::new(SubjectTemplate::new(subject.clone())?);
        let events = events(arguments);
        let reader = NatsPublisher::connect(connect()?).await?;
        let stream = outcome::stream_of(&reader, &binding, &events).await?;
        let behind = outcome::last_of(&reader, &stream).await?;
        let mut lanes = Vec::new();
        for (index, &name) in lanes_of_ours(arguments).iter().enumerate() {
            let spool = (name == Name::Spooled).then_some(folder.path());
            let outlet = outlet(connect()?, sink.clone(), spool).await?;
            let lane = Lane::new(index, name.text(), outlet, binding.clone(), events.clone());
            lanes.push(Arc::new(lane));
        }
        let streams = vec![stream; lanes.len()];
        let about = outcome::about(arguments, record::OF_YOURS.to_owned(), 0);
        let course = Course::new(arguments, about, lanes, streams, behind, reader, events);
        Ok(course)
    };
    let course = until_interrupted(signals, set_up).await?;
    let duration = arguments.duration.unwrap_or(Duration::from_secs(60));
    course.watching(duration, signals).await
}

/// A way of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Direct,
    Spooled,
    Plain,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::Direct => "jetsink",
            Self::Spooled => "jetsink with a spool",
            Self::Plain => "plain async-nats",
        }
    }
}

fn lanes(arguments: &Drill) -> Vec<Name> {
    let mut lanes = lanes_of_ours(arguments);
    match arguments.compare {
        Some(Compare::Raw) => lanes.push(Name::Plain),
        None => {}
    }
    lanes
}

fn lanes_of_ours(arguments: &Drill) -> Vec<Name> {
    match arguments.spool {
        Spool::With => vec![Name::Spooled],
        Spool::Without => vec![Name::Direct],
        Spool::Both => vec![Name::Direct, Name::Spooled],
    }
}

async fn outlet(
    connect: ConnectSettings,
    settings: SinkSettings,
    spool: Option<&Path>,
) -> Result<Outlet, Failure> {
    let publisher = NatsPublisher::connect(connect).await?;
    let sink = match spool {
        None => Sink::new(publisher, settings),
        Some(folder) => Sink::with_spool(publisher, settings, SpoolSettings::new(folder)).await?,
    };
    Ok(Outlet::Sink(Box::new(sink)))
}

fn events(arguments: &Drill) -> Events {
    Events::new(nuid::next().to_string(), arguments.payload_bytes as usize)
}

fn spool_folder() -> Result<TempDir, Failure> {
    tempfile::tempdir().map_err(|source| Failure::File {
        path: std::env::temp_dir(),
        source,
    })
}

/// Whether a file can be written, without leaving one.
fn try_file(path: &Path) -> Result<(), Failure> {
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

/// Prints the verdict, and writes what was asked for.
fn tell(arguments: &Drill, record: &Record) -> Result<(), Failure> {
    // First, since a disk may be full.
    if arguments.json {
        let mut json = serde_json::json!(record);
        json["kept"] = match (record.is_kept(), record.about.unread) {
            // Of what was not read nobody can say that all was kept.
            (true, true) => serde_json::Value::Null,
            (kept, _) => kept.into(),
        };
        output::print(&json.to_string());
    } else {
        outcome::lines(record)
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
