//! Sets up a drill: the broker, the contenders and their streams.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jetsink::{
    Binding, ConnectSettings, NatsPublisher, Sink, SinkSettings, SpoolSettings, StreamNameError,
    SubjectTemplate,
};
use tempfile::TempDir;

use super::about::about;
use super::arguments::{Compare, Drill, SpoolChoice};
use super::broker::{self, Broker};
use super::contender::{Contender, Target};
use super::event::Events;
use super::http::Http;
use super::record;
use super::run::{DrillRun, Ended};
use super::script::Script;
use super::streams;
use crate::connection::{environment, resolve_connection};
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::output;
use crate::serve::sink_deadline;

/// The load on a broker without `--duration`.
const DEFAULT_DURATION: Duration = Duration::from_secs(60);

/// Runs the script against a broker that the drill starts.
pub(super) async fn with_own_broker(
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
        let kinds = all_kinds(arguments);
        let broker = Broker::start(arguments.cluster, kinds.len()).await?;
        let connect = || {
            let connect = ConnectSettings::new(&broker.urls())?;
            Ok::<_, Failure>(connect.name("jetsink drill"))
        };
        let events = events(arguments);
        let mut contenders = Vec::new();
        for (index, &kind) in kinds.iter().enumerate() {
            let subject = broker::subject(index);
            let target = match kind {
                ContenderKind::Plain => Target::Plain(Box::new(broker.jetstream().await?)),
                kind => target(kind, arguments, connect()?, &sink, folder.path(), &subject).await?,
            };
            let binding = Binding::new(SubjectTemplate::new(subject)?);
            let contender = Contender::new(index, kind.name(), target, binding, events.clone());
            contenders.push(Arc::new(contender));
        }
        let streams = (0..contenders.len()).map(|index| broker::stream_name(index).parse());
        let streams: Result<_, StreamNameError> = streams.collect();
        let streams = streams.map_err(|error| Failure::Usage(error.to_string()))?;
        let about = about(arguments, broker.version().await?, broker.size());
        let reader = NatsPublisher::connect(connect()?).await?;
        let run = DrillRun::new(arguments, about, contenders, streams, 0, reader, events);
        Ok((run, broker))
    };
    let (run, broker) = until_interrupted(signals, set_up).await?;
    run.with_script(&script, broker, signals).await
}

/// Puts the load on a broker that is given by flags.
pub(super) async fn with_given_broker(
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
        let stream = streams::capturing(&reader, &binding, &events).await?;
        let last_before = streams::last_sequence(&reader, &stream).await?;
        let mut contenders = Vec::new();
        for (index, &kind) in sink_kinds(arguments).iter().enumerate() {
            let target = target(kind, arguments, connect()?, &sink, folder.path(), subject).await?;
            let contender =
                Contender::new(index, kind.name(), target, binding.clone(), events.clone());
            contenders.push(Arc::new(contender));
        }
        let streams = vec![stream; contenders.len()];
        let about = about(arguments, record::GIVEN_BROKER.to_owned(), 0);
        let run = DrillRun::new(
            arguments,
            about,
            contenders,
            streams,
            last_before,
            reader,
            events,
        );
        Ok(run)
    };
    let run = until_interrupted(signals, set_up).await?;
    let duration = arguments.duration.unwrap_or(DEFAULT_DURATION);
    run.without_script(duration, signals).await
}

/// Ends the setup at a signal: no load has started yet.
async fn until_interrupted<T>(
    signals: &mut Signals,
    set_up: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        ready = set_up => ready,
        interrupt = signals.next() => Err(Failure::Interrupted(interrupt)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContenderKind {
    Direct,
    Spooled,
    Http,
    Plain,
}

impl ContenderKind {
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "jetsink",
            Self::Spooled => "jetsink with a spool",
            Self::Http => "jetsink serve",
            Self::Plain => "plain async-nats",
        }
    }
}

fn all_kinds(arguments: &Drill) -> Vec<ContenderKind> {
    let mut kinds = sink_kinds(arguments);
    match arguments.compare {
        Some(Compare::Raw) => kinds.push(ContenderKind::Plain),
        None => {}
    }
    kinds
}

/// The kinds that make promises.
fn sink_kinds(arguments: &Drill) -> Vec<ContenderKind> {
    let mut kinds = match arguments.spool {
        SpoolChoice::With => vec![ContenderKind::Spooled],
        SpoolChoice::Without => vec![ContenderKind::Direct],
        SpoolChoice::Both => vec![ContenderKind::Direct, ContenderKind::Spooled],
    };
    if arguments.http {
        kinds.push(ContenderKind::Http);
    }
    kinds
}

/// A sink, or a gateway over one. Its spool is in a folder of its own within `folder`.
async fn target(
    kind: ContenderKind,
    arguments: &Drill,
    connect: ConnectSettings,
    settings: &SinkSettings,
    folder: &Path,
    subject: &str,
) -> Result<Target, Failure> {
    let publisher = NatsPublisher::connect(connect).await?;
    let spool = |name: &str| SpoolSettings::new(folder.join(name));
    let settings = settings.clone();
    Ok(match kind {
        ContenderKind::Direct | ContenderKind::Plain => {
            Target::Sink(Box::new(Sink::new(publisher, settings)))
        }
        ContenderKind::Spooled => {
            let sink = Sink::with_spool(publisher, settings, spool("sink")).await?;
            Target::Sink(Box::new(sink))
        }
        ContenderKind::Http => {
            let deadline = arguments.deadline;
            let settings = settings.deadline(sink_deadline(deadline))?;
            let sink = Sink::with_spool(publisher, settings, spool("serve")).await?;
            Target::Http(Box::new(Http::start(sink, subject, deadline).await?))
        }
    })
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
